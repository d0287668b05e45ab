"""Which labelled pairs deduplication finds, beside datasketch and rensa: `python benchmarks/dedup_pairs.py DATA [PART...]`.

laws: versions of Korean laws with their exact word-5-gram Jaccard similarity. articles: planted plagiarism. citations: records that people
threw away as duplicates. questions: pairs of sentences of the same or another meaning, which are no duplicates whatever they mean.
DATA is the folder of development data. Without names, all four run. Where datasketch or rensa is not installed, its rows say so.
"""

from __future__ import annotations

import gzip
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from decontam.normalize import normalize_text
from pipeline.dedup.api import deduplicate
from pipeline.dedup.bands import band_keys, candidate_probability, choose_bands, rejection_limits
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import sketch_batch
from pipeline.dedup.verify import exact_similarities

PERMUTATIONS = 128
THRESHOLDS = (0.7, 0.8, 0.9)
SEEDS = {"oph": range(1, 21), "minhash": range(1, 11)}
SKETCHES = {"oph": sketch_batch, "minhash": minhash_batch}
RENSA_BANDS = (8, 16)
"""Bands for rensa, which has no optimiser: those of its own benchmark, and the nearest it can come to what we choose for 0.8 (17 of 7)."""
W5 = {"unit": "words", "size": 5, "written": True}


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The records of one labelled file."""
    with gzip.open(data / "labelled" / "dedup" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def row(*cells: Any) -> None:
    """Print one row of a Markdown table; numbers between 0 and 1 get four digits."""
    print("| " + " | ".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |")


def heading(*cells: str) -> None:
    row(*cells)
    print("|" + "---|" * len(cells))


def scores(found: np.ndarray, positive: np.ndarray) -> tuple[float, float]:
    """Precision and recall; precision is 1 where nothing was found."""
    hits = int((found & positive).sum())
    return (hits / int(found.sum()) if found.any() else 1.0), hits / max(int(positive.sum()), 1)


# --- laws ----------------------------------------------------------------------------------------------------------------------------


class Laws:
    """Documents and pairs: `left` and `right` (int64[pairs]) are rows of `texts`, `truth` the exact similarity that the data gives."""

    def __init__(self, data: Path) -> None:
        documents = read(data, "law_versions_docs")
        pairs = read(data, "law_versions_pairs")
        number = {document["id"]: index for index, document in enumerate(documents)}
        self.texts = [document["text"] for document in documents]
        self.column = pa.array(self.texts, pa.large_string())
        self.left = np.array([number[pair["a"]] for pair in pairs])
        self.right = np.array([number[pair["b"]] for pair in pairs])
        self.truth = np.array([pair["jaccard_w5"] for pair in pairs])

    def exact(self, shingling: Shingling) -> np.ndarray:
        return exact_similarities(prepare(self.column, shingling), self.left, self.right, shingling)


def ours(laws: Laws, prepared: Any, sketch: str, shingling: Shingling, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(candidates, those that their sketches don't rule out), bool[pairs] each, as the move finds them with the bands for the threshold."""
    sketches = SKETCHES[sketch](prepared, PERMUTATIONS, shingling)
    bands, rows = choose_bands(threshold, PERMUTATIONS)
    keys = band_keys(sketches.signatures, bands, rows)
    candidates = (keys[laws.left] == keys[laws.right]).any(axis=1)
    alike = (sketches.signatures[laws.left] == sketches.signatures[laws.right]).sum(axis=1)
    filled = np.minimum(sketches.filled[laws.left], sketches.filled[laws.right])
    return candidates, candidates & (alike >= rejection_limits(threshold, PERMUTATIONS)[filled])


def print_laws(data: Path) -> None:
    """Precision and recall of pairs, and how closely recall follows the formula."""
    laws = Laws(data)
    w5, default = Shingling(**W5), Shingling()
    exact_w5, exact_default = laws.exact(w5), laws.exact(default)
    print(f"\n## Versions of Korean laws: {len(laws.texts):,} documents, {len(laws.truth):,} pairs of known similarity\n")
    print(
        f"Our exact word-5-gram similarity differs from the data's by {np.abs(exact_w5 - laws.truth).max():.5f} at most "
        f"(the data's are rounded to 4 digits). Mean similarity: words {exact_w5.mean():.3f}, default shingle {exact_default.mean():.3f}. "
        f"Positive pairs: {', '.join(f'{int((laws.truth >= threshold).sum())} at {threshold}' for threshold in THRESHOLDS)}; w5 truth: the "
        "data's word-5-gram similarity reaches the threshold; own truth: the exact similarity of the method's own shingle does.\n"
    )
    heading(
        "threshold", "positive", "method", "bands x rows", "found", "precision", "recall", "true at the same shingle: precision", "recall"
    )
    peers = [*datasketch_rows(laws), *rensa_rows(laws)]
    for threshold in THRESHOLDS:
        positive = laws.truth >= threshold
        for name, shingling, exact in (("words", w5, exact_w5), ("default shingle", default, exact_default)):
            for sketch in SKETCHES:
                candidates, left_over = ours(laws, prepare(laws.column, shingling), sketch, shingling, threshold)
                own = exact >= threshold
                bands = "{} x {}".format(*choose_bands(threshold, PERMUTATIONS))
                for stage, found in (("candidates", candidates), ("verified", left_over & own)):
                    method = f"ours, {name}, {sketch}, {stage}"
                    row(threshold, method, bands, int(found.sum()), *scores(found, positive), *scores(found, own))
        for level, method, bands, found in peers:
            if level == threshold:
                row(threshold, method, bands, int(found.sum()), *scores(found, positive), "", "")
    print_curve(laws, w5, exact_w5, "words")
    print_curve(laws, default, exact_default, "default shingle")


def print_curve(laws: Laws, shingling: Shingling, exact: np.ndarray, name: str) -> None:
    """Recall before verification, over several seeds, against the mean of 1 - (1 - s^r)^b over the positive pairs."""
    prepared = prepare(laws.column, shingling)
    print(f"\nRecall of candidates against the formula, {name}, mean over seeds (positive: this shingle's own similarity):\n")
    heading(
        "sketch",
        "threshold",
        "seeds",
        "positive",
        "formula",
        "recall",
        "difference",
        "least, most of a seed",
        "lost to estimates",
        "false removed",
    )
    for sketch, seeds in SEEDS.items():
        recalls: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
        lost: dict[float, list[float]] = {threshold: [] for threshold in THRESHOLDS}
        false: dict[float, list[int]] = {threshold: [] for threshold in THRESHOLDS}
        for seed in seeds:
            seeded = Shingling(shingling.unit, shingling.size, shingling.written, seed)
            for threshold in THRESHOLDS:
                positive = exact >= threshold
                candidates, left_over = ours(laws, prepared, sketch, seeded, threshold)
                recalls[threshold].append(float(candidates[positive].mean()))
                lost[threshold].append(float((candidates & ~left_over)[positive].mean()))
                false[threshold].append(int((candidates & ~positive).sum()))
        for threshold in THRESHOLDS:
            positive = exact >= threshold
            formula = float(np.mean(candidate_probability(exact[positive], *choose_bands(threshold, PERMUTATIONS))))
            recall = float(np.mean(recalls[threshold]))
            spread = f"{min(recalls[threshold]):.4f}, {max(recalls[threshold]):.4f}"
            removed = f"{np.mean(false[threshold]):.0f}"
            difference = f"{recall - formula:+.4f}"
            row(
                sketch,
                threshold,
                len(seeds),
                int(positive.sum()),
                formula,
                recall,
                difference,
                spread,
                float(np.mean(lost[threshold])),
                removed,
            )


def word_shingles(text: str) -> list[bytes]:
    words = text.split()
    return list({" ".join(words[start : start + 5]).encode() for start in range(max(1, len(words) - 4))})


def datasketch_rows(laws: Laws) -> list[tuple[float, str, str, np.ndarray]]:
    """(threshold, method, bands, found) of datasketch's LSH with the bands that it chooses itself."""
    try:
        from datasketch import MinHash, MinHashLSH
    except ImportError:
        print("datasketch is not installed: its rows are missing\n")
        return []
    sketches = []
    for text in laws.texts:
        sketches.append(MinHash(PERMUTATIONS))
        sketches[-1].update_batch(word_shingles(text))
    version = importlib.metadata.version("datasketch")
    estimate = np.array([sketches[a].jaccard(sketches[b]) for a, b in zip(laws.left, laws.right, strict=True)])
    found = []
    for threshold in THRESHOLDS:
        index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS)
        for number, sketch in enumerate(sketches):
            index.insert(number, sketch)
        near = [set(index.query(sketch)) for sketch in sketches]
        candidates = np.array([b in near[a] for a, b in zip(laws.left.tolist(), laws.right.tolist(), strict=True)])
        bands = f"{index.b} x {index.r}"
        found.append((threshold, f"datasketch {version}, words, LSH", bands, candidates))
        found.append((threshold, f"datasketch {version}, words, LSH and jaccard()", bands, candidates & (estimate >= threshold)))
    return found


def rensa_rows(laws: Laws) -> list[tuple[float, str, str, np.ndarray]]:
    """As `datasketch_rows`, for R-MinHash over all tokens (not the fifteen sampled ones of rensa's fastest path)."""
    try:
        from rensa import RMinHash, RMinHashLSH
    except ImportError:
        print("rensa is not installed: its rows are missing\n")
        return []
    sketches = []
    for text in laws.texts:
        sketches.append(RMinHash(PERMUTATIONS, 42))
        sketches[-1].update(word_shingles(text))
    version = importlib.metadata.version("rensa")
    estimate = np.array([sketches[a].jaccard(sketches[b]) for a, b in zip(laws.left, laws.right, strict=True)])
    found = []
    for threshold in THRESHOLDS:
        for bands in RENSA_BANDS:
            index = RMinHashLSH(threshold, PERMUTATIONS, bands)
            for number, sketch in enumerate(sketches):
                index.insert(number, sketch)
            near = [set(index.query(sketch)) for sketch in sketches]
            candidates = np.array([b in near[a] for a, b in zip(laws.left.tolist(), laws.right.tolist(), strict=True)])
            shape = f"{bands} x {PERMUTATIONS // bands}"
            found.append((threshold, f"rensa {version}, words, LSH", shape, candidates))
            found.append((threshold, f"rensa {version}, words, LSH and jaccard()", shape, candidates & (estimate >= threshold)))
    return found


# --- articles, citations, questions ---------------------------------------------------------------------------------------------------


def table_of(texts: list[str], ids: list[str]) -> pa.Table:
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def similarity_of(texts: list[str], shingling: Shingling | None = None) -> float:
    """Exact similarity of two texts."""
    shingling = shingling or Shingling()
    prepared = prepare(pa.array(texts, pa.large_string()), shingling)
    return float(exact_similarities(prepared, np.array([0]), np.array([1]), shingling)[0])


def print_articles(data: Path) -> None:
    """Planted plagiarised pairs that share a survivor, and what else was dropped."""
    print("\n## News articles with planted plagiarism\n")
    heading("articles", "threshold", "planted pairs", "found", "missed", "their similarity", "extra", "extra below the threshold")
    for count in (100, 1000, 2500):
        articles = read(data, f"minhash_articles_{count}")
        text_of = {article["id"]: article["text"] for article in articles}
        truth = {frozenset((pair["a"], pair["b"])) for pair in read(data, f"minhash_articles_{count}_truth")}
        planted = [similarity_of([text_of[name] for name in pair]) for pair in truth]
        for threshold in (0.8, 0.5):
            result = deduplicate(table_of(list(text_of.values()), list(text_of)), DedupConfig(threshold=threshold))
            cluster_of = dict(zip(result.column("id").to_pylist(), result.column("cluster").to_pylist(), strict=True))
            found = sum(len({cluster_of[name] for name in pair}) == 1 for pair in truth)
            dropped = [frozenset((name, cluster)) for name, cluster in cluster_of.items() if name != cluster]
            extra = [similarity_of([text_of[name] for name in pair]) for pair in dropped if pair not in truth]
            span = f"{min(planted):.2f} to {max(planted):.2f}"
            row(count, threshold, len(truth), found, len(truth) - found, span, len(extra), sum(value < threshold for value in extra))


def print_citations(data: Path) -> None:
    """How many records go, beside how many were labelled duplicates: by a field for people's verdict, and by one for the record's source."""
    records = read(data, "asysd_citations_labelled")
    unique = {record["id"]: record["source"] == "unique" for record in records}
    trash = sum(record["label"] == "Duplicate_in_trash" for record in records)
    print(f"\n## Citations: {len(records):,} records; in the trash {trash}, marked as not unique {len(unique) - sum(unique.values())}\n")
    heading("threshold", "dropped", "exact", "near", "clusters", "with one unique record", "with several (merged)", "with none (missed)")
    for threshold in (0.5, 0.7, 0.8, 0.9):
        result = deduplicate(table_of([record["text"] or "" for record in records], list(unique)), DedupConfig(threshold=threshold))
        reasons = result.column("drop_reason").to_pylist()
        uniques: dict[str, int] = {}
        for name, cluster in zip(result.column("id").to_pylist(), result.column("cluster").to_pylist(), strict=True):
            uniques[cluster] = uniques.get(cluster, 0) + unique[name]
        exact, near = reasons.count("exact_duplicate"), reasons.count("near_duplicate")
        counts = [sum(least <= count <= most for count in uniques.values()) for least, most in ((1, 1), (2, len(records)), (0, 0))]
        row(threshold, exact + near, exact, near, len(uniques), *counts)


def print_questions(data: Path) -> None:
    """Pairs of sentences that end in one cluster: paraphrases are no duplicates, so hardly any should."""
    print("\n## Paraphrases: pairs of sentences, default configuration\n")
    heading("set", "label", "pairs", "merged", "equal after normalisation", "similar beyond the threshold", "neither")
    listed = []
    for name in ("ko_question_pair", "klue_sts_dev"):
        pairs = read(data, name)
        sides = [pair[side] for pair in pairs for side in ("text_a", "text_b")]
        result = deduplicate(table_of(sides, [f"{number // 2:06d}{'ab'[number % 2]}" for number in range(len(sides))]))
        clusters = result.column("cluster").to_pylist()
        for label, meaning in ((1, "same meaning"), (0, "different meaning")):
            chosen = [number for number, pair in enumerate(pairs) if pair["label"] == label]
            merged = [number for number in chosen if clusters[2 * number] == clusters[2 * number + 1]]
            equal = [number for number in merged if normalize_text(pairs[number]["text_a"]) == normalize_text(pairs[number]["text_b"])]
            others = [number for number in merged if number not in equal]
            similar = [number for number in others if similarity_of([pairs[number]["text_a"], pairs[number]["text_b"]]) >= 0.8]
            row(name, meaning, len(chosen), len(merged), len(equal), len(similar), len(others) - len(similar))
            listed += [(name, meaning, pairs[number]) for number in merged if label == 0]
    print("\nMerged though labelled as different:\n")
    for name, _, pair in listed:
        print(f"- {name}: {pair['text_a']!r} / {pair['text_b']!r}")


PARTS = {"laws": print_laws, "articles": print_articles, "citations": print_citations, "questions": print_questions}


def main() -> None:
    """Print the tables asked for."""
    if len(sys.argv) < 2 or set(sys.argv[2:]) - set(PARTS):
        sys.exit(f"usage: python benchmarks/dedup_pairs.py DATA [{'] ['.join(PARTS)}]")
    for name, part in PARTS.items():
        if name in (sys.argv[2:] or PARTS):
            part(Path(sys.argv[1]))


if __name__ == "__main__":
    main()
