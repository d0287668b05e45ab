"""What the tests of training share: folders of token shards, made without a tokenizer or a corpus."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tokenizer.shards import SIDE_CAR, ShardWriter

EOS = 0


@dataclass(frozen=True)
class Document:
    """One document. ids: with the closing EOS, if it is to have one; columns: of SIDE_CAR, such as id, epochs, long_document."""

    lang: str
    phase: str
    source: str
    domain: str
    ids: Sequence[int]
    columns: Mapping[str, Any] = field(default_factory=dict)


def make_shards(
    folder: Path, documents: Iterable[Document], vocab_size: int = 256, tokenizer: str = "scene", documents_per_shard: int = 1 << 30
) -> str:
    """Write the documents as `onnuri tokenizer encode` does, in groups of phase, lang, source and domain and within them in their order.

    Returns the sha256 that the shards give as their tokenizer's: the same for the same `tokenizer`, any text. A document without `id` gets
    `d<its place>`.
    """
    groups: dict[tuple[str, str, str, str], list[tuple[int, Document]]] = {}
    for place, document in enumerate(documents):
        key = (document.phase, document.lang, document.source, document.domain)
        groups.setdefault(key, []).append((place, document))
    sha256 = hashlib.sha256(tokenizer.encode()).hexdigest()
    made_groups, shards = [], []
    for key, mine in sorted(groups.items()):
        values = dict(zip(("phase", "lang", "source", "domain"), key, strict=True))
        path = "/".join(f"{name}={value}" for name, value in values.items())
        made_groups.append({"folder": path, "values": values})
        for number, first in enumerate(range(0, len(mine), documents_per_shard)):
            stem = f"{path}/00000_{number:03d}"
            writer = ShardWriter(folder / stem, {"tokenizer_sha256": sha256})
            part = mine[first : first + documents_per_shard]
            lengths = np.array([len(document.ids) for _, document in part], np.int64)
            tokens = np.concatenate([np.asarray(document.ids, np.int32) for _, document in part])
            writer.write(_rows(part), tokens, lengths)
            shards.append({"path": stem, "group": path, **writer.close()})
    facts = {
        "segment": "encode",
        "finished": True,
        "tokenizer": {"sha256": sha256, "vocab_size": vocab_size, "eos_token": "<|eos|>", "eos_id": EOS},
        "groups": made_groups,
        "shards": shards,
        **{name: sum(shard[name] for shard in shards) for name in ("documents", "tokens", "text_bytes")},
    }
    (folder / "manifest.json").write_text(json.dumps(facts), encoding="utf-8")
    return sha256


def _rows(documents: Sequence[tuple[int, Document]]) -> pa.Table:
    rows = [
        dict.fromkeys(SIDE_CAR.names)
        | {"id": f"d{place}", "lang": document.lang, "source": document.source, "domain": document.domain, "text_bytes": len(document.ids)}
        | dict(document.columns)
        for place, document in documents
    ]
    return pa.Table.from_pylist(rows, SIDE_CAR)
