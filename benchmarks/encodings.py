"""Bytes to text, side by side: ours, resiliparse, charset-normalizer, cchardet, trafilatura's own decoding, and chardet where installed.

    python benchmarks/encodings.py DATA              DATA holds html/ and text/ko/; about two minutes
    python benchmarks/encodings.py DATA --cases 200  fewer cases of the generated matrix for the comparison

Tables: the generated matrix (ours on every case, all ways on an even sample of it), the encoding corpus with the pair of stories, mojibake,
speed. `wrong` is another text than the true one, handed out as if it were right; `refused` is no text, or an error. Only ours is
given the HTTP header and the host: the others have no argument for them. Seconds are CPU time of this process.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tarfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import cchardet
import charset_normalizer
import pyarrow as pa
from resiliparse.parse.encoding import bytes_to_str, detect_encoding
from trafilatura.utils import decode_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from pipeline.ingest.charsets import decode_bytes
from pipeline.ingest.decode import Decode
from pipeline.ingest.mojibake import mended
from pipeline.ingest.rows import SCHEMA
from pipeline.refine.repair import Repair
from tests.pipeline.ingest.charset_cases import Case, cases

try:
    import chardet
except ImportError:
    chardet = None  # type: ignore[assignment]

KOREAN = ("CP949", "EUC-KR", "Johab", "iso-2022-kr")
SUPERSETS = {
    **{"EUC-KR": "cp949", "GB2312": "gb18030", "SHIFT_JIS": "cp932", "TIS-620": "cp874", "iso-8859-1": "cp1252", "iso-8859-9": "cp1254"},
    **{"IBM855": "cp855", "IBM866": "cp866", "MacCyrillic": "mac-cyrillic", "MacRoman": "mac-roman", "utf-8": "utf-8-sig"},
}
"""What browsers decode a directory's name as; a text equal to either reading is right."""

DECLARED = (
    *(("shift_jis", "cp932", "jpn"), ("euc-jp", "euc_jp", "jpn"), ("gb2312", "gbk", "cmn wuu"), ("big5", "big5", "cmn yue")),
    *(("windows-1251", "cp1251", "rus ukr bul bel srp mkd"), ("koi8-r", "koi8-r", "rus"), ("iso-8859-7", "iso8859-7", "ell")),
    *(("windows-1253", "cp1253", "ell"), ("windows-1255", "cp1255", "heb"), ("windows-1256", "cp1256", "ara arb pes")),
    *(("tis-620", "cp874", "tha"), ("windows-1254", "cp1254", "tur"), ("iso-8859-2", "iso8859-2", "pol hun ron")),
    *(("windows-1250", "cp1250", "ces slk"), ("windows-1257", "cp1257", "lit lav est"), ("windows-1258", "cp1258", "vie")),
    ("iso-8859-1", "cp1252", "fra deu spa por swe dan nob fin isl fao"),
)
"""Label, codec and Tatoeba languages of rightly declared texts."""


@dataclass(frozen=True)
class Page:
    """Bytes, the texts that count as right (empty: the bytes are no text), and what a crawler knows."""

    raw: bytes
    right: tuple[str, ...]
    header: str | None = None
    is_html: bool = True
    from_korea: bool = False


def _normalizer(page: Page) -> str | None:
    best = charset_normalizer.from_bytes(page.raw).best()
    return None if best is None else str(best)


def _cchardet(page: Page) -> str | None:
    encoding = cchardet.detect(page.raw)["encoding"]
    return None if encoding is None else page.raw.decode(encoding, "replace")


def _chardet(page: Page) -> str | None:
    encoding = chardet.detect(page.raw)["encoding"]
    return None if encoding is None else page.raw.decode(encoding, "replace")


def _ours(page: Page) -> str | None:
    found = decode_bytes(page.raw, page.header, page.is_html, page.from_korea)
    return None if found is None else found.text


WAYS: dict[str, Callable[[Page], str | None]] = {
    "ours": _ours,
    "resiliparse": lambda page: bytes_to_str(page.raw, detect_encoding(page.raw)),
    "resiliparse, from_html_meta": lambda page: bytes_to_str(page.raw, detect_encoding(page.raw, from_html_meta=True)),
    "charset-normalizer": _normalizer,
    "cchardet + decode": _cchardet,
    "trafilatura decode_file": lambda page: decode_file(page.raw),
    **({"chardet + decode": _chardet} if chardet else {}),
}


def outcome(way: Callable[[Page], str | None], page: Page) -> str:
    try:
        text = way(page)
    except (UnicodeError, LookupError, ValueError, TypeError):
        return "refused"
    if text is None:
        return "refused"
    return "right" if text.removeprefix("\ufeff") in page.right else "wrong"


def compare(pages: Iterable[Page], ways: dict[str, Callable[[Page], str | None]]) -> dict[str, tuple[Counter[str], float]]:
    """Outcomes and CPU seconds by way."""
    pages = list(pages)
    results = {}
    for name, way in ways.items():
        started = time.process_time()
        counts = Counter(outcome(way, page) for page in pages)
        results[name] = (counts, time.process_time() - started)
    return results


def show(title: str, pages: list[Page], ways: dict[str, Callable[[Page], str | None]] = WAYS) -> None:
    size = sum(len(page.raw) for page in pages) / 1e6
    print(f"\n{title}: {len(pages)} pages, {size:.2f} MB\n\n| way | right | wrong | refused | MB/s |\n| --- | --- | --- | --- | --- |")
    for name, (counts, seconds) in compare(pages, ways).items():
        print(f"| {name} | {counts['right']} | {counts['wrong']} | {counts['refused']} | {size / max(seconds, 1e-9):.2f} |", flush=True)


def from_case(case: Case) -> Page:
    return Page(case.raw, (case.text,), case.header, case.is_html, case.from_korea)


def corpus(path: Path) -> dict[str, Page]:
    """The files of the encoding corpus by name; the directory tells the encoding."""
    pages = {}
    with tarfile.open(path) as archive:
        for member in archive:
            stream = archive.extractfile(member)
            if stream is None:
                continue
            raw = stream.read()
            directory = member.name.split("/")[-2]
            parts = directory.split("-")
            plain = "-".join(parts[: {"windows": 2, "iso": 3}.get(parts[0], len(parts))])
            codecs = {plain, SUPERSETS.get(plain, plain)}
            texts = {raw.decode(codec, "replace").removeprefix("\ufeff") for codec in codecs}
            binary = raw.count(0) > len(raw) / 2 and not plain.startswith("UTF-32")
            pages[member.name] = Page(raw, () if binary else tuple(texts), None, not member.name.endswith(".txt"))
    return pages


def matrix_tables(wanted: int) -> None:
    every = list(cases())
    print("Generated matrix, ours, every case\n\n| the bytes or a true label tell | right | wrong | refused |\n| --- | --- | --- | --- |")
    for decidable in (True, False):
        counts = Counter(outcome(_ours, from_case(case)) for case in every if case.decidable == decidable)
        print(f"| {'yes' if decidable else 'no'} | {counts['right']} | {counts['wrong']} | {counts['refused']} |")
    step = max(1, len(every) // wanted) | 1  # odd: most dimensions of the matrix are even
    sample = every[::step]
    for encoding in ("cp949", "johab", "iso2022_kr", "utf-16-le", "utf-8"):
        pages = [from_case(case) for case in sample if case.encoding == encoding and case.decidable]
        show(f"Matrix sample, true encoding {encoding}", pages)


def corpus_tables(data: Path) -> None:
    pages = corpus(data / "html/chardet_encoding_corpus.tar.gz")
    korean = [page for name, page in pages.items() if name.split("/")[-2] in KOREAN]
    show("Encoding corpus, Korean", korean)
    show("Encoding corpus, all others", [page for name, page in pages.items() if name.split("/")[-2] not in KOREAN])
    print("\nNot right with ours:")
    for name, page in pages.items():
        if outcome(_ours, page) != "right":
            found = decode_bytes(page.raw, None, page.is_html)
            print(f"  {name}: {'refused' if found is None else f'read as {found.charset}'}{'' if page.right else ' (binary)'}")
    with tarfile.open(data / "html/korean_encoding_story_pair.tar.gz") as archive:
        raws = [archive.extractfile(member).read() for member in archive]  # type: ignore[union-attr]
    print("\nThe story in UTF-8 and in EUC-KR, undeclared: same text (blanks apart)?")
    for name, way in WAYS.items():
        try:
            texts = ["".join((way(Page(raw, (), None, False)) or "").removeprefix("\ufeff").split()) for raw in raws]
        except (UnicodeError, LookupError, ValueError, TypeError):
            texts = ["error", ""]
        print(f"  {name}: {'yes' if texts[0] == texts[1] and texts[0] else 'no'}")


def texts_of(path: Path, count: int) -> list[str]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        return [json.loads(line)["text"] for _, line in zip(range(count), lines, strict=False)]


def declared_table(data: Path) -> None:
    """Short texts in other languages, rightly declared, from hosts in .kr and elsewhere: are any taken for Korean, or refused?"""
    sentences: dict[str, list[str]] = {}
    with gzip.open(data / "labelled/lid/tatoeba_laser_112lang.jsonl.gz", "rt", encoding="utf-8") as lines:
        for row in map(json.loads, lines):
            sentences.setdefault(row["lang"], []).append(row["text"])
    print("\nRightly declared texts in other languages\n\n| sentences | host | right | wrong | refused |\n| --- | --- | --- | --- | --- |")
    for size in (1, 3, 10):
        for host in ("elsewhere", ".kr"):
            counts: Counter[str] = Counter()
            for label, codec, languages in DECLARED:
                for language in languages.split():
                    known = sentences.get(language, [])[:600]
                    for start in range(0, len(known), size):
                        raw = "\n".join(known[start : start + size]).encode(codec, "ignore")
                        found = decode_bytes(raw, label, False, host == ".kr")
                        if not raw.isascii():
                            counts["refused" if found is None else "right" if found.text == raw.decode(codec) else "wrong"] += 1
            print(f"| {size} | {host} | {counts['right']} | {counts['wrong']} | {counts['refused']} |")


def mojibake_table(data: Path) -> None:
    print("\nMojibake: Korean texts of up to 400 characters\n\n| misread | mended | left | wrong |\n| --- | --- | --- | --- |")
    texts = [text[:400] for path in sorted((data / "text/ko").glob("*.jsonl.gz")) for text in texts_of(path, 40)]
    for encoding in ("cp949", "utf-8"):
        for wrong in ("latin-1", "cp1252"):
            for times in (1, 2):
                counts: Counter[str] = Counter()
                for text in texts:
                    raw = text.encode(encoding, "ignore")
                    if not raw.isascii():
                        counts[mend_outcome(raw, encoding, wrong, times)] += 1
                twice = " twice" if times == 2 else ""
                print(f"| {encoding} as {wrong}{twice} | {counts['mended']} | {counts['left']} | {counts['wrong']} |")
    accented = texts_of(data / "labelled/lid/tatoeba_laser_112lang.jsonl.gz", 100_000)
    print(f"\nOf {len(accented)} sentences of 113 languages, {sum(mended(text) is not None for text in accented)} were changed.")


def mend_outcome(raw: bytes, encoding: str, wrong: str, times: int) -> str:
    misread = raw
    for turn in range(times):
        text = "".join(bytes([byte]).decode(wrong, "ignore") or chr(byte) for byte in misread)
        misread = text.encode() if turn + 1 < times else misread
    found = mended(text)
    return "left" if found is None else "mended" if found.text == raw.decode(encoding) else "wrong"


def speed_table(data: Path) -> None:
    """The stages Decode and Repair on batches, in MB/s of input."""
    pages = []
    with tarfile.open(data / "html/trafilatura_eval_pages.tar.gz") as archive:
        for member in archive:
            if (stream := archive.extractfile(member)) is not None:
                pages.append(stream.read())
    whole = [page for page in pages[:300] if _is_utf8(page)]
    korean = [text.encode() for text in texts_of(data / "text/ko/law_legalize_kr.jsonl.gz", 300)]
    legacy = [text.decode().encode("cp949", "ignore") for text in korean]
    print("\n| stage | input | MB/s per core |\n| --- | --- | --- |")
    for name, raws in (("UTF-8 HTML pages", whole), ("Korean text in UTF-8", korean), ("Korean text in CP949", legacy)):
        table = pa.Table.from_pylist([{"raw": raw, "raw_kind": "html", "url": "http://a.com/"} for raw in raws], schema=SCHEMA)
        size = sum(map(len, raws)) / 1e6
        decoded = Decode()(table).select(["text"])
        print(f"| Decode | {name} | {size / best_of(lambda table=table: Decode()(table)):.0f} |")
        if raws is not legacy:
            Repair()(decoded)
            print(f"| Repair | {name} | {size / best_of(lambda decoded=decoded: Repair()(decoded)):.0f} |")


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode()
    except UnicodeDecodeError:
        return False
    return True


def best_of(call: Callable[[], object], times: int = 3) -> float:
    seconds = []
    for _ in range(times):
        started = time.process_time()
        call()
        seconds.append(time.process_time() - started)
    return min(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path, metavar="DATA", help="folder with html/, labelled/ and text/ko/")
    parser.add_argument("--cases", type=int, default=1500, help="cases of the matrix that all ways are compared on")
    arguments = parser.parse_args()
    matrix_tables(arguments.cases)
    corpus_tables(arguments.data)
    declared_table(arguments.data)
    mojibake_table(arguments.data)
    speed_table(arguments.data)


if __name__ == "__main__":
    main()
