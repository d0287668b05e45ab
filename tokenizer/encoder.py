"""A tokenizer.json as a bulk encoder of plain text: a column of texts in, ids and offsets out, and no text is ever a special token."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.errors import UserError

BACKENDS = ("gigatoken", "tokenizers")

RENEW_BYTES = 512 << 20
"""gigatoken remembers every word it has met and never forgets: measured, 0.2 GB more after 275 MB of text, and 2 GB after 144 MB of random
words. So an encoder starts anew after this many bytes of text, which costs a moment."""

_HF_BATCH_BYTES = 1 << 20
"""`tokenizers` makes an object of some hundred bytes per token: a batch of this size stays below 100 MB."""

PROBE = (
    "",
    "a<|eos|>b <|pad|><|system|>",
    "한글과 English를 섞은 문장, 2024년 1월.",
    "cafe\u0301 \u1112\u1161\u11ab \u1100\u1161 \u212b \ufb01",
    "I'S 'ſ don't WE'LL 'RE",
    "1²³½ⅷ٣ 12,345.67",
    "\u2028x\u3000\u3000y \u00a0 z\r\n\r\n  a\t\tb\n \n",
    "ㅋㅋㅋㅋ ㅠㅠ \U0001f468\u200d\U0001f469\u200d\U0001f467 \ufeff\x00\x7f\u0085",
    "    def f(x):\n\t\treturn x  # \u4e2d\u6587 \u0440\u0443\u0441 \u0939\u093f\u0928\u094d\u0926\u0940",
    " " * 300 + "!" * 300 + "\n" * 300,
)
"""Texts on which two readings of one tokenizer.json would part: specials as text, NFD, digits, contractions, all kinds of white space."""


@dataclass(frozen=True)
class TokenizerFile:
    """What encoding needs of a tokenizer. sha256: of its tokenizer.json, which is its identity. plain: that file without special tokens.

    vocab_size: one more than its greatest id. ids: of its added tokens, special or not, by content.
    """

    path: str
    sha256: str
    vocab_size: int
    ids: dict[str, int]
    plain: str


def load_tokenizer(folder: Path) -> TokenizerFile:
    """The tokenizer of a folder with a tokenizer.json. Raises UserError when there is none, and for one that can't encode plain text."""
    path = folder / "tokenizer.json"
    try:
        content = path.read_bytes()
        given = json.loads(content)
        vocab = given["model"]["vocab"]
        ids = {str(token["content"]): int(token["id"]) for token in given.get("added_tokens") or []}
    except FileNotFoundError:
        raise UserError(
            f"'{folder}' has no tokenizer.json; give the folder of a tokenizer, such as `onnuri tokenizer train` writes"
        ) from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"'{path}' can't be read as a tokenizer ({type(error).__name__}: {error}); make it again or copy it again"
        ) from error
    if given["model"].get("type", "BPE") != "BPE" or not isinstance(vocab, dict):
        raise UserError(f"the model of '{path}' is {given['model'].get('type')}, and encode works with BPE; give another tokenizer")
    size = 1 + max([*vocab.values(), *ids.values()], default=-1)
    return TokenizerFile(str(path), hashlib.sha256(content).hexdigest(), size, ids, plain_encoder_json(given, str(path)))


def plain_encoder_json(given: dict[str, Any], path: str) -> str:
    """A tokenizer.json from which no text can get the id of a special token: those are neither looked for nor in the model's vocabulary.

    Added tokens that aren't special stay, they are text. Template, truncation and padding go: they are for prompts, not for documents.
    Raises UserError when merges make a special token's string from text.
    """
    added = given.get("added_tokens") or []
    model = given["model"]
    special = {str(token["content"]) for token in added if token.get("special")} - {model.get("unk_token")}
    made = {"".join(merge) if isinstance(merge, list) else merge.replace(" ", "", 1) for merge in model.get("merges", [])}
    both = sorted(name for name in special & model["vocab"].keys() if name in made or len(name) == 1)
    if both:
        raise UserError(f"'{path}' makes its special token '{both[0]}' from text by merges, so a text could pass for it; rename the token")
    others = [token for token in added if token["content"] not in special]
    vocab = {token: number for token, number in model["vocab"].items() if token not in special}
    vocab |= {token["content"]: token["id"] for token in others}  # tokenizers counts up the ids of added tokens that aren't there
    changed = {
        "added_tokens": others,
        "post_processor": None,
        "truncation": None,
        "padding": None,
        "model": {**model, "vocab": vocab},
    }
    return json.dumps({**given, **changed}, ensure_ascii=False)


class Encoder:
    """Encodes texts with one backend, in the calling thread. It may remember words, so a second call is faster, never different."""

    def __init__(self, tokenizer: TokenizerFile, backend: str) -> None:
        """Raises UserError when the backend can't work with this tokenizer."""
        self.tokenizer, self.backend = tokenizer, backend
        self._encoded = 0
        self._model = self._load()

    def _load(self) -> Any:
        if self.backend == "gigatoken":
            import gigatoken

            try:
                return gigatoken.Tokenizer.from_json(self.tokenizer.plain)
            except Exception as error:
                raise UserError(
                    f"gigatoken can't work with '{self.tokenizer.path}' ({_first_line(error)}); "
                    "use the slower reference encoder with --set backend=tokenizers"
                ) from error
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")  # one thread per worker, as everywhere
        import tokenizers

        try:
            return tokenizers.Tokenizer.from_str(self.tokenizer.plain)
        except Exception as error:
            raise UserError(
                f"tokenizers can't work with '{self.tokenizer.path}' ({_first_line(error)}); make the tokenizer again"
            ) from error

    def __call__(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        """The ids (uint32) of all texts in turn and the offsets (int64, one more than texts) at which each begins.

        texts: large_string, valid UTF-8, without nulls.
        """
        if self.backend == "tokenizers":
            return self._by_reference(texts)
        import awkward

        if self._encoded >= RENEW_BYTES:
            self._model, self._encoded = self._load(), 0
        offsets = text_offsets(texts)
        self._encoded += int(offsets[-1] - offsets[0])
        bare = pa.Array.from_buffers(pa.large_string(), len(texts), [None, *texts.buffers()[1:]], offset=texts.offset)
        layout = self._model.encode_batch(awkward.from_arrow(bare), parallel=False).layout
        return np.asarray(layout.content.data), np.asarray(layout.offsets.data)

    def _by_reference(self, texts: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        sizes = text_offsets(texts)
        batches = (sizes[:-1] - sizes[0]) // _HF_BATCH_BYTES
        parts: list[np.ndarray] = []
        lengths = np.zeros(len(texts), np.int64)
        for rows in np.split(np.arange(len(texts)), np.flatnonzero(np.diff(batches)) + 1):
            encodings = self._model.encode_batch_fast([texts[row].as_py() for row in rows.tolist()], add_special_tokens=False)
            parts += [np.array(encoding.ids, np.uint32) for encoding in encodings]
            lengths[rows] = [len(encoding) for encoding in encodings]
        offsets = np.zeros(len(texts) + 1, np.int64)
        np.cumsum(lengths, out=offsets[1:])
        return np.concatenate([np.zeros(0, np.uint32), *parts]), offsets


def text_offsets(texts: pa.Array) -> np.ndarray:
    """int64: the byte offsets of a large_string array, one more than it has texts."""
    if not len(texts):
        return np.zeros(1, np.int64)
    return np.frombuffer(texts.buffers()[1], np.int64)[texts.offset : texts.offset + len(texts) + 1]


def first_difference(encoders: Sequence[Encoder], texts: pa.Array) -> int | None:
    """The first text that two encoders don't give the same ids, or None."""
    (ids, offsets), (other_ids, other_offsets) = (encoder(texts) for encoder in encoders)
    if np.array_equal(ids, other_ids) and np.array_equal(offsets, other_offsets):
        return None
    rows = range(len(texts))
    return next(
        row
        for row in rows
        if not np.array_equal(ids[offsets[row] : offsets[row + 1]], other_ids[other_offsets[row] : other_offsets[row + 1]])
    )


def backend_version(backend: str) -> str:
    """The backend's name with its version, for the manifest."""
    return f"{backend} {version(backend)}"


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:200]
