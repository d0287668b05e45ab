"""Writes the whole synthetic sample: crawl files, benchmarks, labelled texts, and the truth about every planted record."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import orjson

from pipeline.errors import UserError
from pipeline.sample import benchmark, containers, labelled
from pipeline.sample.articles import Writer
from pipeline.sample.containers import Oddity, Place
from pipeline.sample.plants import Planner, Plant

FEWEST_DOCUMENTS = 100
"""Below this the rare kinds leave no room for clean documents."""

_REPEATED_ID = {"kind": "duplicate_id", "expected": "quarantined", "stages": ("ingest", "dedup")}
"""A record whose id an earlier record of the same file has: it cannot be told from it by name, so dedup sets it aside with an error."""

_README = """\
이 폴더의 모든 문서는 가짜입니다. `onnuri sample` 명령이 문장 틀에서 만들어 낸 합성 자료이며, 사람, 장소, 사건, 주소,
전화번호, 주민등록번호, 평가 문항, 법과 건강에 관한 말까지 모두 지어낸 것입니다. 사실로 읽거나 모델 학습에 쓰지
마십시오. 파이프라인을 시험하는 데만 씁니다.

ALL documents in this folder are SYNTHETIC. The command `onnuri sample` made them from phrase templates: people, places, events, addresses,
telephone and registration numbers, benchmark items, and every statement about law or health are invented. Do not read them as facts and do
not train on them. They exist to test the pipeline.

    crawl/*.warc.gz, crawl/pages.tar.gz, html/    HTML pages in UTF-8, EUC-KR and CP949, declared rightly, wrongly or not at all
    jsonl/, parquet/                              records with id, url, title, date, text; some lines of jsonl/ are broken on purpose
    benchmarks/                                   made-up multiple-choice items, some of which leak into the documents
    labelled/domain.jsonl, labelled/quality.jsonl texts with labels for training the classifiers
    truth.jsonl                                   one line per planted record: where it lies and what must become of it
"""


def write_sample(folder: Path, seed: int = 7, documents: int = 1500) -> Path:
    """Write the sample below `folder` (made if missing) and return `folder`: the same bytes for the same seed and number of documents.

    documents: planted documents, broken lines and archive records not counted. Raises UserError for fewer than FEWEST_DOCUMENTS, or when
    `folder` exists and holds anything.
    """
    folder = Path(folder)
    if documents < FEWEST_DOCUMENTS:
        raise UserError(f"a sample of {documents} documents has no room for every planted kind; ask for {FEWEST_DOCUMENTS} or more")
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} exists and is not an empty folder; choose another place for the sample or remove it first")
    folder.mkdir(parents=True, exist_ok=True)
    rng = random.Random(seed)
    korean, english = benchmark.items(rng, "ko"), benchmark.items(rng, "en")
    plants = Planner(rng, [item for pair in zip(korean, english, strict=True) for item in pair]).plan(documents)
    plants, truth = _write_crawl(folder, plants, rng)
    for language, items in (("ko", korean), ("en", english)):
        _write_lines(folder / f"benchmarks/{benchmark.NAME}-{language}.jsonl", [item.record() for item in items])
    writer = Writer()
    taken = set[str]().union(*(labelled.sentences_of(plant.text) for plant in plants))
    _write_lines(folder / "labelled/domain.jsonl", labelled.domain_rows(writer, rng, taken))
    _write_lines(folder / "labelled/quality.jsonl", labelled.quality_rows(writer, rng, taken))
    _write_lines(folder / "truth.jsonl", truth)
    (folder / "README.txt").write_text(_README, encoding="utf-8")
    return folder


def _write_crawl(folder: Path, plants: list[Plant], rng: random.Random) -> tuple[list[Plant], list[dict[str, object]]]:
    """Deal the plants out to the containers and write them; the truth has one line per record, in the order of the files."""
    dealt: dict[str, list[Plant]] = {kind: [] for kind in ("warc", "tar", "html", "jsonl", "parquet")}
    cut_short = next(plant for plant in plants if plant.kind == "truncated")
    for plant in plants:
        if plant is not cut_short:
            dealt[_container(plant, rng)].append(plant)
    pages = dealt["warc"]
    half = len(pages) // 2
    places: list[Place] = []
    oddities: list[Oddity] = []
    for file, chosen, truncate in (
        ("crawl/sample-00.warc.gz", pages[:half], False),
        ("crawl/sample-01.warc.gz", pages[half:-3], False),
        ("crawl/sample-02-truncated.warc.gz", [*pages[-3:], cut_short], True),
    ):
        warc_places, warc_oddities = containers.write_warc(folder, file, chosen, rng, truncate)
        places += warc_places
        oddities += warc_oddities
    places += containers.write_tar(folder, "crawl/pages.tar.gz", dealt["tar"], rng)
    places += containers.write_html(folder, "html", dealt["html"], rng)
    records = dealt["jsonl"]
    broken = containers.broken_lines(3)
    oddities += broken
    clean = [plant for plant in records[2::3] if plant.kind == "clean"]
    doubled = {clean[1].name: clean[0].name} if len(clean) > 1 else {}
    for index, suffix in enumerate(("jsonl.gz", "jsonl", "jsonl.zst")):
        places += containers.write_jsonl(folder, f"jsonl/records-{index}.{suffix}", records[index::3], broken[index::3], doubled)
    half = len(dealt["parquet"]) // 2
    places += containers.write_parquet(folder, "parquet/table-0.parquet", dealt["parquet"][:half])
    places += containers.write_parquet(folder, "parquet/table-1.parquet", dealt["parquet"][half:])
    planted = [replace(plant, **_REPEATED_ID) if plant.name in doubled else plant for plant in plants]  # type: ignore[arg-type]
    return planted, _truth(planted, oddities, places)


def _container(plant: Plant, rng: random.Random) -> str:
    """Where a plant goes: pages with an HTTP charset of their own need a WARC, odd file names a folder, odd fields a JSON line."""
    page = plant.page if plant.page is not None else rng.random() < 0.5
    if page:
        if "file" in plant.fields:
            return "html"
        ordinary = plant.charset == "utf-8" and plant.http_charset == "utf-8" and not plant.fields
        place = rng.random()
        return "warc" if not ordinary or place < 0.7 else "tar" if place < 0.85 else "html"
    return "jsonl" if plant.fields or rng.random() < 0.65 else "parquet"


def _truth(plants: Sequence[Plant], oddities: Sequence[Oddity], places: Sequence[Place]) -> list[dict[str, object]]:
    by_name = {plant.name: plant for plant in plants}
    odd = {oddity.name: oddity for oddity in oddities}
    rows: list[dict[str, object]] = []
    for place in places:
        where = {"name": place.name, "file": place.file, "position": place.position, "source_id": place.source_id, "url": place.url}
        if place.name in odd:
            oddity = odd[place.name]
            what = Plant(oddity.name, oddity.kind, "", "", expected=oddity.expected, stages=("ingest",))
            charset = None
        else:
            what = by_name[place.name]
            charset = what.charset
        rows.append(
            {
                **where,
                "kind": what.kind,
                "expected": what.expected,
                "accept": [what.expected, *what.accept],
                "stages": what.stages,
                "language": what.language,
                "domain": what.domain,
                "group": what.group,
                "duplicate_of": what.duplicate_of,
                "benchmark_item": what.benchmark_item,
                "charset": charset,
                "markers": what.markers,
                "secrets": what.secrets,
                "cut": what.cut,
            }
        )
    return rows


def _write_lines(path: Path, rows: Sequence[object]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
