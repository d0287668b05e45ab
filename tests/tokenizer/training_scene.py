"""What the tests of training share: texts in several scripts, and calls that count them and train on the counts."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.engine import Engine
from pipeline.inputs import Inputs
from pipeline.progress import Progress
from pipeline.segment import Segment
from tests.pipeline.fake_run import InlineEngine
from tokenizer import count, train
from tokenizer.texts import plan_texts

KOREAN, ENGLISH = "가나다라마바사아자차한글국어말뭉치", "abcdefghijklmnoprst"
OTHERS = (" .,!?()“”…×", "漢字日本", "жизнь", "😀👍🏽", "0123456789", "éßñö", "\r\n\t\u3000")

FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja", "vocabulary.parquet", "audit.json", "README.md")
"""What training writes beside manifest.json; the same in every run on the same counts."""


def texts(seed: int, documents: int = 60, alphabets: Sequence[str] = (KOREAN, ENGLISH, *OTHERS)) -> list[str]:
    """Documents of words that come again and of words of their own, some of them in two scripts."""
    draw = random.Random(seed)
    shared = random.Random(0)
    known = ["".join(shared.choices(alphabet, k=shared.randint(1, 5))) for alphabet in alphabets for _ in range(30)]

    def word() -> str:
        if draw.random() < 0.6:
            return draw.choice(known)
        return "".join(draw.choices(draw.choice(alphabets[:2]), k=draw.randint(1, 7)))

    return ["".join(word() + draw.choice([" ", " ", "", "\n"]) for _ in range(40)) for _ in range(documents)]


def counted(folder: Path, documents: Sequence[str], engine: Engine | None = None, **config: Any) -> Path:
    """Counts of these documents; returns their folder."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder.with_name(f"{folder.name}.parquet")
    pq.write_table(pa.table({"text": pa.array(documents, pa.string())}), path)
    segment = Segment(folder, "count", engine or InlineEngine(), Progress(quiet=True), 0.0, alone=True)
    count.run(segment, plan_texts(Inputs([str(path)]), 1 << 20), count.CountConfig(**config))
    return folder


SMALL: dict[str, Any] = {"vocab_size": 700, "special_tokens": 16, "seed_syllables": "none"}


def trained(folder: Path, counts: Sequence[Path], engine: Engine | None = None, **config: Any) -> dict[str, Any]:
    """Train into `folder`, with SMALL settings unless `config` says otherwise; returns the manifest."""
    segment = Segment(folder, "train", engine or InlineEngine(), Progress(quiet=True), 0.0, alone=True)
    return train.run(segment, counts, train.TrainConfig(**SMALL | config))


def written(folder: Path) -> dict[str, bytes]:
    """The bytes of what training wrote."""
    return {name: (folder / name).read_bytes() for name in FILES}
