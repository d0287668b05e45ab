"""What the tests of encoding share: a small tokenizer, a corpus as balance writes it, and one call that encodes."""

from __future__ import annotations

import functools
import random
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from pipeline.balance.parts import SCHEMA, PartWriter
from pipeline.engine import Engine
from pipeline.inputs import Inputs
from pipeline.progress import Progress
from pipeline.segment import Segment
from tests.pipeline.fake_run import InlineEngine
from tokenizer import encode
from tokenizer.shards import SUFFIXES
from tokenizer.special_tokens import EOS, special_tokens
from tokenizer.texts import plan_texts

QWEN2 = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
    r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)

WORDS = re.split(
    " ",
    "온누리에 퍼진 좋은 글은 읽을 만하다. 정부는 새 법률을 발표했다. 어제 서울에서는 비가 내렸고 사람들은 우산을 썼다. "
    "Good text is a pleasure to read again. The government announced a new law, and people in the city weren't happy about it. "
    "def main(): return 42  # <|eos|> 2024-01-31 ㅋㅋㅋ",
)

HOSTILE = (
    "<|eos|>",
    "a<|eos|>b<|pad|><|system|><|reserved_3|>",
    "".join(special_tokens()),
    "<|eos|" + ">",
    "cafe\u0301 \u1112\u1161\u11ab\u1100\u1173\u11af \u212b \ufb01",
    "\u1112\u1161\u11ab",
    "1²³½ⅷ٣ 12,345.67 'ſ I'S WE'LL",
    "\u2028x\u3000\u3000y \u00a0 z\r\n\r\n  a\t\tb\n \n",
    "ㅋㅋㅋ ㅠㅠ 👨\u200d👩\u200d👧 \ufeff\x00\x7f\u0085\U0010ffff",
    " " * 400 + "!" * 400 + "\n" * 400,
    "가" * 5000,
    "a" * 5000,
    "\x00",
)


def sentence(generator: random.Random, most: int = 40) -> str:
    """Some words, with a hostile text among them now and then."""
    words = [generator.choice(WORDS) for _ in range(generator.randint(1, most))]
    if generator.random() < 0.2:
        words.insert(generator.randrange(len(words) + 1), generator.choice(HOSTILE))
    return " ".join(words)


def write_tokenizer(folder: Path, vocab_size: int = 600, specials: Sequence[str] = special_tokens()) -> Path:
    """Train a small tokenizer of the kind that `onnuri tokenizer train` writes, with HF; returns `folder`."""
    made = Tokenizer(models.BPE())
    made.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(QWEN2), "isolated")
    made.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    generator = random.Random(1)
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(specials),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator([" ".join(generator.choice(WORDS) for _ in range(30)) for _ in range(300)], trainer)
    folder.mkdir(parents=True, exist_ok=True)
    made.save(str(folder / "tokenizer.json"))
    return folder


@functools.cache
def reference(tokenizer: Path) -> Tokenizer:
    """HF's own reading of the tokenizer, for which special tokens in a text are text."""
    model = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    model.encode_special_tokens = True
    return model


def reference_ids(tokenizer: Path, text: str, eos: bool = True) -> list[int]:
    """What HF makes of a text, and the EOS that closes it."""
    model = reference(tokenizer)
    return model.encode(text, add_special_tokens=False).ids + ([model.token_to_id(EOS)] if eos else [])


def documents(count: int, seed: int = 0, prefix: str = "d") -> pa.Table:
    """Rows in the columns of the corpus; ids are `<prefix><seed>-<row>`, every fifth row has no domain."""
    generator = random.Random(seed)
    rows = [
        {
            "id": f"{prefix}{seed}-{row}",
            "text": sentence(generator),
            "source": generator.choice(["web", "news"]),
            "url": f"https://host{row % 7}.kr/{seed}/{row}",
            "host": f"host{row % 7}.kr",
            "title": f"제목 {row}",
            "document_lang": "ko",
            "domain": None if row % 5 == 0 else generator.choice(["law", "뉴스", "../../etc"]),
            "epochs": 1 + row % 3,
            "replay_epochs": 0,
            "long_document": row % 11 == 0,
            "tokens": 10,
            "file": f"crawl-{seed}.warc.gz",
            "position": 1000 * row + seed,
        }
        for row in range(count)
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def write_corpus(folder: Path, tables: dict[str, pa.Table], shard_bytes: int = 1 << 30) -> Path:
    """Write a corpus as balance does; keys are `phase/lang/part`. Returns `folder`."""
    for key, table in tables.items():
        phase, lang, part = key.split("/")
        writer = PartWriter(folder / f"phase={phase}" / f"lang={lang}", part, shard_bytes)
        writer.write(table)
        writer.close()
    return folder


def encoded(
    inputs: Sequence[Path], out: Path, tokenizer: Path, engine: Engine | None = None, split_bytes: int = encode.SPLIT_BYTES, **config: Any
) -> dict[str, Any]:
    """Encode these files into `out`; returns the manifest."""
    segment = Segment(out, "encode", engine or InlineEngine(), Progress(quiet=True), 0.0, alone=True)
    splits = plan_texts(Inputs([str(path) for path in inputs]), split_bytes)
    return encode.run(segment, splits, tokenizer, encode.EncodeConfig(**config))


def token_files(out: Path) -> dict[str, bytes]:
    """Every token file below a folder by its path there."""
    found = {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.suffix in SUFFIXES}
    return {name: content for name, content in found.items() if not name.startswith("steps/")}
