"""The stage contract, and rules: what Arrow drops, SQL drops."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.rules import Rule, apply_rules
from pipeline.schema import BY_NAME, COLUMNS, arrow_schema, conform, with_columns
from pipeline.stage import apply, decide, missing_columns, part
from tests.pipeline.toy import DropEverySeventh, Poisoned

signals = st.lists(st.tuples(st.one_of(st.none(), st.floats(-2, 2)), st.sampled_from(["ko", "en", None])), max_size=20)
rules = st.builds(
    Rule,
    column=st.just("digit_ratio"),
    op=st.sampled_from([">=", "<=", ">", "<", "==", "!="]),
    threshold=st.floats(-2, 2),
    languages=st.sampled_from([(), ("ko",), ("ko", "en"), ("it's",)]),
)


@given(signals=signals, rule=rules)
def test_a_rule_drops_the_same_rows_in_arrow_and_in_sql(signals, rule):
    table = with_columns(
        pa.table({"id": [str(i) for i in range(len(signals))]}),
        {"digit_ratio": [value for value, _ in signals], "lang": [language for _, language in signals]},
    )
    connection = duckdb.connect()
    connection.register("documents", table)
    expected = connection.execute(f"select id, {rule.sql()} from documents order by cast(id as int)").fetchall()
    assert rule.broken(table).to_pylist() == [broken for _, broken in expected]


def test_a_document_at_the_threshold_passes_and_the_first_broken_rule_is_the_reason():
    table = with_columns(pa.table({"id": ["a", "b", "c"]}), {"words": [50, 49, None], "digit_ratio": [0.3, 0.9, 0.9]})
    result = apply_rules(table, [Rule("words", ">=", 50), Rule("digit_ratio", "<=", 0.3)])
    assert result.column("drop_reason").to_pylist() == [None, "words<50", "digit_ratio>0.3"]


def test_an_unknown_operator_is_refused():
    with pytest.raises(ValueError, match="operator '~'"):
        Rule("words", "~", 1)


def test_error_wins_over_drop_and_the_first_reason_stays():
    table = pa.table({"id": ["a", "b", "c", "d"]})
    table = decide(table, "drop_reason", pa.array([True, True, False, False]), "first")
    table = decide(table, "drop_reason", pa.array([True, False, True, False]), "second")
    table = decide(table, "error", pa.array([False, True, False, False]), "broken")
    parted = part(table, "here")
    assert parted.kept.to_pylist() == [{"id": "d"}]
    assert parted.dropped.to_pylist() == [
        {"id": "a", "drop_reason": "first", "drop_stage": "here"},
        {"id": "c", "drop_reason": "second", "drop_stage": "here"},
    ]
    assert parted.quarantined.to_pylist() == [{"id": "b", "error": "broken", "drop_stage": "here"}]


def test_the_contract_is_checked():
    table = with_columns(pa.table({"id": ["a", "b"]}), {"text": ["lose", "x"]})
    with pytest.raises(ValueError, match="must return every row"):
        apply(Poisoned(), table)
    assert missing_columns([DropEverySeventh()], {"id"}) == ["seventh: text"]
    assert missing_columns([DropEverySeventh()], {"id", "text"}) == []


def test_every_column_is_documented_once_and_shards_have_one_order():
    assert len(BY_NAME) == len(COLUMNS) and all(column.meaning and column.writer for column in COLUMNS)
    schema = arrow_schema({"text", "id", "words"})
    assert schema.names == ["id", "text", "words"]
    conformed = conform(pa.table({"words": pa.array([1], pa.int64()), "extra": ["x"]}), schema)
    assert conformed.schema == schema and conformed.to_pylist() == [{"id": None, "text": None, "words": 1}]
