"""Altered copies with a known distance: near duplicates, near misses, disguised benchmark items, and made-up personal data."""

from __future__ import annotations

import random
import re
import unicodedata

from pipeline.sample.articles import Article, Writer, paragraphs_of
from pipeline.sample.grammar import pick

SHINGLE_BYTES = 27
"""Shingle width over normalised UTF-8: 9 Hangul syllables or 27 Latin letters, the unit that the platform's fuzzy dedup works with."""

_EDITED_WORDS = 0.04
_RRN_WEIGHTS = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)


def shingles(text: str) -> set[bytes]:
    """The set of SHINGLE_BYTES-byte windows, on character boundaries, of the casefolded letters and digits of `text`."""
    letters = "".join(filter(str.isalnum, unicodedata.normalize("NFKC", text).casefold())).encode()
    return {letters[start : start + SHINGLE_BYTES] for start in range(len(letters) - SHINGLE_BYTES + 1) if letters[start] & 0xC0 != 0x80}


def jaccard(first: set[bytes], second: set[bytes]) -> float:
    """Size of the intersection over size of the union; 1.0 for two empty sets."""
    union = len(first | second)
    return len(first & second) / union if union else 1.0


def near_duplicate(text: str, rng: random.Random, lowest: float = 0.88) -> str:
    """`text` with single words dropped, doubled or replaced until 4 % of the words are changed or Jaccard would fall below `lowest`.

    The first edit is always made. A one-word edit costs 27 shingle bytes and the word, so that 4 % is reached by Korean texts only.
    """
    original = shingles(text)
    lines = [line.split(" ") for line in text.split("\n")]
    vocabulary = [word for line in lines for word in line if len(word) > 1]
    edited = text
    for edit in range(max(1, int(len(vocabulary) * _EDITED_WORDS))):
        line_index = int(rng.random() * len(lines))
        candidate = list(lines[line_index])
        position = int(rng.random() * len(candidate))
        action = int(rng.random() * 3)
        if action == 0 and len(candidate) > 3:
            del candidate[position]
        elif action == 1:
            candidate.insert(position, pick(rng, vocabulary))
        else:
            candidate[position] = pick(rng, vocabulary)
        attempt = [*lines[:line_index], candidate, *lines[line_index + 1 :]]
        attempt_text = "\n".join(" ".join(line) for line in attempt)
        if edit and jaccard(original, shingles(attempt_text)) < lowest:
            break
        lines, edited = attempt, attempt_text
    return edited


def near_miss(article: Article, writer: Writer, rng: random.Random) -> str:
    """A different article that shares so many whole sentences with `article` that their Jaccard similarity is close to 0.45.

    Shared and new sentences are interleaved, so no paragraph and no long passage is common to both.
    """
    shared = article.sentences
    fresh = writer.sentences(article.language, article.domain, rng, len(shared))
    original = shingles(article.text)
    best, best_distance = "", 2.0
    for new in range(len(shared) // 4, len(shared) // 2 + 2):
        step = len(shared) / new
        replaced = {int(index * step) for index in range(new)}
        mixed = [fresh[index] if index in replaced else sentence for index, sentence in enumerate(shared)]
        text = "\n".join(" ".join(paragraph) for paragraph in paragraphs_of(mixed, rng))
        distance = abs(jaccard(original, shingles(text)) - 0.45)
        if distance < best_distance:
            best, best_distance = text, distance
    return best


def disguise(text: str, language: str, form: str) -> str:
    """A benchmark item's text with other layout but the same letters and digits: form is "exact", "spacing", "case" or "punctuation"."""
    if form == "spacing":
        flat = text.replace("\n", " ")
        return re.sub(r"(?<=[가-힣]) (?=[가-힣])", "", flat) if language == "ko" else flat.replace(" ", "  ")
    if form == "case":
        return text.upper()
    if form == "punctuation":
        return text.replace("\n", " / ").replace(".", " ;").replace(",", " -").replace("?", " ...")
    return text


def email(rng: random.Random) -> str:
    """An address under a domain that RFC 2606 reserves for examples."""
    user = pick(rng, ("haneul", "minji.k", "d_seo", "contact", "jay.moon", "bada", "orin-lee", "support"))
    return f"{user}{10 + int(rng.random() * 9990)}@{pick(rng, ('example.com', 'mail.example.org', 'sample.example.net'))}"


def phone(rng: random.Random) -> str:
    """A Korean mobile or Seoul number in an unassigned range (subscriber exchanges do not begin with 0)."""
    exchange, line = f"0{int(rng.random() * 1000):03d}", f"{int(rng.random() * 10000):04d}"
    return pick(rng, (f"010-{exchange}-{line}", f"010 {exchange} {line}", f"02-{exchange}-{line}", f"+82-10-{exchange}-{line}"))


def resident_number(rng: random.Random) -> str:
    """A resident registration number with a valid date of birth before 2000 and a wrong check digit: nobody can hold it.

    Nor is it a corporation's number, which has the same shape and a check digit of its own.
    """
    birth = f"{50 + int(rng.random() * 49):02d}{1 + int(rng.random() * 12):02d}{1 + int(rng.random() * 28):02d}"
    body = f"{birth}{1 + int(rng.random() * 2)}{int(rng.random() * 100000):05d}"
    resident = (11 - sum(weight * int(digit) for weight, digit in zip(_RRN_WEIGHTS, body, strict=True)) % 11) % 10
    corporate = (10 - sum((1 + place % 2) * int(digit) for place, digit in enumerate(body)) % 10) % 10
    wrong = [digit for digit in range(10) if digit not in (resident, corporate)]
    return f"{body[:6]}-{body[6:]}{pick(rng, wrong)}"
