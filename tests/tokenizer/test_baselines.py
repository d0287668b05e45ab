"""Tokenizers of any origin: beside tiktoken and `tokenizers`, against measured numbers, and damaged or of another kind."""

from __future__ import annotations

import base64
import gzip
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import tiktoken
import tokenizers
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import models, normalizers, pre_tokenizers, trainers

from pipeline.errors import UserError
from tokenizer import metrics
from tokenizer.baselines import PATTERNS, Encoder, load_encoder

TRAINING = [
    "the cat sat on the mat, and the other cat sat too",
    "나는 학교에 갔다. 나는 집에 갔다.",
    "I'LL don't 가각간 123 4567\r\n\r\n  x",
] * 3
HOSTILE = [
    "",
    " ",
    "the<|endoftext|>cat <|pad|> Human",
    "가각간 각 e\u0301 ㅋㅋ ㅠㅠ 😀👨‍👩‍👧 \u200b\ufeff\x00\x01",
    "a" * 5000 + " " * 5000 + "=^" * 500,
    "\r\n\r\n \t x\n  \n0123456789 ①½Ⅷ don't I'LL ſ'ſ HTTPServer camelCase //\n\n",
    "日本語 ไทย العربية हिन्दी",
]


def arrow(texts: list[str]) -> pa.Array:
    return pa.array(texts, pa.large_string())


def rows_of(encoder: Encoder, texts: list[str]) -> list[list[int]]:
    ids, offsets = encoder.encode(arrow(texts))
    assert ids.dtype == np.uint32
    assert offsets.dtype == np.int64
    return [ids[start:stop].tolist() for start, stop in itertools.pairwise(offsets)]


def ranks_by_hand(words: list[bytes]) -> list[bytes]:
    return [bytes([byte]) for byte in range(256)] + words


def write_ranks(path: Path, tokens: list[bytes]) -> Path:
    content = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def trained(pattern: str, special: list[str], **settings: Any) -> dict[str, Any]:
    """A small tokenizer.json by `tokenizers`."""
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(tokenizers.Regex(pattern), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        TRAINING, trainers.BpeTrainer(vocab_size=330, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    )
    described: dict[str, Any] = json.loads(tokenizer.to_str()) | settings
    return described


WORDS = [b"th", b"the", b" the", b" t", b"at", b"cat", b"aa", b"aaa", b"\xea\xb0", "가".encode(), "가가".encode(), b"  ", b"\r\n", b"12"]


@given(
    st.lists(st.text(st.sampled_from("thecat가나 \r\n12a"), max_size=24) | st.text(max_size=12), max_size=5),
    st.sampled_from(sorted(PATTERNS)),
)
@settings(max_examples=60, deadline=None)
def test_rank_files_encode_as_tiktoken(tmp_path_factory: pytest.TempPathFactory, texts: list[str], name: str) -> None:
    encoder, oracle = loaded_by_hand(tmp_path_factory, name)
    assert rows_of(encoder, texts) == [oracle.encode_ordinary(text) for text in texts]


_LOADED: dict[str, tuple[Encoder, tiktoken.Encoding]] = {}


def loaded_by_hand(folders: pytest.TempPathFactory, name: str) -> tuple[Encoder, tiktoken.Encoding]:
    """A rank file of WORDS under each pattern, once for all examples. "cat" and "aaa" follow from no two tokens before them."""
    if name not in _LOADED:
        tokens = ranks_by_hand(WORDS)
        encoder = load_encoder(write_ranks(folders.mktemp("ranks") / f"{name}.tiktoken", tokens))
        ranks = {token: rank for rank, token in enumerate(tokens)}
        _LOADED[name] = encoder, tiktoken.Encoding(name, pat_str=PATTERNS[name], mergeable_ranks=ranks, special_tokens={})
    return _LOADED[name]


def test_rank_files_of_others_encode_as_tiktoken(shared_data: Path) -> None:
    """A real file whose added tokens are no merges of two, on hostile text; an empty batch, and a slice of one."""
    path = shared_data / "tokenizers" / "llama3.tiktoken.gz"
    encoder = load_encoder(path)
    lines = gzip.decompress(path.read_bytes()).splitlines()
    ranks = {base64.b64decode(line.split()[0]): int(line.split()[1]) for line in lines}
    oracle = tiktoken.Encoding("llama3", pat_str=PATTERNS["llama3"], mergeable_ranks=ranks, special_tokens={})
    assert encoder.engine == "gigatoken"
    assert rows_of(encoder, HOSTILE) == [oracle.encode_ordinary(text) for text in HOSTILE]
    assert rows_of(encoder, []) == []
    ids, offsets = encoder.encode(arrow(["x", "가나다", "y"]).slice(1, 1))
    assert (ids.tolist(), offsets.tolist()) == (oracle.encode_ordinary("가나다"), [0, len(ids)])
    assert b"".join(encoder.token_bytes()[place] for place in rows_of(encoder, [HOSTILE[3]])[0]) == HOSTILE[3].encode()


@pytest.mark.parametrize(
    ("name", "vocabulary", "partial", "per_word", "broken"),
    [("cl100k_base", 100_256, 773, 4.407, 0.510), ("o200k_base", 199_998, 1_562, 2.701, 0.049)],
)
def test_measured_numbers_of_others(shared_data: Path, name: str, vocabulary: int, partial: int, per_word: float, broken: float) -> None:
    """The vocabulary's exactly; the rates were measured on the test half of the same parallel news: here on 200 pairs of the other half."""
    encoder = load_encoder(shared_data / "tokenizers" / f"{name}.tiktoken.gz")
    with gzip.open(shared_data / "labelled" / "parallel" / "ko_en_news_dev.jsonl.gz", "rt", encoding="utf-8") as lines:
        texts = arrow([json.loads(next(lines))["ko"] for _ in range(200)])
    is_partial = metrics.partial_tokens(encoder.token_bytes())
    ids, _ = encoder.encode(texts)
    assert (encoder.vocabulary_size, int(is_partial.sum())) == (vocabulary, partial)
    assert len(ids) / metrics.text_size(texts)[2] == pytest.approx(per_word, rel=0.05)
    assert is_partial[ids].mean() == pytest.approx(broken, abs=0.02)


QWEN = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@pytest.mark.parametrize(("pattern", "engine"), [(QWEN, "gigatoken"), (r"\p{L}+|\s|[^\p{L}\s]", "tokenizers")])
def test_tokenizer_folder(tmp_path: Path, pattern: str, engine: str) -> None:
    """With either encoder the ids are those of `tokenizers` without special tokens, whose strings are plain text."""
    special = ["<|endoftext|>", "<|pad|>", "Human"]
    (tmp_path / "tokenizer.json").write_text(json.dumps(trained(pattern, special)), encoding="utf-8")
    plain = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    plain.encode_special_tokens = True
    encoder = load_encoder(tmp_path)
    assert (encoder.name, encoder.engine, encoder.vocabulary_size) == (tmp_path.name, engine, plain.get_vocab_size())
    assert rows_of(encoder, HOSTILE) == [plain.encode(text, add_special_tokens=False).ids for text in HOSTILE]
    assert encoder.token_bytes()[:3] == [b"", b"", b""]
    assert load_encoder(tmp_path / "tokenizer.json", "mine").name == "mine"
    text = "나는 the cat\r\n 😀"
    assert b"".join(encoder.token_bytes()[place] for place in rows_of(encoder, [text])[0]).decode() == text


def test_special_token_that_looks_like_a_word_is_never_used(tmp_path: Path) -> None:
    described = trained(QWEN, ["Human"])
    described["model"]["ignore_merges"] = True
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    assert 0 not in load_encoder(tmp_path).encode(arrow(["Human"]))[0]


def test_two_tokens_of_one_id(tmp_path: Path) -> None:
    described = trained(QWEN, [])
    described["added_tokens"] = [{"id": 5, "content": "    ", "special": False} | dict.fromkeys(FLAGS, False)]
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    with pytest.raises(UserError, match="gives two tokens one id"):
        load_encoder(tmp_path)


def test_added_tokens_that_are_text_keep_their_ids(tmp_path: Path) -> None:
    """As EXAONE's runs of spaces: behind special tokens that are taken out, and not in the model's own vocabulary."""
    described = trained(QWEN, ["<|pad|>"])
    size = len(described["model"]["vocab"])
    described["added_tokens"] += [
        {"id": size + 3, "content": "<|end|>", "special": True} | dict.fromkeys(FLAGS, False),
        {"id": size + 7, "content": "    ", "special": False} | dict.fromkeys(FLAGS, False),
    ]
    (tmp_path / "tokenizer.json").write_text(json.dumps(described), encoding="utf-8")
    encoder = load_encoder(tmp_path)
    assert encoder.vocabulary_size == size + 8
    assert encoder.token_bytes()[size:] == [b""] * 7 + [b"    "]
    assert size + 7 in rows_of(encoder, ["the    cat"])[0]


FLAGS = ("single_word", "lstrip", "rstrip", "normalized")


def damaged(change: Callable[[list[bytes]], list[bytes]]) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        content = [base64.b64encode(token) + b" %d" % rank for rank, token in enumerate(ranks_by_hand([b"ab"]))]
        path.write_bytes(b"\n".join(change(content)))

    return write


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (damaged(lambda lines: [*lines, b"!!! 257"]), "line 258: not a token in base64 and its rank"),
        (damaged(lambda lines: [*lines, b"YWI="]), "line 258: not a token in base64 and its rank"),
        (damaged(lambda lines: [*lines, b"YWI= x"]), "line 258: not a token in base64 and its rank"),
        (damaged(lambda lines: [*lines, b"YWJj " + b"9" * 5000]), "line 258: not a token in base64 and its rank"),
        (damaged(lambda lines: [*lines, b"YWJj 256"]), "the rank 256 is given twice"),
        (damaged(lambda lines: [*lines, b"YWJj -1"]), "line 258"),
        (damaged(lambda lines: [*lines, b"YWI= 257"]), "gives one token two ranks"),
        (damaged(lambda lines: [*lines, b"YWJj 400"]), "leaves ranks out between 0 and 400"),
        (damaged(lambda lines: [base64.b64encode(b"abc") + b" 0", *lines[1:]]), "has no token for the byte 0x00"),
        (damaged(lambda lines: []), "has no token for the byte 0x00"),
    ],
)
def test_damaged_rank_files(tmp_path: Path, write: Callable[[Path], None], message: str) -> None:
    write(tmp_path / "llama3.tiktoken")
    with pytest.raises(UserError, match=message):
        load_encoder(tmp_path / "llama3.tiktoken")


def test_packed_files_that_are_none_cut_or_huge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "llama3.tiktoken.gz"
    path.write_bytes(b"no gzip")
    with pytest.raises(UserError, match="can't be read"):
        load_encoder(path)
    write_ranks(path, ranks_by_hand([b"ab"]))
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(UserError, match="can't be read"):
        load_encoder(path)
    monkeypatch.setattr("tokenizer.baselines.MAX_RANK_FILE_BYTES", 1 << 20)
    path.write_bytes(gzip.compress(b"\0" * (2 << 20)))
    with pytest.raises(UserError, match="is larger than 1 MB unpacked"):
        load_encoder(path)


def test_rank_file_of_unknown_split(tmp_path: Path) -> None:
    path = write_ranks(tmp_path / "mine.tiktoken", ranks_by_hand(WORDS))
    with pytest.raises(UserError, match="doesn't say how it splits text; call it by one of the names known here, cl100k, cl100k_base"):
        load_encoder(path)
    assert load_encoder(path, "llama3").name == "llama3"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not JSON"),
        ("[]", "doesn't describe a tokenizer"),
        ('{"model": {}}', "doesn't describe a tokenizer"),
        ('{"model": {"type": "BPE", "vocab": {"a": "x"}}}', "doesn't describe a tokenizer"),
        ('{"model": {"type": "WordPiece", "vocab": {"a": 0}}}', "of the kind WordPiece"),
        ('{"model": {"type": "BPE", "vocab": {}}}', "has no tokens"),
        ('{"model": {"type": "BPE", "vocab": {"a": 99999999}}}', "ids outside 0 to"),
        ('{"model": {"type": "BPE", "vocab": {"a": -1}}}', "ids outside 0 to"),
        ('{"model": {"type": "BPE", "vocab": {"\\u2581the": 0}, "merges": []}}', "is no byte-level one"),
        ('{"model": {"type": "BPE", "vocab": {"a": 0}, "merges": [["a", "b"]]}}', "is refused by `tokenizers`"),
    ],
)
def test_wrong_tokenizer_files(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=message):
        load_encoder(tmp_path)


def test_paths_that_are_no_tokenizer(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="can't be read"):
        load_encoder(tmp_path)
    with pytest.raises(UserError, match="can't be read"):
        load_encoder(tmp_path / "llama3.tiktoken.gz")
    with pytest.raises(UserError, match="is no tokenizer; give a folder"):
        load_encoder(tmp_path / "notes.txt")
