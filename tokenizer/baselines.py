"""Tokenizers of any origin behind one type, to be compared: ours, byte-level ones of `tokenizers`, and rank files of tiktoken.

A rank file is turned into the same `tokenizer.json` form, with a merge for every pair of tokens that makes a token: gigatoken then encodes
all of them, also Llama's, whose added tokens no merge of two makes (its own reader of rank files ends the process on them). The tests hold
the result against tiktoken.
"""

from __future__ import annotations

import base64
import binascii
import gzip
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import orjson
import pyarrow as pa
import tokenizers
from gigatoken.gigatoken_rs import load_hf_json

from pipeline.errors import UserError
from tokenizer.pretoken import buffers_of
from tokenizer.vocabulary import to_bytes, to_characters

MAX_RANK_FILE_BYTES = 64 << 20
"""Unpacked size from which a rank file is refused: the largest known, of 200,000 tokens, has 3.6 MB."""

MAX_TOKENIZER_BYTES = 256 << 20
"""Size from which a tokenizer.json is refused: one of 262,144 tokens with all its merges has about 33 MB."""

MAX_VOCABULARY = 1 << 22
"""Ids from here on are refused: tables over the vocabulary would fill memory."""

_CL100K = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_O200K_START, _O200K_END = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_O200K = (
    rf"{_O200K_START}*[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]+{_O200K_END}|{_O200K_START}+[\p{{Ll}}\p{{Lm}}\p{{Lo}}\p{{M}}]*{_O200K_END}"
    r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

PATTERNS = {"cl100k": _CL100K, "cl100k_base": _CL100K, "llama3": _CL100K, "llama4": _O200K, "o200k": _O200K, "o200k_base": _O200K}
"""The expression that splits text, by the name of the rank file: a rank file doesn't hold it.

Sources: `tiktoken_ext/openai_public.py` of tiktoken (cl100k_base as first published, which splits as the present one does);
`models/llama3/tokenizer.py` and `models/llama4/tokenizer.py` of meta-llama/llama-models.
"""

_PROBE = (
    "이것은 한국어와 English가 섞인 문장입니다. 2026년, 3.14%\r\n\r\n  def f(x):\n\treturn x\u00a0+ 1  ",
    "I'LL don't HTTPServer /usr//bin\n\n\n   ㅋㅋㅋ 각 e\u0301 ①Ⅷ ½ 😀👨‍👩‍👧 \u200b\ufeff\x00 日本語テスト ไทย ſ'ſ <|endoftext|>   ",
)
"""Texts on which the fast encoder has to agree with `tokenizers` to be used: mixed scripts, NFD, newlines, runs of spaces, contractions."""


@dataclass(frozen=True)
class Encoder:
    """A tokenizer that can be measured. Texts are plain: the strings of its special tokens are encoded like any others.

    vocabulary_size: one more than the highest id, special tokens included where the file holds them.
    engine: what encodes, gigatoken or tokenizers.
    tokens: the bytes of each id, none for special tokens and ids that don't exist.
    """

    name: str
    vocabulary_size: int
    engine: str
    tokens: list[bytes] = field(repr=False)
    _encode: Callable[[pa.Array], tuple[np.ndarray, np.ndarray]] = field(repr=False)

    def token_bytes(self) -> list[bytes]:
        """The bytes of each id, none for special tokens and ids that don't exist."""
        return self.tokens

    def encode(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """Ids (uint32) of all texts one after another, and int64 offsets: text i is `ids[offsets[i]:offsets[i + 1]]`.

        texts: large_string without nulls.
        """
        return self._encode(texts)


def load_encoder(path: Path, name: str = "") -> Encoder:
    """The tokenizer in a folder, a tokenizer.json, or a rank file (`.tiktoken`, `.tiktoken.gz`).

    name: what it is called; for a rank file of another file name it also tells the pattern (one of PATTERNS).
    Raises UserError for a file that is missing, damaged, or of another kind of tokenizer.
    """
    if path.is_dir():
        return _from_json(_read(path / "tokenizer.json", MAX_TOKENIZER_BYTES), path / "tokenizer.json", name or path.resolve().name)
    stem = path.name.removesuffix(".gz").removesuffix(".tiktoken")
    if path.name.endswith((".tiktoken", ".tiktoken.gz")):
        pattern = PATTERNS.get(stem) or PATTERNS.get(name)
        if pattern is None:
            raise UserError(
                f"the rank file '{path}' doesn't say how it splits text; call it by one of the names known here, {', '.join(PATTERNS)}, "
                f"as in llama3={path.name}"
            )
        return _from_ranks(_ranks(path), pattern, path, name or stem)
    if path.suffix == ".json":
        return _from_json(_read(path, MAX_TOKENIZER_BYTES), path, name or path.resolve().parent.name)
    raise UserError(f"'{path}' is no tokenizer; give a folder with a tokenizer.json, such a file, or a .tiktoken rank file")


def _read(path: Path, limit: int) -> bytes:
    """The file's content, unpacked if its name ends in .gz. Raises UserError where it can't be read or is larger than `limit`."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            content = stream.read(limit + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(
            f"'{path}' can't be read ({getattr(error, 'strerror', None) or error}); check the path, or get the file again"
        ) from error
    if len(content) > limit:
        raise UserError(f"'{path}' is larger than {limit >> 20} MB unpacked, far more than any tokenizer; get the file again")
    return bytes(content)


def _ranks(path: Path) -> list[bytes]:
    """The tokens of a rank file by rank. Raises UserError naming the first bad line."""
    ranks: dict[int, bytes] = {}
    for number, line in enumerate(_read(path, MAX_RANK_FILE_BYTES).split(b"\n"), 1):
        if not line.strip():
            continue
        fields = line.split()
        try:
            (encoded, rank_text), rank = fields, int(fields[-1])
            token = base64.b64decode(encoded, validate=True)
        except (ValueError, binascii.Error) as error:
            raise UserError(f"'{path}', line {number}: not a token in base64 and its rank; get the file again") from error
        if not token or rank in ranks or not rank_text.isdigit():
            raise UserError(f"'{path}', line {number}: the rank {rank} is given twice, or its token is empty; get the file again")
        ranks[rank] = token
    tokens = [ranks[rank] for rank in sorted(ranks)]
    if len(set(tokens)) < len(tokens):
        raise UserError(f"'{path}' gives one token two ranks; get the file again")
    if sorted(ranks) != list(range(len(tokens))):
        raise UserError(f"'{path}' leaves ranks out between 0 and {max(ranks)}; get the file again")
    if missing := sorted(set(range(256)) - {token[0] for token in tokens if len(token) == 1}):
        raise UserError(f"'{path}' has no token for the byte 0x{missing[0]:02x}, so it can't encode every text; get the file again")
    return tokens


def _from_ranks(tokens: list[bytes], pattern: str, path: Path, name: str) -> Encoder:
    """A rank file as `tokenizers` describes it: a word that is a token is one; else the pair of lowest rank is merged first."""
    rank_of = {token: rank for rank, token in enumerate(tokens)}
    spelled = [to_characters(token) for token in tokens]
    merges: list[tuple[str, str]] = []
    for token in tokens:
        pairs = [(rank_of.get(token[:cut], -1), rank_of.get(token[cut:], -1)) for cut in range(1, len(token))]
        merges += [(spelled[left], spelled[right]) for left, right in sorted(pairs) if left >= 0 and right >= 0]
    split = {"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": False}
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    specification: dict[str, Any] = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
        "decoder": level,
        "model": {
            "type": "BPE",
            "byte_fallback": False,
            "ignore_merges": True,
            "vocab": {word: rank for rank, word in enumerate(spelled)},
            "merges": merges,
        },
    }
    return _encoder(specification, path, name, tokens)


def _from_json(content: bytes, path: Path, name: str) -> Encoder:
    try:
        specification = orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise UserError(f"'{path}' is not JSON ({error}); get the file again") from error
    try:
        model, added = specification["model"], specification.get("added_tokens") or []
        vocabulary = {str(word): int(place) for word, place in model["vocab"].items()}
        kind, special = model["type"], {str(token["content"]): int(token["id"]) for token in added if token["special"]}
        plain = {str(token["content"]): int(token["id"]) for token in added if not token["special"]}
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise UserError(f"'{path}' doesn't describe a tokenizer as `tokenizers` writes it; get the file again") from error
    if kind != "BPE":
        raise UserError(f"'{path}' is a tokenizer of the kind {kind}; only byte-level BPE can be compared here")
    places = list((vocabulary | special | plain).values())
    if not places or min(places) < 0 or max(places) >= MAX_VOCABULARY:
        raise UserError(f"'{path}' has no tokens, or ids outside 0 to {MAX_VOCABULARY - 1:,}; get the file again")
    if len(set(places)) < len(places):
        raise UserError(f"'{path}' gives two tokens one id; get the file again")
    tokens = [b""] * (max(places) + 1)
    for word, place in vocabulary.items():
        if word in special:
            continue
        token = word.encode("utf-8") if word in plain else _bytes_of(word)
        if token is None:
            raise UserError(f"'{path}' holds the token '{word[:40]}', which is no byte-level one; only byte-level BPE can be compared here")
        tokens[place] = token
    for word, place in plain.items():
        tokens[place] = word.encode("utf-8")
    specification["added_tokens"] = [token for token in added if not token["special"]]
    # added tokens go into the vocabulary, as `tokenizers` numbers those anew that are not in it
    model["vocab"] = {word: place for word, place in (vocabulary | plain).items() if word not in special}
    specification |= {"post_processor": None, "truncation": None, "padding": None}
    return _encoder(specification, path, name, tokens)


def _encoder(specification: dict[str, Any], path: Path, name: str, tokens: list[bytes]) -> Encoder:
    """gigatoken where it takes the tokenizer and agrees with `tokenizers` on _PROBE, else the latter."""
    content = orjson.dumps(specification)
    try:
        slow = _tokenizers_encode(tokenizers.Tokenizer.from_buffer(content))
        probe = pa.array(_PROBE, pa.large_string())
        expected = slow(probe)
    except Exception as error:  # the library raises nothing narrower
        raise UserError(f"'{path}' is refused by `tokenizers` ({str(error).splitlines()[0][:200]}); get the file again") from error
    fast = _gigatoken_encode(content)
    if fast is not None and all(np.array_equal(one, other) for one, other in zip(fast(probe), expected, strict=True)):
        return Encoder(name, len(tokens), "gigatoken", tokens, fast)
    return Encoder(name, len(tokens), "tokenizers", tokens, slow)


def _gigatoken_encode(content: bytes) -> Callable[[pa.Array], tuple[np.ndarray, np.ndarray]] | None:
    """Encoding with gigatoken; None for a tokenizer of a form that it doesn't know."""
    try:
        backend = load_hf_json(content)
    except Exception:  # the library says RuntimeError for whatever it doesn't know; `_encoder` has checked the file
        return None

    def encode(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        data, offsets = buffers_of(texts)
        characters = ak.contents.NumpyArray(data, parameters={"__array__": "char"})
        rows = ak.contents.ListOffsetArray(ak.index.Index64(offsets), characters, parameters={"__array__": "string"})
        encoded = backend.encode_batch(ak.Array(rows)).layout
        return np.asarray(encoded.content.data), np.asarray(encoded.offsets.data)

    return encode


def _tokenizers_encode(tokenizer: tokenizers.Tokenizer) -> Callable[[pa.Array], tuple[np.ndarray, np.ndarray]]:
    def encode(texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        rows = [encoding.ids for encoding in tokenizer.encode_batch_fast(texts.to_pylist(), add_special_tokens=False)]
        offsets = np.zeros(len(rows) + 1, np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        ids = np.concatenate([np.array(row, np.uint32) for row in rows]) if rows else np.zeros(0, np.uint32)
        return ids, offsets

    return encode


def _bytes_of(word: str) -> bytes | None:
    """The bytes that a byte-level token stands for; None if it has a character that stands for none."""
    try:
        return to_bytes(word)
    except KeyError:
        return None
