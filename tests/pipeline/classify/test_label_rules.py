"""Labels by rule: what fits is labelled with its evidence, in any order, at most so many; what can't be meant is said in a sentence."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from pydantic import ValidationError

from pipeline.alone import Inputs, plan_documents
from pipeline.classify.config import TrainConfig
from pipeline.classify.labelled import read_labelled
from pipeline.cli import main
from pipeline.errors import UserError
from pipeline.labels.agreement import kappa
from pipeline.labels.config import LabelConfig, url_regex
from pipeline.labels.rules import label_by_rule
from tests.pipeline.classify.labelled_scene import write_rows
from tests.pipeline.runs import ROOT

RECORDS: list[dict[str, Any]] = [
    {"id": "gov", "text": "a notice", "lang": "ko", "url": "https://www.moe.go.kr/news/1?x=2", "rating": 3},
    {"id": "fake", "text": "a notice", "lang": "ko", "url": "https://notgo.kr/news/1"},
    {"id": "shop", "text": "buy cheap watches now, watch sale", "lang": "en", "url": "http://shop.example.com:80/item", "rating": 1.5},
    {"id": "wiki", "text": "an article", "lang": "en", "source": "wiki", "rating": 9, "kind": "article"},
    {"id": "review", "text": "재미있는 영화", "lang": "ko", "rating": "8", "kind": "review"},
    {"id": "none", "text": "x", "lang": "fr"},
]


def run(tmp_path: Path, labels: list[dict[str, Any]], records: list[dict[str, Any]] | None = None, **more: Any) -> dict[str, Any]:
    path = write_rows(tmp_path / "in" / "docs.jsonl", records or RECORDS)
    splits, _ = plan_documents(Inputs([path]))
    return label_by_rule(splits, LabelConfig.model_validate({"labels": labels, **more}), tmp_path / "out")


def labelled(tmp_path: Path) -> dict[str, tuple[str, str]]:
    rows = pq.read_table(tmp_path / "out" / "labelled.parquet").to_pylist()
    return {row["id"]: (row["label"], row["why"]) for row in rows}


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"hosts": ["go.kr"]}, {"gov": "host moe.go.kr"}),
        ({"hosts": ["www.moe.go.kr", "x.y"]}, {"gov": "host moe.go.kr"}),
        ({"url_patterns": ["*/news/*"]}, {"gov": "url */news/*", "fake": "url */news/*"}),
        ({"url_patterns": ["*kr/news/?"]}, {"fake": "url *kr/news/?"}),
        ({"url_patterns": [r"re:[?&]x=\d"]}, {"gov": r"url re:[?&]x=\d"}),
        ({"sources": ["wiki"]}, {"wiki": "source wiki"}),
        ({"sources": ["docs"], "languages": ["fr"]}, {"none": "lang fr; source docs"}),
        ({"fields": {"kind": ["review", "post"]}}, {"review": "kind review"}),
        ({"signals": [{"column": "rating", "op": ">=", "threshold": 8}]}, {"wiki": "rating>=8", "review": "rating>=8"}),
        ({"signals": [{"column": "rating", "op": "!=", "threshold": 3}], "languages": ["en"]}, {"shop": "", "wiki": ""}),
        ({"seeds": ["watch", "cheap", "article"], "min_seeds": 2}, {"shop": "seeds cheap, watch"}),
        ({"seeds": ["영화"], "min_seeds": 1}, {"review": "seeds 영화"}),
    ],
)
def test_each_condition(tmp_path: Path, rule: dict[str, Any], fits: dict[str, str]) -> None:
    run(tmp_path, [{"label": "x", **rule}])
    found = labelled(tmp_path)
    assert set(found) == set(fits)
    assert all(why in found[id_][1] for id_, why in fits.items())


def test_a_document_that_fits_two_labels_is_left_out_or_gets_the_first(tmp_path: Path) -> None:
    rules = [{"label": "a", "languages": ["ko"]}, {"label": "a", "sources": ["wiki"]}, {"label": "b", "url_patterns": ["https*"]}]
    with pytest.raises(UserError, match=r"no document gets the label 'b' .*first_wins"):
        run(tmp_path, rules)
    facts = run(tmp_path, [*rules, {"label": "b", "languages": ["fr"]}])
    assert {id_: label for id_, (label, _) in labelled(tmp_path).items()} == {"review": "a", "wiki": "a", "none": "b"}
    assert facts["left_out"] == {"without label": 1, "fit several labels": 2, "over the sample": 0}
    run(tmp_path, [*rules, {"label": "b", "languages": ["fr"]}], first_wins=True)
    assert labelled(tmp_path)["gov"] == ("a", "lang ko")


def test_samples_are_per_rule_and_language_nested_and_in_any_order_the_same_bytes(tmp_path: Path) -> None:
    records = [{"id": f"d{number}", "text": f"text {number}", "lang": ("ko", "en")[number % 2]} for number in range(50)]
    shuffled = records.copy()
    random.Random(2).shuffle(shuffled)
    rules: list[dict[str, Any]] = [{"label": "x", "sources": ["docs"], "sample": 7}]
    facts = run(tmp_path / "1", rules, records)
    run(tmp_path / "2", rules, shuffled)
    assert facts["labels"] == {"x": {"en": 7, "ko": 7}} and facts["left_out"]["over the sample"] == 36
    assert (tmp_path / "1/out/labelled.parquet").read_bytes() == (tmp_path / "2/out/labelled.parquet").read_bytes()
    run(tmp_path / "3", [rules[0] | {"sample": 12}], records)
    assert labelled(tmp_path / "1").keys() < labelled(tmp_path / "3").keys()
    run(tmp_path / "4", rules, records, seed=8)
    assert labelled(tmp_path / "1").keys() != labelled(tmp_path / "4").keys()


def test_parquet_of_ones_own_and_what_the_trainer_reads(tmp_path: Path) -> None:
    path = tmp_path / "docs.parquet"
    pq.write_table(pa.Table.from_pylist([*RECORDS[:3], {"id": "w", "text": "an article", "lang": "en", "rating": 9.0}]), path)
    splits, _ = plan_documents(Inputs([str(path)]))
    rules = [{"label": "good", "signals": [{"column": "rating", "op": ">", "threshold": 5}]}, {"label": "bad", "url_patterns": ["*"]}]
    label_by_rule(splits, LabelConfig.model_validate({"labels": rules}), tmp_path / "out")
    read = read_labelled(TrainConfig(inputs=[str(tmp_path / "out" / "labelled.parquet")]))
    assert {label: len(examples) for label, examples in read.examples.items()} == {"bad": 2, "good": 1}  # two texts are equal
    assert {example.language for examples in read.examples.values() for example in examples} == {"ko", "en"}


@pytest.mark.parametrize(
    ("rule", "says"),
    [
        ({}, "has no condition"),
        ({"hosts": ["https://go.kr/"]}, "not a host name"),
        ({"url_patterns": ["re:(a"]}, "no regular expression of RE2"),
        ({"url_patterns": [r"re:(a)\1"]}, "no regular expression of RE2"),
        ({"url_patterns": ["re:((a{500}){500}){500}"]}, "no regular expression of RE2"),
        ({"url_patterns": [""]}, "0 characters"),
        ({"seeds": ["cat"], "min_seeds": 2}, "has 1 seeds"),
        ({"seeds": ["!"]}, "three letters"),
        ({"source": ["x"]}, "unknown key 'source'; did you mean 'sources'"),
        ({"fields": {"kind": []}}, "has no values"),
        ({"signals": [{"column": "rating", "op": "=", "threshold": 1}]}, "op"),
        ({"signals": [{"column": "rating", "op": ">", "threshold": float("nan")}]}, "finite"),
    ],
)
def test_rules_that_cannot_be_meant(rule: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says):
        LabelConfig.model_validate({"labels": [{"label": "x", **rule}]})


def test_a_column_that_no_document_has_and_a_label_that_none_gets(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no document has a number in 'ratings'"):
        run(tmp_path, [{"label": "x", "signals": [{"column": "ratings", "op": ">", "threshold": 1}]}])
    with pytest.raises(UserError, match="no document has a number in 'kind'"):
        run(tmp_path, [{"label": "x", "signals": [{"column": "kind", "op": ">", "threshold": 1}]}])
    with pytest.raises(UserError, match="no document gets the label 'x'; loosen"):
        run(tmp_path, [{"label": "x", "hosts": ["nowhere.example"]}])


def test_hostile_addresses_and_field_names_do_no_harm(tmp_path: Path) -> None:
    records = [
        {"id": "long", "text": "x", "url": "http://h/" + "a" * 100_000 + "!", 'a"b\\c': "v"},
        {"id": "odd", "text": "y", "url": "http://[::1/\x00\n", "분류": "v"},
    ]
    run(tmp_path, [{"label": "x", "url_patterns": ["re:(a+)+$", "*" * 50 + "b"]}, {"label": "y", "fields": {"분류": ["v"]}}], [
        *records, {"id": "b", "text": "z", "url": "http://h/b"}
    ])  # fmt: skip
    assert labelled(tmp_path).keys() == {"odd", "b"}
    with pytest.raises(UserError, match="rename the field"):
        run(tmp_path, [{"label": "z", "fields": {'a"b\\c': ["v"]}}], records)


@pytest.mark.parametrize("glob", ["*.kr/a+b(c)[d]$^|", "http://x/?", "*한국*", "a.b"])
def test_a_glob_means_its_marks_literally(glob: str) -> None:
    address = glob.replace("*", "한x:/").replace("?", "q")
    assert pa.compute.match_substring_regex(pa.array([address, address + "!", "!" + address]), url_regex(glob)).to_pylist() == [
        True, glob.endswith("*"), glob.startswith("*")
    ]  # fmt: skip


def test_the_command_prints_a_table_and_json_and_refuses_other_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write_rows(tmp_path / "docs.jsonl", RECORDS)
    rules = tmp_path / "rules.yaml"
    rules.write_text(yaml.safe_dump({"labels": [{"label": "gov", "hosts": ["go.kr"]}, {"label": "wiki", "sources": ["wiki"]}]}))

    def command(*more: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as done:
            main(["classify", "label", path, "--rules", str(rules), "-o", str(tmp_path / "out"), *more])
        return (int(done.value.code or 0), *capsys.readouterr())

    code, out, _ = command()
    assert code == 0 and "host moe.go.kr" in out and "labelled 2 of 6 documents" in out
    code, out, _ = command("--json", "--set", "first_wins=true")
    assert code == 0 and json.loads(out)["labels"] == {"gov": {"ko": 1}, "wiki": {"en": 1}}
    rules.write_text("labels: [{label: x, host: [go.kr]}]")
    code, _, said = command()
    assert code == 2 and "rules.yaml" in said and "did you mean 'hosts'" in said and len(said.splitlines()) == 1
    with pytest.raises(SystemExit) as done:
        main(["classify", "bootstrap", path, "-o", str(tmp_path / "out")])
    assert done.value.code == 2 and "holds the result of classify label" in capsys.readouterr().err


def test_the_rules_in_the_documentation_are_valid() -> None:
    page = (ROOT / "docs" / "labels.md").read_text(encoding="utf-8")
    block = page[page.index("```yaml") + len("```yaml") : page.index("```", page.index("```yaml") + 1)]
    assert len(LabelConfig.model_validate(yaml.safe_load(block)).labels) == 5


def test_kappa_is_that_of_the_textbook() -> None:
    # 2x2 table 20, 5, 10, 15: observed 0.7, by chance 0.5
    first = ["a"] * 25 + ["b"] * 25
    second = ["a"] * 20 + ["b"] * 5 + ["a"] * 10 + ["b"] * 15
    assert kappa(first, second) == pytest.approx(0.4)
    assert kappa(["1", "2"], ["1", "2"]) == 1.0 and kappa(["a", "a"], ["a", "a"]) is None and kappa([], []) is None
    near, far = (
        kappa(["0", "1", "2", "10"], ["0", "1", "2", "9"], weighted=True),
        kappa(["0", "1", "2", "10"], ["0", "1", "2", "0"], weighted=True),
    )
    assert near is not None and far is not None and near > 0.9 > far
