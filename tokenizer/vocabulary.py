"""A vocabulary: special tokens, the 256 bytes, and one token per merge, in id order."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np

from pipeline.errors import UserError

TOKENIZER = "tokenizer.json"
"""The file that is the tokenizer; its sha256 is what a tokenizer is known by."""

BYTES = 256
"""Tokens of one byte: every text can be written with them."""


@dataclass(frozen=True)
class Vocabulary:
    """Ids are: the specials, then `tokens`, of which the first 256 are the bytes and each later one is made by one merge.

    tokens: bytes of each token that is no special, all different. left, right: int32[merges], ids of what merge k joins into the token
    `tokens[256 + k]`. origin: the list that each merge comes from. counts: int64[merges], occurrences of the pair in that list's words
    when it was learned.
    """

    specials: tuple[str, ...]
    tokens: list[bytes]
    left: np.ndarray
    right: np.ndarray
    origin: tuple[str, ...]
    counts: np.ndarray

    def __len__(self) -> int:
        return len(self.specials) + len(self.tokens)

    def check(self) -> None:
        """Raises UserError where a special token is named twice, and RuntimeError where the merges don't make the tokens: a bug."""
        if len(set(self.specials)) < len(self.specials):
            raise UserError("a special token is named twice; name each one once")
        if len(self.tokens) != BYTES + len(self.left):
            raise RuntimeError(f"{len(self.tokens)} tokens, but 256 bytes and {len(self.left)} merges")
        texts = set(self.tokens)
        if len(texts) < len(self.tokens):
            raise RuntimeError("two tokens have the same bytes")
        clash = next((special for special in self.specials if special.encode() in texts), None)
        if clash:
            raise UserError(f"the special token '{clash}' is also a token of the text; give it another name")
        first = len(self.specials)
        for place, (left, right) in enumerate(zip((self.left - first).tolist(), (self.right - first).tolist(), strict=True), BYTES):
            if not (0 <= left < place and 0 <= right < place) or self.tokens[left] + self.tokens[right] != self.tokens[place]:
                raise RuntimeError(f"the merge of token {first + place} doesn't make {self.tokens[place]!r}")


@functools.cache
def byte_characters() -> str:
    """The character that stands for each byte 0..255 in files of byte-level tokenizers (GPT-2's table).

    Bytes that print as themselves in Latin-1 stay; the others, in order, are U+0100 and following.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return "".join(chr(byte if byte in printable else next(others)) for byte in range(256))


def to_characters(token: bytes) -> str:
    """A token as files of byte-level tokenizers write it: one character per byte."""
    return token.decode("latin-1").translate(_table())


def to_bytes(token: str) -> bytes:
    """The bytes of a token as files write it. Raises KeyError with the first character that stands for no byte."""
    values = _values()
    return bytes([values[character] for character in token])


@functools.cache
def _table() -> dict[int, str]:
    return dict(enumerate(byte_characters()))


@functools.cache
def _values() -> dict[str, int]:
    return {character: byte for byte, character in enumerate(byte_characters())}
