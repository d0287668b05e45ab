"""Configuration: every mistake is one sentence that names the file and key, before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.config import RunConfig, absolute, check_config, load_config
from pipeline.errors import UserError

GOOD = "inputs:\n  - path: ${data}/*.jsonl\n    source: x\nvars: {data: /here}\ndecontaminate: null\n"


@pytest.fixture
def file(tmp_path):
    def write(text: str) -> Path:
        path = tmp_path / "run.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def test_variables_and_overrides_are_applied(file):
    config = load_config(file(GOOD), ["vars.data=/there", "dedup.threshold=0.7", "inputs.0.source=y", "classify=null"])
    assert (config.inputs[0].path, config.inputs[0].source, config.dedup.threshold, config.classify) == ("/there/*.jsonl", "y", 0.7, None)


@pytest.mark.parametrize(
    ("text", "overrides", "sentence"),
    [
        ("inputs: [", [], "not valid YAML"),
        ("just text", [], "must hold keys and values"),
        ("decontaminate: null\n", [], "'inputs' is missing"),
        ("inputs: []\ndecontaminate: null\n", [], "inputs"),
        ("inputs: [{path: x}]\n", [], "'decontaminate' is missing.*decontaminate: null"),
        (GOOD + "dedupe: {}\n", [], "unknown key 'dedupe'; did you mean 'dedup'"),
        (GOOD + "dedup: {treshold: 1}\n", [], "dedup: unknown key 'treshold'; did you mean 'threshold'"),
        (GOOD + "dedup: {threshold: high}\n", [], r"dedup\.threshold: .*'high'"),
        (GOOD, ["dedup.treshold=1"], "did you mean 'threshold'"),
        (GOOD, ["threshold"], "not of the form"),
        (GOOD, ["inputs.3.path=x"], "not a position in that list of 1"),
        (GOOD, ["output.x.y=1", "output=1"], "output"),
        (GOOD, ["vars=[1]"], "vars must be names and values"),
        (GOOD + "vars: {data: /other}\n", [], "the key 'vars' is given twice"),
        (GOOD, ["inputs.0.format=csv"], r"inputs\.0\.format"),
        (GOOD, ["vars.data="], r"needs a value for \$\{data\}"),
    ],
)
def test_mistakes_are_one_sentence(file, text, overrides, sentence):
    with pytest.raises(UserError, match=sentence) as caught:
        load_config(file(text), overrides)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"there is no configuration file '.*nowhere\.yaml'"):
        load_config(tmp_path / "nowhere.yaml", [])


def test_one_seed_reaches_every_move_that_does_not_set_its_own():
    values = {"inputs": [{"path": "x"}], "decontaminate": None, "seed": 41, "balance": {"seed": 5}, "dedup": {}}
    config = check_config(values, "here")
    assert config.balance.seed == 5 and config.dedup.seed == 41


def test_what_is_sent_to_a_cluster_has_only_absolute_paths(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    values = {
        "inputs": [{"path": "a/*.jsonl"}, {"path": ["b", "s3://bucket/c"]}],
        "decontaminate": {"benchmarks": ["bench"]},
        "classify": {
            "models": [{"name": "domain", "path": "model.bin"}, {"name": "quality", "train": {"inputs": ["l"], "positive_label": "1"}}]
        },
        "output": "runs/x",
    }
    config = absolute(check_config(values, "here"))
    assert isinstance(config, RunConfig)
    assert config.inputs[0].path == f"{tmp_path}/a/*.jsonl" and config.inputs[1].path == [f"{tmp_path}/b", "s3://bucket/c"]
    assert config.decontaminate.benchmarks == [f"{tmp_path}/bench"] and config.output == f"{tmp_path}/runs/x"
    assert config.classify.models[0].path == f"{tmp_path}/model.bin" and config.classify.models[1].train.inputs == [f"{tmp_path}/l"]
    assert check_config(config.model_dump(mode="json"), "again") == config
