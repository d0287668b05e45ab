"""How good labels without hand work are: topics from seeds and self-training against known categories, and the speed of the search.

    python benchmarks/labels.py DATA                DATA holds text/ and labelled/
    python benchmarks/labels.py DATA --part topics  only one table: topics, ranking or speed

A document counts as right when its topic is among those that its known category stands for (MAPS); categories that stand for none are
left out of precision, though the documents stay in the corpus. "model on the rest" trains `classify train` on what was labelled and
scores the documents of mapped categories that were not; "both" takes the label where there is one and else
that model's; "supervised" trains it on nine tenths of the known categories
themselves and scores the last tenth: what hand labels would give.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.alone import Inputs, plan_documents
from pipeline.classify.config import ModelConfig, TrainConfig
from pipeline.classify.move import existing_model
from pipeline.classify.score import Score
from pipeline.classify.train import train_model
from pipeline.labels.bootstrap import bootstrap
from pipeline.labels.config import BootstrapConfig
from pipeline.labels.scores import best_topics, seed_weights, topic_seeds
from pipeline.labels.seeds import seeds_in
from pipeline.labels.taxonomy import load_taxonomy

MAPS: dict[str, dict[str, set[str]]] = {
    # left out: 기타 (other), 행정 (administration), 미래 (future), 성장동력 (growth), 안전/환경 (safety), 인권/성평등 (rights), 저출산
    "text/ko/petitions.jsonl.gz": {
        "정치개혁": {"politics"},
        "외교/통일/국방": {"politics"},
        "육아/교육": {"education_and_jobs", "social_life"},
        "일자리": {"education_and_jobs"},
        "보건복지": {"health"},
        "교통/건축/국토": {"transportation", "industrial", "finance_and_business"},
        "경제민주화": {"finance_and_business"},
        "반려동물": {"home_and_hobbies"},
        "농산어촌": {"industrial"},
        "문화/예술/체육/언론": {"entertainment", "sports_and_fitness", "art_and_design", "literature"},
    },
    "labelled/topic/en_agnews_test.jsonl.gz": {
        "World": {"politics"},
        "Sports": {"sports_and_fitness"},
        "Business": {"finance_and_business"},
        "Sci/Tech": {"science_math_and_technology", "software", "electronics_and_hardware", "software_development"},
    },
}

SETTINGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("every document with a seed", {"min_seeds": 1, "min_margin": 1}),
    ("2 seeds, margin 1.5", {"min_seeds": 2, "min_margin": 1.5}),
    ("2 seeds, margin 2 (default)", {}),
    ("3 seeds, margin 2", {"min_seeds": 3}),
    ("3 seeds, margin 3", {"min_seeds": 3, "min_margin": 3}),
    ("default, 1 round", {"rounds": 1}),
    ("default, 3 rounds", {"rounds": 3}),
    ("default, 3 rounds, share 0.5", {"rounds": 3, "share": 0.5}),
    ("default, 3 rounds, share 1", {"rounds": 3, "share": 1.0}),
)


def gold_of(path: Path) -> dict[str, str]:
    with gzip.open(path) as stream:
        return {record["id"]: record["category"] for record in map(json.loads, stream)}


def topics(data: Path) -> None:
    """Precision and coverage of labels, and the accuracy of a model trained on them."""
    for name, accepted in MAPS.items():
        gold = gold_of(data / name)
        mapped = {id_: accepted[category] for id_, category in gold.items() if category in accepted}
        splits, _ = plan_documents(Inputs([str(data / name)]))
        most = Counter(topic for topics_of in mapped.values() for topic in topics_of).most_common(1)[0][1]
        print(f"\n{name}: {len(gold):,} documents, {len(mapped):,} of mapped categories, {most / len(mapped):.3f} of the largest topic")
        print(f"supervised: {supervised(data / name, accepted):.3f}")
        print("| labels by | labelled | coverage | of the model | precision | precision of the model's | model on the rest | both |")
        print("|---|---|---|---|---|---|---|---|")
        for title, settings in SETTINGS:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder) / "out"
                facts = bootstrap(splits, load_taxonomy(None), BootstrapConfig.model_validate(settings), out)
                rows = pq.read_table(out / "labelled.parquet", columns=["id", "label", "why"]).to_pylist()
                rest = model_on_the_rest(out / "labelled.parquet", splits, mapped, {row["id"] for row in rows})
            right = [row["label"] in mapped[row["id"]] for row in rows if row["id"] in mapped]
            both = (sum(right) + sum(rest)) / len(mapped)
            added = [row for row in rows if row["why"].startswith("model")]
            cells = [
                f"{len(rows):,}",
                f"{len(rows) / len(gold):.3f}",
                f"{facts['by']['model']:,}",
                precision(rows, mapped),
                precision(added, mapped),
            ]
            print(
                f"| {title} | {' | '.join(cells)} | {sum(rest) / len(rest) if rest else 0:.3f} of {len(rest):,} | {both:.3f} |", flush=True
            )


def precision(rows: list[dict[str, Any]], mapped: dict[str, set[str]]) -> str:
    right = [row["label"] in mapped[row["id"]] for row in rows if row["id"] in mapped]
    return f"{sum(right) / len(right):.3f}" if right else "-"


def predictions(model: Path, splits: Any) -> dict[str, str]:
    from pipeline.labels.reading import documents

    score = Score((existing_model(ModelConfig(name="domain", path=str(model))),))
    found: dict[str, str] = {}
    for table in documents(splits):
        found |= zip(table.column("id").to_pylist(), score(table).column("domain").to_pylist(), strict=True)
    return found


def model_on_the_rest(labelled: Path, splits: Any, mapped: dict[str, set[str]], known: set[str]) -> list[bool]:
    """Whether a model trained on the labelled file (topics of 10 documents or more) is right, for each mapped document not in it."""
    table = pq.read_table(labelled)
    counts = Counter(table.column("label").to_pylist())
    often = pa.array([label for label, count in counts.items() if count >= 10])
    enough = labelled.parent / "enough.parquet"
    pq.write_table(table.filter(pc.is_in(table.column("label"), often)), enough)
    train_model(TrainConfig(inputs=[str(enough)]), labelled.parent / "rest.bin")
    found = predictions(labelled.parent / "rest.bin", splits)
    return [label in mapped[id_] for id_, label in found.items() if id_ in mapped and id_ not in known]


def supervised(path: Path, accepted: dict[str, set[str]]) -> float:
    """Held-out accuracy of `classify train` on the mapped categories themselves (categories that share topics are one)."""
    with tempfile.TemporaryDirectory() as folder, gzip.open(path) as stream:
        lines = Path(folder) / "gold.jsonl"
        with lines.open("w", encoding="utf-8") as out:
            for record in map(json.loads, stream):
                if record["category"] in accepted:
                    label = "+".join(sorted(accepted[record["category"]]))
                    out.write(json.dumps({"text": record["text"], "label": label, "lang": record["lang"]}) + "\n")
        return float(train_model(TrainConfig(inputs=[str(lines)]), Path(folder) / "m.bin")["held_out"]["accuracy"])


def ranking(data: Path) -> None:
    """What 2 seeds at margin 2 label: precision of all of it, and of the better half of each topic by several ranks."""
    taxonomy = load_taxonomy(None)
    seeds = topic_seeds(taxonomy)
    print("\n| 2 seeds, margin 2 | divided by log2(2 + kilobytes) | all | better half by score | by score / (1 + second) |")
    print("|---|---|---|---|---|")
    for name, accepted in MAPS.items():
        with gzip.open(data / name) as stream:
            records = [json.loads(line) for line in stream]
        texts = pa.chunked_array([pa.array([record["text"] for record in records], pa.large_string())])
        documents, found = seeds_in(texts, seeds.table, 5000)
        frequencies = np.bincount(found, minlength=len(seeds.table.seeds))[None, :]
        weights = seed_weights(frequencies, np.array([len(records)]))[0][found]
        text_bytes = pc.binary_length(pc.utf8_slice_codeunits(texts, 0, 5000)).to_numpy()
        for divided, lengths in (("yes", text_bytes), ("no", np.zeros(len(records)))):
            best = best_topics(seeds.topics, len(taxonomy.topics), documents, found, weights, lengths)
            clear = (best.hits >= 2) & (best.score >= 2 * best.second)
            rows = np.array([row for row in np.flatnonzero(clear) if records[row]["category"] in accepted])
            right = np.array([taxonomy.topics[best.topic[row]].id in accepted[records[row]["category"]] for row in rows])
            cells = [
                f"{right.mean():.3f}",
                *(f"{right[better_half(best.topic[rows], rank[rows])].mean():.3f}" for rank in (best.score, best.clearness)),
            ]
            print(f"| {name} | {divided} | {' | '.join(cells)} |")


def better_half(topics_of: np.ndarray, rank: np.ndarray) -> np.ndarray:
    """The positions of the half of each topic that ranks highest."""
    halves = []
    for topic in np.unique(topics_of):
        mine = np.flatnonzero(topics_of == topic)
        halves.append(mine[np.argsort(-rank[mine], kind="stable")][: (len(mine) + 1) // 2])
    return np.concatenate(halves)


def speed(data: Path) -> None:
    """MB/s of one core, search for all seeds of the shipped taxonomy."""
    table = topic_seeds(load_taxonomy(None)).table
    print(f"\nsearch for {len(table.seeds):,} seeds ({len(table.seed_of_phrase):,} spellings), one core, texts in Arrow")
    for name in ("text/ko/petitions", "text/ko/news_dps_sample", "text/en/digitalgov", "text/en/books_classic"):
        with gzip.open(data / f"{name}.jsonl.gz") as stream:
            texts = pa.chunked_array([pa.array([json.loads(line)["text"] for line in stream], pa.large_string())])
        seeds_in(texts.slice(0, 10), table, 10**7)
        started = time.process_time()
        documents, _ = seeds_in(texts, table, 10**7)
        seconds = time.process_time() - started
        size = pc.sum(pc.binary_length(texts)).as_py()
        print(f"{name}: {size / 1e6 / seconds:.0f} MB/s, {len(documents) / len(texts):.1f} different seeds a document")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--part", choices=["topics", "ranking", "speed"], help="one table instead of all")
    arguments = parser.parse_args()
    parts = {"topics": topics, "ranking": ranking, "speed": speed}
    for name, part in parts.items():
        if arguments.part in (None, name):
            part(arguments.data)


if __name__ == "__main__":
    main()
