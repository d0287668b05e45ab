"""A run directory as DuckDB views over its Parquet files, closed so that SQL can read the run and nothing else.

The views are Arrow datasets registered with an in-memory database. DuckDB itself never opens a file, so its access to files is switched off
altogether: measured with DuckDB 2.0, `allowed_directories` would still let COPY and ATTACH write into the run.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.report.run_folder import MOVES, RunFolder, number, open_run, reasons
from pipeline.report.text import visible
from pipeline.rows import QUARANTINE_COLUMNS
from pipeline.schema import COLUMNS, MATCH, TRANSIENT, arrow_schema

if TYPE_CHECKING:  # pyarrow.dataset imports pandas where that is installed (1 s): only what reads shards should wait for it
    import pyarrow.dataset as ds

_OUTCOME = {"drop_stage", "drop_reason", "error", "excerpt"}
DOCUMENT_SCHEMA = arrow_schema([column.name for column in COLUMNS if column.name not in TRANSIENT | _OUTCOME])

_SEGMENT = pa.field("segment", pa.string())
_TEXT: pa.DataType = pa.string()
_INT: pa.DataType = pa.int64()
_REAL: pa.DataType = pa.float64()

CLUSTERS_SCHEMA = pa.schema(
    [
        ("id", _TEXT),
        ("cluster", _TEXT),
        ("survivor", pa.bool_()),
        ("cluster_size", pa.int32()),
        ("similarity", _REAL),
        ("kind", _TEXT),
        ("indexed", pa.bool_()),
    ]
)
CONTAMINATION_SCHEMA = pa.schema(
    [("id", _TEXT), ("url", _TEXT), ("source", _TEXT), *((one.name, one.type) for one in MATCH), ("action", _TEXT)]
)
CORPUS_SCHEMA = pa.schema(
    [
        pa.field("phase", _TEXT),
        pa.field("lang", _TEXT),
        *(one for one in DOCUMENT_SCHEMA if one.name != "lang"),
        pa.field("epochs", pa.int32()),
    ]
)
RECEIPTS_SCHEMA = pa.schema(
    [
        ("step", _INT),
        ("segment", _TEXT),
        ("split", _TEXT),
        *((name, _INT) for name in ("rows_in", "bytes_in", "kept_rows", "kept_bytes", "dropped_rows", "quarantined_rows")),
        *((name, _REAL) for name in ("seconds", "cpu_seconds", "mb_per_second")),
        ("peak_memory_bytes", _INT),
        ("worker", _TEXT),
    ]
)
REASONS_SCHEMA = pa.schema(
    [("step", _INT), ("segment", _TEXT), ("split", _TEXT), ("outcome", _TEXT), ("reason", _TEXT), ("rows", _INT), ("bytes", _INT)]
)

MEANINGS = {
    "documents": "the documents kept by the last finished segment, with text",
    **{f"kept_{name}": f"the documents that {name} kept" for name in MOVES},
    "dropped": "every dropped document, with its segment, drop_stage and drop_reason",
    "quarantined": "every record that could not be processed, with its segment, file, position and error",
    "clusters": "members of duplicate clusters (dedup/clusters.parquet)",
    "contamination": "benchmark matches (decontaminate/matches.parquet)",
    "receipts": "one row per split and segment: rows, bytes, seconds, memory",
    "reasons": "one row per split, segment and reason for a dropped or quarantined row",
    "corpus": "the corpus shards, with their phase and (mix) lang",
    "gaps": "what this run has not or not yet",
}
"""The views that every run has, in the order in which they are listed."""


def connect(run: Path) -> duckdb.DuckDBPyConnection:
    """An in-memory DuckDB connection with the views of MEANINGS over the run, and no access to any file.

    Files that are missing make empty views with the right columns; what is missing or unreadable is listed in the view `gaps`. Views of
    documents have every column of the document table, null where a segment hasn't written it. Raises UserError for a path that is no run.
    """
    return connect_folder(open_run(run))


def connect_folder(folder: RunFolder) -> duckdb.DuckDBPyConnection:
    """As `connect`, for a run that was already looked at; unreadable shards are added to `folder.gaps`."""
    # DuckDB makes this folder when a query outgrows memory, and removes it; by default it would lie in the working directory.
    spill = Path(tempfile.gettempdir()) / f"onnuri-inspect-{uuid.uuid4().hex}"
    connection = duckdb.connect(":memory:", config={"temp_directory": str(spill)})
    connection.execute("set enable_progress_bar = false")  # it goes to standard output, between the results
    for name, source in _sources(folder).items():
        connection.register(name, source)
    connection.register("gaps", pa.table({"gap": pa.array(folder.gaps, _TEXT)}))
    for setting in ("python_enable_replacements = false", "enable_external_access = false", "lock_configuration = true"):
        connection.execute(f"SET {setting}")
    return connection


def view_names(connection: duckdb.DuckDBPyConnection) -> list[str]:
    """The views of a connection: those of MEANINGS in their order, then any that the run or the user added."""
    found = {row[0] for row in connection.execute("select view_name from duckdb_views() where not internal").fetchall()}
    return [name for name in MEANINGS if name in found] + sorted(found - set(MEANINGS))


def _sources(folder: RunFolder) -> dict[str, ds.Dataset | pa.Table]:
    finished = [segment for segment in folder.segments if segment.finished and segment.shards("kept")]
    names = dict.fromkeys([*MOVES, *(segment.name for segment in folder.segments)])
    dropped = pa.schema([_SEGMENT, *DOCUMENT_SCHEMA, *arrow_schema(["drop_stage", "drop_reason"])])
    quarantined = pa.schema([_SEGMENT, *arrow_schema(QUARANTINE_COLUMNS)])
    sources: dict[str, ds.Dataset | pa.Table] = {
        "documents": _dataset(folder, _files(finished[-1].shards("kept") if finished else []), DOCUMENT_SCHEMA)
    }
    for name in names:
        segment = folder.segment(name)
        sources[f"kept_{name}"] = _dataset(folder, _files(segment.shards("kept") if segment else []), DOCUMENT_SCHEMA)
    for view, kind, schema in (("dropped", "dropped", dropped), ("quarantined", "quarantine", quarantined)):
        files = [(path, {"segment": segment.name}) for segment in folder.segments for path in segment.shards(kind)]
        sources[view] = _dataset(folder, files, schema)
    sources["clusters"] = _dataset(folder, _files([folder.file("dedup", "clusters.parquet")]), CLUSTERS_SCHEMA)
    sources["contamination"] = _dataset(folder, _files([folder.file("decontaminate", "matches.parquet")]), CONTAMINATION_SCHEMA)
    corpus = [(path, {"phase": phase, "lang": lang}) for phase, lang, path in folder.corpus_shards()]
    sources["corpus"] = _dataset(folder, corpus, CORPUS_SCHEMA)
    sources["receipts"], sources["reasons"] = _receipts(folder), _reasons(folder)
    return sources


def _files(paths: Sequence[Path | None]) -> list[tuple[Path, dict[str, str]]]:
    return [(path, {}) for path in paths if path is not None]


def _dataset(folder: RunFolder, files: Sequence[tuple[Path, dict[str, str]]], schema: pa.Schema) -> ds.Dataset | pa.Table:
    """The files as one dataset, with each file's constants as columns; a file whose footer can't be read is left out and named in the gaps.

    Columns: those of `schema`, null where the files lack them, then what else the files have.
    """
    import pyarrow.dataset as ds
    from pyarrow.fs import LocalFileSystem

    readable, constants, found = [], [], pa.schema([])
    for path, values in files:
        try:
            own = pq.read_schema(path)
            found = pa.unify_schemas([found, own.remove_metadata()], promote_options="permissive")
        except (pa.ArrowException, OSError) as error:
            relative = path.relative_to(folder.path) if path.is_relative_to(folder.path) else path
            gap = f"{visible(relative)} can't be read and is left out ({visible(str(error).splitlines()[0] if str(error) else error)})"
            if gap not in folder.gaps:
                folder.gaps.append(gap)
            continue
        readable.append(str(path))
        constants.append(values)
    if not readable:
        return schema.empty_table()
    fields = [_typed(one, found) for one in schema] + [one for one in found if one.name not in schema.names]
    expressions = [_equal(values) for values in constants]
    return ds.FileSystemDataset.from_paths(
        readable, schema=pa.schema(fields), format=ds.ParquetFileFormat(), filesystem=LocalFileSystem(), partitions=expressions
    )


def _typed(wanted: pa.Field, found: pa.Schema) -> pa.Field:
    """The field with the type that the files have: a cast could fail half-way through a query."""
    own = found.field(wanted.name).type if wanted.name in found.names else wanted.type
    return wanted if pa.types.is_null(own) else pa.field(wanted.name, own)


def _equal(values: dict[str, str]) -> ds.Expression:
    import pyarrow.dataset as ds

    expression = ds.scalar(True)
    for name, value in values.items():
        expression = expression & (ds.field(name) == value)
    return expression


def _receipts(folder: RunFolder) -> pa.Table:
    rows = []
    for step, segment in enumerate(folder.segments):
        for receipt in segment.receipts:
            seconds, size = number(receipt, "seconds"), number(receipt, "bytes_in")
            rows.append(
                {
                    "step": step,
                    "segment": segment.name,
                    "split": str(receipt.get("name", "")),
                    "rows_in": int(number(receipt, "rows_in")),
                    "bytes_in": int(size),
                    "kept_rows": int(number(receipt, "kept", "rows")),
                    "kept_bytes": int(number(receipt, "kept", "bytes")),
                    "dropped_rows": sum(entry["rows"] for entry in reasons(receipt, "dropped")),
                    "quarantined_rows": sum(entry["rows"] for entry in reasons(receipt, "quarantined")),
                    "seconds": float(seconds),
                    "cpu_seconds": float(number(receipt, "cpu_seconds")),
                    "mb_per_second": size / 1e6 / seconds if seconds else None,
                    "peak_memory_bytes": int(number(receipt, "peak_memory_bytes")),
                    "worker": str(receipt.get("worker", "")),
                }
            )
    return pa.Table.from_pylist(rows, RECEIPTS_SCHEMA)


def _reasons(folder: RunFolder) -> pa.Table:
    rows = [
        {"step": step, "segment": segment.name, "split": str(receipt.get("name", "")), "outcome": outcome, **entry}
        for step, segment in enumerate(folder.segments)
        for receipt in segment.receipts
        for outcome in ("dropped", "quarantined")
        for entry in reasons(receipt, outcome)
    ]
    return pa.Table.from_pylist(rows, REASONS_SCHEMA)
