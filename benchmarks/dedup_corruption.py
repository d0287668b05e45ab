"""How many corrupted copies of real documents are found, beside what the formula says: `python benchmarks/dedup_corruption.py DATA`.

Documents of both languages and of five lengths are copied with known edits. For every edit: how similar the copies are to their originals
(exact Jaccard similarity of the shingles), how many become candidates, against 1 - (1 - s^rows)^bands at each pair's similarity s, and how
many of all copies `deduplicate` drops. DATA is the folder of development data. Seeds are fixed.
"""

from __future__ import annotations

import gzip
import json
import re
import sys
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from pipeline.dedup.api import deduplicate
from pipeline.dedup.bands import band_keys, candidate_probability, choose_bands
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch
from pipeline.dedup.verify import exact_similarities

SOURCES = {
    "Korean": [
        "text/ko/news_comments_kocohub", "text/ko/movie_reviews_nsmc_raw", "text/ko/petitions", "text/ko/news_dps_sample",
        "text/ko/wiki_korquad_contexts", "text/ko/blog_johngrib", "text/ko/law_legalize_kr",
    ],
    "English": ["labelled/topic/en_agnews_test", "text/en/digitalgov", "text/en/peps"],
}  # fmt: skip
LENGTHS = (0.03, 0.3, 1, 4, 16, 64)
"""Kilobytes of UTF-8 between which documents of one length class are."""
PER_LENGTH = 80
SIMILARITIES = (0.2, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
THRESHOLD, PERMUTATIONS = 0.8, 128
BANDS, ROWS = choose_bands(THRESHOLD, PERMUTATIONS)
SEEDS = (1, 2, 3, 4, 5)
FEWEST = 5
"""Variance of the number of candidates, from which its distance from the formula is given in standard errors."""
SKETCHES = {"oph": sketch_batch, "minhash": minhash_batch}
PARTICLES = {
    "은": "는",
    "는": "은",
    "이": "가",
    "가": "이",
    "을": "를",
    "를": "을",
    "와": "과",
    "과": "와",
    "도": "만",
    "에서": "에게",
    "에": "로",
}
_PARTICLE = re.compile(rf"(?<=[가-힣])({'|'.join(PARTICLES)})(?=\s)")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s|\n")
_SPACE, _DIGIT, _INK = re.compile(r"\s"), re.compile("[0-9]"), re.compile(r"\S")

Random = np.random.Generator
Edit = Callable[[str, Random], str]


def edit_characters(text: str, random: Random, rate: float) -> str:
    """Each character is replaced, deleted or followed by another one, a third each of `rate`; new ones are drawn from the text."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    what = np.where(random.random(len(codes)) < rate, random.integers(1, 4, len(codes)), 0)  # 1: replace, 2: delete, 3: insert
    copies = np.array([1, 1, 0, 2])[what]
    result = np.repeat(codes, copies)
    last = np.cumsum(copies) - 1
    changed = last[(what == 1) | (what == 3)]
    result[changed] = random.choice(codes, len(changed))
    return result.tobytes().decode("utf-32-le")


def edit_words(text: str, random: Random, rate: float) -> str:
    """As `edit_characters`, for words; white space becomes single spaces."""
    words = text.split()
    edited: list[str] = []
    for word, chance in zip(words, random.random(len(words)) / rate, strict=True):
        other = words[int(random.integers(len(words)))] if chance < 1 else ""
        edited += [word] if chance >= 1 else [other] if chance < 1 / 3 else [word, other] if chance < 2 / 3 else []
    return " ".join(edited)


def edit_sentences(text: str, random: Random, how: str, rate: float) -> str:
    """Drop or repeat sentences (or lines) at random, or put them in another order."""
    sentences = _SENTENCE_END.split(text)
    if how == "shuffle":
        return "\n".join(sentences[index] for index in random.permutation(len(sentences)))
    chosen = random.random(len(sentences)) < rate
    times = np.where(chosen, 0 if how == "drop" else 2, 1).tolist()
    return "\n".join("\n".join([one] * count) for one, count in zip(sentences, times, strict=True) if count)


def edit_matches(text: str, random: Random, pattern: re.Pattern[str], new: Callable[[str], str], rate: float) -> str:
    """Replace matches of the pattern, each with probability `rate`."""
    return pattern.sub(lambda match: new(match[0]) if random.random() < rate else match[0], text)


def full_width(text: str, random: Random) -> str:
    return text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})


def markdown(text: str, random: Random) -> str:
    """Headings, bold words and list marks, as another extractor would leave them."""
    return "\n\n".join("- **" + line.replace(" ", "** _", 1).replace(" ", "_ ", 1) for line in text.split("\n"))


def shift_digit(digit: str) -> str:
    return str((int(digit) + 3) % 10)


def edits(boilerplate: str) -> list[tuple[str, Edit]]:
    """Name and function of every edit. boilerplate: longer than any text."""

    def shared_head(text: str, random: Random, share: float) -> str:
        return f"{boilerplate[: round(share * len(text))]}\n{text}"

    def other_tail(text: str, random: Random, share: float) -> str:
        size = round(share * len(text))
        start = int(random.integers(len(boilerplate) - size))
        return f"{text}\n{boilerplate[start : start + size]}"

    listed: list[tuple[str, Edit]] = []
    for rate in (0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05):
        listed.append((f"characters {rate:.1%}", partial(edit_characters, rate=rate)))
    for rate in (0.003, 0.01, 0.03, 0.05):
        listed.append((f"words {rate:.1%}", partial(edit_words, rate=rate)))
    for how, rate in (("drop", 0.05), ("drop", 0.1), ("drop", 0.2), ("repeat", 0.2), ("shuffle", 1.0)):
        listed.append((f"sentences {how} {rate:.0%}", partial(edit_sentences, how=how, rate=rate)))
    listed += [(f"shared boilerplate before, {share:.0%}", partial(shared_head, share=share)) for share in (0.1, 0.2, 0.3)]
    listed += [(f"other text behind, {share:.0%}", partial(other_tail, share=share)) for share in (0.1, 0.2, 0.3)]
    listed += [(f"digits {rate:.0%}", partial(edit_matches, pattern=_DIGIT, new=shift_digit, rate=rate)) for rate in (0.1, 1.0)]
    listed += [
        ("upper case", lambda text, random: text.upper()),
        ("no punctuation", lambda text, random: re.sub(r"[!-/:-@\[-`{-~]", " ", text)),
        ("markdown", markdown),
        ("full width", full_width),
        ("NFD", lambda text, random: unicodedata.normalize("NFD", text)),
    ]
    return listed


def change_particle(particle: str) -> str:
    return PARTICLES[particle]


KOREAN_EDITS: list[tuple[str, Edit]] = [
    ("spaces deleted 50%", partial(edit_matches, pattern=_SPACE, new=lambda space: "", rate=0.5)),
    ("spaces deleted 100%", lambda text, random: _SPACE.sub("", text)),
    ("spaces inserted 10%", partial(edit_matches, pattern=_INK, new=lambda one: one + " ", rate=0.1)),
    ("particles 10%", partial(edit_matches, pattern=_PARTICLE, new=change_particle, rate=0.1)),
    ("particles 50%", partial(edit_matches, pattern=_PARTICLE, new=change_particle, rate=0.5)),
]
AGAINST_WORDS = ("characters 0.5%", "characters 1.0%", "words 1.0%", "no punctuation", "NFD", *(name for name, _ in KOREAN_EDITS))


@dataclass
class Originals:
    """Documents of one language, no two of them similar. length: uint8[n], class of each. boilerplate: text of other documents."""

    texts: list[str]
    length: np.ndarray
    boilerplate: str


def originals(data: Path, language: str) -> Originals:
    """PER_LENGTH documents of each length class, as evenly from the sources as these allow."""
    limits = np.array(LENGTHS) * 1000
    waiting: list[list[list[str]]] = []  # by source and length
    for source in SOURCES[language]:
        by_length: list[list[str]] = [[] for _ in LENGTHS[1:]]
        with gzip.open(data / f"{source}.jsonl.gz", "rt", encoding="utf-8") as stream:
            for line in stream:
                text = json.loads(line)["text"]
                place = int(np.searchsorted(limits, len(text.encode()), side="right")) - 1
                if 0 <= place < len(by_length) and len(by_length[place]) < 3 * PER_LENGTH:
                    by_length[place].append(text)
        waiting.append(by_length)
    texts, length, boilerplate = [], [], ""
    for place in range(len(LENGTHS) - 1):
        queues = [by_length[place] for by_length in waiting]
        turns = [queue[turn] for turn in range(3 * PER_LENGTH) for queue in queues if turn < len(queue)]
        table = pa.table({"id": [f"{turn:05d}" for turn in range(len(turns))], "text": pa.array(turns, pa.large_string())})
        single = deduplicate(table, DedupConfig(threshold=0.3)).column("cluster_size").to_pylist()
        alone = [text for text, size in zip(turns, single, strict=True) if size == 1]
        texts += alone[:PER_LENGTH]
        length += [place] * len(alone[:PER_LENGTH])
        boilerplate = "\n".join(alone[PER_LENGTH:])  # in the end of the longest class
    return Originals(texts, np.array(length, np.uint8), boilerplate)


def dropped(texts: list[str], copies: list[str], **settings: object) -> float:
    """The share of pairs of which `deduplicate` keeps just one."""
    count = len(texts)
    table = pa.table({"id": [f"{index:06d}" for index in range(2 * count)], "text": pa.array(texts + copies, pa.large_string())})
    result = deduplicate(table, DedupConfig.model_validate({"threshold": THRESHOLD, **settings}))
    cluster = result.column("cluster").to_pylist()
    return float(np.mean([cluster[index] == cluster[index + count] for index in range(count)]))


def similarities(texts: list[str], copies: list[str], shingling: Shingling) -> np.ndarray:
    """float64[pairs]: exact similarity of each copy and its original."""
    count = len(texts)
    prepared = prepare(pa.array(texts + copies, pa.large_string()), shingling)
    return exact_similarities(prepared, np.arange(count), np.arange(count, 2 * count), shingling)


def candidates(texts: list[str], copies: list[str], sketch: str) -> np.ndarray:
    """bool[seeds, pairs]: whether each copy shares a band with its original."""
    count = len(texts)
    prepared = prepare(pa.array(texts + copies, pa.large_string()), Shingling())
    found = []
    for seed in SEEDS:
        keys = band_keys(SKETCHES[sketch](prepared, PERMUTATIONS, Shingling(seed=seed)).signatures, BANDS, ROWS)
        found.append((keys[:count] == keys[count:]).any(axis=1))
    return np.array(found)


def row(*cells: object) -> None:
    """Print one row of a Markdown table; shares get four digits."""
    print("| " + " | ".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |", flush=True)


def heading(*cells: str) -> None:
    row(*cells)
    print("|" + "---|" * len(cells))


def against_formula(found: np.ndarray, probability: np.ndarray) -> tuple[float, float | None]:
    """(binomial standard error of the share found, how many of them it is from the formula). found: bool[seeds, pairs].

    None for the second where too few are expected to be found or missed for a normal distribution.
    """
    variance = float((probability * (1 - probability)).sum()) * len(found)
    error = variance**0.5 / found.size
    return error, float(found.mean() - probability.mean()) / error if variance >= FEWEST else None


def signed(distance: float | None) -> str:
    return "" if distance is None else f"{distance:+.1f}"


@dataclass
class Measured:
    """Of one edit: similarity float64[pairs], found bool[seeds, pairs] by sketch."""

    similarity: np.ndarray
    found: dict[str, np.ndarray]


def print_language(language: str, documents: Originals) -> list[Measured]:
    """The table of all edits of one language, and for Korean that of word shingles beside the default."""
    texts, results, beside_words = documents.texts, [], []
    sizes = [len(text.encode()) for text in texts]
    classes = ", ".join(
        f"{(documents.length == place).sum()} of {low:g} to {high:g} kB" for place, (low, high) in enumerate(pairwise(LENGTHS))
    )
    print(
        f"\n## {language}: {len(texts)} documents ({classes}; median {np.median(sizes) / 1000:.1f} kB) of {', '.join(SOURCES[language])}\n"
    )
    heading(
        "edit", "mean similarity", "equal", f"at least {THRESHOLD}", "formula", "standard error", "candidates oph", "in errors",
        "candidates minhash", "in errors", "dropped: expected", "oph", "minhash",
    )  # fmt: skip
    for number, (name, edit) in enumerate(edits(documents.boilerplate) + (KOREAN_EDITS if language == "Korean" else [])):
        random = np.random.default_rng([number, len(language)])
        copies = [edit(text, random) for text in texts]
        similarity = similarities(texts, copies, Shingling())
        probability = np.asarray(candidate_probability(similarity, BANDS, ROWS))
        found = {sketch: candidates(texts, copies, sketch) for sketch in SKETCHES}
        results.append(Measured(similarity, found))
        errors = {sketch: against_formula(found[sketch], probability) for sketch in SKETCHES}
        gone = {sketch: dropped(texts, copies, sketch=sketch) for sketch in SKETCHES}
        row(
            name, float(similarity.mean()), float((similarity == 1.0).mean()), float((similarity >= THRESHOLD).mean()),
            float(probability.mean()), errors["oph"][0], float(found["oph"].mean()), signed(errors["oph"][1]),
            float(found["minhash"].mean()), signed(errors["minhash"][1]),
            float((probability * (similarity >= THRESHOLD)).mean()), gone["oph"], gone["minhash"],
        )  # fmt: skip
        if language == "Korean" and name in AGAINST_WORDS:
            by_words = similarities(texts, copies, Shingling("words", 5))
            near = [dropped(texts, copies, exact=False, shingle=shingle) for shingle in ("bytes", "words")]
            beside_words.append((name, float(similarity.mean()), near[0], float(by_words.mean()), near[1]))
    if beside_words:
        print("\nThe same copies with shingles of 5 words (letters and digits), both without the search for exact copies:\n")
        heading("edit", "similarity, default", "dropped, default", "similarity, words", "dropped, words")
        for cells in beside_words:
            row(*cells)
    return results


def print_lengths(measured: list[tuple[Originals, Measured]]) -> None:
    """All edits together, by length of the document and similarity, and how many rows of the other tables are far from the formula."""
    print("\n## All edits together\n")
    heading("kB", "similarity", "pairs", "formula", "standard error", "candidates oph", "in errors", "candidates minhash", "in errors")
    for place, (low, high) in enumerate(pairwise(LENGTHS)):
        chosen = [(one, documents.length == place) for documents, one in measured]
        similarity = np.concatenate([one.similarity[here] for one, here in chosen])
        found = {sketch: np.concatenate([one.found[sketch][:, here] for one, here in chosen], axis=1) for sketch in SKETCHES}
        for least, most in ((0.0, 1.0), *pairwise(SIMILARITIES)) if place == 0 else ((0.0, 1.0),):
            within = (similarity >= least) & (similarity < most)
            probability = np.asarray(candidate_probability(similarity[within], BANDS, ROWS))
            error = against_formula(found["oph"][:, within], probability)[0]
            cells: list[object] = []
            for here in found.values():
                cells += [float(here[:, within].mean()), signed(against_formula(here[:, within], probability)[1])]
            row(f"{low:g} to {high:g}", f"{least:g} to {most:g}", int(within.sum()), float(probability.mean()), error, *cells)
    for sketch in SKETCHES:
        signs = [
            against_formula(one.found[sketch], np.asarray(candidate_probability(one.similarity, BANDS, ROWS)))[1] for _, one in measured
        ]
        distances = [abs(distance) for distance in signs if distance is not None]
        far = sum(distance > 2 for distance in distances)
        print(
            f"\n{sketch}: {far} of {len(distances)} rows lie more than two standard errors off the formula, the worst {max(distances):.1f}."
        )


def main() -> None:
    """Print the tables."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/dedup_corruption.py DATA")
    print(f"Threshold {THRESHOLD}: {BANDS} bands of {ROWS}. Candidates: mean of {len(SEEDS)} seeds. Equal: similarity 1.")
    measured: list[tuple[Originals, Measured]] = []
    for language in SOURCES:
        documents = originals(Path(sys.argv[1]), language)
        measured += [(documents, one) for one in print_language(language, documents)]
    print_lengths(measured)


if __name__ == "__main__":
    main()
