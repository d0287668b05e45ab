"""Rules of other reports, as few lines as they take, to be measured beside ours on the same texts (see decontam_precision.py)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from decontam import MatchSettings, PaperScanner, build_index, normalize_text

PAPER_SEEDS = 20


def question_texts(items: pa.Table) -> list[str]:
    """What the rules below compare with: questions and answers. Passages are left out, as they are here."""
    return [text for text, field in zip(items["text"].to_pylist(), items["field"].to_pylist(), strict=True) if field != "passage"]


def sampled_windows(items: pa.Table, texts: Sequence[str]) -> np.ndarray:
    """EXAONE 3.5 (section 2.2.2): any of 10 random windows of 50 normalised characters in the pool of all windows of the benchmarks.

    Returned is the probability of that, float64 per text, so that the table does not hang on a seed: 1 - (1 - share in the pool) ** 10.
    """
    pool = {text[at : at + 50] for text in map(normalize_text, question_texts(items)) for at in range(max(1, len(text) - 49))}
    result = np.zeros(len(texts))
    for row, text in enumerate(map(normalize_text, texts)):
        windows = [text[at : at + 50] for at in range(max(1, len(text) - 49))]
        result[row] = 1 - (1 - sum(window in pool for window in windows) / len(windows)) ** 10
    return result


def paper_runs(items: pa.Table, texts: Sequence[str]) -> np.ndarray:
    """The same rule by `mode=paper`, 1 or 0 for each of the seeds 0 to PAPER_SEEDS - 1 and each text: float64[seeds, texts].

    All 50 characters long, and of questions and answers alone, as above; texts below 50 characters have no window.
    """
    asked = items.filter(pc.not_equal(items["field"], "passage"))
    index = build_index(asked, MatchSettings.parity())
    table = pa.table({"id": [str(row) for row in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    flags = np.zeros((PAPER_SEEDS, len(texts)))
    for seed in range(PAPER_SEEDS):
        flags[seed, PaperScanner(index, windows=10, seed=seed).scan(table)["row"].to_numpy()] = 1
    return flags


def paper_mode(items: pa.Table, texts: Sequence[str]) -> np.ndarray:
    """Share of the seeds with which `mode=paper` flags each text."""
    return paper_runs(items, texts).mean(axis=0)


def words(text: str) -> list[str]:
    """Lower-case words without punctuation, as the GPT-3 rule has them (Brown et al. 2020, appendix C)."""
    cleaned = "".join(letter if letter.isalnum() or letter.isspace() else " " for letter in text.lower())
    return cleaned.split()


def grams(tokens: Sequence[str], n: int) -> list[tuple[str, ...]]:
    return [tuple(tokens[at : at + n]) for at in range(len(tokens) - n + 1)]


def thirteen_grams(items: pa.Table, texts: Sequence[str]) -> np.ndarray:
    """GPT-3 and lm-eval: any 13 consecutive words in common. 1 or 0 per text."""
    pool = {gram for text in question_texts(items) for gram in grams(words(text), 13)}
    return np.array([float(any(gram in pool for gram in grams(words(text), 13))) for text in texts])


def eight_gram_share(items: pa.Table, texts: Sequence[str]) -> np.ndarray:
    """After Tülu 3 (section 3.2): common 8-grams cover at least half of an item's tokens. 1 or 0 per text."""
    parts = [words(text) for text in question_texts(items)]
    result = np.zeros(len(texts))
    owners: dict[tuple[str, ...], list[tuple[int, int]]] = {}
    for number, tokens in enumerate(parts):
        for at, gram in enumerate(grams(tokens, 8)):
            owners.setdefault(gram, []).append((number, at))
    for row, text in enumerate(texts):
        covered: dict[int, set[int]] = {}
        for gram in set(grams(words(text), 8)):
            for number, at in owners.get(gram, ()):
                covered.setdefault(number, set()).update(range(at, at + 8))
        result[row] = any(len(tokens) >= 0.5 * len(parts[number]) for number, tokens in covered.items())
    return result


PEERS: dict[str, Callable[[pa.Table, Sequence[str]], np.ndarray]] = {
    "mode=paper": paper_mode,
    "its formula": sampled_windows,
    "13-gram": thirteen_grams,
    "8-gram >= 50 %": eight_gram_share,
}


def likeness(items: pa.Table, own: Sequence[str], texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Per text: normalised characters of its longest stretch in its own item's texts, and share of the question's words that it has."""
    originals: dict[str, list[str]] = {}
    for item, text in zip(items["item"].to_pylist(), items["text"].to_pylist(), strict=True):
        originals.setdefault(item, []).append(text)
    stretch, kept = np.zeros(len(texts)), np.zeros(len(texts))
    for row, (item, text) in enumerate(zip(own, texts, strict=True)):
        pairs = [SequenceMatcher(None, normalize_text(part), normalize_text(text), autojunk=False) for part in originals[item]]
        stretch[row] = max(pair.find_longest_match().size for pair in pairs)
        kept[row] = len(set(words(originals[item][0])) & set(words(text))) / len(set(words(originals[item][0])))
    return stretch, kept
