"""Main-text extraction against gold text: our `Extract` stage beside trafilatura and resiliparse alone, on three sets of annotated pages.

    python benchmarks/extraction.py DATA                      DATA holds html/ with the three archives and their gold
    python benchmarks/extraction.py DATA --pages 40 --only trafilatura     the first pages of each set, some ways only

Article extraction benchmark: 4-word shingles, precision and recall averaged over pages, F1 from the averages (as its evaluate.py does).
Trafilatura's evaluation: segments that must be in the text and segments that must not, counted over all pages, white space made equal (as
its eval_common.py does). Readability's test pages: F1 of words with their counts, against the text of the expected article, averaged.

The Korean pages are those of tests/pipeline/ingest/korean_pages.py: one of each kind of site, F1 of words of each.

Each way starts from the bytes of the page: ours by the stages Decode and Extract, the others by their own decoding. Pages/s are pages per
CPU second of one core, imports and starts left out; for ours, the worker's and the extractor process' seconds are added, and marks, title
and date are part of the work. The ways take turns, 16 pages at a time.
"""

from __future__ import annotations

import argparse
import gzip
import json
import logging
import re
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from tests.pipeline.ingest.korean_pages import PAGES

TURN = 16
SHINGLE_WORDS = 4
_WORD = re.compile(r"\w+")
_TICKS_PER_SECOND = 100


@dataclass
class Page:
    """One annotated page: its bytes and whatever gold its set has."""

    name: str
    content: bytes
    url: str = ""
    body: str = ""
    kept: tuple[str, ...] = ()
    cut: tuple[str, ...] = ()
    title: str | None = None
    date: str | None = None
    license: str | None = None


@dataclass
class Way:
    """One way from bytes to text; `run` takes pages and gives (text, title, date, license) of each, and the CPU seconds it took."""

    name: str
    run: Callable[[Sequence[Page]], tuple[list[dict[str, Any]], float]]
    answers: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0


def members(path: Path) -> dict[str, bytes]:
    """The files of a tar archive by name."""
    with tarfile.open(path) as archive:
        return {member.name: archive.extractfile(member).read() for member in archive if member.isfile()}  # type: ignore[union-attr]


def article_pages(folder: Path) -> list[Page]:
    """Pages of the article extraction benchmark: `body` is the gold text."""
    gold = json.loads(gzip.decompress((folder / "article_extraction_benchmark_ground_truth.json.gz").read_bytes()))
    pages = members(folder / "article_extraction_benchmark_pages.tar.gz")
    return [Page(name, pages[f"{name}.html"], item["url"], item["articleBody"]) for name, item in sorted(gold.items())]


def segment_pages(folder: Path) -> list[Page]:
    """Pages of trafilatura's evaluation: `kept` and `cut` are segments; title, date and licence where annotated."""
    gold = json.loads(gzip.decompress((folder / "trafilatura_evaldata.json.gz").read_bytes()))
    pages = members(folder / "trafilatura_eval_pages.tar.gz")
    return [
        Page(
            item["file"],
            pages[item["file"]],
            url,
            kept=tuple(map(one_blank, item["with"])),
            cut=tuple(map(one_blank, item["without"])),
            title=item.get("title"),
            date=item.get("date"),
            license=item.get("license"),
        )
        for url, item in sorted(gold.items())
    ]


def readability_pages(folder: Path) -> list[Page]:
    """Readability's test pages: `body` is the text of the expected article, `title` the expected title."""
    from lxml import html

    files = members(folder / "mozilla_readability_test_pages.tar.gz")
    found = []
    for name in sorted({path.split("/")[0] for path in files}):
        expected = html.document_fromstring(files[f"{name}/expected.html"].decode("utf-8"))
        metadata = json.loads(files[f"{name}/expected-metadata.json"])
        body = " ".join(expected.itertext())
        found.append(Page(name, files[f"{name}/source.html"], "http://fakehost/test/page.html", body, title=metadata.get("title")))
    return found


def one_blank(text: str) -> str:
    """Every run of white space as one space."""
    return " ".join(text.split())


def shingles(text: str, words: int) -> Counter[tuple[str, ...]]:
    """How often each run of `words` words occurs; a shorter text is one shingle."""
    tokens = _WORD.findall(text)
    return Counter(tuple(tokens[at : at + words]) for at in range(max(1, len(tokens) - words + 1)) if tokens)


def article_scores(pages: Sequence[Page], texts: Sequence[str]) -> tuple[float, float, float, float]:
    """Precision, recall, accuracy and F1 of the article extraction benchmark; accuracy: exact texts, words compared."""
    precisions, recalls, exact = [], [], 0
    for page, text in zip(pages, texts, strict=True):
        true, found = shingles(page.body, SHINGLE_WORDS), shingles(text, SHINGLE_WORDS)
        both = (true & found).total()
        if found:
            precisions.append(both / found.total())
        if true:
            recalls.append(both / true.total())
        exact += true == found
    precision, recall = mean(precisions), mean(recalls)
    return precision, recall, exact / len(pages), harmonic(precision, recall)


def segment_scores(pages: Sequence[Page], texts: Sequence[str]) -> tuple[float, float, float, float]:
    """Precision, recall, accuracy and F1 over the segments of all pages, as trafilatura's evaluation counts them."""
    true_positive = false_positive = wanted = unwanted = 0
    for page, text in zip(pages, texts, strict=True):
        plain = one_blank(text)
        true_positive += sum(segment in plain for segment in page.kept)
        false_positive += sum(segment in plain for segment in page.cut)
        wanted += len(page.kept)
        unwanted += len(page.cut)
    precision = true_positive / max(1, true_positive + false_positive)
    recall = true_positive / wanted
    return precision, recall, (true_positive + unwanted - false_positive) / (wanted + unwanted), harmonic(precision, recall)


def word_scores(pages: Sequence[Page], texts: Sequence[str]) -> tuple[float, float, float, float]:
    """Precision, recall, accuracy (exact texts) and F1 of words, averaged over pages."""
    rows = []
    for page, text in zip(pages, texts, strict=True):
        true, found = Counter(_WORD.findall(page.body)), Counter(_WORD.findall(text))
        both = (true & found).total()
        precision, recall = both / max(1, found.total()), both / max(1, true.total())
        rows.append((precision, recall, float(true == found), harmonic(precision, recall)))
    columns = list(zip(*rows, strict=True))
    return mean(columns[0]), mean(columns[1]), mean(columns[2]), mean(columns[3])


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def harmonic(precision: float, recall: float) -> float:
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def alone(extract: Callable[[bytes], str | None]) -> Callable[[Sequence[Page]], tuple[list[dict[str, Any]], float]]:
    """A library by itself: an exception is a page without text, as in trafilatura's evaluation."""

    def run(pages: Sequence[Page]) -> tuple[list[dict[str, Any]], float]:
        answers = []
        began = time.process_time()
        for page in pages:
            try:
                answers.append({"text": extract(page.content)})
            except Exception as error:
                answers.append({"text": None, "error": f"{type(error).__name__}: {error}"})
        return answers, time.process_time() - began

    return run


def trafilatura_alone(**options: Any) -> Callable[[bytes], str | None]:
    from trafilatura import extract

    return lambda content: extract(content, **options)


def resiliparse_alone(content: bytes) -> str | None:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.encoding import bytes_to_str, detect_encoding

    return extract_plain_text(bytes_to_str(content, detect_encoding(content) or "utf-8"), main_content=True)


def ours(**settings: Any) -> Callable[[Sequence[Page]], tuple[list[dict[str, Any]], float]]:
    """Our stages, pages as archived HTML without a declared charset."""
    from pipeline.ingest.decode import Decode
    from pipeline.ingest.extract import Extract
    from pipeline.ingest.helper import Page as Request
    from pipeline.ingest.helper import helper_for
    from pipeline.ingest.rows import SCHEMA

    extract = Extract(**settings)
    decode = Decode()

    def run(pages: Sequence[Page]) -> tuple[list[dict[str, Any]], float]:
        rows = [{"id": page.name, "raw": page.content, "raw_kind": "html", "url": page.url} for page in pages]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        helper = helper_for(extract.options())
        helper.extract([Request("<p>start the process</p>")])
        process = helper.process
        began = time.process_time() + used(process)
        answers = extract(decode(table)).to_pylist()
        if helper.process is not process:
            return answers, float("nan")  # a page broke the process, and its seconds went with it
        return answers, time.process_time() + used(process) - began

    return run


def used(process: Any) -> float:
    """CPU seconds of a running process and its threads (Linux: fields 14 and 15 of /proc/PID/stat)."""
    fields = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_PER_SECOND


def known_ways() -> list[Way]:
    """Every way of the tables, ours first; `no comments` is what trafilatura's own evaluation runs, and what ours runs too."""
    return [
        Way("ours", ours()),
        Way("ours, favor precision", ours(favor="precision")),
        Way("ours, favor recall", ours(favor="recall")),
        Way("ours, trafilatura-fast", ours(extractor="trafilatura-fast")),
        Way("ours, resiliparse", ours(extractor="resiliparse")),
        Way("trafilatura", alone(trafilatura_alone())),
        Way("trafilatura, fast", alone(trafilatura_alone(fast=True))),
        Way("trafilatura, no comments", alone(trafilatura_alone(include_comments=False))),
        Way("trafilatura, fast, no comments", alone(trafilatura_alone(fast=True, include_comments=False))),
        Way("resiliparse", alone(resiliparse_alone)),
    ]


def measure(ways: Sequence[Way], pages: Sequence[Page]) -> None:
    """Run every way over all pages, in turns; the first page is run once before, so that imports and starts aren't counted."""
    for way in ways:
        way.answers, way.seconds = [], 0.0
        way.run(pages[:1])
    for start in range(0, len(pages), TURN):
        for way in ways:
            answers, seconds = way.run(pages[start : start + TURN])
            way.answers += answers
            way.seconds += seconds


def print_scores(title: str, score: Any, ways: Sequence[Way], pages: Sequence[Page]) -> None:
    """One table: precision, recall, accuracy, F1, pages without text, pages per second."""
    print(f"\n{title}, {len(pages)} pages\n")
    print("| way | precision | recall | accuracy | F1 | no text | pages/s |\n|---|---|---|---|---|---|---|")
    for way in ways:
        texts = [answer.get("text") or "" for answer in way.answers]
        values = " | ".join(f"{value:.4f}" for value in score(pages, texts))
        print(f"| {way.name} | {values} | {sum(not text.strip() for text in texts)} | {len(pages) / way.seconds:.0f} |")


def print_marks(way: Way, pages: Sequence[Page], theirs: Sequence[dict[str, str | None]]) -> None:
    """Titles, dates and licences of `way` against the gold, beside trafilatura's own metadata."""
    print("\n| mark | pages with gold | found | right | found by trafilatura | right by trafilatura |\n|---|---|---|---|---|---|")
    for name, same in (("title", same_title), ("date", same_date), ("license", same_license)):
        places = [at for at, page in enumerate(pages) if getattr(page, name)]
        cells = [name, str(len(places))]
        for answers in (way.answers, theirs):
            found = [(str(getattr(pages[at], name)), answers[at].get(name)) for at in places]
            cells += [str(sum(bool(value) for _, value in found)), str(sum(same(gold, value) for gold, value in found))]
        if places:
            print(f"| {' | '.join(cells)} |")


def trafilatura_marks(page: Page) -> dict[str, str | None]:
    """Title, date and licence as trafilatura gives them, from the bytes."""
    from trafilatura import extract_metadata

    metadata = extract_metadata(page.content)
    return {"title": metadata.title, "date": metadata.date, "license": metadata.license}


def same_title(gold: str, found: str | None) -> bool:
    return one_blank(gold).lower() == one_blank(found or "").lower()


def same_date(gold: str, found: str | None) -> bool:
    return gold == found


def same_license(gold: str, found: str | None) -> bool:
    """Whether the code (BY-NC-ND) agrees: the gold leaves version and jurisdiction out now and then."""
    code = re.search(r"BY(-(NC|ND|SA))*", gold.upper().replace(" ", "-"))
    return code is not None and code[0] in {match[0] for match in re.finditer(r"BY(-(NC|ND|SA))*", (found or "").upper().replace(" ", "-"))}


def korean_pages() -> list[Page]:
    """The Korean pages that the tests read, as UTF-8: decoding is another benchmark's subject."""
    return [Page(name, page.html.replace("charset=euc-kr", "charset=utf-8").encode(), body=page.text) for name, page in PAGES.items()]


def print_each(ways: Sequence[Way], pages: Sequence[Page]) -> None:
    """F1 of words of every page by itself, and the average."""
    print(
        f"\nKorean pages written for the tests, F1 of words\n\n| page | {' | '.join(way.name for way in ways)} |\n|---|{'---|' * len(ways)}"
    )
    scores = [[word_scores([page], [way.answers[at].get("text") or ""])[3] for way in ways] for at, page in enumerate(pages)]
    for page, row in zip(pages, scores, strict=True):
        print(f"| {page.name} | {' | '.join(f'{score:.2f}' for score in row)} |")
    print(f"| average | {' | '.join(f'{mean(column):.3f}' for column in zip(*scores, strict=True))} |")


def main() -> None:
    logging.disable(logging.CRITICAL)
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, help="folder of development data, with html/ in it")
    parser.add_argument("--pages", type=int, default=None, help="only the first pages of each set")
    parser.add_argument("--only", default="", help="only the ways with this in their name")
    options = parser.parse_args()
    ways = [way for way in known_ways() if options.only in way.name]
    folder = options.data / "html"
    for title, pages, score in (
        ("Article extraction benchmark", article_pages(folder), article_scores),
        ("Trafilatura's evaluation", segment_pages(folder), segment_scores),
        ("Readability's test pages", readability_pages(folder), word_scores),
    ):
        chosen = pages[: options.pages]
        measure(ways, chosen)
        print_scores(title, score, ways, chosen)
        if any(page.title for page in chosen):
            print_marks(ways[0], chosen, [trafilatura_marks(page) for page in chosen])
        sys.stdout.flush()
    korean = korean_pages()
    measure(ways, korean)
    print_each(ways, korean)


if __name__ == "__main__":
    main()
