"""Counting a corpus: every split's words in parallel, then their sums by ranges of hashes, so that no worker holds more than its range."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash
from pydantic import Field

from pipeline import __version__
from pipeline.balance.sample import phase_seed, sampling_keys
from pipeline.errors import RunFailed, UserError
from pipeline.ranges import Range, SortedWriter, read_range
from pipeline.segment import Segment, write_json
from pipeline.settings import Settings
from pipeline.splits import Split
from tokenizer.texts import Skipped, read_texts
from tokenizer.words import PATTERN, SCHEMA, Words

if TYPE_CHECKING:
    from tokenizer.pretoken import WordCounter

SEGMENT = "count"

SPLIT_BYTES = 16 << 20
"""Bytes on disk of one task: seconds of work, so that workers end together."""

RUNS = pa.schema([("hash", pa.uint64()), ("word", pa.large_binary()), ("count", pa.int64())])
"""Columns of the files between the two steps: sorted runs of words, ordered by `hash`."""

HASHES = 1 << 64

MOST_FILES = 1024
"""Files that a range is read from: of more splits than that, several make one task, as every range opens every file."""

ROW_GROUP = 1 << 18
"""Words in a row group of the result: readers that want only frequent words stop after the first ones."""

NOT_SAMPLED = "not in the sample"
NO_WEIGHT = "weight 0"


class CountConfig(Settings):
    """What is counted and what is left out; the manifest says how much each limit left out."""

    min_count: int = Field(
        1,
        ge=1,
        description="Words that occur less often are left out of the result; 1 keeps all, as training can leave them out later; "
        "raise it where the counts themselves get too large",
    )
    max_word_bytes: int = Field(
        128,
        ge=1,
        le=65_535,
        description="Longer words are left out: they are encoded data and text without spaces, whose pairs teach nothing",
    )
    max_document_bytes: int | None = Field(
        1_000_000,
        ge=1,
        description="Only so many bytes of each document count, to its last whole word; longer ones are mostly dumps and lists "
        "(and some books); null counts all",
    )
    sample_share: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Share of the documents that count, chosen by their ids: a larger share holds all documents of a smaller one",
    )
    seed: int = Field(0, description="Another seed chooses another sample")
    weight_column: str | None = Field(
        None, description="Column of whole numbers that say how often a document counts, such as `epochs` of a corpus; null: once"
    )
    counter_words: int = Field(
        2_000_000,
        ge=1,
        description="Distinct words at which a worker writes down what it has counted and begins anew, at about 200 bytes of memory each",
    )
    partition_words: int = Field(1_000_000, ge=1, description="Words that one task sums at most, at about 200 bytes of memory each")


@dataclass(frozen=True)
class WordsTask:
    """Writes `<split>.parquet`: the words of a split with their counts, as one or more runs sorted by hash."""

    split: Split
    max_word_bytes: int
    max_document_bytes: int | None
    sample_share: float
    seed: int
    weight_column: str | None
    counter_words: int
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        from tokenizer.pretoken import WordCounter  # compiled kernels, which the process that plans never needs

        skipped = Skipped()
        counter = WordCounter(self.max_word_bytes, self.max_document_bytes)
        documents = words = 0
        with SortedWriter(folder / f"{self.name}.parquet", RUNS, "hash") as writer:
            for table in read_texts(self.split, [self.weight_column] if self.weight_column else [], skipped):
                chosen, weights = self._chosen(table, skipped)
                documents += len(chosen)
                counter.add(chosen, weights)
                if len(counter) >= self.counter_words:
                    words += _write_run(writer, counter)
            words += _write_run(writer, counter)
        totals = counter.totals
        if totals["text_bytes"] != totals["bytes"] + totals["long_bytes"] + totals["beyond_bytes"]:
            raise RunFailed(f"split {self.name}: the words don't add up to the text ({totals}); this is a bug, please report it")
        return {"documents": documents, "skipped": dict(sorted(skipped.rows.items())), "words": words, **totals}

    def _chosen(self, table: pa.Table, skipped: Skipped) -> tuple[pa.Array, np.ndarray | None]:
        """The texts that count, with their weights."""
        if self.sample_share < 1:
            drawn = sampling_keys(table.column("id"), phase_seed(self.seed, SEGMENT)) < np.uint64(int(self.sample_share * HASHES))
            skipped.rows[NOT_SAMPLED] += len(drawn) - int(drawn.sum())
            table = table.filter(pa.array(drawn))
        weights = None
        if self.weight_column:
            weights = self._weights(table)
            skipped.rows[NO_WEIGHT] += int((weights == 0).sum())
            table, weights = table.filter(pa.array(weights > 0)), weights[weights > 0]
        text = table.column("text").combine_chunks()
        return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text, weights

    def _weights(self, table: pa.Table) -> np.ndarray:
        column = table.column(self.weight_column)
        if column.null_count:
            files = ", ".join(part.name for part in self.split.parts)
            raise UserError(
                f"{column.null_count:,} documents of '{files}' have no {self.weight_column}; leave weight_column out, or count files that "
                "have the column in every row"
            )
        try:
            weights = column.cast(pa.int64()).to_numpy()
        except pa.ArrowInvalid as error:
            raise UserError(f"{self.weight_column} must be whole numbers to weigh documents ({str(error).splitlines()[0]})") from error
        if len(weights) and weights.min() < 0:
            raise UserError(f"{self.weight_column} is {weights.min()} in '{self.split.parts[0].name}'; weights must be 0 or more")
        return weights


def _write_run(writer: SortedWriter, counter: WordCounter) -> int:
    """Write what the counter holds as a sorted run and empty it; returns the number of words."""
    from tokenizer.pretoken import word_hashes

    words = counter.words()
    table = pa.table([word_hashes(words), words.array(), words.counts], schema=RUNS)
    writer.write(table)
    counter.clear()
    return len(words)


@dataclass(frozen=True)
class SumTask:
    """Writes `part-<number>.parquet`: the summed counts of one range of hashes, most frequent words first.

    digests: xxh3 of the files at `paths`, in order: they stand for the files' content in the fingerprint.
    """

    part: int
    parts: int
    min_count: int
    digests: tuple[str, ...]
    paths: tuple[str, ...] = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return f"part-{self.part:05d}"

    def __call__(self, folder: Path) -> dict[str, Any]:
        from tokenizer.pretoken import WordCounter

        hashes = Range(self.part, self.parts, HASHES)
        counter = WordCounter(1)
        rows = 0
        for path in self.paths:
            for table in read_range(path, "hash", hashes.first, hashes.last):
                rows += len(table)
                counter.add_words(Words.from_table(table))
        words = counter.words()
        occurrences = int(words.counts.sum())
        table = pa.table({"word": words.array(), "count": words.counts})
        kept = table.filter(pc.greater_equal(table.column("count"), self.min_count))
        kept = kept.take(pc.sort_indices(kept, sort_keys=[("count", "descending"), ("word", "ascending")]))
        with pq.ParquetWriter(folder / f"{self.name}.parquet", SCHEMA, compression="zstd", use_dictionary=False) as writer:
            for start in range(0, len(kept), ROW_GROUP):
                group = kept.slice(start, ROW_GROUP)
                texts = group.column("word").cast(pa.large_string()).cast(pa.string())
                writer.write_table(pa.table([texts, group.column("count")], schema=SCHEMA), row_group_size=ROW_GROUP)
        kept_occurrences = pc.sum(kept.column("count")).as_py() or 0
        return {
            "rows": rows,
            "words": len(kept),
            "occurrences": kept_occurrences,
            "rare_words": len(words) - len(kept),
            "rare_occurrences": occurrences - kept_occurrences,
        }


def run(segment: Segment, splits: Sequence[Split], config: CountConfig) -> dict[str, Any]:
    """Count the splits' words into `counts/part-*.parquet` of the segment's folder (columns of SCHEMA); returns the manifest.

    Raises UserError when there is nothing to count, or nothing is as frequent as min_count, and RunFailed when a task fails or the
    numbers don't add up.
    """
    manifest_path = segment.directory / "manifest.json"
    write_json(manifest_path, {"segment": SEGMENT, "finished": False})
    counted = segment.step("words", _words_tasks(splits, config))
    documents, rows = (sum(receipt[key] for receipt in counted) for key in ("documents", "words"))
    if not rows:
        raise UserError(f"there is nothing to count: {_nothing(counted, documents, config)}")
    outputs = sorted((name, str(facts["xxh3"])) for receipt in counted for name, facts in receipt["outputs"].items())
    digests, paths = tuple(digest for _, digest in outputs), tuple(str(segment.step_folder("words") / name) for name, _ in outputs)
    parts = -(-rows // config.partition_words)
    folder = segment.directory / "counts"
    tasks = [SumTask(part, parts, config.min_count, digests, paths) for part in range(parts)]
    summed = segment.step("sum", tasks, into=folder)
    _remove_others(folder, {name for receipt in summed for name in receipt["outputs"]})
    manifest = _manifest(counted, summed, config) | {"corpus_fingerprint": xxhash.xxh3_128_hexdigest(json.dumps(outputs).encode())}
    if not manifest["words"]:
        raise UserError(
            f"none of the {manifest['left_out']['min_count']['words']:,} words occurs {config.min_count:,} times; lower min_count"
        )
    write_json(manifest_path, manifest)
    return manifest


def _words_tasks(splits: Sequence[Split], config: CountConfig) -> list[WordsTask]:
    """One task per split, or per several neighbours where there are more than MOST_FILES."""
    ordered = sorted(splits, key=lambda split: split.name)
    each = max(1, -(-len(ordered) // MOST_FILES))
    groups = [ordered[start : start + each] for start in range(0, len(ordered), each)]
    limits = config.max_word_bytes, config.max_document_bytes, config.sample_share, config.seed, config.weight_column, config.counter_words
    return [
        WordsTask(Split(group[0].name, tuple(itertools.chain.from_iterable(split.parts for split in group))), *limits) for group in groups
    ]


def _nothing(receipts: Sequence[dict[str, Any]], documents: int, config: CountConfig) -> str:
    """Why no word was counted, with what to do."""
    if skipped := _summed(receipts, "skipped"):
        listed = ", ".join(f"{reason} ({rows:,})" for reason, rows in skipped.items())
        return f"no row of the input holds a text that counts: {listed}; give other files, or name the column with --text-column"
    if documents:
        return f"the {documents:,} texts are empty or hold only words above max_word_bytes ({config.max_word_bytes}); give other files"
    return "the input has no rows; give other files"


def _summed(receipts: Sequence[dict[str, Any]], key: str) -> dict[str, int]:
    """The sum of the receipts' numbers by name, those above 0."""
    total: dict[str, int] = {}
    for receipt in receipts:
        for name, number in receipt[key].items():
            total[name] = total.get(name, 0) + number
    return {name: number for name, number in sorted(total.items()) if number}


def _remove_others(folder: Path, names: set[str]) -> None:
    """Remove files that no receipt names: parts of an earlier configuration whose run was killed before it wrote receipts."""
    for path in folder.glob("*"):
        if path.name not in names:
            path.unlink()


def _manifest(counted: Sequence[dict[str, Any]], summed: Sequence[dict[str, Any]], config: CountConfig) -> dict[str, Any]:
    """What the result is and what is not in it; nothing in it depends on the workers. Raises RunFailed when numbers don't add up."""

    def total(receipts: Sequence[dict[str, Any]], key: str) -> int:
        return sum(int(receipt[key]) for receipt in receipts)

    occurrences, long_occurrences = total(counted, "occurrences"), total(counted, "long_occurrences")
    kept, rare = total(summed, "occurrences"), total(summed, "rare_occurrences")
    if occurrences != kept + rare or total(counted, "words") != total(summed, "rows"):
        raise RunFailed(f"{occurrences:,} words were counted, but {kept:,} kept and {rare:,} left out; this is a bug, please report it")
    return {
        "segment": SEGMENT,
        "finished": True,
        "version": __version__,
        "config": config.model_dump(mode="json"),
        "normalizer": "NFC",
        "pattern": PATTERN,
        "documents": total(counted, "documents"),
        "skipped": _summed(counted, "skipped"),
        "text_bytes": total(counted, "text_bytes"),
        "pretokens": occurrences + long_occurrences,
        "words": total(summed, "words"),
        "occurrences": kept,
        "left_out": {
            "min_count": {"words": total(summed, "rare_words"), "occurrences": rare},
            "max_word_bytes": {"occurrences": long_occurrences, "bytes": total(counted, "long_bytes")},
            "max_document_bytes": {"bytes": total(counted, "beyond_bytes")},
        },
        "parts": [
            {"file": f"counts/{name}", "words": receipt["words"], "occurrences": receipt["occurrences"], **facts}
            for receipt in summed
            for name, facts in receipt["outputs"].items()
        ],
    }


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder of counts. Raises UserError when it is none, or counting didn't finish."""
    if not folder.is_dir():
        raise UserError(f"there is no folder '{folder}'; give one that `onnuri tokenizer count` wrote")
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        manifest = None
    except (OSError, ValueError) as error:
        raise UserError(f"'{folder}/manifest.json' can't be read ({error}); run `onnuri tokenizer count` again") from error
    if not isinstance(manifest, dict) or manifest.get("segment") != SEGMENT:
        raise UserError(f"'{folder}' holds no counts; give a folder that `onnuri tokenizer count` wrote")
    if not manifest.get("finished"):
        raise UserError(f"the counting into '{folder}' did not finish; run `onnuri tokenizer count` again with the same arguments")
    return manifest


def read_counts(folder: Path, min_count: int = 1) -> Iterator[pa.Table]:
    """The words (columns of SCHEMA) that occur at least `min_count` times, in tables of up to ROW_GROUP, each word once.

    Part after part, in each the most frequent first. Raises UserError when the folder holds no finished counts, or a part is missing.
    """
    for part in load_manifest(folder)["parts"]:
        path = folder / part["file"]
        if not path.is_file() or path.stat().st_size != part["bytes"]:
            raise UserError(f"'{path}' is missing or not what was counted; run `onnuri tokenizer count` again with the same arguments")
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                frequent = table.filter(pc.greater_equal(table.column("count"), min_count))
                if len(frequent):
                    yield frequent
                if len(frequent) < len(table):
                    break
