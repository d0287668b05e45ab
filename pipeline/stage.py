"""What a stage is: a named, versioned function from a table to a table of the same rows.

A stage never removes or reorders rows. It adds columns, and it speaks about a row through two of them: a non-null
`drop_reason` drops the row, a non-null `error` quarantines it. `apply` calls a stage, checks that contract and parts the rows. The same
object therefore works in the engine, in `ray.data.Dataset.map_batches(stage, batch_format="pyarrow")`, and in a test with five rows.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import BaseModel

from pipeline.schema import BY_NAME, with_columns


class Stage(Protocol):
    """A frozen dataclass whose fields are its settings (plain JSON values), with these (usually ClassVar) attributes and `__call__`.

    name: the stage's name in reports and `drop_stage`. version: raise it when the output changes for the same settings.
    reads / writes: the document columns it needs and the ones it sets (`drop_reason` and `error` need not be named).
    """

    @property
    def name(self) -> str: ...

    @property
    def version(self) -> str: ...

    @property
    def reads(self) -> frozenset[str]: ...

    @property
    def writes(self) -> frozenset[str]: ...

    def __call__(self, table: pa.Table) -> pa.Table: ...


@dataclasses.dataclass(frozen=True)
class Parted:
    """The rows of one batch after one stage."""

    kept: pa.Table
    dropped: pa.Table
    quarantined: pa.Table


def identity(stage: Any) -> dict[str, Any]:
    """What a fingerprint needs to know of a stage or reader: class, name, version and settings."""
    name = getattr(stage, "name", type(stage).__name__)
    return {"name": name, "version": stage.version, "settings": settings_of(stage)}


def settings_of(value: Any) -> Any:
    """A value as JSON for a fingerprint: dataclasses and pydantic models as their fields, sets sorted.

    A field made with `field(metadata={"fingerprint": False})` is left out: a path whose content is counted elsewhere.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = [field for field in dataclasses.fields(value) if field.metadata.get("fingerprint", True)]
        return {field.name: settings_of(getattr(value, field.name)) for field in fields}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, dict):
        return {str(key): settings_of(item) for key, item in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted(settings_of(item) for item in value)
    if isinstance(value, (list, tuple)):
        return [settings_of(item) for item in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    raise TypeError(f"{type(value).__name__} can't be part of a fingerprint")


def missing_columns(stages: Sequence[Stage], available: Iterable[str]) -> list[str]:
    """Columns that some stage reads although neither the input nor an earlier stage has them, as `stage: column`."""
    known = set(available)
    missing = []
    for stage in stages:
        missing += [f"{stage.name}: {name}" for name in sorted(stage.reads - known)]
        known |= stage.writes
    return missing


def apply(stage: Stage, table: pa.Table) -> Parted:
    """Run `stage` on rows none of which is decided yet, and part the result by `error`, then `drop_reason`.

    Raises ValueError when the stage breaks its contract (row count changed): a bug in the stage.
    """
    result = stage(table)
    if len(result) != len(table):
        raise ValueError(f"stage {stage.name} turned {len(table)} rows into {len(result)}; a stage must return every row")
    return part(result, stage.name)


def part(table: pa.Table, stage_name: str) -> Parted:
    """Part a table by its `error` and `drop_reason` columns (either may be absent); kept rows lose both columns.

    A row that comes with a `drop_stage` of its own, because an earlier run decided it, keeps that.
    """
    failed = _non_null(table, "error")
    dropped = pc.and_(_non_null(table, "drop_reason"), pc.invert(failed))
    decided = pc.or_(failed, dropped)
    if not pc.any(decided).as_py():
        return Parted(_without(table, "error", "drop_reason", "drop_stage"), table.slice(0, 0), table.slice(0, 0))
    stage = pa.repeat(pa.scalar(stage_name), len(table))
    named = with_columns(
        table, {"drop_stage": pc.coalesce(table.column("drop_stage"), stage) if "drop_stage" in table.column_names else stage}
    )
    return Parted(
        _without(table.filter(pc.invert(decided)), "error", "drop_reason", "drop_stage"),
        _without(named.filter(dropped), "error"),
        _without(named.filter(failed), "drop_reason"),
    )


def _non_null(table: pa.Table, name: str) -> pa.ChunkedArray | pa.Array:
    if name not in table.column_names:
        return pa.repeat(False, len(table))
    return pc.is_valid(table.column(name))


def _without(table: pa.Table, *names: str) -> pa.Table:
    return table.drop_columns([name for name in names if name in table.column_names])


def decide(table: pa.Table, column: str, mask: pa.Array | pa.ChunkedArray, value: str) -> pa.Table:
    """Set `column` (`drop_reason` or `error`) to `value` where `mask` is true and nothing is set yet: the first reason stays."""
    field = pa.field(column, BY_NAME[column].type)
    scalar = pa.scalar(value, pa.string())
    if column not in table.column_names:
        return table.append_column(field, pc.if_else(mask, scalar, pa.scalar(None, pa.string())))
    current = table.column(column)
    decided = pc.if_else(pc.and_(mask, pc.is_null(current)), scalar, current)
    return table.set_column(table.schema.get_field_index(column), field, decided)
