"""The documents that are to be labelled, table by table and always in the same order, whatever form the user's files have."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from pipeline.classify.labelled import UNKNOWN_LANGUAGE
from pipeline.documents import usable_documents
from pipeline.errors import UserError
from pipeline.schema import BY_NAME, with_columns
from pipeline.splits import Split

COLUMNS = ("id", "text", "lang", "source", "url", "host", "meta")
"""What every table of `documents` has."""


def documents(splits: Sequence[Split], more: Sequence[str] = ()) -> Iterator[pa.Table]:
    """Tables of the documents with text: COLUMNS (`lang` und where unknown, `source` the record's own if it has one) and those of `more`
    that are there. The order depends on the files' names and rows only, and is the same every time.

    Raises UserError where there is no document at all.
    """
    wanted = (*COLUMNS, *(name for name in more if name in BY_NAME and name not in COLUMNS))
    seen = False
    for split in splits:
        for table in usable_documents(split, wanted):
            if "text" not in table.column_names:
                continue
            table = table.filter(pc.greater(pc.binary_length(pc.fill_null(table.column("text"), "")), 0))
            if len(table) == 0:
                continue
            seen = True
            missing = {name: pa.nulls(len(table), BY_NAME[name].type) for name in COLUMNS if name not in table.column_names}
            table = with_columns(table, missing)
            known = {"lang": pc.fill_null(table.column("lang"), UNKNOWN_LANGUAGE)}
            own_source = field_of_records(table, "source")
            yield with_columns(table, known | {"source": pc.coalesce(own_source, table.column("source"))}).select(
                [name for name in wanted if name in table.column_names]
            )
    if not seen:
        raise UserError("no input document has any text; check the files, and --text-column")


def field_of_records(table: pa.Table, name: str) -> pa.Array:
    """A field of the records the documents came from (out of `meta`) as text, null where a record lacks it.

    Raises UserError for a name with a quotation mark or backslash, which a JSON path can't hold.
    """
    if '"' in name or "\\" in name:
        raise UserError(f"the field name '{name}' holds a quotation mark or backslash; rename the field")
    fields = pl.Series(table.column("meta").cast(pa.large_string())).str
    return fields.json_path_match(f'$["{name}"]').to_arrow().cast(pa.string())


def texts_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A text column of the document table, or else a field of the records."""
    if name in table.column_names and name != "meta":
        return table.column(name).cast(pa.string())
    return pa.chunked_array([field_of_records(table, name)])


def numbers_of(table: pa.Table, name: str) -> pa.ChunkedArray:
    """A numeric column of the document table, or else a field of the records; null where that is no number."""
    if name in table.column_names and name in BY_NAME:
        type_ = BY_NAME[name].type
        if pa.types.is_integer(type_) or pa.types.is_floating(type_):
            return table.column(name).cast(pa.float64())
    return pa.chunked_array([pl.Series(field_of_records(table, name)).cast(pl.Float64, strict=False).to_arrow()])


def keys_of(ids: pa.ChunkedArray, seed: int) -> np.ndarray:
    """uint64 per document: xxh3_64 of its id under `seed`. Documents are sampled, and written, by ascending key."""
    digest = xxhash.xxh3_64_intdigest
    return np.array([digest((id_ or "").encode(), seed) for id_ in ids.to_pylist()], np.uint64)


@dataclass
class Codes:
    """Small numbers for texts that come again and again, such as languages, in order of appearance."""

    names: list[str]

    def of(self, texts: pa.ChunkedArray) -> np.ndarray:
        """int32 per text."""
        encoded = texts.combine_chunks().dictionary_encode()
        encoded = encoded.chunk(0) if isinstance(encoded, pa.ChunkedArray) else encoded
        listed = encoded.dictionary.to_pylist()
        self.names += [name for name in listed if name not in self.names]
        places = np.array([self.names.index(name) for name in listed], np.int32)
        return places[encoded.indices.to_numpy(zero_copy_only=False)]


def smallest(groups: np.ndarray, ranks: np.ndarray, keys: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """bool[n]: the `limits[g]` rows of each group g with the smallest rank, ties by key, then by order; groups: int64, -1 for none.

    Nested: a bigger limit chooses all that a smaller one does.
    """
    order = np.lexsort((np.arange(len(groups)), keys, ranks, groups))
    sorted_groups = groups[order]
    firsts = np.searchsorted(sorted_groups, sorted_groups)
    place = np.arange(len(groups)) - firsts
    chosen = np.zeros(len(groups), np.bool_)
    chosen[order] = (sorted_groups >= 0) & (place < limits[np.maximum(sorted_groups, 0)])
    return chosen
