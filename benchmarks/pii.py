"""Precision, recall and speed of the replacement of personal data, beside datatrove and simple expressions.

    python benchmarks/pii.py DATA [--megabytes M] [--examples N]

DATA is the folder of development data. Printed: precision and recall by kind on both halves of the fixture in tests/ (a value counts when
it and nothing else was replaced), of ours, of datatrove's PIIFormatter (where datatrove is installed) and of simple expressions of the
kind that research notes report from another Korean pipeline; replacements per megabyte of clean text, with N masked examples of each
kind; speed on clean text; and speed on hostile text (CPU seconds).
"""

from __future__ import annotations

import argparse
import gzip
import json
import random
import re
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa

from pipeline.refine.pii import COLUMNS, Pii, mask
from pipeline.refine.pii_kinds import KINDS

FIXTURE = Path(__file__).resolve().parents[1] / "tests" / "pipeline" / "refine" / "pii_fixture"
SOURCES = (
    "ko/law_legalize_kr", "ko/wiki_korquad_contexts", "ko/news_dps_sample", "ko/petitions", "ko/movie_reviews_nsmc_raw",
    "ko/docs_ms_cpp_ko", "ko/blog_johngrib", "en/peps", "en/digitalgov", "en/books_classic",
)  # fmt: skip
HOSTILE = (
    "0", "1-", "12-", "1 ", "010-", "1.", "8.8.8.8 ", "@", "a@", "a@b.", "a@a.aa", "a.", "(at)", "a(at)b.", "골뱅이", "공일공", "o1o-",
    "+1 ", "2001:", "010-1234-5678 ", "4111-1111-1111-1111 ", "900101-1234567 ", "110-123-456789번호 ", "M12345678 ", "주문번호",
    "415-555-0198 가 ", "02 123 4567 ",
)  # fmt: skip
Masker = Callable[[str], str]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--megabytes", type=float, default=15.0, help="text per source")
    parser.add_argument("--examples", type=int, default=0, help="masked examples of each kind and source")
    arguments = parser.parse_args()
    maskers: dict[str, Masker] = {"onnuri": mask, "simple": simple_mask}
    if (datatrove := datatrove_mask()) is not None:
        maskers["datatrove"] = datatrove
    for name, masker in maskers.items():
        for half, title in ((0, "tuned on"), (1, "unseen")):
            report_fixture(name, masker, half, title)
    for name in ("other_tuned.jsonl", "other_unseen.jsonl"):
        report_lines(name)
    print("\nsource MB MB/s " + " ".join(name.removeprefix("pii_") + "/MB" for name in COLUMNS))
    for source in SOURCES:
        report_source(arguments.data / "text" / f"{source}.jsonl.gz", arguments.megabytes * 1e6, arguments.examples)
    print("\nhostile text, repeated to 1 MB: MB/s of the whole stage")
    for unit in HOSTILE:
        text = (unit * 1_000_000)[: 1_000_000 * len(unit) // len(unit.encode())]
        began = time.process_time()
        Pii()(column([text]))
        print(f"  {unit!r:28} {len(text.encode()) / 1e6 / (time.process_time() - began):8.2f}", flush=True)


def rows(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FIXTURE / name).read_text(encoding="utf-8").splitlines()]


def report_fixture(name: str, masker: Masker, half: int, title: str) -> None:
    """Per kind: right, wanted, wrongly replaced (in negatives, or beside the value of a positive), precision and recall.

    A placeholder in a positive that isn't the whole value alone counts as false, so a half-replaced number costs precision and recall.
    """
    right: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    false: Counter[str] = Counter()
    for row in rows("positives.jsonl")[half::2]:
        wanted[row["kind"]] += 1
        masked = masker(row["text"])
        if masked == row["text"].replace(row["value"], f"<|{row['kind']}|>"):
            right[row["kind"]] += 1
        else:
            false.update(re.findall(r"<\|(\w+)\|>", masked))
    for row in rows("negatives.jsonl")[half::2]:
        false.update(re.findall(r"<\|(\w+)\|>", masker(row["text"])))
    print(f"\n{name}, half {title}: kind right wanted false precision recall")
    for kind in wanted:
        print(line(kind, right[kind], wanted[kind], false[kind]))
    print(line("all", right.total(), wanted.total(), false.total()))


def report_lines(name: str) -> None:
    """Lines of another author, which hold several values or none: values in them, and what we replace more or less than they."""
    wanted: Counter[str] = Counter()
    found: Counter[str] = Counter()
    right: Counter[str] = Counter()
    for row in rows(name):
        expected, masked = (re.split(r"(<\|\w+\|>)", text) for text in (row["masked"], mask(row["text"])))
        kinds = [Counter(piece[2:-2] for piece in pieces[1::2]) for pieces in (expected, masked)]
        wanted += kinds[0]
        found += kinds[1]
        right += kinds[0] if expected == masked else Counter()
    print(f"\nonnuri, {name} ({len(rows(name))} lines, a line right as a whole or not at all): kind right wanted false precision recall")
    for kind in wanted:
        print(line(kind, right[kind], wanted[kind], found[kind] - right[kind]))
    print(line("all", right.total(), wanted.total(), found.total() - right.total()))


def line(kind: str, right: int, wanted: int, false: int) -> str:
    precision = f"{right / (right + false):.3f}" if right + false else "    -"
    return f"  {kind:9} {right:4} {wanted:4} {false:4} {precision} {right / wanted:.3f}"


def report_source(path: Path, max_bytes: float, examples: int) -> None:
    texts = list(read(path, max_bytes))
    size = sum(len(text.encode()) for text in texts) / 1e6
    table = column(texts)
    seconds = []
    for _ in range(3):
        began = time.process_time()
        counted = Pii()(table)
        seconds.append(time.process_time() - began)
    rates = " ".join(f"{sum(counted.column(name).to_pylist()) / size:.2f}" for name in COLUMNS)
    print(f"{path.name.removesuffix('.jsonl.gz')} {size:.1f} {size / min(seconds):.0f} {rates}", flush=True)
    if not examples:
        return
    found: dict[str, list[str]] = defaultdict(list)
    for text in texts:
        for kind in KINDS:
            for match in kind.matches(text):
                around = text[max(0, match.start() - 30) : match.start()], text[match.end() : match.end() + 12]
                shape = re.sub("[0-9]", "9", re.sub("[a-z]", "x", match[0]))
                found[kind.column].append(f"{mask(around[0])}[{shape}]{mask(around[1])}")
    for name, places in sorted(found.items()):
        for place in random.Random(0).sample(places, min(examples, len(places))):
            print(f"    {name} {place!r}")


def read(path: Path, max_bytes: float) -> Iterator[str]:
    with gzip.open(path, "rt", encoding="utf-8") as file:
        for line in file:
            text = json.loads(line)["text"]
            yield text
            max_bytes -= len(text.encode())
            if max_bytes <= 0:
                return


def column(texts: list[str]) -> pa.Table:
    return pa.table({"text": pa.chunked_array([pa.array(texts, pa.large_string())])})


def datatrove_mask() -> Masker | None:
    """datatrove's e-mail and public IP replacement; None where it isn't installed."""
    try:
        from datatrove.pipeline.formatters.pii import PIIFormatter
    except ImportError:
        print("datatrove is not installed here: left out")
        return None
    formatter = PIIFormatter(email_replacement="<|email|>", ip_replacement="<|ip|>")
    return formatter.format


_SIMPLE = (
    ("<|rrn|>", re.compile(r"[0-9]{6}-?[1-8][0-9]{6}")),
    ("<|card|>", re.compile(r"[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}[- ]?[0-9]{4}")),
    ("<|phone|>", re.compile(r"(?<![0-9])(?:[0-9]{2,3}[- )]?[0-9]{3,4}[- ]?[0-9]{4})(?![0-9])")),
    ("<|account|>", re.compile(r"(?<![0-9])[0-9]{2,6}-[0-9]{2,6}-[0-9]{2,6}(?![0-9])")),
)


def simple_mask(text: str) -> str:
    """Shapes alone, without checks or context, as the research notes describe them: any row of 9 to 11 digits is a telephone number."""
    for placeholder, pattern in _SIMPLE:
        text = pattern.sub(placeholder, text)
    return text


if __name__ == "__main__":
    main()
