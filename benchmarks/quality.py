"""How well rules, signals and the quality model separate good documents from bad ones: area under the ROC curve, by language.

    python benchmarks/quality.py DATA                 DATA holds labelled/quality and text
    python benchmarks/quality.py DATA --resamples 200 a quicker look

English: pages of Common Crawl that people called good or bad for pretraining (DCLM); "unanimous" are those that all of them called the
same. Korean: comments on entertainment news, hateful or not (BEEP!). That is toxicity of comments and not quality of documents, and rules
on length are left out of the count. The quality model and the regression are fitted on four fifths of the documents and score the other
fifth, five times; folds go by the hash of the text. Brackets: 95 % of resamples with replacement of the documents (bootstrap); the scores
are not fitted again in them. The best single signals are chosen on the same documents, so their numbers flatter.
"""

from __future__ import annotations

import argparse
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import xxhash

from pipeline.classify.config import TrainConfig
from pipeline.classify.lines import normal_lines
from pipeline.classify.metrics import area_under_curve
from pipeline.classify.predict import label_names, load_model, probabilities
from pipeline.classify.train import train_model
from pipeline.refine.language import Language
from pipeline.refine.lines import Lines
from pipeline.refine.signals import COLUMNS, Signals
from pipeline.refine.stages import load_preset
from pipeline.rules import Rule, apply_rules

FOLDS, SEED = 5, 7
GOOD_DOCUMENTS = 2000  # of each source of ordinary good text, evenly sampled
NEEDS_LENGTH = {"words", "korean_stop_words", "josa_word_ratio", "list_line_ratio", "newline_ratio"}
"""Rules that a comment of ten words breaks because it is short."""
RIDGE = 10.0
"""Weight of the penalty: 50 correlated signals on some hundred documents."""


@dataclass(frozen=True)
class Labelled:
    """A labelled set: documents with text, whether each is good, and a subset that more people agree on (all true if there is none)."""

    name: str
    table: pa.Table
    is_good: np.ndarray
    is_sure: np.ndarray

    @property
    def texts(self) -> list[str]:
        """The documents' texts."""
        texts: list[str] = self.table.column("text").to_pylist()
        return texts


def measured(texts: pa.Array) -> pa.Table:
    """The texts with every column that rules may look at."""
    return Language(keep=(), min_score=0)(Signals()(Lines(cut=False)(pa.table({"text": texts}))))


def labelled(name: str, path: Path, good: Callable[[dict], bool | None], sure: Callable[[dict], bool]) -> Labelled:
    """Read a set; `good` says None for a record to leave out. Equal texts count once."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        records = {record["text"]: record for record in map(json.loads, lines) if good(record) is not None}
    texts = pa.array(records, pa.large_string())
    table = measured(texts)
    return Labelled(
        name,
        table,
        np.array([good(record) for record in records.values()], bool),
        np.array([sure(record) for record in records.values()], bool),
    )


def folds(texts: Sequence[str]) -> np.ndarray:
    """The fold (0 to FOLDS - 1) of each text."""
    return np.array([xxhash.xxh3_64_intdigest(text.encode(), SEED) % FOLDS for text in texts])


def broken_rules(table: pa.Table, rules: Sequence[Rule]) -> np.ndarray:
    """How many of the rules each document breaks."""
    return sum((np.asarray(rule.broken(table).combine_chunks(), np.int64) for rule in rules), np.zeros(len(table), np.int64))


def model_scores(of: Labelled) -> np.ndarray:
    """The quality model's probability of each document by a model that has not seen it."""
    scores, fold_of, texts = np.zeros(len(of.texts)), folds(of.texts), of.texts
    for fold in range(FOLDS):
        with tempfile.TemporaryDirectory() as folder:
            path, out = Path(folder) / "train.jsonl", Path(folder) / "model.bin"
            chosen = np.flatnonzero(fold_of != fold)
            records = [json.dumps({"id": str(row), "text": texts[row], "label": int(of.is_good[row])}) for row in chosen]
            path.write_text("\n".join(records), encoding="utf-8")
            # The platform's trainer keeps some documents for its own score; as few as it can here.
            settings = TrainConfig(inputs=[str(path)], positive_label="1", held_out_share=0.001)
            card = train_model(settings, out)
            model = load_model(str(out), str(card["xxh3"]))
            rows = np.flatnonzero(fold_of == fold)
            names = label_names(model)
            lines = normal_lines(pa.array([texts[row] for row in rows], pa.large_string()), settings.max_chars)
            scores[rows] = probabilities(model, lines, names)[:, names.index("1")]
    return scores


def regression_scores(of: Labelled, signals: np.ndarray) -> np.ndarray:
    """A ridge regression of the label on standardised signals, fitted on the other folds."""
    scores, fold_of = np.zeros(len(of.is_good)), folds(of.texts)
    for fold in range(FOLDS):
        seen = fold_of != fold
        mean, spread = signals[seen].mean(axis=0), signals[seen].std(axis=0)
        scaled = np.clip((signals - mean) / np.where(spread > 0, spread, 1), -5, 5)
        target = of.is_good[seen] - of.is_good[seen].mean()
        weights = np.linalg.solve(scaled[seen].T @ scaled[seen] + RIDGE * np.eye(signals.shape[1]), scaled[seen].T @ target)
        scores[~seen] = scaled[~seen] @ weights
    return scores


def ranks(scores: np.ndarray) -> np.ndarray:
    """Mean rank of each score, as a share of the documents, so that two scores can be averaged without fitting anything."""
    _, places, counts = np.unique(scores, return_inverse=True, return_counts=True)
    return ((np.cumsum(counts) - (counts - 1) / 2) / len(scores))[places]


def interval(scores: np.ndarray, is_good: np.ndarray, resamples: int) -> str:
    """AUC with its bootstrap interval, as text."""
    rng = np.random.default_rng(SEED)
    drawn = (rng.integers(0, len(scores), len(scores)) for _ in range(resamples))
    found = [area for rows in drawn if (area := area_under_curve(scores[rows], is_good[rows])) is not None]
    low, high = np.quantile(found, (0.025, 0.975))
    return f"{area_under_curve(scores, is_good):.3f} [{low:.3f}, {high:.3f}]"


def print_set(of: Labelled, rule_sets: dict[str, Sequence[Rule]], resamples: int) -> None:
    """One table: each score's AUC, on the whole set and on the sure part of it."""
    sure, partly = of.is_sure, not of.is_sure.all()
    matrix = np.column_stack([np.asarray(of.table.column(name).combine_chunks().cast(pa.float64())) for name in COLUMNS])
    counts = {f"rules broken: {name}": -broken_rules(of.table, rules).astype(float) for name, rules in rule_sets.items()}
    model, regression = model_scores(of), regression_scores(of, np.log1p(matrix))
    first = next(iter(counts.values()))
    scores = {
        **counts,
        "all signals, ridge regression": regression,
        "quality model": model,
        "model and rules, mean rank": ranks(model) + ranks(first),
        "model and regression, mean rank": ranks(model) + ranks(regression),
    }
    areas = {name: area_under_curve(matrix[:, index], of.is_good) or 0.5 for index, name in enumerate(COLUMNS)}
    for name in sorted(areas, key=lambda name: -abs(areas[name] - 0.5))[:6]:
        way = 1 if areas[name] >= 0.5 else -1
        scores[f"signal {name} ({'high' if way > 0 else 'low'} is good)"] = way * matrix[:, COLUMNS.index(name)]
    print(f"\n### {of.name}: {len(sure)} documents, {int(of.is_good.sum())} good", end="")
    print(f"; unanimous {int(sure.sum())}, {int(of.is_good[sure].sum())} good" if partly else "")
    print(f"\n| score | AUC |{' AUC, unanimous |' if partly else ''}\n|---|---|{'---|' if partly else ''}")
    for name, values in scores.items():
        more = f" {interval(values[sure], of.is_good[sure], resamples)} |" if partly else ""
        print(f"| {name} | {interval(values, of.is_good, resamples)} |{more}")
    for name, rules in rule_sets.items():
        dropped = broken_rules(of.table, rules) > 0
        print(f"\n{name} drops {dropped[~of.is_good].mean():.1%} of the bad and {dropped[of.is_good].mean():.1%} of the good.", end="")
    print()


def print_good_text(folder: Path, presets: Sequence[str]) -> None:
    """What share of ordinary good text each preset drops, by source, and the most frequent reasons of the first one."""
    heads = ["source", "documents", *presets, f"reasons of {presets[0]}"]
    print(f"\n### Good text dropped\n\n| {' | '.join(heads)} |\n{'|---' * len(heads)}|")
    for path in sorted(folder.glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            texts = [json.loads(line)["text"] for line in lines]
        texts = texts[:: max(1, len(texts) // GOOD_DOCUMENTS)]
        table = measured(pa.array(texts, pa.large_string()))
        reasons = [apply_rules(table, load_preset(name)).column("drop_reason").drop_null().to_pylist() for name in presets]
        shares = " | ".join(f"{len(found) / len(texts):.1%}" for found in reasons)
        named = ", ".join(f"{reason} {count}" for reason, count in Counter(reasons[0]).most_common(4))
        print(f"| {path.name.removesuffix('.jsonl.gz')} | {len(texts)} | {shares} | {named} |")


def main() -> None:
    """Print a table per language."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--resamples", type=int, default=2000)
    options = parser.parse_args()
    folder = options.data / "labelled/quality"
    english = labelled(
        "English, DCLM", folder / "en_dclm_human_quality.jsonl.gz", lambda record: record["label"] == 1, lambda record: record["all_agree"]
    )
    print_set(english, {name: load_preset(name) for name in ("onnuri-en", "gopher", "fineweb")}, options.resamples)
    korean = labelled(
        "Korean, BEEP! (hateful comments: toxicity, not quality)",
        folder / "ko_hate_beep_train.jsonl.gz",
        lambda record: {"none": True, "hate": False}.get(record["hate"]),
        lambda record: True,
    )
    without_length = [rule for rule in load_preset("onnuri-ko") if rule.column not in NEEDS_LENGTH]
    print_set(korean, {"onnuri-ko without length": without_length}, options.resamples)
    print_good_text(options.data / "text/en", ("onnuri-en", "gopher", "fineweb"))
    print_good_text(options.data / "text/ko", ("onnuri-ko",))


if __name__ == "__main__":
    main()
