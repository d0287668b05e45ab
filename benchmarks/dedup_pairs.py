"""Which labelled pairs deduplication finds, beside datasketch and rensa: `python benchmarks/dedup_pairs.py DATA [PART...]`.

laws: versions of Korean laws with their exact word-5-gram Jaccard similarity. articles: planted plagiarism. citations: records that people
threw away as duplicates. questions: pairs of sentences of the same or another meaning, which are no duplicates whatever they mean.
DATA is the folder of development data. Without names, all four run. Rows of datasketch or rensa are missing where it
is not installed, and a line says so.
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

from decontam.normalize import Normalized, normalize_text
from pipeline.dedup.api import deduplicate
from pipeline.dedup.bands import band_keys, candidate_probability, choose_bands
from pipeline.dedup.candidates import bucket_edges, bucketed, distinct
from pipeline.dedup.config import DedupConfig
from pipeline.dedup.minhash import minhash_batch
from pipeline.dedup.shingles import Shingling, prepare
from pipeline.dedup.sketch import Sketches, sketch_batch
from pipeline.dedup.verify import exact_similarities

PERMUTATIONS = 128
BUCKET_LIMIT = DedupConfig().bucket_limit
THRESHOLDS = (0.7, 0.8, 0.9)
SEEDS = range(1, 21)
SKETCHES = {"oph": sketch_batch, "minhash": minhash_batch}
RENSA_BANDS = (8, 16)
"""Bands for rensa, which has no optimiser and needs a divisor of 128: those of its own benchmark, and the nearest to our 17 for 0.8."""
WORDS, DEFAULT = Shingling("words", 5, True), Shingling()
Row = tuple[float, str, str, np.ndarray]
"""Threshold, method, bands, and bool[pairs]: which it found."""
NAMES = {WORDS: "words", DEFAULT: "default shingle"}


def read(data: Path, name: str) -> list[dict[str, Any]]:
    """The records of one labelled file."""
    with gzip.open(data / "labelled" / "dedup" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
        return [json.loads(line) for line in stream]


def row(*cells: Any) -> None:
    """Print one row of a Markdown table; shares get four digits."""
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
        self.ids = list(number)
        self.texts = [document["text"] for document in documents]
        self.column = pa.array(self.texts, pa.large_string())
        self.left = np.array([number[pair["a"]] for pair in pairs])
        self.right = np.array([number[pair["b"]] for pair in pairs])
        self.truth = np.array([pair["jaccard_w5"] for pair in pairs])


def found_pairs(laws: Laws, sketches: Sketches, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """(candidates: pairs that share a band, those of them whose texts are compared), bool[pairs] each.

    Which are compared is asked of the functions that the move uses, with all documents in the buckets: the low bytes of the slots, the
    limit of a bucket and the number of pairs per member count.
    """
    keys = band_keys(sketches.signatures, *choose_bands(threshold, PERMUTATIONS))
    candidates = (keys[laws.left] == keys[laws.right]).any(axis=1)
    owners = np.repeat(np.arange(len(keys), dtype=np.uint32), keys.shape[1])
    members, starts = bucketed(keys.ravel(), owners)
    ranks = owners[members]
    slots = sketches.signatures.astype(np.uint8)[ranks]
    edges = distinct([bucket_edges(starts, slots, ranks, sketches.filled[ranks], threshold, BUCKET_LIMIT)])
    better, worse = np.minimum(laws.left, laws.right), np.maximum(laws.left, laws.right)
    count = len(laws.texts)
    return candidates, np.isin(better * count + worse, edges.better.astype(np.int64) * count + edges.worse)


def print_laws(data: Path) -> None:
    """Precision and recall of pairs, how closely recall follows the formula, and what becomes of the documents."""
    laws = Laws(data)
    prepared = {shingling: prepare(laws.column, shingling) for shingling in NAMES}
    exact = {shingling: exact_similarities(texts, laws.left, laws.right, shingling) for shingling, texts in prepared.items()}
    print(f"\n## Versions of Korean laws: {len(laws.texts):,} documents, {len(laws.truth):,} pairs of known similarity\n")
    print(
        f"Our exact word-5-gram similarity differs from the data's by {np.abs(exact[WORDS] - laws.truth).max():.5f} at most "
        f"(the data's are rounded to 4 digits). Mean similarity: words {exact[WORDS].mean():.3f}, default shingle "
        f"{exact[DEFAULT].mean():.3f}. The truth of a row is whether the similarity reaches the threshold: w5, that of the data; own, the "
        f"exact one of the method's shingle. True pairs by w5: {true_counts(laws.truth)}; by the default shingle: "
        f"{true_counts(exact[DEFAULT])}.\n"
    )
    found = our_rows(laws, prepared, exact) + datasketch_rows(laws) + rensa_rows(laws)
    heading(
        "method", "truth", "bands x rows", *(f"{measure} at {threshold}" for threshold in THRESHOLDS for measure in ("precision", "recall"))
    )
    for method in dict.fromkeys(method for _, method, _, _ in found):
        mine = {threshold: (bands, pairs) for threshold, name, bands, pairs in found if name == method}
        shapes = ", ".join(dict.fromkeys(bands for bands, _ in mine.values()))
        for truth, similarity in (("w5", laws.truth), ("own", exact[DEFAULT]))[: 2 if NAMES[DEFAULT] in method else 1]:
            row(method, truth, shapes, *(score for level, (_, pairs) in mine.items() for score in scores(pairs, similarity >= level)))
    for shingling in NAMES:
        print_curve(laws, prepared[shingling], exact[shingling], shingling)
    print_dropped(laws)


def true_counts(similarity: np.ndarray) -> str:
    return ", ".join(f"{int((similarity >= threshold).sum())} at {threshold}" for threshold in THRESHOLDS)


def our_rows(laws: Laws, prepared: dict[Shingling, Normalized], exact: dict[Shingling, np.ndarray]) -> list[Row]:
    """Both shingles and both sketches, before and after verification."""
    found = []
    for shingling, name in NAMES.items():
        for sketch, batch in SKETCHES.items():
            sketches = batch(prepared[shingling], PERMUTATIONS, shingling)
            for threshold in THRESHOLDS:
                bands = "{} x {}".format(*choose_bands(threshold, PERMUTATIONS))
                candidates, compared = found_pairs(laws, sketches, threshold)
                found.append((threshold, f"ours, {name}, {sketch}, candidates", bands, candidates))
                found.append((threshold, f"ours, {name}, {sketch}, verified", bands, compared & (exact[shingling] >= threshold)))
    return found


def print_curve(laws: Laws, prepared: Normalized, exact: np.ndarray, shingling: Shingling) -> None:
    """Recall before verification, over several seeds, against the mean of 1 - (1 - s^r)^b over the true pairs."""
    print(f"\nCandidates against the formula, {NAMES[shingling]}, mean of {len(SEEDS)} seeds (true pairs: by this shingle):\n")
    heading(
        "sketch", "threshold", "true pairs", "formula", "recall", "difference", "its standard error", "least, most of a seed",
        "true pairs ruled out by estimates", "false candidates by formula", "false candidates", "of them texts compared",
    )  # fmt: skip
    for sketch, batch in SKETCHES.items():
        counts: dict[float, list[tuple[float, float, int, int]]] = {threshold: [] for threshold in THRESHOLDS}
        for seed in SEEDS:
            sketches = batch(prepared, PERMUTATIONS, Shingling(shingling.unit, shingling.size, shingling.written, seed))
            for threshold in THRESHOLDS:
                positive = exact >= threshold
                candidates, compared = found_pairs(laws, sketches, threshold)
                lost = (candidates & ~compared)[positive].mean()
                false = candidates & ~positive
                counts[threshold].append((candidates[positive].mean(), lost, int(false.sum()), int((false & compared).sum())))
        for threshold in THRESHOLDS:
            probability = np.asarray(candidate_probability(exact, *choose_bands(threshold, PERMUTATIONS)))
            true = exact >= threshold
            formula = float(probability[true].mean())
            recalls, losses, false_ones, compared_ones = (np.array(column) for column in zip(*counts[threshold], strict=True))
            row(
                sketch, threshold, int(true.sum()), formula, float(recalls.mean()), f"{recalls.mean() - formula:+.4f}",
                float(recalls.std(ddof=1) / len(SEEDS) ** 0.5), f"{recalls.min():.4f}, {recalls.max():.4f}", float(losses.mean()),
                round(probability[~true].sum()), round(false_ones.mean()), round(compared_ones.mean()),
            )  # fmt: skip


def print_dropped(laws: Laws) -> None:
    """What `deduplicate` does with all documents, and how similar the dropped ones truly are to what stays for them."""
    print("\nDocuments that `deduplicate` drops:\n")
    heading(
        "shingle", "threshold", "documents", "exact copies", "near duplicates", "least similarity to the survivor", "below the threshold"
    )
    table = table_of(laws.texts, laws.ids)
    number = {name: index for index, name in enumerate(laws.ids)}
    for shingling, settings in ((WORDS, {"shingle": "words", "compare": "written"}), (DEFAULT, {})):
        prepared = prepare(laws.column, shingling)
        for threshold in THRESHOLDS:
            result = deduplicate(table, DedupConfig.model_validate({"threshold": threshold, **settings}))
            reasons = result.column("drop_reason").to_pylist()
            near = np.array([index for index, reason in enumerate(reasons) if reason == "near_duplicate"])
            survivors = np.array([number[name] for name in result.column("cluster").to_pylist()])
            similarity = exact_similarities(prepared, survivors[near], near, shingling)
            counts = (len(reasons), reasons.count("exact_duplicate"), len(near))
            row(NAMES[shingling], threshold, *counts, float(similarity.min()), int((similarity < threshold).sum()))


def word_shingles(text: str) -> list[bytes]:
    words = text.split()
    return list({" ".join(words[start : start + 5]).encode() for start in range(max(1, len(words) - 4))})


def datasketch_rows(laws: Laws) -> list[Row]:
    """datasketch's LSH, with the bands that it chooses itself and with ours."""
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
        for params in (None, choose_bands(threshold, PERMUTATIONS)):
            index = MinHashLSH(threshold=threshold, num_perm=PERMUTATIONS, params=params)
            for number, sketch in enumerate(sketches):
                index.insert(number, sketch)
            near = [set(index.query(sketch)) for sketch in sketches]
            candidates = np.array([b in near[a] for a, b in zip(laws.left.tolist(), laws.right.tolist(), strict=True)])
            bands, method = f"{index.b} x {index.r}", f"datasketch {version}, words, LSH" + (" with our bands" if params else "")
            found.append((threshold, method, bands, candidates))
            found.append((threshold, f"{method}, jaccard()", bands, candidates & (estimate >= threshold)))
    return found


def rensa_rows(laws: Laws) -> list[Row]:
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
            found.append((threshold, f"rensa {version}, words, LSH of {bands} bands", shape, candidates))
            found.append(
                (threshold, f"rensa {version}, words, LSH of {bands} bands, jaccard()", shape, candidates & (estimate >= threshold))
            )
    return found


# --- articles, citations, questions ---------------------------------------------------------------------------------------------------


def table_of(texts: list[str], ids: list[str]) -> pa.Table:
    return pa.table({"id": ids, "text": pa.array(texts, pa.large_string())})


def similarities(texts: list[str], left: Any, right: Any) -> np.ndarray:
    """float64[pairs]: exact similarities of pairs of texts, by the default shingle."""
    prepared = prepare(pa.array(texts, pa.large_string()), DEFAULT)
    return exact_similarities(prepared, np.array(left, np.int64), np.array(right, np.int64), DEFAULT)


def all_similar(texts: list[str], threshold: float) -> int:
    """How many of all pairs of texts are similar, each compared exactly."""
    left, right = np.triu_indices(len(texts), 1)
    prepared = prepare(pa.array(texts, pa.large_string()), DEFAULT)
    return int((exact_similarities(prepared, left, right, DEFAULT, threshold) >= threshold).sum())


def print_articles(data: Path) -> None:
    """Planted plagiarised pairs that share a survivor, what else was dropped, and how many similar pairs there are by comparing all."""
    print("\n## News articles with planted plagiarism\n")
    heading(
        "articles", "threshold", "planted pairs", "found", "missed", "their similarity", "dropped", "extra",
        "extra below the threshold", "similar pairs by comparing all",
    )  # fmt: skip
    for count in (100, 1000, 2500):
        articles = read(data, f"minhash_articles_{count}")
        number = {article["id"]: index for index, article in enumerate(articles)}
        texts = [article["text"] for article in articles]
        truth = {(number[pair["a"]], number[pair["b"]]) for pair in read(data, f"minhash_articles_{count}_truth")}
        planted = similarities(texts, *zip(*truth, strict=True))
        both_ways = truth | {(b, a) for a, b in truth}
        for threshold in (0.8, 0.5, 0.3):
            result = deduplicate(table_of(texts, list(number)), DedupConfig(threshold=threshold))
            cluster = [number[name] for name in result.column("cluster").to_pylist()]
            found = sum(cluster[a] == cluster[b] for a, b in truth)
            dropped = [(a, b) for a, b in enumerate(cluster) if a != b]
            extra = [pair for pair in dropped if pair not in both_ways]
            below = int((similarities(texts, *zip(*extra, strict=True)) < threshold).sum()) if extra else 0
            span = f"{planted.min():.2f} to {planted.max():.2f}"
            row(
                count, threshold, len(truth), found, len(truth) - found, span, len(dropped), len(extra), below,
                all_similar(texts, threshold),
            )  # fmt: skip


def print_citations(data: Path) -> None:
    """How many records go, beside how many are labelled duplicates by the set's fields `label` and `source`."""
    records = read(data, "asysd_citations_labelled")
    number = {record["id"]: index for index, record in enumerate(records)}
    texts = [record["text"] for record in records]
    titles = [normalize_text(record["title"] or "") for record in records]
    unique = [record["source"] == "unique" for record in records]
    trash = sum(record["label"] == "Duplicate_in_trash" for record in records)
    print(f"\n## Citations: {len(records):,} records; label Duplicate_in_trash {trash}, source duplicate {len(unique) - sum(unique)}\n")
    heading(
        "threshold", "dropped", "exact", "near", "other title than the survivor", "least similarity of near ones", "clusters",
        "with one unique source", "with several", "with none",
    )  # fmt: skip
    for threshold in (0.5, 0.7, 0.8, 0.9):
        result = deduplicate(table_of(texts, list(number)), DedupConfig(threshold=threshold))
        reasons = result.column("drop_reason").to_pylist()
        cluster = [number[name] for name in result.column("cluster").to_pylist()]
        near = [(a, b) for a, b in enumerate(cluster) if reasons[a] == "near_duplicate"]
        uniques = np.bincount(cluster, unique, len(cluster))[np.unique(cluster)]
        other_titles = sum(titles[a] != titles[b] for a, b in enumerate(cluster))
        row(
            threshold, len(reasons) - reasons.count(None), reasons.count("exact_duplicate"), len(near), other_titles,
            float(similarities(texts, *zip(*near, strict=True)).min()), len(uniques), int((uniques == 1).sum()),
            int((uniques > 1).sum()), int((uniques == 0).sum()),
        )  # fmt: skip


def print_questions(data: Path) -> None:
    """Pairs of sentences that end in one cluster: paraphrases are no duplicates, so hardly any should."""
    print("\n## Paraphrases: pairs of sentences\n")
    heading("set", "threshold", "label", "pairs", "merged", "equal after normalisation", "similar beyond the threshold", "neither")
    listed = []
    for name in ("ko_question_pair", "klue_sts_dev"):
        pairs = read(data, name)
        sides = [pair[side] for pair in pairs for side in ("text_a", "text_b")]
        normal = [normalize_text(side) for side in sides]
        exact = similarities(sides, range(0, len(sides), 2), range(1, len(sides), 2))
        for threshold in (0.8, 0.5):
            ids = [f"{index // 2:06d}{'ab'[index % 2]}" for index in range(len(sides))]
            clusters = deduplicate(table_of(sides, ids), DedupConfig(threshold=threshold)).column("cluster").to_pylist()
            for label, meaning in ((1, "same meaning"), (0, "different meaning")):
                chosen = [index for index, pair in enumerate(pairs) if pair["label"] == label]
                merged = [index for index in chosen if clusters[2 * index] == clusters[2 * index + 1]]
                others = [index for index in merged if normal[2 * index] != normal[2 * index + 1]]
                similar = int((exact[others] >= threshold).sum())
                row(name, threshold, meaning, len(chosen), len(merged), len(merged) - len(others), similar, len(others) - similar)
                if label == 0:
                    listed += [(name, threshold, pairs[index], exact[index]) for index in merged]
    print("\nMerged though labelled as different:\n")
    for name, threshold, pair, similarity in listed:
        print(f"- {name} at {threshold}: {pair['text_a']!r} / {pair['text_b']!r}, similarity {similarity:.3f}")


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
