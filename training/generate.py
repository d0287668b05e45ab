"""Greedy decoding with our own model: always the likeliest next token. To look at what a training made; serving is others' work.

Keys and values of earlier tokens are kept, so each further token costs one token's pass.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention

from pipeline.errors import UserError
from training.batch import Segments
from training.llama_format import load_decoder, read_eos_ids
from training.model import Attention, Decoder


@dataclass(frozen=True)
class Completion:
    """What a model wrote after a prompt. stopped: `eos`, or `length` where it had not ended. seconds: of decoding, without loading."""

    prompt: str
    text: str
    prompt_tokens: int
    tokens: int
    stopped: str
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The completion as plain data."""
        return asdict(self)


def complete(folder: Path, prompt: str, max_tokens: int) -> Completion:
    """Complete a prompt with a model in Llama format, on a GPU in bfloat16 where there is one, else in float32. Special tokens in the
    prompt count as such. Raises UserError for a folder without model or tokenizer, and a prompt that is empty or too long."""
    from tokenizers import Tokenizer

    path = folder / "tokenizer.json"
    if not path.exists():
        raise UserError(f"'{folder}' has no tokenizer.json; give a folder that `onnuri train export` wrote")
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library has no narrower one
        raise UserError(f"'{path}' can't be read as a tokenizer ({error}); export the model again or copy the file again") from error
    if any("\ud800" <= character <= "\udfff" for character in prompt):  # bytes of the command line that are no text
        raise UserError("the prompt is not valid UTF-8; give it as text")
    ids = tokenizer.encode(prompt, add_special_tokens=False).ids
    gpu = torch.cuda.is_available()
    model = load_decoder(folder, torch.bfloat16 if gpu else torch.float32, "cuda" if gpu else "cpu")
    eos = read_eos_ids(folder)
    start = time.monotonic()
    written = greedy(model, ids, max_tokens, eos)
    seconds = time.monotonic() - start
    ended = bool(written) and written[-1] in eos
    text = tokenizer.decode(written[:-1] if ended else written, skip_special_tokens=False)
    return Completion(prompt, text, len(ids), len(written), "eos" if ended else "length", seconds)


@torch.no_grad()
def greedy(model: Decoder, ids: list[int], max_tokens: int, eos: Collection[int]) -> list[int]:
    """The likeliest tokens after `ids`, up to and with the first of `eos`, at most max_tokens and what the model has positions for.

    Raises UserError when ids are none, more than the model's positions, or outside its vocabulary.
    """
    room = model.config.max_position_embeddings - len(ids)
    if not ids:
        raise UserError("the prompt is empty; give at least one token")
    if room < 1:
        raise UserError(f"the prompt has {len(ids):,} tokens and the model {model.config.max_position_embeddings:,} positions; shorten it")
    if max(ids) >= model.config.vocab_size:
        raise UserError(f"the prompt has the token {max(ids)} and the model a vocabulary of {model.config.vocab_size:,}; use its tokenizer")
    attentions = [module for module in model.modules() if isinstance(module, Attention)]
    before = [attention.attend for attention in attentions]
    for attention in attentions:
        attention.attend = _Cache().attend
    written: list[int] = []
    given, position = ids, 0
    try:
        while len(written) < min(max_tokens, room):
            hidden = model.hidden_states(*_tokens(given, position, model.embed_tokens.weight.device))
            given, position = [int(model.lm_head(hidden[:, -1:], None).argmax())], position + len(given)
            written += given
            if given[0] in eos:
                break
    finally:
        for attention, attend in zip(attentions, before, strict=True):
            attention.attend = attend
    return written


def _tokens(ids: list[int], position: int, device: torch.device) -> tuple[torch.Tensor, Segments]:
    """Ids int64[1, S], and their positions from `position` on, all of one document."""
    whole = Segments.whole(1, len(ids), device)
    positions = whole.positions + position
    return torch.tensor([ids], device=device), Segments(positions, whole.piece, whole.bounds, whole.longest)


class _Cache:
    """Attention of one layer that remembers keys and values, [1, tokens so far, kv_heads, head_dim]."""

    def __init__(self) -> None:
        self._kept: tuple[torch.Tensor, torch.Tensor] | None = None

    def attend(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, segments: Segments) -> torch.Tensor:
        """As training.attention.attend: the first call with the whole prompt, the others with one token each."""
        first = self._kept is None
        if self._kept is not None:
            key, value = (torch.cat([old, new], dim=1) for old, new in zip(self._kept, (key, value), strict=True))
        self._kept = key, value
        query, key, value = (x.transpose(1, 2) for x in (query, key, value))
        return scaled_dot_product_attention(query, key, value, is_causal=first, enable_gqa=True).transpose(1, 2)
