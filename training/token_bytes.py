"""How many bytes of text each token of a tokenizer stands for, so that a loss per token can be told as bits per byte.

Bits per byte compare models of different tokenizers; losses per token don't.
"""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np

from pipeline.errors import UserError
from tokenizer.vocabulary import TOKENIZER, to_bytes


def byte_lengths(tokenizer: Path, vocab_size: int) -> np.ndarray:
    """int64[vocab_size] from a folder's tokenizer.json, byte-level BPE. Special tokens, and ids that no token has, stand for 0 bytes.

    Raises UserError when the file isn't there, is of another kind, or has more tokens than vocab_size.
    """
    path = tokenizer / TOKENIZER
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        special = {token["id"] for token in content["added_tokens"]}
        lengths = {place: len(to_bytes(token)) for token, place in content["model"]["vocab"].items() if place not in special}
    except OSError as error:
        raise UserError(f"can't read '{path}' ({error.strerror}); give the folder of the shards' tokenizer") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"'{path}' is not the file of a byte-level BPE tokenizer; give the folder of the shards' tokenizer") from error
    if (largest := max([*lengths, *special])) >= vocab_size:
        raise UserError(f"'{path}' has the token id {largest:,}, and the model's vocabulary has {vocab_size:,}; raise model.vocab_size")
    table = np.zeros(vocab_size, np.int64)
    table[list(lengths)] = list(lengths.values())
    return table


def bits_per_byte(nll: float, size: int) -> float | None:
    """From a sum of negative log-likelihoods in nats and the bytes of the same tokens; None without any."""
    return nll / math.log(2) / size if size else None
