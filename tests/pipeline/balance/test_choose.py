"""The stage: the right reason for every document left out, and nothing that depends on the batch."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.balance.choice import GroupChoice, PhaseChoice
from pipeline.balance.choose import Choose
from pipeline.balance.queue import Queue
from pipeline.schema import with_columns
from pipeline.stage import apply
from tests.pipeline.balance.corpus import documents, table_of

EVERYTHING, HALF = (1, 0), (0, 1 << 63)


def choose(*phases: PhaseChoice) -> Choose:
    return Choose({"mixed": "ko"}, {"ko": 4.0, "en": 4.0}, 100, phases)


def phase(name: str, groups: dict[tuple[str, str], tuple[int, int]], **rules: object) -> PhaseChoice:
    languages = tuple(sorted({language for language, _ in groups}))
    choices = tuple(GroupChoice(language, domain, *taken) for (language, domain), taken in sorted(groups.items()))
    settings = {"quality_top": {}, "quality_tilt": 1.0, "importance": 0.0, "rehydrate": False, "points": {}} | rules
    return PhaseChoice(Queue(name, 11, languages, **settings), choices)


def test_the_furthest_reason_over_both_phases_is_told():
    rows = [
        {"id": "a", "lang": "ja", "domain": "news", "quality": 0.9},
        {"id": "b", "lang": None, "domain": "news", "quality": 0.9},
        {"id": "c", "lang": "ko", "domain": "ads", "quality": 0.9},
        {"id": "d", "lang": "ko", "domain": "news", "quality": 0.1},
        {"id": "e", "lang": "ko", "domain": "news", "quality": None},
        {"id": "f", "lang": "mixed", "domain": "law", "quality": 0.9},
        {"id": "g", "lang": "en", "domain": "news", "quality": 0.1},
        {"id": "h", "lang": "<script>" * 9, "domain": "news", "quality": 0.9},
    ]
    table = with_columns(pa.table({"id": [row["id"] for row in rows]}), {"text_bytes": [9] * len(rows)})
    table = with_columns(table, {name: [row[name] for row in rows] for name in ("lang", "domain", "quality")})
    stage = choose(
        phase("general", {("ko", "news"): EVERYTHING, ("ko", "law"): (0, 0)}, quality_top={"ko": 0.5}, points={"ko": (0.5,) * 999}),
        phase("domain", {("en", "news"): (0, 0)}),
    )
    result = stage(table)
    assert result["drop_reason"].to_pylist() == [
        "language_not_in_mix:ja",
        "language_not_in_mix:und",
        "domain_not_in_mix:ads",
        "low_quality",
        None,
        "over_budget",
        "over_budget",
        "language_not_in_mix:invalid",
    ]
    assert result["epochs_general"].to_pylist() == [0, 0, 0, 0, 1, 0, 0, 0] and not any(result["epochs_domain"].to_pylist())
    assert result["tokens"].to_pylist() == [None, None, 3, 3, 3, 3, 3, None]


def test_a_row_is_decided_alike_in_any_batch():
    table = table_of(documents(500, seed=5))
    groups = {(language, domain): HALF for language in ("ko", "en") for domain in ("news", "law", "other")}
    stage = choose(phase("general", groups), phase("domain", {("ko", "law"): (2, 1 << 62)}))
    whole = stage(table)
    pieces = pa.concat_tables([stage(table.slice(start, 37)) for start in range(0, 500, 37)])
    assert whole.equals(pieces.combine_chunks()) or whole.to_pylist() == pieces.to_pylist()
    assert set(whole["epochs_general"].to_pylist()) == {0, 1} and set(whole["epochs_domain"].to_pylist()) == {0, 2, 3}
    in_some = pc.or_(pc.greater(whole["epochs_general"], 0), pc.greater(whole["epochs_domain"], 0))
    assert pc.equal(in_some, pc.is_null(whole["drop_reason"])).to_pylist() == [True] * 500


def test_an_empty_batch_and_one_without_optional_columns():
    stage = choose(phase("general", {("und", "other"): EVERYTHING}))
    stage = Choose({}, {"und": 2.0}, 100, stage.phases)
    assert len(stage(table_of([]))) == 0
    plain = pa.table({"id": ["a", "b"], "text": pa.array(["한글", None], pa.large_string())})
    parted = apply(stage, plain)
    assert parted.kept["tokens"].to_pylist() == [3, 0] and parted.kept["epochs_general"].to_pylist() == [1, 1]
