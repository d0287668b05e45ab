"""How often corrupted copies of real documents are found, beside 1 - (1 - s^r)^b: `python benchmarks/dedup_corruption.py DATA`.

Every row of the table is a kind of corruption at a known rate, in one language: each document beside its corrupted copy, the exact Jaccard
similarity s of the two, and the share of copies that share a band with their original (found) or are dropped in the end. The standard
error is that of the formula's mean over the pairs, sqrt(sum p (1 - p)) / n.
"""

from __future__ import annotations

import gzip
import json
import random
import re
import sys
import unicodedata
from collections.abc import Callable
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

PAIRS = 400
PERMUTATIONS = 128
THRESHOLD = 0.8
LONGEST = 20_000
"""Characters of a document; what follows is cut off, so that a few books and long proposals don't take all the time."""
SOURCES = {
    "ko": ("ko/news_dps_sample", "ko/wiki_korquad_contexts", "ko/petitions", "ko/blog_johngrib", "ko/law_legalize_kr"),
    "en": ("en/digitalgov", "en/peps"),
    "ko short": ("ko/movie_reviews_nsmc_raw", "ko/news_comments_kocohub"),
}
SHORTEST = {"ko": 200, "en": 200, "ko short": 20}

Corruption = Callable[[str, float, random.Random, str], str]
"""(text, rate, generator, text of another document) -> corrupted text."""

_PARTICLES = {
    "은": "는",
    "는": "은",
    "이": "가",
    "가": "이",
    "을": "를",
    "를": "을",
    "와": "과",
    "과": "와",
    "에": "에서",
    "도": "만",
    "의": "에",
}
_PARTICLE = re.compile(f"(?<=[가-힣])(?:{'|'.join(_PARTICLES)})(?=\\s)")
_SENTENCE = re.compile(r"(?<=[.!?])\s+|\n+")


def characters(text: str, rate: float, generator: random.Random, other: str) -> str:
    """Substitute, insert or delete characters, each kind as often; what is put in comes from the text."""
    pieces = list(text)
    for place in range(len(pieces)):
        if generator.random() < rate:
            new, kind = generator.choice(text), generator.randrange(3)
            pieces[place] = (new, pieces[place] + new, "")[kind]
    return "".join(pieces)


def replaced_words(text: str, rate: float, generator: random.Random, other: str) -> str:
    """Replace, insert or delete words, each kind as often; what is put in comes from another document."""
    pieces, pool = re.split(r"(\s+)", text), other.split()
    for place in range(0, len(pieces), 2):
        if generator.random() < rate:
            new, kind = generator.choice(pool), generator.randrange(3)
            pieces[place] = (new, f"{pieces[place]} {new}", "")[kind]
    return "".join(pieces)


def dropped_sentences(text: str, rate: float, generator: random.Random, other: str) -> str:
    return " ".join(piece for piece in _SENTENCE.split(text) if generator.random() >= rate)


def repeated_sentences(text: str, rate: float, generator: random.Random, other: str) -> str:
    return " ".join(copy for piece in _SENTENCE.split(text) for copy in [piece] * (1 + (generator.random() < rate)))


def shuffled_sentences(text: str, rate: float, generator: random.Random, other: str) -> str:
    pieces = _SENTENCE.split(text)
    generator.shuffle(pieces)
    return " ".join(pieces)


def framed(text: str, rate: float, generator: random.Random, other: str) -> str:
    """Put text of another page before and behind, so much of it in all per character of the text."""
    size = int(len(text) * rate / 2)
    frame = other * (2 * size // len(other) + 1)
    return f"{frame[:size]}\n{text}\n{frame[size : 2 * size]}"


def upper(text: str, rate: float, generator: random.Random, other: str) -> str:
    return text.upper()


def without_punctuation(text: str, rate: float, generator: random.Random, other: str) -> str:
    return "".join(character for character in text if not unicodedata.category(character).startswith("P"))


def as_markdown(text: str, rate: float, generator: random.Random, other: str) -> str:
    """Some words bold, every line quoted."""
    words = " ".join(f"**{word}**" if generator.random() < rate else word for word in text.split(" "))
    return "\n".join(f"> {line}" for line in words.split("\n"))


def full_width(text: str, rate: float, generator: random.Random, other: str) -> str:
    return text.translate({code: code + 0xFEE0 for code in range(0x21, 0x7F)})


def decomposed(text: str, rate: float, generator: random.Random, other: str) -> str:
    return unicodedata.normalize("NFD", text)


def joined_words(text: str, rate: float, generator: random.Random, other: str) -> str:
    return "".join(character for character in text if character != " " or generator.random() >= rate)


def split_words(text: str, rate: float, generator: random.Random, other: str) -> str:
    return "".join(character + " " * (generator.random() < rate) for character in text)


def particles(text: str, rate: float, generator: random.Random, other: str) -> str:
    """Other Korean particles after words: 은 for 는, 이 for 가."""
    return _PARTICLE.sub(lambda match: _PARTICLES[match[0]] if generator.random() < rate else match[0], text)


def digits(text: str, rate: float, generator: random.Random, other: str) -> str:
    return re.sub("[0-9]", lambda match: generator.choice("0123456789") if generator.random() < rate else match[0], text)


EDIT_RATES = (0.001, 0.003, 0.005, 0.01, 0.02, 0.03, 0.05)
ALL: tuple[float, ...] = (1.0,)
CORRUPTIONS: tuple[tuple[str, Corruption, tuple[float, ...]], ...] = (
    ("characters edited", characters, EDIT_RATES),
    ("words edited", replaced_words, EDIT_RATES[2:]),
    ("digits changed", digits, ALL),
    ("particles changed", particles, (0.05, 0.2, 1.0)),
    ("sentences dropped", dropped_sentences, (0.05, 0.1, 0.2)),
    ("sentences repeated", repeated_sentences, (0.1,)),
    ("sentences shuffled", shuffled_sentences, ALL),
    ("text of another page around it", framed, (0.1, 0.2, 0.3)),
    ("upper case", upper, ALL),
    ("no punctuation", without_punctuation, ALL),
    ("markdown", as_markdown, (0.1,)),
    ("full-width ASCII", full_width, ALL),
    ("NFD", decomposed, ALL),
    ("spaces deleted", joined_words, (0.5, 1.0)),
    ("spaces inserted", split_words, (0.1,)),
)
KOREAN_ONLY = frozenset({particles})
SHORT_KINDS = frozenset({characters, joined_words, split_words})


def documents(data: Path, group: str) -> list[str]:
    """PAIRS texts of every length, drawn with a fixed seed, none of them similar to another."""
    texts = []
    for source in SOURCES[group]:
        with gzip.open(data / "text" / f"{source}.jsonl.gz", "rt", encoding="utf-8") as stream:
            texts += [text[:LONGEST] for text in (json.loads(line)["text"] for line in stream) if len(text) >= SHORTEST[group]]
    drawn = random.Random(group).sample(texts, 2 * PAIRS)
    table = deduplicate(pa.table({"id": [f"{number:04d}" for number in range(len(drawn))], "text": drawn}), DedupConfig(threshold=0.3))
    return [text for text, reason in zip(drawn, table.column("drop_reason").to_pylist(), strict=True) if reason is None][:PAIRS]


def found_shares(column: pa.Array, shingling: Shingling) -> dict[str, float]:
    """Share of the pairs (rows 2i and 2i + 1) that share a band, for each sketch."""
    prepared, shares = prepare(column, shingling), {}
    for name, sketch in (("oph", sketch_batch), ("minhash", minhash_batch)):
        keys = band_keys(sketch(prepared, PERMUTATIONS, shingling).signatures, *choose_bands(THRESHOLD, PERMUTATIONS))
        shares[name] = float((keys[0::2] == keys[1::2]).any(axis=1).mean())
    return shares


def similarities(column: pa.Array, shingling: Shingling) -> np.ndarray:
    pairs = np.arange(0, len(column), 2)
    return exact_similarities(prepare(column, shingling), pairs, pairs + 1, shingling)


def measure(originals: list[str], copies: list[str]) -> tuple[list[float], tuple[float, float, float]]:
    """The numbers of one row, and (formula's standard error, deviations of the two sketches in these errors)."""
    column = pa.array([text for pair in zip(originals, copies, strict=True) for text in pair], pa.large_string())
    similarity = similarities(column, Shingling())
    formula = np.asarray(candidate_probability(similarity, *choose_bands(THRESHOLD, PERMUTATIONS)))
    error = float(np.sqrt((formula * (1 - formula)).sum()) / len(formula))
    shares = found_shares(column, Shingling())
    table = pa.table({"id": [f"{number // 2:04d}{'ab'[number % 2]}" for number in range(len(column))], "text": column})
    clusters = np.array(deduplicate(table, DedupConfig(threshold=THRESHOLD)).column("cluster").to_pylist())
    dropped = float((clusters[0::2] == clusters[1::2]).mean())
    words = float(similarities(column, Shingling("words", 5)).mean())
    expected = float(np.where(similarity >= THRESHOLD, formula, 0.0).mean())
    mean = float(formula.mean())
    row = [float(similarity.mean()), mean, error, shares["oph"], shares["minhash"], expected, dropped, words]
    return row, (error, (shares["oph"] - mean), (shares["minhash"] - mean))


def main() -> None:
    """Print one table for each group of documents, and how far from the formula the rows are."""
    if len(sys.argv) != 2:
        sys.exit("usage: python benchmarks/dedup_corruption.py DATA")
    bands, rows = choose_bands(THRESHOLD, PERMUTATIONS)
    for group in SOURCES:
        originals = documents(Path(sys.argv[1]), group)
        sizes = np.percentile([len(text) for text in originals], [0, 25, 50, 75, 100]).astype(int).tolist()
        print(f"\n## {group}: {len(originals)} documents of {', '.join(SOURCES[group])}; {bands} bands of {rows}, threshold {THRESHOLD}")
        print(f"\nCharacters (least, quartiles, most): {', '.join(map(str, sizes))}\n")
        heads = (
            "corruption, rate, mean s, formula, standard error, oph found, minhash found, expected dropped, dropped, mean s of word 5-grams"
        )
        print("| " + heads.replace(", ", " | ") + " |\n" + "|---" * 10 + "|")
        deviations = []
        for name, corrupt, rates in CORRUPTIONS:
            if (corrupt in KOREAN_ONLY and group == "en") or (group == "ko short" and corrupt not in SHORT_KINDS):
                continue
            for rate in rates:
                generator = random.Random(f"{group} {name} {rate}")
                others = originals[1:] + originals[:1]
                copies = [corrupt(text, rate, generator, other) for text, other in zip(originals, others, strict=True)]
                numbers, deviation = measure(originals, copies)
                deviations.append(deviation)
                print(f"| {name} | {100 * rate:g} % | " + " | ".join(f"{number:.3f}" for number in numbers) + " |", flush=True)
        errors = np.array([deviation for deviation in deviations if deviation[0] > 0.0005])
        for column, sketch in ((1, "oph"), (2, "minhash")):
            inside = [int((np.abs(errors[:, column]) <= times * errors[:, 0]).sum()) for times in (1, 2, 3)]
            print(
                f"\n{sketch}: of {len(errors)} rows with a standard error above 0.0005, {inside[0]} are within one of the formula, "
                f"{inside[1]} within two, {inside[2]} within three; mean deviation {errors[:, column].mean():+.4f}"
            )


if __name__ == "__main__":
    main()
