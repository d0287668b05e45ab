"""From real trainings to transformers: the weights of the checkpoint, whatever the sharding, and sentences for what can't be exported."""

from __future__ import annotations

import json

import pytest
import torch
from torch.testing import assert_close

from pipeline.__main__ import main
from pipeline.errors import RunFailed, UserError
from tests.training.pretrain_scene import command, finish, make_plan, make_tokenizer, start
from training.export import export
from training.llama_format import read_llama_config, read_llama_tensors


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    return make_plan(tmp_path_factory.mktemp("plan"))


@pytest.fixture(scope="module")
def run(plan, tmp_path_factory):
    """A training in one process."""
    folder = tmp_path_factory.mktemp("one") / "run"
    finish(start(command(plan, folder)))
    return folder


@pytest.fixture(scope="module")
def exported(run, tmp_path_factory):
    folder = tmp_path_factory.mktemp("exported") / "model"
    told = export(run, folder, dtype=torch.float32)
    assert (told.stage, told.steps, told.dtype) == ("long", 16, "float32")
    return folder


def test_the_weights_are_those_of_the_training(run, exported):
    shard = run / "checkpoints" / "step-00000016" / "deepspeed" / "mp_rank_00_model_states.pt"
    trained = torch.load(shard, weights_only=False)["module"]
    read = dict(read_llama_tensors(exported))
    assert read.keys() <= trained.keys()
    assert all(torch.equal(tensor, trained[name]) for name, tensor in read.items())


def test_two_processes_at_zero_3_give_the_same_model(plan, exported, tmp_path):
    finish(start(command(plan, tmp_path / "run", "--workers", "2", "--set", "run.zero_stage=3")))
    export(tmp_path / "run" / "checkpoints" / "step-00000016", tmp_path / "model", dtype=torch.float32)
    found = dict(read_llama_tensors(tmp_path / "model"))
    for name, tensor in read_llama_tensors(exported):
        assert_close(found[name], tensor, rtol=1e-4, atol=1e-5, msg=lambda text, at=name: f"{at}: {text}")


def test_transformers_loads_it(exported):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model, told = AutoModelForCausalLM.from_pretrained(exported, output_loading_info=True)
    assert not told["missing_keys"] and not told["unexpected_keys"]
    assert len(AutoTokenizer.from_pretrained(exported)) == model.config.vocab_size


def test_each_stage_has_its_own_rotary_scaling(run, exported, tmp_path):
    told = export(run / "checkpoints" / "step-00000010", tmp_path / "model")
    assert (told.stage, told.steps, told.dtype) == ("general", 10, "bfloat16")
    assert read_llama_config(tmp_path / "model").rope_scaling is None
    assert read_llama_config(exported).rope_scaling.factor == 2
    assert next(read_llama_tensors(tmp_path / "model"))[1].dtype == torch.bfloat16


def test_what_cannot_be_exported(run, tmp_path):
    with pytest.raises(UserError, match="neither a checkpoint nor"):
        export(tmp_path, tmp_path / "model")
    other = make_tokenizer(tmp_path / "other")
    content = json.loads((other / "tokenizer.json").read_text())
    (other / "tokenizer.json").write_text(json.dumps(content, indent=3))
    with pytest.raises(UserError, match="isn't the tokenizer that the model was trained with"):
        export(run, tmp_path / "model", tokenizer=other)
    damaged = run / "checkpoints" / "step-00000012" / "deepspeed" / "mp_rank_00_model_states.pt"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    with pytest.raises(RunFailed, match="is damaged"):
        export(run / "checkpoints" / "step-00000012", tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_the_command(run, tmp_path, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["train", "export", str(run), "-o", str(tmp_path / "model"), "--precision", "fp32", "--json"])
    told = json.loads(capsys.readouterr().out)
    assert ended.value.code == 0 and told["steps"] == 16 and told["parameters"] == read_llama_config(tmp_path / "model").parameters
    with pytest.raises(SystemExit) as ended:
        main(["train", "export", str(run), "-o", str(tmp_path / "model")])
    assert ended.value.code == 2 and "not an empty folder" in capsys.readouterr().err
