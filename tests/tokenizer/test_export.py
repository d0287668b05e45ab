"""What training writes loads everywhere, gives everywhere the same ids, and gives every text back."""

from __future__ import annotations

import json
import random
import unicodedata
import warnings
from pathlib import Path
from typing import Any

import gigatoken
import numpy as np
import pyarrow.parquet as pq
import pytest
import tokenizers
import transformers

from tests.tokenizer.training_scene import counted, texts, trained
from tokenizer.encoder import load_tokenizer
from tokenizer.special_tokens import BOS, EOS, PAD

HOSTILE = [
    "",
    " ",
    "café 한글 “ab” 漢字 жизнь 0123",
    unicodedata.normalize("NFD", "각인 한국어 é ñ"),
    "ㅋㅋㅋ ㅠㅠ ᄒᆞᆫ글",
    "😀👍🏽👨‍👩‍👧 \u200d\ufe0f",
    "a\r\nb\rc\n\n\n d\t\te",
    "\x00\x01\x7f\x85\xa0\u3000\u2028x",
    "'S 'ſ don't I'LL",
    "<|eos|> and <|user|>hello<|end|><|reserved_0|>",
    "가" * 500 + "a" * 500,
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of 1,200 entries, all special tokens among them."""
    root = tmp_path_factory.mktemp("export")
    out = root / "tokenizer"
    trained(out, [counted(root / "counts", texts(1, 200))], vocab_size=1200, special_tokens=64)
    return out


def random_texts(count: int) -> list[str]:
    draw = random.Random(5)
    return [bytes(draw.randrange(256) for _ in range(draw.randrange(1, 60))).decode("utf-8", "replace") for _ in range(count)]


def test_every_text_comes_back_and_all_libraries_agree(folder):
    """Lossless but for NFC; special strings in a text are text to the encoder that corpora go through."""
    ours = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    ours.encode_special_tokens = True
    plain = load_tokenizer(folder)
    fast = gigatoken.Tokenizer.from_json(plain.plain)
    specials = 64
    for text in [*HOSTILE, *random_texts(300)]:
        ids = ours.encode(text, add_special_tokens=False).ids
        assert ours.decode(ids, skip_special_tokens=False) == ours.normalizer.normalize_str(text)
        assert np.asarray(fast.encode(text)).tolist() == ids
        assert min(ids, default=specials) >= specials  # no text writes a special token


def test_lone_surrogates_are_refused(folder):
    with pytest.raises((UnicodeEncodeError, TypeError)):
        tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).encode("a\ud800b")


def test_transformers_loads_it_without_a_word(folder, recwarn):
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    assert not [one for one in recwarn if issubclass(one.category, UserWarning)]
    assert len(loaded) == loaded.vocab_size == 1200
    assert (loaded.pad_token, loaded.bos_token, loaded.eos_token, loaded.unk_token) == (PAD, BOS, EOS, None)
    reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    for text in HOSTILE:
        assert loaded(text)["input_ids"] == reference.encode(text).ids
        plain = loaded(text, split_special_tokens=True)["input_ids"]
        assert loaded.decode(plain, skip_special_tokens=True) == unicodedata.normalize("NFC", text)


def test_tokenizers_would_save_the_same(folder, tmp_path):
    """Nothing that the library doesn't know, and nothing that it would write otherwise."""
    tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json")).save(str(tmp_path / "again.json"))
    assert json.loads((tmp_path / "again.json").read_text()) == json.loads((folder / "tokenizer.json").read_text())


def test_one_merge_per_token_in_the_order_of_ids(folder):
    content = json.loads((folder / "tokenizer.json").read_text())
    vocab = content["model"]["vocab"]
    assert sorted(vocab.values()) == list(range(1200))
    assert [vocab[left + right] for left, right in content["model"]["merges"]] == list(range(64 + 256, 1200))


def test_the_table_says_what_every_id_is(folder):
    table = pq.read_table(folder / "vocabulary.parquet")
    reference = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    assert table.column("id").to_pylist() == list(range(1200))
    by_list = {name: [row for row in table.to_pylist() if row["list"] == name] for name in ("ko", "en", "shared")}
    assert len(by_list["ko"]) + len(by_list["en"]) + len(by_list["shared"]) == 1200 - 64 - 256
    for row in table.to_pylist()[64 + 256 :: 37]:
        left, right = (table.column("bytes")[row[side]].as_py() for side in ("left", "right"))
        assert row["bytes"] == left + right
        if row["token"] is not None:
            assert reference.decode([row["id"]]) == row["token"]


def chat(folder: Path, messages: list[dict[str, Any]], **options: Any) -> str:
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    return loaded.apply_chat_template(messages, tokenize=False, **options)


def test_chat_template(folder):
    call = {"type": "function", "function": {"name": "날씨", "arguments": {"city": "서울"}}}
    tool = {"type": "function", "function": {"name": "날씨", "description": "d", "parameters": {}}}
    messages = [
        {"role": "system", "content": "너는 돕는다."},
        {"role": "user", "content": [{"type": "text", "text": "서울 "}, {"type": "text", "text": "날씨?"}]},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "content": "맑음"},
        {"role": "assistant", "content": "맑아요."},
    ]
    text = chat(folder, messages, tools=[tool], add_generation_prompt=True)
    assert text.startswith("<|system|>너는 돕는다.\n\nTools")
    assert '"name": "날씨"' in text and text.count("<|end|>") == 5
    assert '<|assistant|><|tool_call|>{"name": "날씨", "arguments": {"city": "서울"}}<|tool_call_end|><|end|><|tool|>맑음<|end|>' in text
    assert text.endswith("<|assistant|>맑아요.<|end|><|assistant|>")
    with pytest.raises(Exception, match="knows the roles"):
        chat(folder, [{"role": "critic", "content": "x"}])


def test_only_what_the_assistant_says_is_learned_from(folder):
    loaded = transformers.AutoTokenizer.from_pretrained(folder)
    messages = [{"role": "user", "content": "가나 abc"}, {"role": "assistant", "content": "답 def"}]
    messages += [{"role": "user", "content": "또"}, {"role": "assistant", "content": "네"}]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = loaded.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
    ids, mask = np.array(found["input_ids"]), np.array(found["assistant_masks"], bool)
    assert loaded.decode(ids[mask]) == "답 def<|end|>네<|end|>"
    assert loaded.decode(ids) == "<|user|>가나 abc<|end|><|assistant|>답 def<|end|><|user|>또<|end|><|assistant|>네<|end|>"
