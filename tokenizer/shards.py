"""Token shards: files of token ids that a trainer maps into memory, with an index and a table that says where each document is from.

A shard is three files of one stem. `.bin` holds int32 little-endian token ids, document after document. `.idx` is the index that
Megatron-LM reads: where each document begins and how long it is. `.parquet`, the side-car, has one row per document in the same order.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import RunFailed, UserError

MAGIC = b"MMIDIDX\x00\x00"
VERSION = 1
INT32_CODE = 4
"""Megatron-LM's number for int32 token ids (megatron/core/datasets/indexed_dataset.py, DType)."""

HEADER = struct.Struct("<9sQBQQ")
"""Magic, version, code of the token type, sequences, entries of the document list (one more than there are documents)."""

TOKEN = np.dtype("<i4")

LONGEST_DOCUMENT = 2**31 - 1
"""Tokens of one document that the index's int32 lengths can say."""

SIDE_CAR = pa.schema(
    [
        *((name, pa.string()) for name in ("id", "source", "url", "file")),
        ("position", pa.int64()),
        *((name, pa.string()) for name in ("host", "lang", "domain")),
        *((name, pa.int32()) for name in ("epochs", "replay_epochs")),
        ("long_document", pa.bool_()),
        ("tokens", pa.int32()),
        ("first_token", pa.int64()),
        ("text_bytes", pa.int64()),
    ]
)
"""Columns of the side-car. `file` and `position`: the record of the crawl. `tokens`: with the closing EOS. `first_token`: where the
document begins in the `.bin`, in tokens. `text_bytes`: UTF-8 bytes of its text. What the input doesn't have is null."""

_CODED = ["source", "file", "host", "lang", "domain"]
_ROW_GROUP = 1 << 16
"""Rows of a row group of the side-car: about 5 MB, which is what looking up one token costs."""

SUFFIXES = (".bin", ".idx", ".parquet")


def write_index(lengths: np.ndarray) -> bytes:
    """The content of a `.idx` for documents of these lengths (int32, tokens), each of them one sequence."""
    starts = np.zeros(len(lengths), np.int64)
    np.cumsum(lengths[:-1], dtype=np.int64, out=starts[1:])
    header = HEADER.pack(MAGIC, VERSION, INT32_CODE, len(lengths), len(lengths) + 1)
    documents = np.arange(len(lengths) + 1, dtype="<i8")
    return b"".join([header, lengths.astype("<i4").tobytes(), (starts * TOKEN.itemsize).astype("<i8").tobytes(), documents.tobytes()])


class _HashedFile:
    """A file that is hashed while it is written, so that nobody needs to read it again."""

    def __init__(self, path: Path) -> None:
        self._stream = open(path, "wb")  # noqa: SIM115 - closed by close, and with its shard
        self._digest, self._size = hashlib.sha256(), 0
        self.closed = False

    def write(self, data: Any) -> int:
        view = memoryview(data).cast("B")
        self._stream.write(view)
        self._digest.update(view)
        self._size += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        self._stream.close()
        self.closed = True

    def facts(self) -> dict[str, Any]:
        return {"bytes": self._size, "sha256": self._digest.hexdigest()}


class ShardWriter:
    """Writes one shard: `stem`.bin, .idx and .parquet."""

    def __init__(self, stem: Path, metadata: Mapping[str, str]) -> None:
        """metadata: kept in the side-car's schema, so that a shard without its folder still tells its tokenizer."""
        stem.parent.mkdir(parents=True, exist_ok=True)
        self._stem = stem
        self._bin, self._parquet = _HashedFile(_file(stem, ".bin")), _HashedFile(_file(stem, ".parquet"))
        self._side_car = pq.ParquetWriter(
            self._parquet,
            SIDE_CAR.with_metadata(dict(metadata)),
            compression="zstd",
            compression_level=1,
            use_dictionary=_CODED,  # type: ignore[arg-type]
            write_statistics=["first_token"],  # type: ignore[arg-type]
        )
        self._lengths: list[np.ndarray] = []
        self._pending: list[pa.Table] = []
        self._rows = 0
        self._text_bytes = 0
        self.tokens = 0

    def write(self, documents: pa.Table, tokens: np.ndarray, lengths: np.ndarray) -> None:
        """Append documents.

        documents: columns of SIDE_CAR but tokens and first_token; tokens: int32, of all of them in turn; lengths: int64, tokens of each,
        none above LONGEST_DOCUMENT.
        """
        starts = self.tokens + np.cumsum(lengths) - lengths
        given = {"tokens": pa.array(lengths.astype(np.int32)), "first_token": pa.array(starts)}
        columns = [given[name] if name in given else documents.column(name) for name in SIDE_CAR.names]
        self._bin.write(np.ascontiguousarray(tokens, TOKEN))
        self._lengths.append(lengths.astype(np.int32))
        self._pending.append(pa.table(columns, schema=SIDE_CAR))
        self.tokens += len(tokens)
        self._rows += len(documents)
        self._text_bytes += int(documents.column("text_bytes").to_numpy().sum())
        if sum(map(len, self._pending)) >= _ROW_GROUP:
            self._flush()

    def _flush(self) -> None:
        if self._pending:
            self._side_car.write_table(pa.concat_tables(self._pending).combine_chunks(), row_group_size=_ROW_GROUP)
            self._pending = []

    def close(self) -> dict[str, Any]:
        """Finish: documents, tokens and text_bytes of the shard, and size and sha256 of its files by suffix.

        Raises RunFailed when the index, the side-car and the tokens don't agree.
        """
        self._flush()
        self._side_car.close()
        self._parquet.close()
        self._bin.close()
        lengths = np.concatenate(self._lengths) if self._lengths else np.zeros(0, np.int32)
        index = _HashedFile(_file(self._stem, ".idx"))
        index.write(write_index(lengths))
        index.close()
        files = {suffix: file.facts() for suffix, file in zip(SUFFIXES, (self._bin, index, self._parquet), strict=True)}
        rows = pq.read_metadata(_file(self._stem, ".parquet")).num_rows
        if files[".bin"]["bytes"] != int(lengths.sum(dtype=np.int64)) * TOKEN.itemsize or rows != len(lengths) or rows != self._rows:
            raise RunFailed(f"the files of '{self._stem}' don't agree on their documents and tokens; this is a bug")
        return {"documents": rows, "tokens": self.tokens, "text_bytes": self._text_bytes, "files": files}


def _file(stem: Path, suffix: str) -> Path:
    return stem.with_name(stem.name + suffix)


@dataclass(frozen=True)
class TokenFile:
    """One shard. Its arrays are mapped when they are first asked for; a pickled TokenFile maps its files again where it arrives.

    path: the `.bin`. group: the values that its documents share, by key (phase, lang, source, ...). facts: size and sha256 by suffix.
    """

    path: Path
    group: Mapping[str, str]
    documents: int
    tokens: int
    text_bytes: int
    facts: Mapping[str, Mapping[str, Any]]

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}  # without the maps

    @cached_property
    def ids(self) -> np.ndarray:
        """int32[tokens]: all token ids, read-only."""
        return np.memmap(self.path, TOKEN, mode="r", shape=(self.tokens,)) if self.tokens else np.zeros(0, TOKEN)

    @cached_property
    def lengths(self) -> np.ndarray:
        """int32[documents]: tokens of each document, read-only."""
        return self._index(HEADER.size, TOKEN, self.documents)

    @cached_property
    def starts(self) -> np.ndarray:
        """int64[documents]: byte in the `.bin` at which each document begins, read-only."""
        return self._index(HEADER.size + TOKEN.itemsize * self.documents, np.dtype("<i8"), self.documents)

    def _index(self, offset: int, kind: np.dtype[Any], count: int) -> np.ndarray:
        return np.memmap(self.path.with_suffix(".idx"), kind, mode="r", offset=offset, shape=(count,)) if count else np.zeros(0, kind)

    def document(self, index: int) -> np.ndarray:
        """int32: the ids of document `index` of this shard, with the closing EOS, without copying. Raises IndexError outside."""
        if not 0 <= index < self.documents:
            raise IndexError(f"'{self.path}' has {self.documents:,} documents, and {index} is none of them")
        first = int(self.starts[index]) // TOKEN.itemsize
        return self.ids[first : first + int(self.lengths[index])]

    def side_car(self, columns: list[str] | None = None) -> pa.Table:
        """The shard's rows of SIDE_CAR, or some of its columns."""
        return pq.read_table(self.path.with_suffix(".parquet"), columns=columns, partitioning=None)


@dataclass(frozen=True)
class Shards:
    """A folder of token shards, in the order of their paths; documents are numbered through all of them."""

    folder: Path
    manifest: Mapping[str, Any]
    files: tuple[TokenFile, ...]

    def __len__(self) -> int:
        return sum(file.documents for file in self.files)

    @property
    def tokens(self) -> int:
        return sum(file.tokens for file in self.files)

    def groups(self) -> Iterator[tuple[Mapping[str, str], tuple[TokenFile, ...]]]:
        """Each group's values with its shards."""
        for folder in dict.fromkeys(file.path.parent for file in self.files):
            mine = tuple(file for file in self.files if file.path.parent == folder)
            yield mine[0].group, mine

    @cached_property
    def _ends(self) -> np.ndarray:
        return np.cumsum([file.documents for file in self.files], dtype=np.int64)

    def document(self, index: int) -> np.ndarray:
        """int32: the ids of document `index` of the whole folder, without copying. Raises IndexError outside."""
        if not 0 <= index < len(self):
            raise IndexError(f"'{self.folder}' has {len(self):,} documents, and {index} is none of them")
        place = int(np.searchsorted(self._ends, index, side="right"))
        return self.files[place].document(index - (int(self._ends[place - 1]) if place else 0))

    def verify(self) -> None:
        """Read every file. Raises UserError for the first one whose sha256 isn't the manifest's."""
        for file in self.files:
            for suffix in SUFFIXES:
                path = file.path.with_suffix(suffix)
                with open(path, "rb") as stream:
                    digest = hashlib.file_digest(stream, "sha256").hexdigest()
                if digest != file.facts[suffix]["sha256"]:
                    raise UserError(f"'{path}' has changed since it was written (its sha256 is another); encode again, or copy it again")


def load_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a folder that `onnuri tokenizer encode` finished. Raises UserError for any other folder."""
    path = folder / "manifest.json"
    try:
        manifest: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        segment = manifest["segment"]
    except FileNotFoundError:
        raise UserError(
            f"'{folder}' has no manifest.json, so it isn't a folder of token shards; make one with `onnuri tokenizer encode`"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"'{path}' can't be read as a manifest ({type(error).__name__}); run `onnuri tokenizer encode` again") from error
    if segment != "encode":
        raise UserError(f"'{folder}' holds the result of {segment}, not token shards; make those with `onnuri tokenizer encode`")
    if not manifest.get("finished"):
        raise UserError(
            f"the encoding into '{folder}' is not finished; run the same `onnuri tokenizer encode` again, it goes on from there"
        )
    return manifest


def open_shards(folder: Path, tokenizer_sha256: str | None = None) -> Shards:
    """The shards of a folder that `onnuri tokenizer encode` wrote. Sizes are checked here, contents by `verify()`.

    tokenizer_sha256: the tokenizer that the shards must be of (sha256 of its tokenizer.json). Raises UserError when the manifest is
    missing, of something else or unfinished, when the shards are of another tokenizer, and when a file is missing or has another size.
    """
    manifest = load_manifest(folder)
    own = manifest["tokenizer"]["sha256"]
    if tokenizer_sha256 is not None and own != tokenizer_sha256:
        raise UserError(
            f"the shards in '{folder}' were encoded with another tokenizer (sha256 {own[:12]}, asked for: {tokenizer_sha256[:12]}); "
            "use the tokenizer that made them, or encode the corpus again"
        )
    values = {group["folder"]: group["values"] for group in manifest["groups"]}
    files = []
    for shard in manifest["shards"]:
        stem = folder / shard["path"]
        for suffix, facts in shard["files"].items():
            _check_size(_file(stem, suffix), int(facts["bytes"]))
        counts = {key: int(shard[key]) for key in ("documents", "tokens", "text_bytes")}
        files.append(TokenFile(_file(stem, ".bin"), values[shard["group"]], **counts, facts=shard["files"]))
    return Shards(folder, manifest, tuple(files))


def _check_size(path: Path, size: int) -> None:
    try:
        found = path.stat().st_size
    except OSError as error:
        raise UserError(
            f"'{path}' is missing ({error.strerror}); run the same `onnuri tokenizer encode` again, or copy it again"
        ) from error
    if found != size:
        raise UserError(
            f"'{path}' has {found:,} bytes and should have {size:,}; run the same `onnuri tokenizer encode` again, or copy it again"
        )
