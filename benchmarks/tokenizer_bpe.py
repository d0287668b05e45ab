"""BPE training beside tokenizers' own trainer and ffbpe: seconds, memory, and whether they learn the same.

    python benchmarks/tokenizer_bpe.py DATA [--vocab-size 8000 32000] [--share 4 2 1] [--peers hf ffbpe] [--wrap] [--json OUT]

DATA is the folder of development data; `--share 4` takes every fourth document of it. Each measurement has a process of its own:

    hf      tokenizers: `train_from_iterator` from text (NFC, the pattern and ByteLevel inside), which is the only way it has
    ffbpe   its word counter, and its trainer from these words (where it is installed)
    ours    the word counter of `tokenizer.pretoken`, and `tokenizer.bpe.train` from these words

Reading the texts is left out of the time (of hf, which asks for them one by one, they are read before). Peak memory is that of the process,
with the texts it holds; "training" is the part from words on, also measured alone, from a file of words. tokenizers and ffbpe may use all
cores, ours uses one. --wrap shows tokenizers' counter at 2^31 (it takes 2.1 billion occurrences, a minute or so).
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.measure import peak_memory_bytes
from tokenizer.words import PATTERN, Words

BATCH_CHARACTERS = 4_000_000
LEARNERS = ("ours", "ffbpe", "hf")


def texts(data: Path, share: int) -> Iterator[str]:
    number = 0
    for path in sorted(data.glob("text/*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                number += 1
                if number % share == 0:
                    yield unicodedata.normalize("NFC", json.loads(line)["text"])


def batches(given: Iterator[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    size = 0
    for text in given:
        batch.append(text)
        size += len(text)
        if size >= BATCH_CHARACTERS:
            yield batch
            batch, size = [], 0
    yield batch


class Clock:
    """Seconds of parts, by the wall and by the processor."""

    def __init__(self) -> None:
        self.parts: dict[str, dict[str, float]] = {}

    def add(self, name: str, call: Any, *arguments: Any) -> Any:
        wall, processor = time.perf_counter(), time.process_time()
        result = call(*arguments)
        part = self.parts.setdefault(name, {"wall": 0.0, "processor": 0.0})
        part["wall"] += time.perf_counter() - wall
        part["processor"] += time.process_time() - processor
        return result


def digest(tokens: list[bytes]) -> str:
    """Of the strings of all ids: the same if the vocabularies are, and then the merges are, since a string is made in one way only."""
    return hashlib.sha256(b"".join(len(token).to_bytes(4, "little") + token for token in tokens)).hexdigest()


def hf(data: Path, share: int, vocab_size: int, clock: Clock, words: Path | None) -> list[bytes]:
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    del words  # it can't train from words
    given = list(texts(data, share))
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Split(Regex(PATTERN), "isolated"), byte_level])
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=vocab_size, initial_alphabet=alphabet, special_tokens=[], show_progress=False)
    clock.add("all", tokenizer.train_from_iterator, given, trainer)
    from tokenizer.bpe import BYTE_OF_ID

    byte_of = dict(zip(sorted(alphabet), BYTE_OF_ID.tolist(), strict=True))
    vocabulary = tokenizer.get_vocab()
    return [bytes(byte_of[character] for character in token) for token in sorted(vocabulary, key=lambda token: vocabulary[token])]


def ffbpe(data: Path, share: int, vocab_size: int, clock: Clock, words: Path | None) -> list[bytes]:
    from ffbpe import BpeTrainer, PreTokenizer

    trainer = BpeTrainer([], unit="byte", initial_alphabet="byte_level", tie_break="smallest_pair_id")
    if words:
        table = pq.read_table(words)
        pairs = list(zip(table.column("word").to_pylist(), table.column("count").to_pylist(), strict=True))
        clock.add("training", trainer.add_words, pairs)
    else:
        counter = PreTokenizer([], None, PATTERN).word_counter()
        for batch in batches(texts(data, share)):
            clock.add("counting", counter.add_batch, batch)
        clock.add("training", trainer.add_word_counter, counter)
    clock.add("training", trainer.train, vocab_size)
    by_id = {number: string for string, number in trainer.vocab.items()}
    return [by_id[number] for number in range(len(by_id))]


def ours(data: Path, share: int, vocab_size: int, clock: Clock, words: Path | None) -> list[bytes]:
    from tokenizer.bpe import BYTE_OF_ID, train

    if words:
        table = pq.read_table(words)
        counted = Words.from_table(table)
    else:
        counted = count(data, share, clock)
    merges = clock.add("training", train, counted, vocab_size - 256)
    return [*(bytes([byte]) for byte in BYTE_OF_ID.tolist()), *merges.tokens()]


def count(data: Path, share: int, clock: Clock) -> Words:
    """The words of the texts, by our counter."""
    from tokenizer.pretoken import WordCounter

    counter = WordCounter(1 << 20, None)
    for batch in batches(texts(data, share)):
        clock.add("counting", counter.add, pa.array(batch, pa.large_string()))
    return clock.add("counting", counter.words)


def one(given: argparse.Namespace) -> None:
    """What a process of its own does: learn once, print what it took."""
    clock = Clock()
    words = given.words if given.words and given.words.is_file() else None
    learner = {"hf": hf, "ffbpe": ffbpe, "ours": ours}[given.one]
    tokens = learner(given.data, given.share[0], given.vocab_size[0], clock, words)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"digest": digest(tokens), "tokens": len(tokens), "peak": max(peak, peak_memory_bytes()), "parts": clock.parts}))


def measure(learner: str, data: Path, share: int, vocab_size: int, words: Path | None = None) -> dict[str, Any]:
    command = [sys.executable, __file__, str(data), "--one", learner, "--share", str(share), "--vocab-size", str(vocab_size)]
    done = subprocess.run([*command, *(["--words", str(words)] if words else [])], stdout=subprocess.PIPE, text=True, check=True)
    return {"learner": learner, "from": "words" if words else "text", "share": share, "vocab_size": vocab_size} | json.loads(done.stdout)


def spent(row: dict[str, Any], part: str | None = None, clock: str = "wall") -> float:
    return sum(times[clock] for name, times in row["parts"].items() if part in (None, name))


def compare(data: Path, share: int, vocab_size: int, peers: list[str], words: Path) -> list[dict[str, Any]]:
    rows = [measure(learner, data, share, vocab_size) for learner in LEARNERS if learner == "ours" or learner in peers]
    rows += [measure(learner, data, share, vocab_size, words) for learner in LEARNERS[:2] if learner == "ours" or learner in peers]
    own = {row["from"]: row for row in rows if row["learner"] == "ours"}
    for row in rows:
        mine = own[row["from"]]
        same = "same vocabulary" if row["digest"] == mine["digest"] else "OTHER VOCABULARY"
        training = f", training {spent(row, 'training'):6.1f} s" if "training" in row["parts"] else ""
        print(
            f"  {row['learner']:6} from {row['from']:5} {spent(row):7.1f} s ({spent(row, clock='processor'):7.1f} s of processor{training})"
            f"  {row['peak'] / 1e6:7,.0f} MB  {row['tokens']:,} tokens, {same};"
            f" time {spent(row) / spent(mine):.1f} times ours, memory {row['peak'] / mine['peak']:.1f} times",
            flush=True,
        )
    return rows


def wrap() -> None:
    """2,149,900,000 times `a a`, and 1,000 times `x y`: which is merged first?"""
    from tokenizers import Tokenizer, models, trainers

    from tokenizer.bpe import train

    letters, times = 100_000, 21_499
    word = "a" * (letters + 1)
    tokenizer = Tokenizer(models.BPE())
    trainer = trainers.BpeTrainer(vocab_size=4, special_tokens=[], show_progress=False)
    began = time.perf_counter()
    tokenizer.train_from_iterator((text for text in [*[word] * times, *["xy"] * 1000]), trainer)
    learned = [token for token in tokenizer.get_vocab() if len(token) > 1]
    print(f"tokenizers learns {learned} of {letters * times:,} a a and 1,000 x y, in {time.perf_counter() - began:.0f} s", end="; ")
    print(f"ours learns {[token.decode() for token in train(Words.of({word.encode(): times, b'xy': 1000}), 1).tokens()]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vocab-size", type=int, nargs="+", default=[8000, 32000])
    parser.add_argument("--share", type=int, nargs="+", default=[4, 2, 1], help="take every n-th document")
    parser.add_argument("--peers", nargs="*", default=["hf", "ffbpe"], choices=["hf", "ffbpe"])
    parser.add_argument("--wrap", action="store_true", help="show what 2^31 occurrences do to tokenizers")
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    parser.add_argument("--one", choices=LEARNERS, help=argparse.SUPPRESS)
    parser.add_argument("--words", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        one(given)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        for share in given.share:
            path = Path(folder) / f"words-{share}.parquet"
            counted = count(given.data, share, Clock())
            pq.write_table(counted.to_table(), path)
            size = sum(len(text.encode()) for text in texts(given.data, share)) / 1e6
            lengths = np.diff(counted.offsets)
            symbols = int((lengths[lengths > 1] + 3).sum())
            print(
                f"\n1/{share} of the texts: {size:.1f} MB, {len(counted):,} distinct words of {lengths.mean():.1f} bytes,"
                f" {4 * symbols / 1e6:,.0f} MB as symbols"
            )
            del counted
            for vocab_size in given.vocab_size:
                print(f" vocabulary {vocab_size:,}")
                rows += compare(given.data, share, vocab_size, given.peers, path)
    if given.wrap:
        wrap()
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
