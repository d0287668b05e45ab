"""Greedy decoding against transformers, and against our own model without memory."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
import torch

from pipeline.__main__ import main
from pipeline.errors import UserError
from tests.tokenizer.encoding_scene import write_tokenizer
from tests.training.model_scene import TINY, random_decoder
from training.batch import Segments
from training.generate import complete, greedy
from training.llama_format import write_llama

CONFIG = replace(TINY, vocab_size=600)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("model")
    model = random_decoder(CONFIG, std=0.5)  # far from uniform, so that no rounding decides
    write_llama(root / "out", CONFIG, model.named_parameters(), write_tokenizer(root / "tokenizer"), torch.float32)
    return root / "out"


@pytest.mark.parametrize("prompt", ["안녕하세요 the weather", "a", "x" * 60])
def test_the_exported_model_continues_as_in_transformers(folder, prompt):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    theirs, tokenizer = AutoModelForCausalLM.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    given = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
    output = theirs.generate(given.input_ids, attention_mask=given.attention_mask, do_sample=False, max_new_tokens=64)
    expected = output[0, given.input_ids.shape[1] :].tolist()
    found = greedy(random_decoder(CONFIG, std=0.5), given.input_ids[0].tolist(), 64, {2})
    assert found == expected
    completion = complete(folder, prompt, 64)
    assert completion.text == tokenizer.decode([token for token in expected if token != 2])
    assert completion.tokens == len(expected) and completion.prompt_tokens == given.input_ids.shape[1]


def test_memory_changes_nothing_and_leaves_the_model_as_it_was():
    model = random_decoder(TINY, std=0.5)
    ids = [3, 1, 4, 1, 5]
    attends = [layer.self_attn.attend for layer in model.layers]
    found = greedy(model, ids, 40, ())
    assert [layer.self_attn.attend for layer in model.layers] == attends
    for _ in range(40):
        ids.append(int(model(torch.tensor([ids]), Segments.whole(1, len(ids)))[0, -1].argmax()))
    assert found == ids[5:]


def test_it_ends_at_eos_or_at_the_last_position():
    model = random_decoder(TINY, std=0.5)
    found = greedy(model, [3, 1, 4], 30, ())
    eos = found[7]
    assert greedy(model, [3, 1, 4], 30, {eos}) == found[: found.index(eos) + 1]
    assert len(greedy(model, [1] * 250, 30, ())) == TINY.max_position_embeddings - 250


@pytest.mark.parametrize(("ids", "message"), [([], "is empty"), ([1] * 256, "256 positions"), ([97], "the token 97")])
def test_impossible_prompts_are_refused(ids, message):
    with pytest.raises(UserError, match=message):
        greedy(random_decoder(TINY), ids, 3, ())


def run(capsys, *arguments):
    with pytest.raises(SystemExit) as ended:
        main(["train", "generate", *map(str, arguments)])
    return ended.value.code, capsys.readouterr()


def test_the_command(folder, tmp_path, capsys):
    code, printed = run(capsys, folder, "--prompt", "안녕 the", "--max-tokens", 5, "--json")
    told = json.loads(printed.out)
    assert code == 0 and told["prompt"] == "안녕 the" and 1 <= told["tokens"] <= 5 and told["stopped"] in ("eos", "length")
    assert run(capsys, folder, "--prompt", "안녕 the", "--max-tokens", 5)[1].out == f"안녕 the{told['text']}\n"
    code, printed = run(capsys, tmp_path, "--prompt", "a")
    assert code == 2 and "has no tokenizer.json" in printed.err
    (tmp_path / "tokenizer.json").write_text("{")
    code, printed = run(capsys, tmp_path, "--prompt", "a")
    assert code == 2 and "can't be read as a tokenizer" in printed.err
    code, printed = run(capsys, folder, "--prompt", "\udcff")
    assert code == 2 and "is not valid UTF-8" in printed.err
