"""Write a vocabulary as the files that transformers, tokenizers and gigatoken load, and as a Parquet table for everything else.

The chat template is our own (chat_template.jinja). Whoever renders a conversation to text and encodes the text has to know what every
such template shares: a user who writes the letters "<|assistant|>" would begin a turn of the assistant, as transformers takes special
strings in rendered text for the tokens. The template leaves texts as they are; changing them would hide the matter, not solve it. An
application that shows the model texts of others encodes each content alone, as text, and puts the special ids around it:

    ids = [special_id["<|user|>"], *tokenizer.encode(content, split_special_tokens=True), special_id["<|end|>"]]

Corpora are encoded the same way, with `encoder.plain_encoder_json`: no document can write a special token.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline.shards import write_table
from tokenizer.scripts import kinds
from tokenizer.special_tokens import BOS, EOS, PAD
from tokenizer.vocabulary import BYTES, TOKENIZER, Vocabulary, to_characters
from tokenizer.words import PATTERN

CONFIG, TEMPLATE, TABLE = "tokenizer_config.json", "chat_template.jinja", "vocabulary.parquet"
"""The files of a tokenizer's folder, beside TOKENIZER, its card and manifest."""

_ADDED = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}


def tokenizer_json(vocabulary: Vocabulary) -> str:
    """The content of tokenizer.json: NFC, the pre-tokens of PATTERN, byte-level BPE; ids, merges and their order are the vocabulary's."""
    specials = list(vocabulary.specials)
    texts = specials + [to_characters(token) for token in vocabulary.tokens]
    merges = [[texts[left], texts[right]] for left, right in zip(vocabulary.left.tolist(), vocabulary.right.tolist(), strict=True)]
    content: dict[str, Any] = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": place, "content": special, **_ADDED} for place, special in enumerate(specials)],
        "normalizer": {"type": "NFC"},
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False},
                {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True, "use_regex": True},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {text: place for place, text in enumerate(texts)},
            "merges": merges,
        },
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":")) + "\n"


def tokenizer_config(specials: Sequence[str]) -> dict[str, Any]:
    """The content of tokenizer_config.json. Every special token is one that `skip_special_tokens` leaves out."""
    roles = {"bos_token": BOS, "eos_token": EOS, "pad_token": PAD}
    return {
        "tokenizer_class": "PreTrainedTokenizerFast",  # by this name versions 4 and 5 of transformers load it without code of ours
        "clean_up_tokenization_spaces": False,
        "model_max_length": 10**30,  # transformers' own "no limit": how much fits is the model's matter
        "model_input_names": ["input_ids", "attention_mask"],
        **{role: token for role, token in roles.items() if token in specials},
    }


def vocabulary_table(vocabulary: Vocabulary, languages: Sequence[str]) -> pa.Table:
    """A row per id: token (text; null where it is cut inside a character), bytes, kind, list, left, right (ids) and count.

    left, right, list and count are null for tokens that no merge makes.
    """
    specials = [special.encode() for special in vocabulary.specials]
    found = kinds(vocabulary.tokens, languages)
    names = ["special"] * len(specials) + ["byte"] * BYTES + [found.of(place) for place in range(BYTES, len(vocabulary.tokens))]
    data = pa.array(specials + vocabulary.tokens, pa.binary())
    whole = pa.array([*[True] * len(specials), *(~found.fragments).tolist()])
    none = len(specials) + BYTES

    def of_merges(values: Any, kind: pa.DataType) -> pa.Array:
        return pa.concat_arrays([pa.nulls(none, kind), pa.array(values, kind)])

    return pa.table(
        {
            "id": np.arange(len(vocabulary), dtype=np.int32),
            "token": pc.if_else(whole, data, None).cast(pa.string()),
            "bytes": data,
            "kind": pa.array(names, pa.string()),
            "list": of_merges(list(vocabulary.origin), pa.string()),
            "left": of_merges(vocabulary.left, pa.int32()),
            "right": of_merges(vocabulary.right, pa.int32()),
            "count": of_merges(vocabulary.counts, pa.int64()),
        }
    )


def write_tokenizer(folder: Path, vocabulary: Vocabulary, languages: Sequence[str], chat_template: str) -> None:
    """Write TOKENIZER, CONFIG, TABLE and TEMPLATE."""
    (folder / TOKENIZER).write_text(tokenizer_json(vocabulary), encoding="utf-8")
    config = json.dumps(tokenizer_config(vocabulary.specials), indent=2, ensure_ascii=False)
    (folder / CONFIG).write_text(config + "\n", encoding="utf-8")
    (folder / TEMPLATE).write_text(chat_template, encoding="utf-8")
    write_table(folder / TABLE, vocabulary_table(vocabulary, languages))
