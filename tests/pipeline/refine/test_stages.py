"""The chain as a whole: presets load, errors name the nearest name, stages keep their contract, and rows are conserved."""

from __future__ import annotations

import dataclasses
import json
from importlib import resources

import pyarrow as pa
import pytest
import yaml
from pydantic import ValidationError

from pipeline.errors import UserError
from pipeline.refine.config import RefineConfig, RuleSettings
from pipeline.refine.stages import PRESETS, Preset, Rules, load_preset, stages
from pipeline.rules import Rule
from pipeline.schema import BY_NAME
from pipeline.stage import apply, identity, missing_columns

KOREAN = (
    "서울은 대한민국의 수도이자 가장 큰 도시이다. 한강을 끼고 있으며 북쪽에는 북한산이 솟아 있다. 조선 시대부터 나라의 중심이었고 "
    "오늘날에는 정치와 경제와 문화가 모이는 곳이다. 인구는 한때 천만 명을 넘었으나 최근에는 조금씩 줄고 있다. "
    "지하철은 스물세 개 노선이 시내와 주변 도시를 잇는다. 궁궐과 시장과 대학이 많아 찾는 사람도 끊이지 않는다."
)
ENGLISH = (
    "The city lies on both banks of the river, and its history goes back more than two thousand years. Merchants came first, then "
    "kings built their palaces on the hills to the north. Visitors who walk along the old wall can still see gates that have stood "
    "since then. In the last century the town grew into one of the largest in the region, with universities, theatres and a port."
)


def run(texts: list[str | None], config: RefineConfig | None = None) -> tuple[pa.Table, dict[str, str]]:
    """The kept rows and, for the others, the reason by id."""
    table = pa.table({"id": [str(row) for row in range(len(texts))], "text": pa.array(texts, pa.large_string())})
    dropped: dict[str, str] = {}
    for stage in stages(config or RefineConfig()):
        parted = apply(stage, table)
        assert len(parted.kept) + len(parted.dropped) + len(parted.quarantined) == len(table)
        if len(parted.dropped):
            dropped |= dict(zip(parted.dropped.column("id").to_pylist(), parted.dropped.column("drop_reason").to_pylist(), strict=True))
        table = parted.kept
    return table, dropped


def test_prose_is_kept_and_the_rest_has_reasons() -> None:
    menu = "\n".join(["홈", "로그인", "회원가입", "장바구니", "고객센터", "이용약관", "사이트맵"] * 6)
    spam = KOREAN + " 카지노사이트 먹튀검증 첫충전 안전놀이터 꽁머니"
    kept, dropped = run([KOREAN, ENGLISH, "짧은 글", None, menu, spam, "同じ文章を読む。" * 20, KOREAN.replace(".", "\r\n\u200b")])
    assert kept.column("id").to_pylist() == ["0", "1", "7"]
    assert dropped["2"] == "words<23"
    assert dropped["3"] == "empty_text"
    assert "4" in dropped
    assert dropped["5"] == "spam_words>3"
    assert dropped["6"] == "language:ja"


def test_personal_data_is_replaced_in_kept_rows_only_if_asked() -> None:
    text = KOREAN + " 문의는 hong@example.kr 또는 010-1234-5678로 한다."
    kept, _ = run([text])
    assert "hong@" not in kept.column("text")[0].as_py() and kept.column("pii_phone").to_pylist() == [1]
    kept, _ = run([text], RefineConfig(pii=False))
    assert kept.column("text").to_pylist() == [text] and "pii_phone" not in kept.column_names


def test_repair_can_be_switched_off() -> None:
    names = [stage.name for stage in stages(RefineConfig(repair=False))]
    assert names == ["sites", "lines", "signals", "language", "rules", "pii"]


def test_order_contract_and_identity() -> None:
    chain = stages(RefineConfig())
    assert [stage.name for stage in chain] == ["sites", "repair", "lines", "signals", "language", "rules", "pii"]
    assert missing_columns(chain, {"id", "text"}) == []
    for stage in chain:
        assert stage.writes <= BY_NAME.keys() and stage.reads <= BY_NAME.keys()
        json.dumps(identity(stage))
        with pytest.raises(dataclasses.FrozenInstanceError):
            stage.name = "other"  # type: ignore[misc]


def test_stages_write_what_they_declare_with_the_declared_types() -> None:
    table = pa.table({"id": ["a"], "text": pa.array([KOREAN], pa.large_string())})
    for stage in stages(RefineConfig()):
        before = set(table.column_names)
        table = stage(table)
        assert set(table.column_names) - before - {"drop_reason"} <= stage.writes
        assert stage.writes <= set(table.column_names)
    for field in table.schema:
        assert field.type == BY_NAME[field.name].type


def test_an_empty_table_passes_through() -> None:
    table = pa.table({"id": pa.array([], pa.string()), "text": pa.array([], pa.large_string())})
    for stage in stages(RefineConfig()):
        table = apply(stage, table).kept
    assert len(table) == 0 and "pii_ip" in table.column_names


def test_unknown_preset_names_the_nearest() -> None:
    with pytest.raises(UserError, match="did you mean 'onnuri-ko'"):
        stages(RefineConfig(preset=("onuri-ko",)))


@pytest.mark.parametrize("name", PRESETS)
def test_presets_load_and_give_sources(name: str) -> None:
    rules = load_preset(name)
    text = resources.files("pipeline.refine").joinpath(f"presets/{name}.yaml").read_text(encoding="utf-8")
    preset = Preset.model_validate(yaml.safe_load(text))
    assert len(rules) == len(preset.rules) > 0
    assert all(len(rule.source) > 5 for rule in preset.rules)
    assert len({(rule.column, rule.op, rule.languages) for rule in rules}) == len(rules)


def test_a_preset_over_morphemes_needs_kiwi() -> None:
    with pytest.raises(UserError, match="only Kiwi can count"):
        stages(RefineConfig(preset=("fineweb2-ko",)))
    names = [stage.name for stage in stages(RefineConfig(preset=("fineweb2-ko",), kiwi=True))]
    assert names.index("language") < names.index("morphemes") < names.index("rules")


def test_every_preset_file_is_offered() -> None:
    files = {path.name.removesuffix(".yaml") for path in resources.files("pipeline.refine").joinpath("presets").iterdir()}
    assert files == {*PRESETS, "phrases", "lines"}


def test_further_rules_come_after_the_presets() -> None:
    config = RefineConfig(preset=(), rules=(RuleSettings(column="chars", op=">=", threshold=1000, languages=("ko",)),))
    kept, dropped = run([KOREAN, ENGLISH], config)
    assert kept.column("id").to_pylist() == ["1"]
    assert dropped == {"0": "chars<1000"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"column": "text", "op": ">=", "threshold": 1}, "not a numeric column"),
        ({"column": "words", "op": "=>", "threshold": 1}, "Input should be"),
        ({"column": "words", "op": ">=", "threshold": float("nan")}, "finite"),
        ({"column": "words", "op": ">=", "treshold": 1}, "did you mean 'threshold'"),
    ],
)
def test_a_bad_rule_is_refused(settings: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        RuleSettings.model_validate(settings)


def test_rules_read_the_columns_they_name() -> None:
    assert Rules((Rule("words", ">=", 3, ("ko",)), Rule("chars", "<=", 9))).reads == {"words", "chars", "lang"}
    assert Rules().reads == frozenset()


def test_a_batch_split_anywhere_gives_the_same_rows() -> None:
    texts: list[str | None] = [KOREAN, ENGLISH, None, "짧은 글", KOREAN + "\r\n010-1234-5678", "Guten Tag"]
    whole, reasons = run(texts)
    first, first_reasons = run(texts[:3])
    second, second_reasons = run(texts[3:])
    assert whole.column("text").to_pylist() == first.column("text").to_pylist() + second.column("text").to_pylist()
    assert sorted(reasons.values()) == sorted([*first_reasons.values(), *second_reasons.values()])
