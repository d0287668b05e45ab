"""What line cutting takes away: of clean text (it should be next to nothing), of extracted web pages (F1 against gold), and in samples.

    python benchmarks/lines.py DATA                 DATA holds text/, labelled/ and html/
    python benchmarks/lines.py DATA --part clean    only one table: clean, hosts, pages or samples

Speed is CPU time of one core over texts that are already in Arrow: of the stage `Lines`, measuring and cutting.
Pages go through the stages Decode and Extract; they come from so many hosts that only the word lists can work. The score is
that of the article extraction benchmark: 4-word shingles, precision and recall averaged over pages, F1 from the averages.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import random
import re
import tarfile
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from pipeline.engine import LocalEngine
from pipeline.ingest.decode import Decode
from pipeline.ingest.extract import Extract
from pipeline.ingest.rows import SCHEMA
from pipeline.progress import Progress
from pipeline.refine.host_lines import find_host_lines
from pipeline.refine.lines import Lines
from pipeline.refine.repair import Repair
from pipeline.segment import Segment
from pipeline.splits import DOCUMENTS, Part, Split

CLEAN = (
    "ko/wiki_korquad_contexts", "ko/law_legalize_kr", "ko/bible_krv1961", "ko/docs_ms_cpp_ko", "ko/docs_react_ko", "ko/blog_johngrib",
    "ko/petitions", "ko/news_dps_sample", "ko/news_comments_kocohub", "ko/movie_reviews_nsmc_raw", "en/peps", "en/digitalgov",
    "en/books_classic",
)  # fmt: skip
HOSTED = ("ko/docs_ms_cpp_ko", "ko/docs_react_ko", "ko/blog_johngrib", "ko/law_legalize_kr", "en/peps", "en/digitalgov")
WEB = ("labelled/quality/en_dclm_human_quality", "labelled/lid/ja_th_web_docs")
EXTRACTORS = ("trafilatura", "resiliparse")
HOST_DOCUMENTS = 10
SHINGLE_WORDS = 4
_WORD = re.compile(r"\w+")


def documents(path: Path) -> pa.Table:
    """The texts of a JSONL file after Repair; all of them pages of one host."""
    with gzip.open(path) as stream:
        texts = [json.loads(line)["text"] for line in stream]
    table = Repair()(pa.table({"text": pa.array(texts, pa.large_string())}))
    return table.append_column("host", pa.array(["host.example"] * len(table)))


def count_of_lines(table: pa.Table) -> int:
    return int(pc.sum(pc.count_substring(table.column("text"), "\n")).as_py()) + len(table)


def cut_of(table: pa.Table) -> list[dict[str, Any]]:
    """Every cut line of a table."""
    return [line for lines in table.column("cut_lines").to_pylist() for line in lines]


def shares(before: pa.Table, after: pa.Table) -> str:
    """Documents cut, lines cut and bytes cut, as cells."""
    documents_cut = pc.sum(pc.greater(pc.list_value_length(after.column("cut_lines")), 0)).as_py()
    lines = len(cut_of(after)) / count_of_lines(before)
    size = pc.sum(before.column("text_bytes")).as_py()
    return f"{documents_cut:,} | {lines:.4%} | {1 - pc.sum(after.column('text_bytes')).as_py() / size:.4%}"


def clean(data: Path) -> None:
    print("\n| source | documents | MB | MB/s | documents cut | lines cut | bytes cut |\n|---|---|---|---|---|---|---|")
    for name in CLEAN:
        table = documents(data / "text" / f"{name}.jsonl.gz")
        stage = Lines()
        stage(table.slice(0, 10))
        began = time.process_time()
        after = stage(table)
        seconds = time.process_time() - began
        size = pc.sum(table.column("text_bytes")).as_py() / 1e6
        print(f"| {name} | {len(table):,} | {size:.1f} | {size / seconds:.0f} | {shares(table, after)} |", flush=True)


def host_stage(table: pa.Table, folder: Path) -> Lines:
    """The stage with the lines that the table's host repeats, found by the steps that the move runs."""
    path = folder / "documents.parquet"
    pq.write_table(table, path)
    split = Split("documents", (Part(str(path), "documents", DOCUMENTS, "benchmark", "", path.stat().st_size),))
    engine = LocalEngine(1)
    try:
        found = find_host_lines(Segment(folder, "refine", engine, Progress(quiet=True), 0.0), [split], HOST_DOCUMENTS, repair=False)
    finally:
        engine.close()
    return Lines(True, *found) if found else Lines()


def hosts(data: Path) -> None:
    print("\n| source as one host | frequent lines | documents cut | lines cut | bytes cut | the most cut lines |")
    print("|---|---|---|---|---|---|")
    for name in HOSTED:
        table = documents(data / "text" / f"{name}.jsonl.gz")
        with tempfile.TemporaryDirectory() as folder:
            stage = host_stage(table, Path(folder))
            frequent = pq.read_metadata(stage.host_lines).num_rows if stage.host_lines else 0
            after = stage(table)
        common = Counter(line["text"][:50].replace("|", "\\|") for line in cut_of(after) if line["reason"] == "host").most_common(4)
        listed = ", ".join(f"`{text}` {count:,}" for text, count in common)
        print(f"| {name} | {frequent} | {shares(table, after)} | {listed} |", flush=True)


def annotated_pages(folder: Path) -> list[tuple[dict[str, Any], str]]:
    """(raw record, gold text) of the article extraction benchmark."""
    gold = json.loads(gzip.decompress((folder / "article_extraction_benchmark_ground_truth.json.gz").read_bytes()))
    with tarfile.open(folder / "article_extraction_benchmark_pages.tar.gz") as archive:
        pages = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    return [
        ({"id": name, "raw": pages[f"{name}.html"], "raw_kind": "html", "url": item["url"]}, item["articleBody"])
        for name, item in sorted(gold.items())
    ]


def readability_pages(folder: Path) -> list[tuple[dict[str, Any], str]]:
    """(raw record, text of the expected article) of Readability's test pages."""
    from lxml import html

    with tarfile.open(folder / "mozilla_readability_test_pages.tar.gz") as archive:
        files = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    return [
        (
            {"id": name, "raw": files[f"{name}/source.html"], "raw_kind": "html", "url": "http://host.example/"},
            " ".join(html.document_fromstring(files[f"{name}/expected.html"].decode("utf-8")).itertext()),
        )
        for name in sorted({path.split("/")[0] for path in files})
    ]


def segments(folder: Path) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    """(raw record, gold) of trafilatura's evaluation: segments that must be in the text, and segments that must not."""
    gold = json.loads(gzip.decompress((folder / "trafilatura_evaldata.json.gz").read_bytes()))
    with tarfile.open(folder / "trafilatura_eval_pages.tar.gz") as archive:
        pages = {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]
    return [({"id": url, "raw": pages[item["file"]], "raw_kind": "html", "url": url}, item) for url, item in sorted(gold.items())]


def extracted(rows: Sequence[dict[str, Any]], extractor: str) -> pa.Table:
    """The texts of pages, an empty one where nothing was found."""
    table = Extract(extractor=extractor)(Decode()(pa.Table.from_pylist(list(rows), schema=SCHEMA)))
    return Repair()(pa.table({"text": pc.fill_null(table.column("text").cast(pa.large_string()), "")}))


def shingles(text: str) -> Counter[tuple[str, ...]]:
    words = _WORD.findall(text)
    return Counter(tuple(words[at : at + SHINGLE_WORDS]) for at in range(max(1, len(words) - SHINGLE_WORDS + 1)) if words)


def shingle_scores(golds: Sequence[str], texts: Sequence[str]) -> tuple[float, float]:
    """Precision and recall, averaged over the pages that have any."""
    precisions, recalls = [], []
    for gold, text in zip(golds, texts, strict=True):
        true, found = shingles(gold), shingles(text)
        both = (true & found).total()
        precisions += [both / found.total()] if found else []
        recalls += [both / true.total()] if true else []
    return sum(precisions) / len(precisions), sum(recalls) / len(recalls)


def segment_scores(golds: Sequence[dict[str, Any]], texts: Sequence[str]) -> tuple[float, float]:
    """Precision and recall over the segments of all pages."""
    right = wrong = wanted = 0
    for gold, text in zip(golds, texts, strict=True):
        plain = " ".join(text.split())
        right += sum(" ".join(segment.split()) in plain for segment in gold["with"])
        wrong += sum(" ".join(segment.split()) in plain for segment in gold["without"])
        wanted += len(gold["with"])
    return right / (right + wrong), right / wanted


def pages(data: Path) -> None:
    folder = data / "html"
    print("\n| pages | extractor | precision | recall | F1 | precision, cut | recall, cut | F1, cut | lines cut | of them in gold |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for title, found, score in (
        ("article extraction benchmark", annotated_pages(folder), shingle_scores),
        ("Readability's test pages", readability_pages(folder), shingle_scores),
        ("trafilatura's evaluation", segments(folder), segment_scores),
    ):
        golds: list[Any] = [gold for _, gold in found]
        for extractor in EXTRACTORS:
            before = extracted([row for row, _ in found], extractor)
            after = Lines()(before)
            cells = []
            for table in (before, after):
                precision, recall = score(golds, table.column("text").to_pylist())  # type: ignore[operator]
                cells += [precision, recall, 2 * precision * recall / (precision + recall)]
            cut = after.column("cut_lines").to_pylist()
            wrong = sum(is_gold(line["text"], gold) for lines, gold in zip(cut, golds, strict=True) for line in lines)
            numbers = " | ".join(f"{value:.4f}" for value in cells)
            print(f"| {title} | {extractor} | {numbers} | {len(cut_of(after))} | {wrong} |", flush=True)


def is_gold(line: str, gold: Any) -> bool:
    """Whether the words of a line stand in the gold text or in a segment that must be kept."""
    plain = " ".join(_WORD.findall(line))
    texts = [gold] if isinstance(gold, str) else gold["with"]
    return bool(plain) and any(f" {plain} " in f" {' '.join(_WORD.findall(text))} " for text in texts)


def samples(data: Path) -> None:
    for name in WEB:
        table = documents(data / f"{name}.jsonl.gz")
        after = Lines()(table)
        print(f"\n{name}: {shares(table, after)} (documents, lines, bytes cut)\n")
        lines = cut_of(after)
        for line in random.Random(1).sample(lines, min(20, len(lines))):
            print(f"    {line['reason']:10}{line['text'][:100]}")


PARTS = {"clean": clean, "hosts": hosts, "pages": pages, "samples": samples}


def main() -> None:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of development data")
    parser.add_argument("--part", choices=sorted(PARTS), default=None, help="only this part")
    options = parser.parse_args()
    for name, part in PARTS.items():
        if options.part in (None, name):
            part(options.data)


if __name__ == "__main__":
    main()
