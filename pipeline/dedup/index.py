"""The index across crawls: a folder that remembers the documents kept so far, so that the next crawl is compared with them.

`index.json` has the settings that sketches depend on. `runs/<number>/` holds one crawl's kept documents, never changed again: their
sketch records with cluster sizes, sketches and band keys as `records` describes them, their texts (only those of candidate pairs are ever
compared), and `grown.parquet`, the cluster sizes of earlier documents after this crawl. A crawl that is repeated is compared with the runs
before its own, so it gives the same result again and is not added twice.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import xxhash

from pipeline.dedup.config import DedupConfig
from pipeline.dedup.records import KEYS, Shelf, shelf, sketch_settings
from pipeline.dedup.verdicts import KEPT, REASONS
from pipeline.documents import usable_documents
from pipeline.errors import UserError
from pipeline.ranges import SortedWriter
from pipeline.schema import arrow_schema
from pipeline.segment import Segment, write_json
from pipeline.shards import ShardWriter, write_table
from pipeline.splits import DOCUMENTS, Part, Split

FORMAT = 1
"""Version of the folder's layout."""

GROWN = "grown.parquet"
_STEP = "index"


@dataclass(frozen=True)
class Entry:
    """What one split of an earlier crawl left in the index: its sketches, its texts (as a split to read), and how many documents."""

    shelf: Shelf
    split: Split
    documents: int
    fingerprint: str


class Index:
    """An open index, locked for this process. Made by `open_index`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._runs = sorted(path for path in (folder / "runs").glob("*") if path.name.isdigit())
        for number, run in enumerate(self._runs, 1):
            if run.name != _run_name(number):
                raise UserError(
                    f"the index '{folder}' has '{run.name}' and lacks run '{_run_name(number)}', which later ones build on; "
                    "restore that, or remove the later ones"
                )
        self._known = False
        self._crawl: dict[str, Any] = {}

    def earlier(self, sketches: str, config: DedupConfig) -> list[Entry]:
        """The entries of the runs before this crawl, which is known by the hash of its sketches; all of them for a new crawl.

        Raises UserError for a crawl that is in the index as another configuration left it, and for an index with damaged files.
        """
        settings = config.model_dump(mode="json", exclude={"index", "min_kept_share", "rehydration", "paragraphs", "substrings"})
        self._crawl = {"crawl": sketches, "config": settings}
        manifests = [_read_json(run / "manifest.json") for run in self._runs]
        for place, (run, manifest) in enumerate(zip(self._runs, manifests, strict=True)):
            if manifest["crawl"] != sketches:
                continue
            for key, value in settings.items():
                if manifest["config"].get(key) != value:
                    raise UserError(
                        f"this crawl is in the index as '{run}', with {key} {manifest['config'].get(key)!r} and not {value!r}; "
                        "use that, or remove this run and the later ones from the index"
                    )
            self._known, self._runs, manifests = True, self._runs[:place], manifests[:place]
            break
        return [
            _entry(run, name, facts, manifest["fingerprint"])
            for run, manifest in zip(self._runs, manifests, strict=True)
            for name, facts in sorted(manifest["splits"].items())
        ]

    def grown(self) -> tuple[str, ...]:
        """The files with cluster sizes that later crawls changed, in order."""
        return tuple(str(run / GROWN) for run in self._runs)

    def extend(
        self, segment: Segment, splits: Sequence[Split], shelves: Sequence[Shelf], verdicts: dict[str, str], grown: str | None, decided: str
    ) -> None:
        """Add the documents of this crawl that stay, unless they were added before. verdicts: path of each split's verdict file, known by
        the hash `decided`; grown: that of the index's own documents."""
        if self._known:
            return
        sketched = str(self._crawl["crawl"])
        tasks = [IndexTask(split, one, verdicts[split.name], decided, sketched) for split, one in zip(splits, shelves, strict=True)]
        receipts = segment.step(_STEP, tasks)
        facts = {
            task.name: {"documents": receipt["documents"], "files": receipt["outputs"]}
            for task, receipt in zip(tasks, receipts, strict=True)
        }
        # `decided` stands for the sizes in GROWN
        fingerprint = xxhash.xxh3_128_hexdigest(json.dumps([facts, decided], sort_keys=True).encode())
        temporary = self._folder / ".tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        for receipt in receipts:
            for name in receipt["outputs"]:
                _link(segment.step_folder(_STEP) / name, temporary / name)
        if grown:
            shutil.copyfile(grown, temporary / GROWN)
        else:
            write_table(temporary / GROWN, pa.table({"number": pa.array([], pa.int64()), "cluster_size": pa.array([], pa.int32())}))
        write_json(temporary / "manifest.json", {**self._crawl, "fingerprint": fingerprint, "splits": facts})
        os.rename(temporary, self._folder / "runs" / _run_name(len(self._runs) + 1))


def _run_name(number: int) -> str:
    return f"{number:06d}"


def _link(source: Path, target: Path) -> None:
    """The same file under a second name, or a copy where the two folders are on different disks."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def _entry(run: Path, name: str, facts: dict[str, Any], fingerprint: str) -> Entry:
    for file, known in facts["files"].items():
        if not (run / file).is_file() or (run / file).stat().st_size != known["bytes"]:
            raise UserError(
                f"the index file '{run / file}' is not there in the size that it was written; restore it, or build the index anew"
            )
    path = run / f"{name}-texts.parquet"
    hash_ = facts["files"][path.name]["xxh3"]
    # the name in the corpus says which run it is of: a later crawl may have splits of the same name
    part = Part(str(path), f"{run.name}/{name}", DOCUMENTS, "", hash_, facts["files"][path.name]["bytes"])
    return Entry(shelf(run, name), Split(f"index-{run.name}-{name}", (part,)), int(facts["documents"]), f"{fingerprint} {name}")


@contextlib.contextmanager
def open_index(folder: Path, config: DedupConfig) -> Iterator[Index]:
    """Open the index at `folder`, made if there is none, for as long as a crawl is deduplicated.

    Raises UserError for a folder that holds something else, an index of other settings, and one that another process has open.
    """
    names = [entry.name for entry in folder.iterdir()] if folder.is_dir() else []
    strange = sorted(name for name in names if name != "runs" and not name.startswith("."))
    if strange and "index.json" not in strange:
        raise UserError(f"the folder '{folder}' holds '{strange[0]}' and is no index of dedup; give a new or empty one")
    try:
        (folder / "runs").mkdir(parents=True, exist_ok=True)
        lock = open(folder / ".lock", "a+", encoding="ascii")  # noqa: SIM115 - held open for as long as the crawl lasts
    except OSError as error:
        raise UserError(f"can't write to the index '{folder}': {error.strerror}; give another folder") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"another crawl is being added to the index '{folder}'; wait for it to end") from None
        except OSError as error:
            raise UserError(f"can't lock the index '{folder}': {error.strerror}; put it on a disk that knows file locks") from error
        _check(folder, _settings(config))
        yield Index(folder)


def _check(folder: Path, settings: dict[str, Any]) -> None:
    """Compare the settings of the index with these, or write them into a new one."""
    path = folder / "index.json"
    if not path.exists():
        write_json(path, {"format": FORMAT, "settings": settings})
        return
    known = _read_json(path)
    if known.get("format") != FORMAT:
        raise UserError(f"the index '{folder}' has format {known.get('format')}, and this version reads {FORMAT}; build it anew")
    for key, value in settings.items():
        if known["settings"].get(key) != value:
            raise UserError(
                f"the index '{folder}' was made with {key} {known['settings'].get(key)!r}, and dedup now has {value!r}; "
                "use the settings of the index, or another index"
            )


def _settings(config: DedupConfig) -> dict[str, Any]:
    """What sketches depend on, by the names that the user knows."""
    settings = sketch_settings(config)
    keys = ("near", "url", "priority", "sketch", "permutations", "shingle", "shingle_bytes", "shingle_words", "compare", "seed")
    return {
        **{key: getattr(config, key) for key in keys},
        **{key: getattr(settings, key) for key in ("bands", "rows", "normalizer", "version")},
    }


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"the index file '{path}' can't be read ({error}); restore it, or build the index anew") from error
    return content


@dataclass(frozen=True)
class IndexTask:
    """Write what the index keeps of one split: the documents that stay, renumbered. sketched: hash of all that the shelves hold."""

    split: Split
    shelf: Shelf
    verdict: str = field(metadata={"fingerprint": False})
    decided: str
    sketched: str
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        verdicts = pq.read_table(self.verdict, columns=["verdict", "cluster_size"], use_threads=False)
        stays = pc.equal(verdicts.column("verdict"), REASONS[KEPT]).to_numpy()
        records = pq.read_table(self.shelf.records, use_threads=False)
        records = records.append_column("cluster_size", verdicts.column("cluster_size")).filter(pa.array(stays))
        target = shelf(folder, self.name)
        pq.write_table(records, target.records, compression="zstd")
        np.save(target.sketches, np.load(self.shelf.sketches, mmap_mode="r", allow_pickle=False)[stays])
        self._keys(target.keys, stays)
        self._texts(folder / f"{self.name}-texts.parquet", stays)
        return {"documents": len(records)}

    def _keys(self, path: str, stays: np.ndarray) -> None:
        renumbered = np.cumsum(stays, dtype=np.uint32) - np.uint32(1)
        with SortedWriter(Path(path), KEYS, "key") as writer, pq.ParquetFile(self.shelf.keys) as file:
            for group in range(file.num_row_groups):
                table = file.read_row_group(group, use_threads=False)
                rows = table.column("row").to_numpy()
                chosen = stays[rows]
                writer.write(pa.table([table.column("key").filter(pa.array(chosen)), renumbered[rows[chosen]]], schema=KEYS))

    def _texts(self, path: Path, stays: np.ndarray) -> None:
        writer, begin = ShardWriter(path, arrow_schema(["id", "text"])), 0
        for table in usable_documents(self.split, ("id", "text", "error", "drop_reason")):
            writer.write(table.filter(pa.array(stays[begin : begin + len(table)])))
            begin += len(table)
        writer.close()
