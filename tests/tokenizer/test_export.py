"""A written tokenizer loads in three libraries that agree on every id, gives every text back, and renders conversations."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.pipeline.runs import ROOT
from tests.tokenizer.encoding_scene import HOSTILE
from tests.tokenizer.training_scene import counted, texts, trained
from tokenizer.encoder import Encoder, load_tokenizer
from tokenizer.special_tokens import ASSISTANT, END, NAMED, special_tokens

transformers = pytest.importorskip("transformers")


def hostile_texts() -> list[str]:
    """Bytes at random read as UTF-8, and what breaks tokenizers: NFD, jamo, emoji, CRLF, odd blanks, controls, special strings."""
    draw = random.Random(7)
    noise = [draw.randbytes(draw.randint(1, 200)).decode("utf-8", "replace") for _ in range(200)]
    points = ["".join(chr(draw.choice([*range(0xD800), *range(0xE000, 0x110000, 97)])) for _ in range(50)) for _ in range(50)]
    words = texts(3, 20)
    nfd = [unicodedata.normalize("NFD", text) for text in words]
    odd = [
        "a\r\nb\r\n\r\nc\rd",
        "\u00a0x\u00a0\u00a0 y",
        "".join(map(chr, range(32))),
        "ㄱㅏㄴ ᄀ ᅡᆫ 각ᆨ",
        "👩\u200d👩\u200d👧 🇰🇷 👍🏽",
        "\ufeff\ufffd\uffff",
    ]
    return [*HOSTILE, *noise, *points, *words, *nfd, *odd, ""]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scene = tmp_path_factory.mktemp("export")
    trained(scene / "tokenizer", [counted(scene / "counts", texts(1, 200))], special_tokens=64, vocab_size=900)
    return scene / "tokenizer"


@pytest.fixture(scope="module")
def loaded(folder: Path) -> Any:
    return transformers.AutoTokenizer.from_pretrained(str(folder), trust_remote_code=False, local_files_only=True)


def test_three_libraries_agree_on_hostile_texts_and_give_them_back(folder: Path, loaded: Any) -> None:
    given_texts = hostile_texts()
    found = load_tokenizer(folder)
    ids, offsets = Encoder(found, "gigatoken")(pa.array(given_texts, pa.large_string()))
    plain = Tokenizer.from_str(found.plain)
    for place, text in enumerate(given_texts):
        expected = plain.encode(text).ids
        assert ids[offsets[place] : offsets[place + 1]].tolist() == expected
        assert loaded.encode(text, split_special_tokens=True) == expected
        assert loaded.decode(expected) == unicodedata.normalize("NFC", text)
        assert not expected or min(expected) >= 64, "a text became a special token"


@settings(max_examples=100, deadline=None)
@given(st.text())
def test_any_text_comes_back(loaded: Any, text: str) -> None:
    assert loaded.decode(loaded.encode(text)) == unicodedata.normalize("NFC", text)


def test_a_lone_surrogate_is_refused_and_not_replaced(folder: Path, loaded: Any) -> None:
    for encode in (loaded.encode, Tokenizer.from_file(str(folder / "tokenizer.json")).encode):
        with pytest.raises((TypeError, UnicodeEncodeError)):
            encode("가\ud800나")


def test_sizes_and_roles(folder: Path, loaded: Any) -> None:
    assert loaded.vocab_size == len(loaded) == Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size() == 900
    assert (loaded.pad_token_id, loaded.bos_token_id, loaded.eos_token_id, loaded.unk_token) == (0, 1, 2, None)
    assert loaded.convert_tokens_to_ids(list(special_tokens(64))) == list(range(64))
    for name in NAMED:
        assert loaded.encode(name) == [loaded.convert_tokens_to_ids(name)]
    assert loaded.encode("abc") == loaded.encode("abc", add_special_tokens=False)
    assert loaded.decode(loaded.encode("a<|eos|><|reserved_3|>b"), skip_special_tokens=True) == "ab"


def test_the_file_is_what_tokenizers_itself_would_save(folder: Path) -> None:
    content = (folder / "tokenizer.json").read_text(encoding="utf-8")
    assert Tokenizer.from_str(content).to_str() == content.rstrip("\n")


def test_loading_prints_no_warning(folder: Path) -> None:
    script = "import sys; from transformers import AutoTokenizer; AutoTokenizer.from_pretrained(sys.argv[1]).encode('가')"
    command = [sys.executable, "-c", script, str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"HF_HUB_OFFLINE": "1"})
    assert [line for line in done.stderr.splitlines() if "PyTorch" not in line] == []  # that it is missing is said on every import


def test_the_table_has_every_token(folder: Path) -> None:
    rows = pq.read_table(folder / "vocabulary.parquet").to_pylist()
    vocab = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))["model"]["vocab"]
    assert [row["id"] for row in rows] == list(range(len(rows))) and len(rows) == len(vocab) == 900
    for row in rows:
        if row["left"] is not None:
            assert rows[row["left"]]["bytes"] + rows[row["right"]]["bytes"] == row["bytes"]
            assert max(row["left"], row["right"]) < row["id"]
    assert {row["kind"] for row in rows} == {"special", "byte", "ko", "en", "shared"}


TOOLS = [{"type": "function", "function": {"name": "날씨", "description": "of a city", "parameters": {"type": "object", "properties": {}}}}]
CALL = {"type": "function", "function": {"name": "날씨", "arguments": {"도시": "서울"}}}
TALK: list[dict[str, Any]] = [
    {"role": "system", "content": "짧게."},
    {"role": "user", "content": [{"type": "text", "text": "서울 날씨는?"}]},
    {"role": "assistant", "content": None, "tool_calls": [CALL]},
    {"role": "tool", "content": '{"도": 3}'},
    {"role": "assistant", "content": "3도입니다."},
]
CALLED = '<|tool_call|>{"name": "날씨", "arguments": {"도시": "서울"}}<|tool_call_end|><|end|>'


def rendered(loaded: Any, messages: list[dict[str, Any]], **more: Any) -> str:
    return loaded.apply_chat_template(messages, tokenize=False, **more)


def test_a_conversation_with_tools(loaded: Any) -> None:
    text = rendered(loaded, TALK, tools=TOOLS, add_generation_prompt=True)
    head, _, rest = text.partition("<|end|>")
    assert head.startswith("<|system|>짧게.\n\nTools, ") and json.loads(head.splitlines()[-1]) == TOOLS[0]["function"]
    turns = f'<|user|>서울 날씨는?<|end|><|assistant|>{CALLED}<|tool|>{{"도": 3}}<|end|><|assistant|>3도입니다.<|end|>'
    assert rest == turns + "<|assistant|>"
    assert rendered(loaded, TALK[1:], tools=TOOLS).partition("<|end|>")[2] == turns
    assert rendered(loaded, TALK[1:]) == turns
    as_text = [TALK[1], {"role": "assistant", "content": "", "tool_calls": [{"name": "날씨", "arguments": '{"도시": "서울"}'}]}]
    assert rendered(loaded, as_text) == f"<|user|>서울 날씨는?<|end|><|assistant|>{CALLED}"


def test_the_mask_is_on_what_the_assistant_says(loaded: Any) -> None:
    found = loaded.apply_chat_template(TALK, tools=TOOLS, return_assistant_tokens_mask=True, return_dict=True)
    ids, mask = np.array(found["input_ids"]), np.array(found["assistant_masks"], bool)
    assert loaded.decode(ids[mask]) == CALLED + "3도입니다.<|end|>"
    assert ids.tolist() == loaded.encode(rendered(loaded, TALK, tools=TOOLS))
    opened = np.flatnonzero(np.diff(mask.astype(int)) == 1)
    assert [loaded.convert_ids_to_tokens(int(token)) for token in ids[opened]] == [ASSISTANT, ASSISTANT]
    assert loaded.convert_ids_to_tokens(int(ids[mask][-1])) == END


@pytest.mark.parametrize(
    ("message", "said"),
    [({"role": "root", "content": "x"}, "not 'root'"), ({"role": "user", "content": [{"type": "image", "url": "x"}]}, "not 'image'")],
)
def test_what_the_template_does_not_know(loaded: Any, message: dict[str, Any], said: str) -> None:
    with pytest.raises(Exception, match=said):
        rendered(loaded, [message])
