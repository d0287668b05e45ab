"""One corpus export task: read a run of kept shards, write the documents of each phase and language to `part-*.parquet` files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.balance.config import OTHER, UNKNOWN_LANGUAGE
from pipeline.balance.groups import coded, column_of
from pipeline.schema import BY_NAME
from pipeline.shards import BATCH_BYTES, read_batches
from pipeline.splits import Split

COMPRESSION_LEVEL = 3
"""zstd level of the deliverable: it is written once and read many times."""

_FROM_DOCUMENT = ("id", "text", "source", "url", "host", "date", "title", "lang", "domain", "quality", "tokens", "file", "position")
_FOR_TRAINING = ("replay_epochs", "long_document")
_RENAMED = {"lang": "document_lang"}
"""The folder `lang=` says which language of the mix a document counts for; its own would clash with that as a column of the same name."""

_REPEATING: Any = ["source", "host", "document_lang", "domain", "file"]

SCHEMA = pa.schema(
    [
        *(pa.field(_RENAMED.get(name, name), BY_NAME[name].type) for name in _FROM_DOCUMENT[:11]),
        pa.field("epochs", pa.int32()),
        *(pa.field(name, BY_NAME[name].type) for name in _FOR_TRAINING),
        *(pa.field(name, BY_NAME[name].type) for name in _FROM_DOCUMENT[11:]),
    ]
)
"""Columns of every corpus file. `epochs`: times the document is to be read in this phase, `replay_epochs` those of them that repeat an
earlier phase; its text is stored once."""


COUNTS = ("documents", "bytes", "tokens", "tokens_with_epochs", "replay_tokens", "long_documents", "long_tokens")
"""What is counted of each file: tokens each document once, tokens_with_epochs as often as it is read, replay_tokens those of them that
repeat an earlier phase; long_documents and long_tokens (with epochs) of documents marked for context extension."""

_DOMAIN_COUNTS = ("documents", "tokens", "tokens_with_epochs", "replay_tokens")


@dataclass(frozen=True)
class ExportTask:
    """Writes `phase=<phase>/lang=<language>/part-NNNNN.parquet` for the rows of a pack of kept shards, in their order.

    A file that would pass `shard_bytes` is followed by `part-NNNNN_001.parquet` and so on; only a single document may pass it.
    """

    split: Split
    language_of: dict[str, str]
    phases: tuple[str, ...]
    shard_bytes: int
    version: str = "2"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        writers: dict[tuple[str, str], PartWriter] = {}
        columns = [*_FROM_DOCUMENT, *_FOR_TRAINING, *(f"epochs_{phase}" for phase in self.phases)]
        for part in self.split.parts:
            for table in read_batches(part.path, columns, min(BATCH_BYTES, self.shard_bytes // 8)):
                for phase, language, rows in self._sorted_out(table):
                    if (phase, language) not in writers:
                        target = folder / f"phase={phase}" / f"lang={language}"
                        writers[phase, language] = PartWriter(target, self.name, self.shard_bytes)
                    writers[phase, language].write(rows)
        files: dict[str, dict[str, Any]] = {}
        for (phase, language), writer in sorted(writers.items()):
            for path, facts in writer.close().items():
                files[str(path.relative_to(folder))] = {"phase": phase, "lang": language, **facts}
        return {"files": files}

    def _sorted_out(self, table: pa.Table) -> list[tuple[str, str, pa.Table]]:
        """The batch's rows per phase and language, in corpus columns; groups without rows are left out."""
        lang, code = coded(column_of(table, "lang"), UNKNOWN_LANGUAGE)
        names = [self.language_of.get(name, name) for name in lang]
        result = []
        for phase in self.phases:
            epochs = column_of(table, f"epochs_{phase}")
            present = epochs.to_numpy() > 0
            for language in sorted(set(names)):
                mask = present & np.array([name == language for name in names], bool)[code]
                if mask.any():
                    result.append((phase, language, _corpus_rows(table, phase, epochs).filter(pa.array(mask))))
        return result


def _corpus_rows(table: pa.Table, phase: str, epochs: Any) -> pa.Table:
    """The table in corpus columns; only phase domain replays."""
    no_replay = pa.chunked_array([np.zeros(len(table), np.int32)])
    own = {"epochs": epochs.cast(pa.int32()), "document_lang": column_of(table, "lang")}
    if phase != "domain":
        own["replay_epochs"] = no_replay
    return pa.table([own[field.name] if field.name in own else column_of(table, field.name) for field in SCHEMA], schema=SCHEMA)


class PartWriter:
    """Writes rows to numbered files of at most `shard_bytes` on disk, and adds up what each holds."""

    def __init__(self, folder: Path, name: str, shard_bytes: int) -> None:
        self._folder, self._name = folder, name
        self._room = shard_bytes - shard_bytes // 64  # the footer needs some of it
        self._pending: list[pa.Table] = []
        self._pending_bytes = 0
        self._writer: pq.ParquetWriter | None = None
        self._path = folder
        self._files: dict[Path, dict[str, Any]] = {}

    def write(self, rows: pa.Table) -> None:
        """Append rows in corpus columns. Compressed rows are taken to need no more room than their Arrow buffers."""
        size = rows.nbytes
        if self._written() + self._pending_bytes + size > self._room:
            self._flush()
            if self._written() + size > self._room:
                self._finish()
        self._pending.append(rows)
        self._pending_bytes += size
        if self._pending_bytes >= BATCH_BYTES:
            self._flush()

    def close(self) -> dict[Path, dict[str, Any]]:
        """Finish; the facts of each file, by path: documents, bytes (of text), tokens, tokens_with_epochs and the same per domain."""
        self._flush()
        self._finish()
        return self._files

    def _written(self) -> int:
        return self._path.stat().st_size if self._writer is not None else 0

    def _flush(self) -> None:
        if not self._pending:
            return
        writer = self._writer or self._open()
        rows = pa.concat_tables(self._pending).combine_chunks()
        writer.write_table(rows, row_group_size=len(rows))
        _add_up(self._files[self._path], rows)
        self._pending, self._pending_bytes = [], 0

    def _open(self) -> pq.ParquetWriter:
        self._folder.mkdir(parents=True, exist_ok=True)
        number = len(self._files)
        self._path = self._folder / (f"{self._name}_{number:03d}.parquet" if number else f"{self._name}.parquet")
        self._files[self._path] = {**dict.fromkeys(COUNTS, 0), "most_epochs": 0, "domains": {}}
        self._writer = pq.ParquetWriter(
            self._path,
            SCHEMA,
            compression="zstd",
            compression_level=COMPRESSION_LEVEL,
            use_dictionary=_REPEATING,
            write_statistics=["tokens", "epochs"],
        )
        return self._writer

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close()
        self._writer = None


def _add_up(facts: dict[str, Any], rows: pa.Table) -> None:
    tokens = rows.column("tokens").to_numpy()
    epochs = rows.column("epochs").to_numpy().astype(np.int64)
    sizes: Any = pc.sum(pc.binary_length(rows.column("text")).cast(pa.int64()))
    replayed = tokens * pc.fill_null(rows.column("replay_epochs"), 0).to_numpy()
    long = pc.fill_null(rows.column("long_document"), False).to_numpy()
    facts["documents"] += len(rows)
    facts["bytes"] += int(sizes.as_py() or 0)
    facts["tokens"] += int(tokens.sum())
    facts["tokens_with_epochs"] += int((tokens * epochs).sum())
    facts["replay_tokens"] += int(replayed.sum())
    facts["long_documents"] += int(long.sum())
    facts["long_tokens"] += int((tokens * epochs)[long].sum())
    facts["most_epochs"] = max(facts["most_epochs"], int(epochs.max()))
    domains, code = coded(rows.column("domain"), OTHER)
    for index, domain in enumerate(domains):
        mine = code == index
        entry = facts["domains"].setdefault(domain, dict.fromkeys(_DOMAIN_COUNTS, 0))
        entry["documents"] += int(mine.sum())
        entry["tokens"] += int(tokens[mine].sum())
        entry["tokens_with_epochs"] += int((tokens[mine] * epochs[mine]).sum())
        entry["replay_tokens"] += int(replayed[mine].sum())
