"""Encoding from Parquet to token shards on one core, beside HF `tokenizers` and tiktoken: `python benchmarks/tokenizer_encode.py DATA`.

    python benchmarks/tokenizer_encode.py DATA --tokenizer FOLDER [--peer-megabytes M] [--repeats N] [--check-all]

DATA is the folder of development data (text/ko, text/en); FOLDER one with a tokenizer.json, as `onnuri tokenizer train` writes it. The
texts are first written as a corpus (zstd Parquet, as balance does it). Ours reads that and writes .bin, .idx and side-cars with one worker;
its seconds are the worker's, with reading Parquet, the side-car, sha256 and the check against HF. Before, the worker encodes one document,
so that loading the tokenizer, once in a worker's life, is told apart. The peers only encode, with one thread, and only every k-th document,
about M megabytes of each language; MB/s are MB of UTF-8 text in a second of processor time. `--check-all` compares the ids of every
document with HF's, which takes minutes.
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import tempfile
import time
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import tiktoken
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import ByteLevel

from pipeline.balance.parts import SCHEMA, PartWriter
from pipeline.engine import LocalEngine
from pipeline.inputs import Inputs
from pipeline.progress import Progress
from pipeline.segment import Segment
from tokenizer import encode
from tokenizer.encoder import Encoder, load_tokenizer
from tokenizer.shards import Shards, open_shards
from tokenizer.texts import plan_texts

LANGUAGES = ("ko", "en")
DOMAINS = ("news", "law", "community", "encyclopedia")  # given out in turn, so that a split has groups to be parted into
BATCH = 512
"""Documents that HF gets at a time."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--peer-megabytes", type=float, default=4.0)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--check-all", action="store_true")
    arguments = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    loaded = load_tokenizer(arguments.tokenizer)
    hf = Tokenizer.from_file(loaded.path)
    hf.encode_special_tokens = True
    print(f"tokenizer {loaded.sha256[:12]}, {loaded.vocab_size:,} entries")
    with tempfile.TemporaryDirectory() as scratch:
        texts = {language: write_corpus(arguments.data, Path(scratch) / "corpus", language) for language in LANGUAGES}
        print(f"{'':<4}{'MB':>8}{'tokens':>14}{'ours':>9}{'gigatoken':>11}{'HF':>7}{'tiktoken':>10}{'ours / HF':>11}  MB/s of one core")
        own = [print_row(language, Path(scratch), arguments, loaded, hf, texts[language]) for language in LANGUAGES]
        size, spent = (sum(column) for column in zip(*own, strict=True))
        print(f"{'all':<4}{size / 1e6:>8.1f}{'':>14}{size / spent / 1e6:>9.1f}", flush=True)
        if arguments.check_all:
            os.environ["TOKENIZERS_PARALLELISM"] = "true"
            for language in LANGUAGES:
                check(open_shards(Path(scratch) / f"out-{language}"), hf, texts[language], language)


def print_row(
    language: str, scratch: Path, arguments: argparse.Namespace, loaded: Any, hf: Tokenizer, texts: dict[str, str]
) -> tuple[int, float]:
    """Measure one language; bytes of text and our seconds."""
    manifest = min((ours(scratch, arguments.tokenizer, language) for _ in range(arguments.repeats)), key=lambda one: one["cpu_seconds"])
    size = manifest["text_bytes"]
    step = max(1, int(size / (arguments.peer_megabytes * 1e6)))
    sample = dict(list(texts.items())[::step])
    sample_bytes = sum(len(text.encode()) for text in sample.values())
    own = size / manifest["cpu_seconds"] / 1e6
    alone = size / seconds(lambda: encode_all(Encoder(loaded, "gigatoken"), list(texts.values()))) / 1e6
    hf_speed = sample_bytes / seconds(lambda: [hf_ids(hf, part) for part in batches(list(sample.values()))]) / 1e6
    ranks = tiktoken_of(loaded.path)
    tiktoken_ids: list[list[int]] = []
    tiktoken_speed = sample_bytes / seconds(lambda: tiktoken_ids.extend(map(ranks, sample.values()))) / 1e6
    print(
        f"{language:<4}{size / 1e6:>8.1f}{manifest['tokens']:>14,}{own:>9.1f}{alone:>11.1f}{hf_speed:>7.2f}{tiktoken_speed:>10.2f}"
        f"{own / hf_speed:>11.0f}",
        flush=True,
    )
    expected = [ids for part in batches(list(sample.values())) for ids in hf_ids(hf, part)]
    same = sum(one == other for one, other in zip(expected, tiktoken_ids, strict=True))
    shards = open_shards(scratch / f"out-{language}")
    equal = compared(shards, dict(zip(sample, expected, strict=True)))
    print(
        f"    peers: every {step}. document, {sample_bytes / 1e6:.1f} MB; ids of HF's documents equal: ours {equal:,} of {len(sample):,}, ",
        end="",
    )
    print(
        f"tiktoken {same:,}; ours: loading {manifest['loading_seconds']:.1f} s, {manifest['peak_memory_bytes'] / 1e6:,.0f} MB at most",
        flush=True,
    )
    return size, manifest["cpu_seconds"]


def write_corpus(data: Path, corpus: Path, language: str) -> dict[str, str]:
    """Write the texts of a language as corpus files; returns them by id."""
    texts: dict[str, str] = {}
    for path in sorted((data / "text" / language).glob("*.jsonl.gz")):
        source = path.name.split(".")[0]
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            mine = {f"{source}-{number}": json.loads(line).get("text") or "" for number, line in enumerate(stream)}
        writer = PartWriter(corpus / "phase=general" / f"lang={language}", f"part-{source}", 1 << 30)
        for part in batches(list(mine), 20_000):
            rows = len(part)
            given = {"id": part, "text": [mine[key] for key in part], "source": [source] * rows, "tokens": [0] * rows, "epochs": [1] * rows}
            given["domain"] = [DOMAINS[row % len(DOMAINS)] for row in range(rows)]
            table = pa.table({name: pa.array(values, SCHEMA.field(name).type) for name, values in given.items()})
            columns = [table.column(field.name) if field.name in given else pa.nulls(rows, field.type) for field in SCHEMA]
            writer.write(pa.table(columns, schema=SCHEMA))
        writer.close()
        texts |= {key: text for key, text in mine.items() if text}
    return texts


def ours(scratch: Path, tokenizer: Path, language: str) -> dict[str, Any]:
    """One whole encoding with one worker; its manifest, and as `loading_seconds` what its first document cost."""
    first = scratch / "first.jsonl"
    first.write_text('{"id": "1", "text": "first"}\n', encoding="utf-8")
    engine = LocalEngine(1)
    try:
        loading = encoded(engine, first, scratch / "out-first", tokenizer)["cpu_seconds"]
        inputs = scratch / "corpus" / "phase=general" / f"lang={language}"
        return encoded(engine, inputs, scratch / f"out-{language}", tokenizer) | {"loading_seconds": loading}
    finally:
        engine.close()


def encoded(engine: LocalEngine, inputs: Path, out: Path, tokenizer: Path) -> dict[str, Any]:
    for receipt in (out / "steps" / "encode" / "receipts").glob("*.json"):
        receipt.unlink()  # nothing is taken over from the last repeat
    segment = Segment(out, "encode", engine, Progress(quiet=True), 0.0, alone=True)
    return encode.run(segment, plan_texts(Inputs([str(inputs)]), encode.SPLIT_BYTES), tokenizer, encode.EncodeConfig())


def encode_all(encoder: Encoder, texts: Sequence[str]) -> None:
    """The bulk encoder alone, on texts that lie in memory."""
    for part in batches(texts, 4 * BATCH):
        encoder(pa.array(part, pa.large_string()))


def hf_ids(hf: Tokenizer, texts: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in hf.encode_batch_fast(texts, add_special_tokens=False)]


def tiktoken_of(path: str) -> Callable[[str], list[int]]:
    """tiktoken with the same vocabulary, its ids for ranks, after NFC."""
    given = json.loads(Path(path).read_text(encoding="utf-8"))
    byte_of = {character: byte for character, byte in zip(byte_characters(), range(256), strict=True)}
    specials = {token["content"] for token in given["added_tokens"]}
    vocab = {token: number for token, number in given["model"]["vocab"].items() if token not in specials}
    ranks = {bytes(byte_of[character] for character in token): number for token, number in vocab.items()}
    pattern = given["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"]
    encoding = tiktoken.Encoding("ours", pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
    return lambda text: encoding.encode_ordinary(unicodedata.normalize("NFC", text))


def byte_characters() -> list[str]:
    """The character that stands for each byte in a byte-level vocabulary (Radford et al. 2019, encoder.py)."""
    kept = [byte for byte in range(256) if 33 <= byte <= 126 or 161 <= byte <= 172 or 174 <= byte <= 255]
    others = [byte for byte in range(256) if byte not in kept]
    table = {byte: chr(byte) for byte in kept} | {byte: chr(256 + place) for place, byte in enumerate(others)}
    if set(table.values()) != set(ByteLevel.alphabet()):
        raise SystemExit("the alphabet of tokenizers has changed")
    return [table[byte] for byte in range(256)]


def compared(shards: Shards, expected: dict[str, list[int]]) -> int:
    """How many of these documents have these ids in the shards, the closing EOS aside."""
    equal = 0
    for file in shards.files:
        for row, identifier in enumerate(file.side_car(["id"]).column("id").to_pylist()):
            if identifier in expected:
                equal += np.array_equal(file.document(row)[:-1], expected[identifier])
    return equal


def check(shards: Shards, hf: Tokenizer, texts: dict[str, str], language: str) -> None:
    """Compare every document with HF, with all threads."""
    began, equal = time.perf_counter(), 0
    ids = {key: (file, row) for file in shards.files for row, key in enumerate(file.side_car(["id"]).column("id").to_pylist())}
    for part in batches(list(texts), BATCH):
        for key, expected in zip(part, hf_ids(hf, [texts[key] for key in part]), strict=True):
            file, row = ids[key]
            equal += np.array_equal(file.document(row)[:-1], expected)
    print(f"{language}: {equal:,} of {len(texts):,} documents have HF's ids ({time.perf_counter() - began:.0f} s)", flush=True)
    if equal != len(texts) or len(ids) != len(texts):
        raise SystemExit(1)


def batches(values: Sequence[str], count: int = BATCH) -> Iterator[list[str]]:
    for start in range(0, len(values), count):
        yield list(values[start : start + count])


def seconds(run: Callable[[], object]) -> float:
    """Processor seconds of this process, which encodes with one thread."""
    began = time.process_time()
    run()
    return time.process_time() - began


if __name__ == "__main__":
    main()
