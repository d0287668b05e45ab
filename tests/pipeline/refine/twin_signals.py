"""The quality signals again, as plainly as Python can say them: the definitions that the compiled pass is compared with."""

from __future__ import annotations

import re
import string
from collections import Counter

from pipeline.refine import characters
from pipeline.refine.phrases import PhraseLists

GOPHER_STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
LOWER_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)


def within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def is_hangul(character: str) -> bool:
    return within(character, characters.HANGUL_RANGES)


def is_latin(character: str) -> bool:
    return within(character, characters.LATIN_RANGES)


def is_letter(character: str) -> bool:
    other = characters.OTHER_LETTER_RANGES + characters.SUPPLEMENTARY_LETTER_RANGES
    return is_hangul(character) or is_latin(character) or within(character, other)


def share(part: int, whole: int) -> float:
    return part / max(whole, 1)


def top_gram_chars(words: list[str], n: int) -> int:
    grams = Counter(" ".join(words[first : first + n]) for first in range(len(words) - n + 1))
    repeated = [(count, len(gram)) for gram, count in grams.items() if count > 1]
    count, length = max(repeated, default=(0, 0))
    return count * length


def duplicate_gram_chars(words: list[str], n: int) -> int:
    seen: set[tuple[str, ...]] = set()
    chars = first = 0
    while first + n <= len(words):
        gram = tuple(words[first : first + n])
        if gram in seen:
            chars += sum(map(len, gram))
            first += n
        else:
            seen.add(gram)
            first += 1
    return chars


def find_phrases(text: str, phrases: tuple[str, ...]) -> list[str]:
    """Leftmost-longest matches; an ASCII letter or digit at a phrase's end must not touch another one outside."""
    word = re.compile("[0-9A-Za-z]")
    lowered = text.translate(LOWER_ASCII)
    found = []
    position = 0
    while position < len(text):
        step = 1
        for phrase in sorted(phrases, key=lambda phrase: -len(phrase.encode())):
            behind = position + len(phrase)
            if not lowered.startswith(phrase, position):
                continue
            if position and word.match(text[position - 1]) and word.match(phrase[0]):
                continue
            if behind < len(text) and word.match(text[behind]) and word.match(phrase[-1]):
                continue
            found.append(phrase)
            step = len(phrase)
            break
        position += step
    return found


def boilerplate_lines(text: str, lists: PhraseLists) -> int:
    lines = 0
    for line in text.split("\n"):
        stripped = line.strip(" \t")
        if stripped:
            covered = sum(len(phrase.encode()) for phrase in find_phrases(line, lists.spam + lists.furniture) if phrase in lists.furniture)
            lines += covered * 100 >= len(stripped.encode()) * 40
    return lines


def measure(text: str, lists: PhraseLists) -> dict[str, float]:
    """Every signal of one text."""
    words = text.split()
    lines = [line for line in text.split("\n") if line.strip()]
    trimmed = [line.strip() for line in lines]
    letters = [character for character in text if is_letter(character)]
    visible = "".join(words)
    duplicates = [line for place, line in enumerate(lines) if line in lines[:place]]
    broken = [character for character in text if within(character, characters.BROKEN_RANGES)]
    jamo = "".join("j" if within(character, characters.COMPATIBILITY_JAMO_RANGES) else " " for character in text)
    symbols = text.count("#") + text.count("...") + text.count("…")
    return {
        "chars": len(text),
        "words": len(words),
        "lines": len(lines),
        "mean_word_length": share(len(visible), len(words)),
        "alpha_word_ratio": share(sum(any(map(is_letter, word)) for word in words), len(words)),
        "symbol_word_ratio": share(symbols, len(words)),
        "bullet_line_ratio": share(sum(line.startswith(("-", "•")) for line in trimmed), len(lines)),
        "ellipsis_line_ratio": share(sum(line.endswith(("...", "…")) for line in trimmed), len(lines)),
        "stop_words": len({word.strip(string.punctuation).translate(LOWER_ASCII) for word in words} & GOPHER_STOP_WORDS),
        "line_end_punct_ratio": share(sum(line.endswith(tuple(characters.TERMINAL_CHARACTERS)) for line in trimmed), len(lines)),
        "short_line_ratio": share(sum(len(line) < 30 for line in lines), len(lines)),
        "newline_ratio": share(text.count("\n"), len(words)),
        "hangul_ratio": share(sum(map(is_hangul, letters)), len(letters)),
        "latin_ratio": share(sum(map(is_latin, letters)), len(letters)),
        "digit_ratio": share(sum(within(character, characters.DIGIT_RANGES) for character in visible), len(visible)),
        "replacement_char_ratio": share(len(broken), len(text)),
        "jamo_run_ratio": share(sum(len(run) for run in re.findall("j{3,}", jamo)), len(text)),
        "dup_line_ratio": share(len(duplicates), len(lines)),
        "dup_line_char_ratio": share(sum(map(len, duplicates)), len(text)),
        "top_2gram_char_ratio": share(top_gram_chars(words, 2), len(text)),
        "top_3gram_char_ratio": share(top_gram_chars(words, 3), len(text)),
        "top_4gram_char_ratio": share(top_gram_chars(words, 4), len(text)),
        "dup_5gram_char_ratio": share(duplicate_gram_chars(words, 5), len(text)),
        "dup_10gram_char_ratio": share(duplicate_gram_chars(words, 10), len(text)),
        "spam_words": sum(phrase in lists.spam for phrase in find_phrases(text, lists.spam + lists.furniture)),
        "boilerplate_line_ratio": share(boilerplate_lines(text, lists), len(lines)),
    }
