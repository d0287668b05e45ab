"""Encoding: corpus shards in, token shards out, one for each group of documents of a split."""

from __future__ import annotations

import functools
import json
import re
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import xxhash
from pydantic import Field, field_validator

from pipeline import __version__
from pipeline.errors import RunFailed, UserError
from pipeline.files import open_file
from pipeline.segment import SMALL_INPUT_ROWS, Segment, write_json
from pipeline.settings import Settings
from pipeline.splits import Part, Split
from tokenizer.encode_groups import Groups
from tokenizer.encoder import PROBE, Encoder, TokenizerFile, backend_version, first_difference, load_tokenizer, text_offsets
from tokenizer.shards import SIDE_CAR, SUFFIXES
from tokenizer.special_tokens import EOS
from tokenizer.texts import Skipped, read_texts

SPLIT_BYTES = 256 << 20
"""Bytes of input per task, to plan the splits by: about 600 MB of text and 10 s of work, so that neither the start of a task nor its cold
cache counts, and groups that are a hundredth of the corpus still get shards of megabytes."""

FOLDERS = ("phase", "lang")
"""Keys of the corpus path (`phase=general/lang=ko`) that are always part of a shard's path."""

EMPTY = "empty"
"""Why a document without a token is skipped; `texts.read_texts` has its own reasons."""

COUNTS = ("documents", "tokens", "text_bytes")
"""What is counted of every shard, group and manifest. tokens: with the closing EOS."""

_COLUMNS = [name for name in SIDE_CAR.names if name not in ("id", "tokens", "first_token", "text_bytes")]


class EncodeConfig(Settings):
    """How a corpus becomes token shards."""

    group_by: list[str] = Field(
        default=["source", "domain"],
        description="Columns whose values part the documents into folders; `phase` and `lang` of the corpus path always do.",
    )
    eos: bool = Field(default=True, description="Close every document with the end-of-document token.")
    eos_token: str = Field(default=EOS, description="The end-of-document token, as tokenizer.json spells it.")
    backend: Literal["gigatoken", "tokenizers"] = Field(
        default="gigatoken",
        description="gigatoken: the fast encoder. tokenizers: the reference, for a tokenizer.json that gigatoken refuses.",
    )
    check_bytes: int = Field(
        default=32 << 10,
        ge=0,
        description="Bytes of text at the beginning of each split that the reference encodes too; a difference stops the run. 0: none.",
    )
    shard_bytes: int = Field(
        default=1 << 30,
        ge=1 << 10,
        description="Largest `.bin`; what a group has beyond it goes to a next one. Only a single document may be larger.",
    )
    min_kept_share: float = Field(default=0.01, ge=0, le=1, description="The run stops when a smaller share of the documents is encoded.")

    @field_validator("group_by")
    @classmethod
    def _are_columns(cls, value: list[str]) -> list[str]:
        for name in value:
            if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) or name in ("id", "text"):
                raise ValueError(f"'{name}' can't be grouped by; name columns such as source, domain, lang or host")
        return list(dict.fromkeys(value))


@dataclass(frozen=True)
class EncodeTask:
    """Encodes one split into `<key>=<value>/.../<split>.bin`, .idx and .parquet for each of its groups, in the order of its documents."""

    split: Split
    folders: tuple[tuple[tuple[str, str], ...], ...]
    """What the `key=value` folders on the path of each part say: texts.read_texts takes columns from there too."""
    tokenizer: str = field(metadata={"fingerprint": False})
    tokenizer_sha256: str
    closing: int
    backend: str
    group_by: tuple[str, ...]
    shard_bytes: int
    check_bytes: int = field(metadata={"fingerprint": False})
    version: str = "1"

    @property
    def name(self) -> str:
        return self.split.name

    def __call__(self, folder: Path) -> dict[str, Any]:
        encoder = _encoder(self.tokenizer, self.tokenizer_sha256, self.backend)
        skipped = Skipped()
        groups = Groups(folder, self.name, self.group_by, self.shard_bytes, self.closing, self.tokenizer_sha256)
        checked, came, text_bytes = self.check_bytes == 0, 0, 0
        for part, folders in zip(self.split.parts, self.folders, strict=True):
            fixed = {key: value for key, value in folders if key in FOLDERS}
            read, before = 0, skipped.rows.total()
            for table in self._tables(part, skipped):
                if not checked:
                    self._check(encoder, table)
                    checked = True
                texts = table.column("text").chunk(0)
                ids, offsets = encoder(texts)
                sizes = np.diff(text_offsets(texts))
                rows = table.drop_columns(["text"]).append_column("text_bytes", pa.array(sizes))
                empty = groups.add(rows, fixed, ids, offsets)
                if empty:
                    skipped.rows[EMPTY] += empty
                read += len(table) - empty
                text_bytes += int(sizes.sum())
            came += _rows(part, read + skipped.rows.total() - before)
        shards = groups.close()
        encoded = sum(shard["documents"] for shard in shards)
        if came != encoded + skipped.rows.total():
            raise RunFailed(
                f"split {self.name}: {came:,} documents came in, {encoded:,} were encoded and {skipped.rows.total():,} skipped; "
                "this is a bug, please report it"
            )
        return {"rows_in": came, "bytes_in": text_bytes, "skipped": dict(sorted(skipped.rows.items())), "shards": shards}

    def _tables(self, part: Part, skipped: Skipped) -> Iterator[pa.Table]:
        columns = [*_COLUMNS, *(name for name in self.group_by if name not in _COLUMNS)]
        try:
            yield from read_texts(Split(self.name, (part,)), columns, skipped)
        except (pa.ArrowException, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise  # of the disk or network; Arrow's own, for damaged pages, have no number
            reason = str(error).splitlines()[0]
            raise RunFailed(f"'{part.path}' can't be read to its end ({reason}); leave it out or write it again") from error

    def _check(self, encoder: Encoder, table: pa.Table) -> None:
        """Compare the first documents, as many as have `check_bytes` together or the beginning of a longer one, with the reference."""
        texts = table.column("text").chunk(0)
        offsets = text_offsets(texts)
        rows = int(np.searchsorted(offsets - offsets[0], self.check_bytes, side="right")) - 1
        if rows == 0:
            texts = pa.array([texts[0].as_py()[: self.check_bytes]], pa.large_string())
        reference = _encoder(self.tokenizer, self.tokenizer_sha256, "tokenizers")
        row = first_difference((encoder, reference), texts.slice(0, max(1, rows)))
        if row is not None:
            raise UserError(_differs(encoder.backend, f"the document '{table.column('id')[row]}' of split {self.name}"))


def _differs(backend: str, where: str) -> str:
    return f"{backend} gives {where} other ids than tokenizers does; encode with --set backend=tokenizers, and please report this"


@functools.lru_cache(maxsize=2)
def _encoder(path: str, sha256: str, backend: str) -> Encoder:
    """The worker's encoder, kept from split to split: what it remembers makes it fast."""
    return Encoder(_tokenizer(path, sha256), backend)


@functools.lru_cache(maxsize=1)
def _tokenizer(path: str, sha256: str) -> TokenizerFile:
    tokenizer = load_tokenizer(Path(path).parent)
    if tokenizer.sha256 != sha256:
        raise RunFailed(f"'{path}' has changed while it was in use; run again")
    return tokenizer


def _rows(part: Part, read: int) -> int:
    """The documents of a part: what its footer counts, for Parquet; elsewhere only reading tells."""
    if part.format != "parquet":
        return read
    with open_file(part.path) as stream:
        metadata = pq.ParquetFile(stream).metadata
    stop = metadata.num_row_groups if part.stop is None else part.stop
    return sum(metadata.row_group(index).num_rows for index in range(part.start, stop))


def run(segment: Segment, splits: Sequence[Split], tokenizer_folder: Path, config: EncodeConfig) -> dict[str, Any]:
    """Encode the splits into `segment.directory` and return its manifest, which is also `manifest.json`, written last.

    Raises UserError when the folder holds shards of another tokenizer, when the tokenizer has no end-of-document token or the documents
    have no column of group_by, and when the backend refuses the tokenizer or differs from the reference; RunFailed when documents
    are lost, or too few can be encoded.
    """
    started = time.perf_counter()
    tokenizer = load_tokenizer(tokenizer_folder.absolute())
    closing = _closing(tokenizer, config)
    _check_backend(tokenizer, config)
    _check_columns(splits, config)
    folder = segment.directory
    _refuse_other_tokenizer(folder, tokenizer)
    facts: dict[str, Any] = {
        "segment": "encode",
        "version": __version__,
        "finished": False,
        "tokenizer": {
            "sha256": tokenizer.sha256,
            "vocab_size": tokenizer.vocab_size,
            "eos_token": config.eos_token if config.eos else None,
            "eos_id": closing if config.eos else None,
        },
    }
    write_json(folder / "manifest.json", facts)  # a folder that says what it is can be gone on with after a failure
    settings = (tokenizer.path, tokenizer.sha256, closing, config.backend, tuple(config.group_by), config.shard_bytes, config.check_bytes)
    ordered = sorted(splits, key=lambda split: split.name)
    tasks = [EncodeTask(split, tuple(_folders(part) for part in split.parts), *settings) for split in ordered]
    receipts = segment.step("encode", tasks, into=folder)
    manifest = facts | build_manifest(receipts, splits, config)
    if not manifest["documents"]:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in manifest["skipped"].items()) or "the input has no rows"
        raise UserError(f"there is nothing to encode: {reasons}; give other files, or name the column with --text-column")
    _check_kept(manifest, config.min_kept_share)
    _remove_others(folder, manifest["shards"])
    manifest |= {
        "finished": True,
        "engine": segment.engine.name,
        "workers": segment.engine.workers,
        "wall_seconds": round(time.perf_counter() - started, 3),
        "cpu_seconds": round(sum(receipt.get("cpu_seconds", 0.0) for receipt in receipts), 3),
        "peak_memory_bytes": max((receipt.get("peak_memory_bytes", 0) for receipt in receipts), default=0),
    }
    write_json(folder / "manifest.json", manifest)
    return manifest


def _closing(tokenizer: TokenizerFile, config: EncodeConfig) -> int:
    """The id that closes every document; -1 for none."""
    if not config.eos:
        return -1
    if config.eos_token not in tokenizer.ids:
        some = ", ".join(list(tokenizer.ids)[:5]) or "none"
        raise UserError(
            f"'{tokenizer.path}' has no special token '{config.eos_token}' to close documents with (it has {some}); "
            "name its own with --set eos_token=..., or --set eos=false"
        )
    return tokenizer.ids[config.eos_token]


def _check_backend(tokenizer: TokenizerFile, config: EncodeConfig) -> None:
    """Load the encoder once here, so that a tokenizer it refuses is one sentence and not one per split, and try it on PROBE."""
    encoder = Encoder(tokenizer, config.backend)
    if config.backend == "tokenizers":
        return
    row = first_difference((encoder, Encoder(tokenizer, "tokenizers")), pa.array(PROBE, pa.large_string()))
    if row is not None:
        raise UserError(_differs(config.backend, f"the text {PROBE[row]!r}"))


def _check_columns(splits: Sequence[Split], config: EncodeConfig) -> None:
    """Raises UserError for a group_by of a column that documents have no way to have: a typing error would put all in one group."""
    first = next((part for split in splits for part in split.parts if part.format == "parquet"), None)
    unusual = [name for name in config.group_by if name not in _COLUMNS]
    if first is None or not unusual:
        return
    with open_file(first.path) as stream:
        names = pq.read_schema(stream).names
    for name in unusual:
        if name not in names and name not in dict(_folders(first)):
            raise UserError(f"group_by names '{name}', and '{first.path}' has no such column; it has {', '.join(names)}")


def _refuse_other_tokenizer(folder: Path, tokenizer: TokenizerFile) -> None:
    try:
        own = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))["tokenizer"]["sha256"]
    except (OSError, ValueError, KeyError, TypeError):
        return
    if own != tokenizer.sha256:
        raise UserError(
            f"'{folder}' holds shards of another tokenizer (sha256 {str(own)[:12]}, of '{tokenizer.path}' it is {tokenizer.sha256[:12]}); "
            "give another folder with -o, or the tokenizer that made them"
        )


def _folders(part: Part) -> tuple[tuple[str, str], ...]:
    """Keys and values of the `key=value` folders on a part's path: FOLDERS in their order, then the others by name."""
    found = dict(name.split("=", 1) for name in PurePath(part.path).parts if name.count("=") == 1)
    order = {key: place for place, key in enumerate(FOLDERS)}
    return tuple(sorted(found.items(), key=lambda item: (order.get(item[0], len(order)), item[0])))


def build_manifest(receipts: Sequence[dict[str, Any]], splits: Sequence[Split], config: EncodeConfig) -> dict[str, Any]:
    """Totals, groups and shards of these receipts. The corpus fingerprint is of the input's files, whatever the splits.

    Raises RunFailed when documents are neither encoded nor skipped.
    """
    shards = sorted((shard for receipt in receipts for shard in receipt["shards"]), key=lambda shard: str(shard["path"]))
    groups: dict[str, dict[str, Any]] = {}
    for shard in shards:
        empty = {"folder": shard["folder"], "values": shard["values"], "shards": 0, **dict.fromkeys(COUNTS, 0)}
        group = groups.setdefault(shard["folder"], empty)
        group["shards"] += 1
        for key in COUNTS:
            group[key] += shard[key]
    skipped: Counter[str] = Counter()
    for receipt in receipts:
        skipped.update(receipt["skipped"])
    total = {key: sum(shard[key] for shard in shards) for key in COUNTS}
    came = sum(receipt["rows_in"] for receipt in receipts)
    if came != total["documents"] + skipped.total():
        raise RunFailed(
            f"encode: {came - total['documents'] - skipped.total():,} documents were neither encoded nor skipped; this is a bug"
        )
    files = {(part.source, part.name, part.fingerprint) for split in splits for part in split.parts}
    corpus = xxhash.xxh3_128_hexdigest(json.dumps(sorted(files), ensure_ascii=False).encode())
    return {
        "backend": backend_version(config.backend),
        "config": config.model_dump(mode="json"),
        "corpus": {"fingerprint": corpus, "files": len(files), "documents": came},
        "splits": len(splits),
        "skipped": dict(sorted(skipped.items())),
        **total,
        "bytes_per_token": _rate(total),
        "groups": [{**group, "bytes_per_token": _rate(group)} for _, group in sorted(groups.items())],
        "shards": [
            {"path": shard["path"], "group": shard["folder"], **{key: shard[key] for key in (*COUNTS, "files")}} for shard in shards
        ],
    }


def _rate(counts: dict[str, Any]) -> float | None:
    return round(counts["text_bytes"] / counts["tokens"], 4) if counts["tokens"] else None


def _check_kept(manifest: dict[str, Any], least: float) -> None:
    came, encoded = manifest["corpus"]["documents"], manifest["documents"]
    if came >= SMALL_INPUT_ROWS and encoded < least * came:
        reasons = ", ".join(f"{reason} ({count:,})" for reason, count in manifest["skipped"].items())
        raise RunFailed(
            f"encode could use {encoded:,} of {came:,} documents, fewer than min_kept_share of {least:g} allows: {reasons}; "
            "look at the input and its text column, or add --set min_kept_share=0 to go on"
        )


def _remove_others(folder: Path, shards: Sequence[dict[str, Any]]) -> None:
    """Remove token files in folders of groups, and such folders without any, that this configuration doesn't make, and old failures."""
    shutil.rmtree(folder / "failed", ignore_errors=True)
    named = {shard["path"] + suffix for shard in shards for suffix in SUFFIXES}
    for top in sorted(path for path in folder.glob("*=*") if path.is_dir()):
        for path in (*sorted(top.rglob("*"), reverse=True), top):  # what lies deepest first
            if path.is_file() and path.suffix in SUFFIXES and str(path.relative_to(folder)) not in named:
                path.unlink()
            elif path.is_dir() and not any(path.iterdir()):
                path.rmdir()
