"""What it takes to go from text to a tokenizer: our two commands beside `tokenizers`, in one run, at growing sizes of the same text.

    python benchmarks/tokenizer_train.py DATA [--vocab-size 102400] [--parts 4 2 1] [--workers 2] [--ours-only]

DATA is the folder of development data. `--parts 4 2 1` measures a quarter, a half and all of its Korean and English documents (every
n-th). Ours is what a user types: `onnuri tokenizer count` on Parquet with no limit on documents, then `onnuri tokenizer train`, start-up
included. The peer is `Tokenizer.train_from_iterator` with the same normaliser, pattern and size over the same Parquet, in a process of
its own with all cores: ordinary BPE, as it knows no split. Printed are wall seconds and peak memory: of ours the largest process (workers
are processes of their own), of the peer its one process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

ROWS_PER_BATCH = 500


def documents(data: Path) -> Iterator[str]:
    """Every Korean and English document of the development data."""
    for path in sorted((data / "text").glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for line in stream:
                yield json.loads(line)["text"]


def write_parquet(data: Path, path: Path, parts: int) -> float:
    """Every `parts`-th document as Parquet; returns megabytes of text."""
    size, batch = 0, []
    with pq.ParquetWriter(path, pa.schema([("text", pa.large_string())]), compression="zstd", use_dictionary=False) as writer:

        def flush() -> None:
            writer.write_table(pa.table({"text": pa.array(batch, pa.large_string())}))
            batch.clear()

        for number, text in enumerate(documents(data)):
            if number % parts == 0:
                batch.append(text)
                size += len(text.encode())
            if len(batch) == ROWS_PER_BATCH:
                flush()
        flush()
    return size / 1e6


def timed(command: list[str]) -> tuple[float, float]:
    """(wall seconds, GB of the largest process) of a command. Raises CalledProcessError when it fails."""
    before = time.perf_counter()
    child = subprocess.Popen(command)
    _, status, _ = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return time.perf_counter() - before, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e6


def measured(command: list[str]) -> tuple[float, float]:
    """`timed` in a fresh process, so that the peak is this command's (and its children's) and not an earlier one's."""
    code = f"import json; from benchmarks.tokenizer_train import timed; print('RESULT', json.dumps(timed({command!r})))"
    done = subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1])
    return tuple(json.loads(done.stdout.rsplit("RESULT", 1)[1]))


def train_peer(path: str, vocab_size: int) -> None:
    """What users do today: `tokenizers` from an iterator over Parquet."""
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

    from tokenizer.words import PATTERN

    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    split = pre_tokenizers.Split(Regex(PATTERN), "isolated")
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), special_tokens=["<|eos|>"], show_progress=False
    )
    batches = (batch.column("text").to_pylist() for batch in pq.ParquetFile(path).iter_batches(ROWS_PER_BATCH))
    tokenizer.train_from_iterator((text for batch in batches for text in batch), trainer)
    if tokenizer.get_vocab_size() < vocab_size:
        print(f"note: the peer made only {tokenizer.get_vocab_size()} entries", file=sys.stderr)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--vocab-size", type=int, default=102_400)
    parser.add_argument("--parts", type=int, nargs="+", default=[4, 2, 1])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--ours-only", action="store_true", help="leave the peer out")
    options = parser.parse_args()
    onnuri = [sys.executable, "-m", "pipeline"]
    heads = ("text", "words", "count s", "GB", "train s", "GB", "count + train s", "tokenizers s", "GB", "times")
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    with tempfile.TemporaryDirectory() as folder:
        for parts in options.parts:
            text, counts, out = (Path(folder) / f"{name}{parts}" for name in ("text", "counts", "tokenizer"))
            text.mkdir()
            size = write_parquet(options.data, text / "text.parquet", parts)
            engine = ["--workers", str(options.workers), "--quiet"]
            whole = ["--set", "max_document_bytes=null"]
            count, count_peak = measured([*onnuri, "tokenizer", "count", str(text), "-o", str(counts), *whole, *engine])
            train, train_peak = measured(
                [*onnuri, "tokenizer", "train", str(counts), "-o", str(out), "--vocab-size", str(options.vocab_size), *engine]
            )
            words = sum(pq.read_metadata(path).num_rows for path in (counts / "counts").glob("*.parquet"))
            row = f"| {size:.0f} MB | {words:,} | {count:.1f} | {count_peak:.2f} | {train:.1f} | {train_peak:.2f} | {count + train:.1f} |"
            if options.ours_only:
                print(row + " | | |", flush=True)
                continue
            code = f"from benchmarks.tokenizer_train import train_peer; train_peer({str(text / 'text.parquet')!r}, {options.vocab_size})"
            peer, peer_peak = measured([sys.executable, "-c", code])
            print(f"{row} {peer:.1f} | {peer_peak:.2f} | {peer / (count + train):.1f} |", flush=True)


if __name__ == "__main__":
    main()
