"""Export to Llama's format and back: the same bits, the same logits in transformers, and a sentence for what can't be read."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from pipeline.errors import UserError
from tests.tokenizer.encoding_scene import write_tokenizer
from tests.training.model_scene import TINY, packed_batch, random_decoder
from training import llama_format
from training.llama_format import read_llama_config, read_llama_tensors, write_llama
from training.model_config import PRESETS

CONFIG = replace(TINY, vocab_size=600)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


def export(folder, tokenizer, config=CONFIG, dtype=torch.float32):
    model = random_decoder(config)
    write_llama(folder, config, model.named_parameters(), tokenizer, dtype)
    return model


def rewrite(path, change):
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("scaling", [CONFIG.rope_scaling, None])
def test_transformers_loads_it_and_gives_the_same_logits(tmp_path, tokenizer, tied, scaling):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    config = replace(CONFIG, tied=tied, rope_scaling=scaling)
    model = export(tmp_path / "out", tokenizer, config)
    theirs, told = AutoModelForCausalLM.from_pretrained(tmp_path / "out", trust_remote_code=False, output_loading_info=True)
    assert not any(told[kind] for kind in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert type(theirs).__name__ == "LlamaForCausalLM" and theirs.dtype == torch.float32
    batch = packed_batch(config, [[96]])
    assert_close(model(batch.ids, batch.segments), theirs(batch.ids).logits, rtol=1e-5, atol=1e-5)
    assert theirs.config.eos_token_id == theirs.generation_config.eos_token_id == 2
    assert (theirs.config.pad_token_id, theirs.config.bos_token_id) == (0, 1)
    assert AutoTokenizer.from_pretrained(tmp_path / "out").convert_tokens_to_ids("<|eos|>") == 2


def test_import_of_an_export_is_the_same_in_every_bit(tmp_path, tokenizer, monkeypatch):
    monkeypatch.setattr(llama_format, "MAX_FILE_BYTES", 30_000)
    for config in (CONFIG, replace(CONFIG, tied=False, rope_scaling=None)):
        for dtype in (torch.float32, torch.bfloat16):
            folder = tmp_path / f"{config.tied}{dtype}"
            model = export(folder, tokenizer, config, dtype)
            assert read_llama_config(folder) == config
            read = list(read_llama_tensors(folder))
            expected = [(name, parameter.detach().to(dtype)) for name, parameter in model.named_parameters()]
            assert [name for name, _ in read] == [name for name, _ in expected]
            assert all(found.dtype == dtype and torch.equal(found, right) for (_, found), (_, right) in zip(read, expected, strict=True))


def test_files_are_small_and_named_as_transformers_does(tmp_path, tokenizer, monkeypatch):
    from transformers import AutoModelForCausalLM

    monkeypatch.setattr(llama_format, "MAX_FILE_BYTES", 100_000)
    export(tmp_path / "out", tokenizer)
    index = json.loads((tmp_path / "out" / llama_format.INDEX).read_text())
    files = sorted(path.name for path in (tmp_path / "out").glob("*.safetensors"))
    assert files == [f"model-{number:05}-of-{len(files):05}.safetensors" for number in range(1, len(files) + 1)] and len(files) > 1
    assert set(index["weight_map"].values()) == set(files)
    assert index["metadata"]["total_size"] == 4 * CONFIG.parameters
    for file in files:
        assert sum(tensor.nbytes for tensor in load_file(tmp_path / "out" / file).values()) <= 100_000
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "out").num_parameters() == CONFIG.parameters


def test_what_transformers_saves_can_be_read(tmp_path, tokenizer):
    from transformers import AutoModelForCausalLM

    for config in (CONFIG, replace(CONFIG, tied=False, rope_scaling=None)):
        model = export(tmp_path / f"ours {config.tied}", tokenizer, config)
        AutoModelForCausalLM.from_pretrained(tmp_path / f"ours {config.tied}").save_pretrained(tmp_path / f"theirs {config.tied}")
        assert read_llama_config(tmp_path / f"theirs {config.tied}") == config
        read = dict(read_llama_tensors(tmp_path / f"theirs {config.tied}"))
        assert all(torch.equal(read[name], parameter) for name, parameter in model.named_parameters())


@pytest.mark.parametrize("name", PRESETS)
def test_configurations_of_the_presets_survive(tmp_path, tokenizer, name):
    content = llama_format.llama_config(PRESETS[name], llama_format.load_tokenizer(tokenizer), torch.bfloat16)
    for absent in ((), ("rope_parameters",), ("rope_scaling", "rope_theta")):  # as transformers 4 and 5 write it
        (tmp_path / "config.json").write_text(json.dumps({key: value for key, value in content.items() if key not in absent}))
        assert read_llama_config(tmp_path) == PRESETS[name]


def test_a_tied_checkpoint_may_hold_its_head(tmp_path, tokenizer):
    folder = tmp_path / "out"
    export(folder, tokenizer)
    tensors = load_file(folder / "model.safetensors")
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"].clone()
    tensors["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
    save_file(tensors, folder / "model.safetensors")
    assert "lm_head.weight" not in dict(read_llama_tensors(folder))
    tensors["lm_head.weight"][3, 3] += 1
    save_file(tensors, folder / "model.safetensors")
    with pytest.raises(UserError, match=r"tie_word_embeddings: true but holds an lm_head\.weight unlike"):
        list(read_llama_tensors(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "mistral", "architectures": ["MistralForCausalLM"]}, "architecture MistralForCausalLM"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architecture LlamaForSequenceClassification"),
        ({"attention_bias": True}, "attention_bias: true"),
        ({"mlp_bias": True}, "mlp_bias: true"),
        ({"hidden_act": "gelu"}, "hidden_act: gelu"),
        ({"rope_scaling": {"rope_type": "yarn", "factor": 4.0}}, "by 'yarn'"),
        ({"rope_scaling": {"type": "linear", "factor": 4.0}}, "by 'linear'"),
        ({"rope_scaling": {"rope_type": "llama3", "factor": 4.0}}, "lacks low_freq_factor"),
        ({"quantization_config": {"bits": 4}}, "quantised weights"),
        ({"hidden_size": None}, "hidden_size: None"),
        ({"num_hidden_layers": "2"}, "num_hidden_layers: 2"),
    ],
)
def test_other_models_are_refused(tmp_path, tokenizer, change, message):
    export(tmp_path / "out", tokenizer)
    rewrite(tmp_path / "out" / "config.json", lambda content: content.update(change))
    with pytest.raises(UserError, match=message):
        read_llama_config(tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tensors: tensors.pop("model.norm.weight"), r"no tensor model\.norm\.weight"),
        (lambda tensors: tensors.update({"model.layers.0.self_attn.q_proj.bias": torch.ones(4)}), r"q_proj\.bias, which no plain Llama"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.ones(31)}), r"has shape \(31,\)"),
        (lambda tensors: tensors.update({"model.norm.weight": torch.ones(32, dtype=torch.int8)}), "of type I8"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, tokenizer, change, message):
    export(tmp_path / "out", tokenizer)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    change(tensors)
    save_file(tensors, tmp_path / "out" / "model.safetensors")
    with pytest.raises(UserError, match=message):
        list(read_llama_tensors(tmp_path / "out"))


def test_other_files_are_refused(tmp_path, tokenizer, monkeypatch):
    folder = tmp_path / "out"
    export(folder, tokenizer)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(UserError, match=r"has no model\.safetensors"):
        list(read_llama_tensors(folder))
    (folder / "model.safetensors").write_bytes((folder / "pytorch_model.bin").read_bytes()[:5000])
    with pytest.raises(UserError, match="can't be read as safetensors"):
        list(read_llama_tensors(folder))
    (folder / llama_format.INDEX).write_text(json.dumps({"weight_map": {"model.norm.weight": "../model.safetensors"}}))
    with pytest.raises(UserError, match="no weight_map of tensors to files beside it"):
        list(read_llama_tensors(folder))
    (folder / "config.json").write_text("{")
    with pytest.raises(UserError, match="can't be read as JSON"):
        read_llama_config(folder)
    (folder / "config.json").unlink()
    with pytest.raises(UserError, match=r"has no config\.json"):
        read_llama_config(folder)


def test_nothing_half_written_is_left(tmp_path, tokenizer):
    model = random_decoder(CONFIG)
    some = list(model.named_parameters())
    with pytest.raises(ValueError, match="did not come"):
        write_llama(tmp_path / "out", CONFIG, some[:-1], tokenizer)
    with pytest.raises(ValueError, match="came twice"):
        write_llama(tmp_path / "out", CONFIG, some + some[:1], tokenizer)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(UserError, match="600 entries and the model 97"):
        write_llama(tmp_path / "out", TINY, [], tokenizer)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").touch()
    with pytest.raises(UserError, match="not an empty folder"):
        write_llama(tmp_path / "out", CONFIG, some, tokenizer)


def test_a_model_that_does_not_fit_is_refused_before_it_is_written(tmp_path, tokenizer):
    huge = replace(CONFIG, vocab_size=10**12)
    with pytest.raises(UserError, match="GB left; free some space"):
        write_llama(tmp_path / "out", huge, [], tokenizer)


def test_a_place_where_nothing_can_be_written(tmp_path, tokenizer):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"can't write to .*file': File exists; give another folder with -o"):
        write_llama(tmp_path / "file" / "out", CONFIG, [], tokenizer)
