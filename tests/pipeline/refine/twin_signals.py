"""The quality signals again, as plainly as Python can say them: the definitions that the compiled pass is compared with."""

from __future__ import annotations

import re
import string
from collections import Counter

from pipeline.refine import characters
from pipeline.refine.phrases import C4_LINE_PHRASES, LOREM_IPSUM_PHRASES, PhraseLists

GOPHER_STOP_WORDS = {"the", "be", "to", "of", "and", "that", "have", "with"}
LOWER_ASCII = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
CITATIONS = re.compile(r"(\[[0-9]*\]|\[edit\]|\[citation needed\])+$")
URL_MARK = re.compile(r"https?://|www\.", re.IGNORECASE | re.ASCII)


def within(character: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= ord(character) <= last for first, last in ranges)


def is_hangul(character: str) -> bool:
    return within(character, characters.HANGUL_RANGES)


def is_syllable(character: str) -> bool:
    return "가" <= character <= "힣"


def is_latin(character: str) -> bool:
    return within(character, characters.LATIN_RANGES)


def is_letter(character: str) -> bool:
    other = characters.OTHER_LETTER_RANGES + characters.SUPPLEMENTARY_LETTER_RANGES
    return is_hangul(character) or is_latin(character) or within(character, other)


def is_digit(character: str) -> bool:
    return within(character, characters.DIGIT_RANGES)


def is_word_character(character: str) -> bool:
    return is_letter(character) or is_digit(character)


def share(part: int, whole: int) -> float:
    return part / max(whole, 1)


def estimated_alpha_ratio(visible: str) -> float:
    """Morphemes with a letter over all morphemes, as many as `signals.py` reckons in the non-blank characters."""
    hangul = sum(map(is_hangul, visible))
    digits = sum(map(is_digit, visible))
    letters = sum(map(is_letter, visible))
    with_letter = hangul / 1.2 + (letters - hangul) / 3.6
    without_letter = (len(visible) - letters - digits) + digits / 4.7
    return with_letter / (with_letter + without_letter) if visible else 0.0


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


def stands_alone(text: str, position: int, behind: int, particles: tuple[str, ...]) -> bool:
    """Whether no syllable precedes text[position:behind] and nothing or one particle follows it up to the next other character."""
    if position and is_syllable(text[position - 1]):
        return False
    run = re.match("[가-힣]*", text[behind:])
    assert run is not None
    return not run.group() or run.group() in particles


def find_phrases(
    text: str, phrases: tuple[str, ...], strict: tuple[str, ...] = (), particles: tuple[str, ...] = ()
) -> list[tuple[int, str]]:
    """Leftmost-longest matches with their places; an ASCII letter or digit at a phrase's end must not touch another one outside."""
    word = re.compile("[0-9A-Za-z]")
    lowered = text.translate(LOWER_ASCII)
    by_first: dict[str, list[str]] = {}
    for phrase in sorted(phrases + strict, key=lambda phrase: -len(phrase.encode())):
        by_first.setdefault(phrase[0], []).append(phrase)
    found = []
    position = 0
    while position < len(text):
        step = 1
        for phrase in by_first.get(lowered[position], []):
            behind = position + len(phrase)
            if not lowered.startswith(phrase, position):
                continue
            if position and word.match(text[position - 1]) and word.match(phrase[0]):
                continue
            if behind < len(text) and word.match(text[behind]) and word.match(phrase[-1]):
                continue
            if phrase in strict and not stands_alone(text, position, behind, particles):
                continue
            found.append((position, phrase))
            step = len(phrase)
            break
        position += step
    return found


def line_marks(text: str, furniture: tuple[str, ...]) -> list[int]:
    """For each line of `text`: -1 blank, 1 page furniture, 0 neither."""
    marks = []
    for line in text.split("\n"):
        stripped = line.strip("".join(map(chr, range(33))))
        covered = sum(len(phrase.encode()) for _, phrase in find_phrases(line, furniture))
        marks.append((1 if covered * 100 >= len(stripped.encode()) * 40 else 0) if stripped else -1)
    return marks


def sentence_ends(line: str) -> int:
    """Marks with a letter or digit between them and the mark before, no ASCII letter or digit behind; and the end of the line."""
    ends, is_open = 0, False
    for place, character in enumerate(line):
        if is_word_character(character):
            is_open = True
        elif character in characters.SENTENCE_MARKS and is_open and not re.match("[0-9A-Za-z]", line[place + 1 : place + 2]):
            ends += 1
            is_open = False
    return ends + is_open


def c4_retains(line: str, begin: int, c4_places: list[int]) -> bool:
    """Whether C4 keeps the line, which begins at character `begin` of its document."""
    words = line.split()
    end = CITATIONS.sub("", line.strip())
    return (
        len(words) >= 3
        and max(map(len, words)) <= 1000
        and end.endswith(tuple(characters.TERMINAL_CHARACTERS.replace("…", "")))
        and not end.endswith("...")
        and not any(begin <= place < begin + len(line) for place in c4_places)
    )


def last_letter(word: str) -> str:
    """The last letter or digit of the word, compatibility jamo passed over; empty if there is none."""
    letters = [
        character for character in word if is_word_character(character) and not within(character, characters.COMPATIBILITY_JAMO_RANGES)
    ]
    return letters[-1] if letters else ""


def ends_korean(line: str) -> bool:
    words = [word for word in line.split() if any(map(is_word_character, word))]
    words = [word for word in words if any(map(is_syllable, word)) or any(map(is_word_character, word))]
    return bool(words) and last_letter(words[-1]) in tuple(characters.SENTENCE_END_SYLLABLES)


def is_josa_word(word: str) -> bool:
    return sum(map(is_word_character, word)) >= 2 and last_letter(word) in tuple(characters.JOSA_SYLLABLES)


def korean_stop_words(words: list[str]) -> set[str]:
    found = {syllable for word in words for syllable in characters.STEM_SYLLABLES if syllable in word}
    for word in words:
        if not any(map(is_syllable, word)) or sum(map(is_word_character, word)) < 2:
            continue
        stem = word
        while stem and (not is_word_character(stem[-1]) or within(stem[-1], characters.COMPATIBILITY_JAMO_RANGES)):
            stem = stem[:-1]
        for ending in sorted(characters.ENDING_STOP_WORDS, key=len, reverse=True):
            if stem.endswith(ending):
                found.add(ending)
                break
    return found


def english_word(word: str) -> str:
    """The word in lower case without what stands around it and is no letter or digit."""
    while word and not is_word_character(word[0]):
        word = word[1:]
    while word and not is_word_character(word[-1]):
        word = word[:-1]
    return word.translate(LOWER_ASCII)


def paragraphs_of(text: str) -> list[str]:
    """Runs of lines that are not only white space, joined by line feeds."""
    found: list[list[str]] = [[]]
    for line in text.split("\n"):
        if line.strip():
            found[-1].append(line)
        else:
            found.append([])
    return ["\n".join(lines) for lines in found if lines]


def repeats(items: list[str]) -> list[str]:
    seen: set[str] = set()
    found = []
    for item in items:
        if item in seen:
            found.append(item)
        seen.add(item)
    return found


def measure(text: str, lists: PhraseLists) -> dict[str, float]:
    """Every signal of one text."""
    words = text.split()
    lines = [line for line in text.split("\n") if line.strip()]
    trimmed = [line.strip() for line in lines]
    paragraphs = paragraphs_of(text)
    letters = [character for character in text if is_letter(character)]
    ascii_letters = re.findall("[A-Za-z]", text)
    visible = "".join(words)
    hangul_words = [word for word in words if any(map(is_syllable, word))]
    broken = [character for character in text if within(character, characters.BROKEN_RANGES)]
    conjoining = [character for character in text if within(character, characters.CONJOINING_JAMO_RANGES)]
    jamo = "".join("j" if within(character, characters.COMPATIBILITY_JAMO_RANGES) else " " for character in text)
    symbols = text.count("#") + text.count("...") + text.count("…")
    terminal = tuple(characters.TERMINAL_CHARACTERS)
    phrases = find_phrases(text, lists.spam + lists.ad + C4_LINE_PHRASES + LOREM_IPSUM_PHRASES, lists.obscene, lists.particles)
    c4_places = [place for place, phrase in phrases if phrase in C4_LINE_PHRASES]
    begin, retained = 0, []
    for line in text.split("\n"):
        if c4_retains(line, begin, c4_places):
            retained.append(line)
        begin += len(line) + 1
    listed = [line for line in trimmed if len(line.split()) <= 3 and not line.endswith(terminal) and not ends_korean(line)]
    single = [word for word in hangul_words if sum(map(is_word_character, word)) == 1]
    grams = {f"top_{n}gram_char_ratio": share(top_gram_chars(words, n), len(text)) for n in (2, 3, 4)}
    grams |= {f"dup_{n}gram_char_ratio": share(duplicate_gram_chars(words, n), len(text)) for n in range(5, 11)}
    return {
        "chars": len(text),
        "words": len(words),
        "lines": len(lines),
        "sentences": sum(map(sentence_ends, lines)),
        "mean_word_length": share(len(visible), len(words)),
        "max_word_length": max(map(len, words), default=0),
        "alpha_word_ratio": share(sum(any(map(is_letter, word)) for word in words), len(words)),
        "estimated_alpha_ratio": estimated_alpha_ratio(visible),
        "symbol_word_ratio": share(symbols, len(words)),
        "bullet_line_ratio": share(sum(line.startswith(("-", "•")) for line in trimmed), len(lines)),
        "ellipsis_line_ratio": share(sum(line.endswith(("...", "…")) for line in trimmed), len(lines)),
        "stop_words": len({english_word(word) for word in words} & GOPHER_STOP_WORDS),
        "line_end_punct_ratio": share(sum(line.endswith(terminal) for line in trimmed), len(lines)),
        "short_line_ratio": share(sum(len(line) < 30 for line in lines), len(lines)),
        "newline_ratio": share(text.count("\n"), len(words)),
        "list_line_ratio": share(len(listed), len(lines)),
        "url_word_ratio": share(sum(URL_MARK.search(word) is not None for word in words), len(words)),
        "upper_ratio": share(sum(letter.isupper() for letter in ascii_letters), len(ascii_letters)),
        "c4_line_ratio": share(len(retained), len(lines)),
        "c4_sentences": sum(map(sentence_ends, retained)),
        "curly_brackets": text.count("{"),
        "lorem_ipsum": sum(phrase in LOREM_IPSUM_PHRASES for _, phrase in phrases),
        "bad_words": sum(phrase in lists.obscene for _, phrase in phrases),
        "hangul_ratio": share(sum(map(is_hangul, letters)), len(letters)),
        "latin_ratio": share(sum(map(is_latin, letters)), len(letters)),
        "digit_ratio": share(sum(map(is_digit, visible)), len(visible)),
        "replacement_char_ratio": share(len(broken), len(text)),
        "conjoining_jamo_ratio": share(len(conjoining), len(text)),
        "josa_word_ratio": share(sum(map(is_josa_word, hangul_words)), len(hangul_words)),
        "long_eojeol_ratio": share(sum(sum(map(is_syllable, word)) > 12 for word in hangul_words), len(hangul_words)),
        "single_syllable_ratio": share(len(single), len(hangul_words)),
        "korean_stop_words": len(korean_stop_words(words)),
        "korean_end_line_ratio": share(sum(map(ends_korean, lines)), len(lines)),
        "jamo_run_ratio": share(sum(len(run) for run in re.findall("j{3,}", jamo)), len(text)),
        "dup_line_ratio": share(len(repeats(lines)), len(lines)),
        "dup_line_char_ratio": share(sum(map(len, repeats(lines))), len(text)),
        "dup_paragraph_ratio": share(len(repeats(paragraphs)), len(paragraphs)),
        "dup_paragraph_char_ratio": share(sum(map(len, repeats(paragraphs))), len(text)),
        **grams,
        "spam_words": sum(phrase in lists.spam for _, phrase in phrases),
        "ad_phrases": sum(phrase in lists.ad for _, phrase in phrases),
    }
