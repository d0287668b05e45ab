"""How fast documents are scored beside fastText's own command and its Python call.

    python benchmarks/classify_speed.py DATA --fasttext PATH

DATA: folder with `text/*/*.jsonl.gz` and `labelled/topic`. PATH: fastText's command-line program, built from its source distribution:

    pip download --no-binary :all: --no-deps fasttext==0.9.3 && tar xzf fasttext-0.9.3.tar.gz
    g++ -O3 -march=native -std=c++17 -pthread fasttext-0.9.3/src/*.cc -o fasttext

All on one core, in processor time, over the same normalised lines, loading left out (of the command: its time on a file of one line), the
best of five, ours and the peers' in turn. MB are of normalised UTF-8. The command and the Python call score with one model at a time, so
several cost the sum.
"""

from __future__ import annotations

import argparse
import gzip
import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from pipeline.classify.config import TrainConfig
from pipeline.classify.lines import normal_lines
from pipeline.classify.normal import normal_texts
from pipeline.classify.predict import ModelFile, load_model, probabilities
from pipeline.classify.score import Score
from pipeline.classify.scorer import Scorer, open_scorer, score, split
from pipeline.classify.train import train_model

MAX_CHARS = 2000
TEXTS = {"ko": ("ko/petitions", "ko/news_dps_sample"), "en": ("en/digitalgov", "en/peps")}
SOURCES = ("ko/petitions", "ko/news_dps_sample", "ko/blog_johngrib", "ko/docs_ms_cpp_ko", "en/digitalgov", "en/peps")
REPEATS = 5
MOST_DIFFERENCE = 1e-5


def texts_of(data: Path, names: tuple[str, ...]) -> list[str]:
    found = []
    for name in names:
        with gzip.open(data / "text" / f"{name}.jsonl.gz", "rt", encoding="utf-8") as stream:
            found += [json.loads(line)["text"] for line in stream]
    return found


def train(data: Path, folder: Path) -> list[Path]:
    """Three models with the trainer's usual settings: of sources, of news topics, of the categories of petitions."""
    files = {
        "sources": ([data / "text" / f"{name}.jsonl.gz" for name in SOURCES], "source"),
        "topics": ([data / "labelled" / "topic" / "en_agnews_test.jsonl.gz"], "category"),
        "categories": ([data / "text" / "ko" / "petitions.jsonl.gz"], "category"),
    }
    for name, (inputs, column) in files.items():
        given = TrainConfig(inputs=[str(path) for path in inputs], label_column=column, epoch=2, max_documents_per_label=2000)
        train_model(given, folder / f"{name}.bin")
    return [folder / f"{name}.bin" for name in files]


def seconds(call: Callable[..., Any], *arguments: Any) -> float:
    """Processor time of a call, with that of programs it ran: on a busy machine the clock measures the others."""
    started = _processor_seconds()
    call(*arguments)
    return _processor_seconds() - started


def _processor_seconds() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def ours(scorers: list[Scorer], lines: pa.Array) -> list[np.ndarray]:
    """The scores of each model."""
    runs = [results for _, results in score(scorers, lines)]
    return [np.concatenate([run[number][0] for run in runs]) for number in range(len(scorers))]


def command(program: Path, model: Path, lines: Path) -> None:
    subprocess.run([program, "predict-prob", model, lines, "1"], stdout=subprocess.DEVNULL, check=True)


def measure(language: str, texts: list[str], models: list[Path], program: Path, folder: Path) -> None:
    array = pa.array(texts, pa.large_string())
    table = pa.table({"text": array})
    lines = normal_texts(array, MAX_CHARS, "syllables")
    listed = normal_lines(array, MAX_CHARS)
    if lines.to_pylist() != listed:
        raise SystemExit("normal_texts and normal_lines differ")
    size, cut = sum(len(line.encode()) for line in listed) / 1e6, sum(len(text[:MAX_CHARS].encode()) for text in texts) / 1e6
    (folder / "lines.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    (folder / "one.txt").write_text("a\n", encoding="utf-8")
    best: dict[tuple[str, int], float] = {}

    def noted(key: tuple[str, int], spent: float) -> None:
        best[key] = min(best.get(key, float("inf")), spent)

    scorers = [open_scorer(str(path), path.name) for path in models]
    peers = [load_model(str(path), path.name) for path in models]
    for scorer, peer, scores in zip(scorers, peers, ours(scorers, lines), strict=True):
        sample = slice(0, len(listed), 7)
        difference = np.abs(scores[sample] - probabilities(peer, listed[sample], scorer.labels)).max()
        print(f"{language} {Path(scorer.path).stem}: largest difference from fastText {difference:.1e}")
        if difference > MOST_DIFFERENCE:
            raise SystemExit("scores differ from fastText's")
    for _ in range(REPEATS):
        noted(("prepare", 0), seconds(normal_texts, array, MAX_CHARS, "syllables"))
        noted(("prepare plainly", 0), seconds(normal_lines, array, MAX_CHARS))
        for number, model in enumerate(models):
            noted(("load", number), seconds(command, program, model, folder / "one.txt"))
            noted(("command", number), seconds(command, program, model, folder / "lines.txt"))
            noted(("alone", number), seconds(ours, [scorers[number]], lines))
            noted(
                ("python", number), seconds(lambda model=peers[number]: [model.f.predict(line + "\n", 1, 0.0, "strict") for line in listed])
            )
        for count in range(2, len(models) + 1):
            noted(("together", count), seconds(ours, scorers[:count], lines))
        for count in (1, len(models)):
            stage = Score(tuple(ModelFile(path.stem, str(path), path.name, MAX_CHARS, top=3) for path in models[:count]))
            noted(("stage", count), seconds(stage, table))
    print(f"{language}: {len(texts):,} documents, {size:.1f} MB; prepared at {cut / best['prepare', 0]:.0f} MB/s", end="")
    print(f" (normal_lines: {cut / best['prepare plainly', 0]:.0f} MB/s)")
    stored = sum(len(text.encode()) for text in texts) / 1e6
    print(f"the stage, preparation and columns included, of {stored:.1f} MB of text: ", end="")
    print(", ".join(f"{stored / best['stage', count]:.1f} MB/s with {count}" for count in (1, len(models))))
    print("| models | ours MB/s | fastText command | fastText in Python | ours / command | cost of all / cost of each alone |")
    print("|---|---|---|---|---|---|")
    rows = [((number,), best["alone", number]) for number in range(len(models))]
    rows += [(tuple(range(count)), best["together", count]) for count in range(2, len(models) + 1)]
    for numbers, spent in rows:
        peer_command = sum(best["command", number] - best["load", number] for number in numbers)
        peer_python = sum(best["python", number] for number in numbers)
        alone = sum(best["alone", number] for number in numbers)
        names = " + ".join(models[number].stem for number in numbers)
        speeds = " | ".join(f"{size / one:.1f}" for one in (spent, peer_command, peer_python))
        print(f"| {names} | {speeds} | {peer_command / spent:.2f} | {spent / alone:.2f} |")
    gathered(language, lines, scorers[0], best["alone", 0])


def gathered(language: str, lines: pa.Array, scorer: Scorer, spent: float) -> None:
    """How many rows of the matrix are added up, by us and by fastText."""
    offsets = np.frombuffer(lines.buffers()[1], np.int64)[: len(lines) + 1]
    words = split(np.frombuffer(lines.buffers()[2], np.uint8), offsets, int(offsets[-1]))
    if scorer.file is None:
        raise SystemExit("the model is scored by the fastText library")
    header = scorer.file.header
    pieces = np.diff(words.pieces(header.minn, header.maxn)[0])
    runs, total = len(words.words), int(pieces[words.words].sum())
    distinct = int(pieces.sum()) + len(words.starts)
    mine = distinct + runs * header.word_ngrams
    print(f"{language}: {runs:,} words, {len(words.starts):,} distinct; rows of {header.dim * 4} bytes: ours {mine:,}, fastText's ", end="")
    print(f"{total + runs * header.word_ngrams:,}; {mine * header.dim * 4 / spent / 1e9:.1f} GB/s of rows, all else counted in")


def memory(models: list[Path], lines: list[str]) -> None:
    """What two workers hold of the models, mapped and as the library loads them."""
    context = multiprocessing.get_context("spawn")
    for how in ("mapped", "library"):
        barrier, queue = context.Barrier(2), context.Queue()
        workers = [context.Process(target=_worker, args=(how, [str(path) for path in models], lines, barrier, queue)) for _ in range(2)]
        for worker in workers:
            worker.start()
        for _ in workers:
            print(f"{how}, one of two workers: {queue.get()}")
        for worker in workers:
            worker.join()


def _worker(how: str, models: list[str], lines: list[str], barrier: Any, queue: Any) -> None:
    before = _memory_of("RssAnon")
    kept: list[Any] = []
    for path in models:
        if how == "mapped":
            kept.append(open_scorer(path, path))
            ours([kept[-1]], pa.array(lines, pa.large_string()))
        else:
            kept.append(load_model(path, path))
            probabilities(kept[-1], lines, [label.removeprefix("__label__") for label in kept[-1].get_labels()])
    barrier.wait()
    shared = _mapped(models)
    barrier.wait()
    own = _memory_of("RssAnon") - before
    total = sum(os.path.getsize(path) for path in models)
    sizes = [total, own, *shared]
    queue.put(
        "files of {:.0f} MB, own memory {:.0f} MB, mapped {:.0f} MB of which its share {:.0f} MB".format(*(size / 1e6 for size in sizes))
    )


def _memory_of(key: str) -> int:
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(key))
    return int(line.split()[1]) * 1024


def _mapped(models: list[str]) -> tuple[int, int]:
    """Bytes of the models that are mapped and present, and the share of them that is this process's own (PSS)."""
    resident = proportional = 0
    inside = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            inside = fields[-1] in models
        elif inside and fields[0] in ("Rss:", "Pss:"):
            resident += int(fields[1]) * 1024 * (fields[0] == "Rss:")
            proportional += int(fields[1]) * 1024 * (fields[0] == "Pss:")
    return resident, proportional


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--fasttext", type=Path, required=True, help="fastText's command-line program; see above for how to build it")
    given = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory() as name:
        models = train(given.data, Path(name))
        for language, sources in TEXTS.items():
            measure(language, texts_of(given.data, sources), models, given.fasttext.resolve(), Path(name))
        memory(models, normal_lines(pa.array(texts_of(given.data, TEXTS["ko"])[:500], pa.large_string()), MAX_CHARS))


if __name__ == "__main__":
    main()
