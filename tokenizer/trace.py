"""From a token back to the web: which document a position of a token shard belongs to, and which record of the crawl that was."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.errors import UserError
from pipeline.inspection import connect
from pipeline.report.text import visible
from tokenizer.encoder import load_tokenizer
from tokenizer.shards import SUFFIXES, TOKEN, open_shards

AROUND = 16
"""Tokens shown on either side of the one that is traced: about a sentence."""

EXCERPT = 400
"""Characters of the record's text that are shown."""

_IDENTITY = ("id", "source", "url", "file", "position", "host", "lang", "domain")


@dataclass(frozen=True)
class Record:
    """The document in the run that made the corpus. view: the view of the run that has it; excerpt: how its text begins."""

    view: str
    url: str | None
    title: str | None
    date: str | None
    source: str | None
    file: str | None
    position: int | None
    excerpt: str | None


@dataclass(frozen=True)
class Around:
    """Decoded text of the same document beside the token; a token that is part of a character decodes to U+FFFD."""

    before: str
    token: str
    after: str


@dataclass(frozen=True)
class Trace:
    """Where a token comes from. shard: the `.bin`; token: its position there; token_id: what stands there.

    document: number of its document in the shard; token_in_document and tokens: place in the document and the document's length, with EOS.
    group: the values that all documents of the shard share. id, source, url, file, position, host, lang, domain: of the document, `file`
    and `position` being the record of the crawl; None where the corpus doesn't say.
    """

    shard: str
    token: int
    token_id: int
    document: int
    token_in_document: int
    tokens: int
    group: dict[str, str]
    id: str
    source: str | None
    url: str | None
    file: str | None
    position: int | None
    host: str | None
    lang: str | None
    domain: str | None
    around: Around | None = None
    record: Record | None = None

    def to_json(self) -> str:
        """All of it as one JSON object."""
        return json.dumps(asdict(self), ensure_ascii=False, indent=1)

    def render(self) -> str:
        """The trace as lines of name and value, control characters shown as escapes."""
        lines = [
            ("shard", self.shard),
            ("token", f"{self.token:,} (id {self.token_id}), {self.token_in_document + 1:,} of {self.tokens:,} of its document"),
            ("document", f"{self.document:,} of the shard"),
            *(("group", f"{key} = {value}") for key, value in self.group.items()),
            *((name, getattr(self, name)) for name in _IDENTITY),
        ]
        if self.around:
            lines.append(("text", f"{visible(self.around.before)}[{visible(self.around.token)}]{visible(self.around.after)}"))
        if self.record:
            lines += [(f"record {name}", value) for name, value in asdict(self.record).items()]
        width = max(len(name) for name, _ in lines)
        return "\n".join(f"{name:<{width}}  {visible(value, EXCERPT)}" for name, value in lines if value is not None)


@dataclass(frozen=True)
class Place:
    """One place of a document: document `document` of the shard, tokens first_token to first_token + tokens of its `.bin`."""

    shard: str
    document: int
    first_token: int
    tokens: int


def trace(path: Path, position: int, run: Path | None = None, tokenizer: Path | None = None) -> Trace:
    """The document and record of the token at `position` of a shard.

    path: the shard's `.bin` (or `.idx` or `.parquet`). run: a run directory in which to look up the document. tokenizer: the folder of the
    shard's tokenizer, to show the text around the token. Raises UserError for a path that is no shard, a position outside of it, a
    missing side-car, a run without the document, and another tokenizer.
    """
    tokens = _tokens(path)
    path = path.with_suffix(".bin")
    if not 0 <= position < len(tokens):
        held = f"holds tokens 0 to {len(tokens) - 1:,}" if len(tokens) else "holds no tokens"
        raise UserError(f"'{path}' {held}, and {position:,} is none of them; give a position inside")
    document, row, metadata = _side_car_row(path, position)
    first, length = int(row["first_token"]), int(row["tokens"])
    if not first <= position < first + length:
        raise UserError(f"the side-car of '{path}' knows no document at token {position:,}, so they aren't of one encoding; encode again")
    try:
        group: dict[str, str] = json.loads(metadata.get(b"group", b"{}"))
    except ValueError:
        group = {}
    return Trace(
        shard=str(path),
        token=position,
        token_id=int(tokens[position]),
        document=document,
        token_in_document=position - first,
        tokens=length,
        group=group,
        **{name: row[name] for name in _IDENTITY},
        around=_around(tokens[first : first + length], position - first, tokenizer, metadata, path) if tokenizer else None,
        record=find_record(run, str(row["id"])) if run else None,
    )


def _tokens(path: Path) -> np.ndarray:
    """The ids of a shard, mapped."""
    if path.is_dir():
        raise UserError(f"'{path}' is a folder; give one of its token files (.bin)")
    if path.suffix not in SUFFIXES:
        raise UserError(f"'{path}' isn't a token file; give a .bin that `onnuri tokenizer encode` wrote")
    path = path.with_suffix(".bin")
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"can't read '{path}': {error.strerror}; give a .bin that `onnuri tokenizer encode` wrote") from error
    if size % TOKEN.itemsize:
        raise UserError(
            f"'{path}' has {size:,} bytes, not a multiple of {TOKEN.itemsize}, so it isn't a token file or is cut off; encode again"
        )
    return np.memmap(path, TOKEN, mode="r") if size else np.zeros(0, TOKEN)


def _side_car_row(path: Path, position: int) -> tuple[int, dict[str, Any], dict[bytes, bytes]]:
    """Number and side-car row of the document at a position, and the side-car's metadata. Only its row group is read."""
    side_car = path.with_suffix(".parquet")
    try:
        with pq.ParquetFile(side_car) as file:
            if missing := {*_IDENTITY, "tokens"} - set(file.schema_arrow.names):
                raise ValueError(f"it has no column {min(missing)}")
            group, before = _row_group(file.metadata, file.schema_arrow.get_field_index("first_token"), position)
            rows = file.read_row_group(group, columns=[*_IDENTITY, "tokens", "first_token"])
            metadata = file.schema_arrow.metadata or {}
    except FileNotFoundError:
        raise UserError(f"'{side_car}' is missing, which says where the tokens of '{path}' come from; put it beside it") from None
    except (pa.ArrowException, OSError, KeyError, ValueError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"'{side_car}' can't be read as the side-car of a token file ({reason}); encode again") from error
    index = max(0, int(np.searchsorted(rows.column("first_token").to_numpy(), position, side="right")) - 1)
    return before + index, {name: _value(rows.column(name)[index]) for name in rows.column_names}, metadata


def _row_group(metadata: pq.FileMetaData, column: int, position: int) -> tuple[int, int]:
    """The last row group that begins at or before a token, by binary search in the footer, and the rows before it."""
    low, high = 0, metadata.num_row_groups
    if column < 0 or not metadata.num_rows:
        raise ValueError("it has no column first_token or no rows")
    while high - low > 1:
        middle = (low + high) // 2
        statistics = metadata.row_group(middle).column(column).statistics
        if statistics is None:
            raise ValueError("its column first_token has no statistics")
        low, high = (middle, high) if statistics.min <= position else (low, middle)
    return low, sum(metadata.row_group(index).num_rows for index in range(low))


def _value(scalar: pa.Scalar) -> Any:
    """The scalar as Python has it; bytes that aren't UTF-8, which a user's own table may hold, as escapes."""
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.cast(pa.binary()).as_py().decode("utf-8", "backslashreplace")


def _around(ids: np.ndarray, index: int, folder: Path, metadata: dict[bytes, bytes], path: Path) -> Around:
    """The text of a document around its token `index`."""
    import tokenizers

    tokenizer = load_tokenizer(folder)
    own = metadata.get(b"tokenizer_sha256", b"").decode("ascii", "replace")
    if own != tokenizer.sha256:
        raise UserError(
            f"'{path}' was encoded with another tokenizer (sha256 {own[:12]}, of '{tokenizer.path}' it is {tokenizer.sha256[:12]}); "
            "give the one that made it"
        )
    model = tokenizers.Tokenizer.from_file(tokenizer.path)

    def decoded(part: np.ndarray) -> str:
        return str(model.decode(part.tolist(), skip_special_tokens=False))

    return Around(
        decoded(ids[max(0, index - AROUND) : index]), decoded(ids[index : index + 1]), decoded(ids[index + 1 : index + 1 + AROUND])
    )


def find_record(run: Path, identifier: str) -> Record:
    """The document of this id in a run, with how its text begins. Raises UserError for a path that is no run, and when it isn't there."""
    wanted = ("url", "title", "date", "source", "file", "position")
    with contextlib.closing(connect(run)) as connection:
        for view in ("documents", "corpus", "kept_ingest"):
            columns = ", ".join(f'"{name}"' for name in wanted)
            sql = f'select {columns}, left("text", {EXCERPT}) from {view} where id = ? limit 1'
            found: Sequence[Any] | None = connection.execute(sql, [identifier]).fetchone()
            if found is not None:
                return Record(view, *found)
    raise UserError(f"the run '{run}' has no document '{identifier}'; give the run whose corpus was encoded")


def places(folder: Path, identifier: str) -> list[Place]:
    """Every place of a folder of token shards that holds this document: one for each phase that reads it, none for a document that isn't
    there. Raises UserError when it isn't a folder of token shards."""
    found = []
    for file in open_shards(folder).files:
        table = file.side_car(["id", "tokens", "first_token"])
        rows = np.flatnonzero(np.asarray(pc.fill_null(pc.equal(table.column("id"), identifier), False)))
        for row in rows.tolist():
            found.append(Place(str(file.path), row, table.column("first_token")[row].as_py(), table.column("tokens")[row].as_py()))
    return found


def render_places(found: Sequence[Place]) -> str:
    """A line per place: shard, document, tokens."""
    return "\n".join(
        f"{place.shard}  document {place.document:,}, tokens {place.first_token:,} to {place.first_token + place.tokens - 1:,}"
        for place in found
    )
