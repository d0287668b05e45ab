"""Personal data is replaced and counted; what merely looks like it stays; and the values turn up nowhere in a run's files."""

from __future__ import annotations

import json
import random
import re
import re._constants as constants
import re._parser as parser
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.alone import Inputs, plan_documents, plan_raw
from pipeline.documents import DocumentReader
from pipeline.ingest.config import IngestConfig
from pipeline.ingest.readers import read_part
from pipeline.ingest.stages import stages as ingest_stages
from pipeline.refine import pii_addresses, pii_kinds, pii_labels
from pipeline.refine.config import RefineConfig
from pipeline.refine.pii import ANY_HINT, COLUMNS, Pii, mask, replace
from pipeline.refine.pii_kinds import ACCOUNT, CARD, DRIVER, EMAIL, IP, KINDS, PASSPORT, PHONE, RRN
from pipeline.refine.pii_labels import nearest
from pipeline.refine.stages import stages as refine_stages
from pipeline.rows import Reader, RowTask
from pipeline.schema import BY_NAME
from pipeline.splits import Split
from pipeline.stage import Stage

FIXTURE = Path(__file__).parent / "pii_fixture"


def column(texts: list[str | None]) -> pa.Table:
    return pa.table({"text": pa.chunked_array([pa.array(texts, pa.large_string())])})


def read(name: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in (FIXTURE / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("문의: hong.gildong+1@mail.example.co.kr으로", f"문의: {EMAIL}으로"),
        ("메일a_b@naver.com.", f"메일{EMAIL}."),
        ("hong [at] example.com, hong(골뱅이)naver.com", f"{EMAIL}, {EMAIL}"),
        ("kim [at] site [dot] org / lee @ naver.com", f"{EMAIL} / {EMAIL}"),
        ("전화 010-1234-5678.", f"전화 {PHONE}."),
        ("01012345678로", f"{PHONE}로"),
        ("010 1234 5678 / 010.1234.5678", f"{PHONE} / {PHONE}"),
        ("(010) 1234-5678, 016-123-4567", f"{PHONE}, {PHONE}"),
        ("+82 10-1234-5678, +82-2-123-4567", f"{PHONE}, {PHONE}"),
        ("+821012345678", PHONE),
        ("02-123-4567, 031)123-4567, (02)1234-5678, 070-1234-5678", f"{PHONE}, {PHONE}, {PHONE}, {PHONE}"),
        ("TEL02-123-4567 T.031-123-4567 문의.010-1234-5678", f"TEL{PHONE} T.{PHONE} 문의.{PHONE}"),
        ("전화 0212345678", f"전화 {PHONE}"),
        ("010–1234–5678", PHONE),
        ("공일공-1234-5678, 010-일이삼사-5678", f"{PHONE}, {PHONE}"),
        ("call 303-555-0126, +44 20 7946 0817", f"call {PHONE}, {PHONE}"),
        ("주민 900101-1234567", f"주민 {RRN}"),
        ("주민등록번호 9001011234567", f"주민등록번호 {RRN}"),
        ("외국인등록번호: 850315-5123456", f"외국인등록번호: {RRN}"),
        ("200229-3123456", RRN),
        ("카드 4111-1111-1111-1111", f"카드 {CARD}"),
        ("5555555555554444 3782 822463 10005", f"{CARD} {CARD}"),
        ("국민은행 123456-01-123456으로", f"국민은행 {ACCOUNT}으로"),
        ("123-456-789012 (국민은행)", f"{ACCOUNT} (국민은행)"),
        ("신한 110-123-456789, 농협 3021234567891", f"신한 {ACCOUNT}, 농협 {ACCOUNT}"),
        ("여권번호 M12345678, 여권 M123A4567", f"여권번호 {PASSPORT}, 여권 {PASSPORT}"),
        ("운전면허 11-12-345678-90, 면허번호 서울 12-345678-90", f"운전면허 {DRIVER}, 면허번호 {DRIVER}"),
        ("접속 211.45.67.89에서", f"접속 {IP}에서"),
        ("server 8.8.4.4:53", f"server {IP}:53"),
        ("IP 주소 1.2.3.4", f"IP 주소 {IP}"),
        ("http://211.45.67.89/admin, http://10.0.0.1/a", f"http://{IP}/admin, http://10.0.0.1/a"),
        ("a@b.kr/010-1234-5678, 신한-110-123-456789", f"{EMAIL}/{PHONE}, 신한-{ACCOUNT}"),
        ("kim＠naver.com, o'neil@law.example, info@한글.한국", f"{EMAIL}, {EMAIL}, {EMAIL}"),
        ("jane.doe at gmail dot com, haru 골뱅이 네이버 점 컴, haru@네이버", f"{EMAIL}, {EMAIL}, {EMAIL}"),
        ("010ㅡ1234ㅡ5678, 010_1234_5678, 02)1234567", f"{PHONE}, {PHONE}, {PHONE}"),
        ("경비실 02 933 4120 으로 전화 주세요, 전화 053-1234567", f"경비실 {PHONE} 으로 전화 주세요, 전화 {PHONE}"),
        (
            "reach us at 415-555-0198; call 415-555-0198 or 415-555-0199; +49 30 901820",
            f"reach us at {PHONE}; call {PHONE} or {PHONE}; {PHONE}",
        ),
        ("주민번호 850314.1234567, 명부 9001011234568", f"주민번호 {RRN}, 명부 {RRN}"),
        ("PAN=4111111111111111, 4111.1111.1111.1111", f"PAN={CARD}, {CARD}"),
        ("국민/12345604123456/김, 토스 100012345678, 수협은행 2010-1234-5678", f"국민/{ACCOUNT}/김, 토스 {ACCOUNT}, 수협은행 {ACCOUNT}"),
        ("여권번호 m23456789, 면허번호 부산02-345678-90", f"여권번호 {PASSPORT}, 면허번호 {DRIVER}"),
        ("2001:4860:4860::8888 에서", f"{IP} 에서"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    assert mask(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-15", "2023.01.15 12:30", "20230115", "2010-1234-5678", "1,234,567원", "010", "0.1234567890123",
        "ISBN 978-89-6077-733-4", "ISBN 9788960777334", "8801062628476", "1609459200000",
        "v1.2.3.4", "version 1.2.3.4", "버전 10.2.30.44", "Chrome/91.0.44.124", "4.1.2.3 절차", "1.2.3.4.5", "300.1.1.1", "01.02.03.04",
        "10.0.0.1", "127.0.0.1", "192.168.0.10", "172.16.3.4", "203.0.113.9", "8.8.8.0/24", "2001:db8::1", "fe80::1:2:3", "10:20:30:40",
        "1588-1234", "1644-0000", "02-1588-1234", "119", "사업자등록번호 123-45-67890", "법인등록번호 110111-1234567", "1101111234567",
        "900230-1234567", "901301-1234567", "900101-123456", "900101-12345678", "1900101-1234567", "주문번호 900101-1234567",
        "4111-1111-1111-1112", "1234567890123456", "0000-0000-0000-0000", "id=4111111111111111", "쿠폰번호 4111-1111-1111-1111",
        "git@github.com:owner/repository.git", "aes256-gcm@openssh.com", "logo@2x.png", "@user", "a@b", "user@localhost", "package@1.2.3",
        "01111111110", "021234567", "3-010-1234-5678-9", "010-XXXX-XXXX", "010-1234-5678.jpg", "/a/010-1234-5678",
        "110-123-456789", "주문번호 110-123-456789 (국민은행)", "국민은행 1588-9999", "계좌 개설일 2023-01-15", "우리 1024-2048-4096",
        "계좌 입금 123,456,789,012원", "M12345678", "11-12-345678-90", "여권 사진 3.5-4.5", "운전면허 2023-11-12",
        "sign in at gmail.com", "우체국 등기 1234567890123", "수협 2024-0312-001 공고", "계좌번호 000-000-000000", "도면 031-907-2254-R2",
        "850314.1234567", "9001011234567", "8801043012343", "1712153412345", "meet at naver dot 5", "a@b.한국어",
        "met (at) noon", "골뱅이 무침 naver.com", "Call me in 1851-1951",
    ],
)  # fmt: skip
def test_what_looks_alike_stays(text: str) -> None:
    assert mask(text) == text
    assert mask(f"앞 {text} 뒤") == f"앞 {text} 뒤"


def test_a_corporate_number_is_told_from_a_resident_one_by_its_check_digit() -> None:
    digits = "110111123456"
    check = (10 - sum(int(digit) * (1 + place % 2) for place, digit in enumerate(digits)) % 10) % 10
    corporate = f"{digits[:6]}-{digits[6:]}{check}"
    assert mask(corporate) == corporate
    other = f"{digits[:6]}-{digits[6:]}{(check + 1) % 10}"
    assert mask(other) == RRN


@pytest.mark.parametrize("issued", ["201031-3", "250101-4", "240229-7"])
def test_resident_numbers_since_october_2020_need_no_check_digit(issued: str) -> None:
    assert [mask(f"{issued}{tail:06d}") for tail in range(123400, 123411)] == [RRN] * 11


def test_the_nearest_label_counts() -> None:
    assert nearest("계좌번호 ", 5) == ("account", 1)
    assert nearest("입금 확인. 주문번호: ", 12)[0] == "other"
    assert nearest("주문번호 12, 계좌는 ", 12)[0] == "account"
    assert nearest("사업자등록번호 ", 8)[0] == "other"
    assert nearest("외국인등록번호 ", 8) == ("rrn", 1)
    assert nearest("1 2 3 4 ", 8) == ("", pii_labels.CONTEXT_CHARS)
    assert mask("입금 확인. 주문번호 110-123-456789 / 계좌 110-123-456789") == f"입금 확인. 주문번호 110-123-456789 / 계좌 {ACCOUNT}"


LABELS = st.lists(
    st.sampled_from([
        "주민등록", "여권", "면허", "카드", "전화", "쿠폰번호", "폰번호", "내 번호", "문의", "☎", "tel.", "T.", "KakaoBank", "bank", "국민",
        "하나 ", "SC/", "계좌", "예금주", "주문번호", "order",
        "no.", "reach", "my number", "passport", "creditcard", "card", "visa", "RRN", "a/c", "x", "가", " ", "1",
    ]),
    max_size=8,
).map(lambda pieces: "".join(f" {piece} " if piece.isascii() else piece for piece in pieces))  # fmt: skip


@given(LABELS)
def test_the_first_character_of_a_label_hides_none(text: str) -> None:
    """The expression without its look at the first character finds the same (English labels stand apart here)."""
    slow = re.compile(pii_labels._KNOWN.pattern.replace(f"(?={pii_labels._FIRST})", "", 1), re.I)
    spans = [[(match.span(), match.lastgroup) for match in pattern.finditer(text)] for pattern in (slow, pii_labels._KNOWN)]
    assert spans[0] == spans[1]


def test_the_fixture_is_large_hard_and_without_doubles() -> None:
    positives, negatives = read("positives.jsonl"), read("negatives.jsonl")
    assert len(positives) >= 320 and len(negatives) >= 320
    assert len({row["text"] for row in positives + negatives}) == len(positives) + len(negatives)
    assert all(row["text"].count(row["value"]) == 1 for row in positives)
    assert {f"pii_{row['kind']}" for row in positives} == set(COLUMNS)


@pytest.mark.parametrize("half", [0, 1], ids=["tuned on", "unseen"])
def test_precision_and_recall_on_running_text(half: int) -> None:
    """The value and only the value: at least .98 each overall, .95 recall in every kind, on both halves."""
    found: Counter[str] = Counter()
    wanted: Counter[str] = Counter()
    false = 0
    for row in read("positives.jsonl")[half::2]:
        wanted[row["kind"]] += 1
        masked = mask(row["text"])
        found[row["kind"]] += masked == row["text"].replace(row["value"], f"<|{row['kind']}|>")
        false += max(0, masked.count("<|") - 1)
    for row in read("negatives.jsonl")[half::2]:
        false += mask(row["text"]).count("<|")
    assert found.total() / wanted.total() >= 0.98
    assert found.total() / (found.total() + false) >= 0.98
    assert all(found[kind] / wanted[kind] >= 0.95 for kind in wanted)


@pytest.mark.parametrize("name", ["other_tuned.jsonl", "other_unseen.jsonl"])
def test_precision_and_recall_on_lines_of_another_author(name: str) -> None:
    """Notices, chats, invoices, logs, tables, spam: at least .98 of the lines come out as they should, with values and without."""
    rows = read(name)
    for has_values in (True, False):
        right = [mask(row["text"]) == row["masked"] for row in rows if (row["text"] != row["masked"]) == has_values]
        assert len(right) >= 70
        assert sum(right) / len(right) >= 0.98


def test_stage_counts_by_kind_and_leaves_clean_rows_alone() -> None:
    texts = [
        "깨끗한 글",
        None,
        "a@b.kr c@d.kr 010-1234-5678",
        "900101-1234567, 4111111111111111",
        "접속 8.8.8.8",
        "국민은행 110-123-456789",
        "",
    ]
    chunks = pa.chunked_array([pa.array(texts[:3], pa.large_string()), pa.array(texts[3:], pa.large_string())])
    table = Pii()(pa.table({"text": chunks}))
    masked = ["깨끗한 글", None, f"{EMAIL} {EMAIL} {PHONE}", f"{RRN}, {CARD}", f"접속 {IP}", f"국민은행 {ACCOUNT}", ""]
    assert table.column("text").to_pylist() == masked
    counts = {name: table.column(name).to_pylist() for name in COLUMNS}
    assert counts == {
        "pii_email": [0, 0, 2, 0, 0, 0, 0],
        "pii_rrn": [0, 0, 0, 1, 0, 0, 0],
        "pii_card": [0, 0, 0, 1, 0, 0, 0],
        "pii_driver": [0] * 7,
        "pii_account": [0, 0, 0, 0, 0, 1, 0],
        "pii_phone": [0, 0, 1, 0, 0, 0, 0],
        "pii_passport": [0] * 7,
        "pii_ip": [0, 0, 0, 0, 1, 0, 0],
    }
    assert table.column("text_bytes").to_pylist() == [len((text or "").encode()) for text in masked]


def test_stage_writes_every_pii_column_of_the_schema() -> None:
    assert {name for name in BY_NAME if name.startswith("pii_")} == set(COLUMNS)
    assert len(Pii()(pa.table({"text": pa.chunked_array([], pa.large_string())}))) == 0


def test_the_column_is_masked_as_single_texts_are() -> None:
    texts = [row["text"] for row in read("positives.jsonl") + read("negatives.jsonl")]
    random.Random(7).shuffle(texts)
    assert Pii()(column(list(texts))).column("text").to_pylist() == [mask(text) for text in texts]
    whole = "\n\n\n".join(texts)
    table = Pii()(column([whole]))
    assert table.column("text")[0].as_py() == mask(whole)
    placeholders = whole.count("<|"), table.column("text")[0].as_py().count("<|")
    assert placeholders[1] - placeholders[0] == sum(table.column(name)[0].as_py() for name in COLUMNS)


def everywhere(text: str) -> str:
    """The twin of `mask`: each pattern tried on the whole text from every place on, without hints and places."""
    for kind in KINDS:
        pieces, start, end = "", 0, 0
        while (match := kind.pattern.search(text, start)) is not None:
            start = match.start() + 1
            if kind.is_real(match):
                pieces += text[end : match.start()] + kind.placeholder
                start = end = match.end()
        text = pieces + text[end:]
    return text


PIECES = [
    *"01289 -.)(@+:\n", " ", "010", "02", "82", "+82", "1234", "5678", "900101", "1234567", "4111", "a.kr", "b@naver.com", "8.8", "가",
    "계좌 ", "국민 ", "여권", "M1234", "면허 ", "12-345678-90", "번호 ", "(at)",
    "골뱅이", "naver.com", "공일공", "TEL", "2001:", "1:", "::", "–",
]  # fmt: skip
RUNS = st.lists(st.sampled_from(PIECES), max_size=24).map("".join)


@settings(max_examples=500, deadline=None)
@given(RUNS)
def test_hints_and_places_never_hide_personal_data(text: str) -> None:
    stage = Pii()(column([text]))
    assert stage.column("text")[0].as_py() == mask(text) == everywhere(text)


def test_long_chains_of_numbers_hide_nothing() -> None:
    """A real number anywhere in a row of digits longer than one place: windows overlap."""
    source = random.Random(3)
    for _ in range(200):
        before = "".join(source.choice(["12 ", "3-", "456 ", "7 ", "89  "]) for _ in range(source.randrange(60)))
        text = f"{before}, 010-1234-5678 4111-1111-1111-1111 211.45.67.89 {before}"
        assert mask(text) == everywhere(text)


def unbounded(pattern: str) -> list[Any]:
    """The repetitions without a small upper bound in a regular expression."""
    found: list[Any] = []

    def walk(node: Any) -> None:
        if isinstance(node, parser.SubPattern):
            for operator, value in node:
                repeats = operator in (constants.MAX_REPEAT, constants.MIN_REPEAT, constants.POSSESSIVE_REPEAT)
                if repeats and (value[1] is constants.MAXREPEAT or value[1] > 64):
                    found.append((operator, value[:2]))
                walk(value)
        elif isinstance(node, (list, tuple)):
            for part in node:
                walk(part)

    walk(parser.parse(pattern))
    return found


def test_no_pattern_repeats_without_a_bound() -> None:
    patterns = [kind.pattern.pattern for kind in KINDS] + [kind.place.pattern for kind in KINDS] + [kind.hint for kind in KINDS]
    for module in (pii_addresses, pii_kinds, pii_labels):
        patterns += [value.pattern for value in vars(module).values() if isinstance(value, re.Pattern)]
    assert len(patterns) > 40
    assert {pattern: unbounded(pattern) for pattern in patterns if unbounded(pattern)} == {}
    assert unbounded("a+") and unbounded("(?:a{2,})") and unbounded("(a|b{0,900})")  # the check itself sees them


@pytest.mark.parametrize("unit", ["0", "1-", "12 ", "@", "a@", "a@a.aa", "1.", "(at)", "010-", "계좌 1", "M12345678 ", "2001:", "a"])
def test_hostile_runs_end(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    assert len(mask(text)) > 0
    Pii()(column([text]))


def test_hints_are_one_expression_for_the_first_pass() -> None:
    texts = [row["text"] for row in read("positives.jsonl")]
    assert all(pc.match_substring_regex(pa.array(texts), ANY_HINT).to_pylist())
    assert replace("a@b.kr c, d@e.kr", KINDS[:1]) == (f"{EMAIL} c, {EMAIL}", {"pii_email": 2})


@dataclass(frozen=True)
class RawReader:
    """What the engine reads raw input with: `ingest.read_part` on every part of a split."""

    version: str = "1"

    def __call__(self, split: Split) -> Iterator[pa.Table]:
        for part in split.parts:
            yield from read_part(part, IngestConfig())


def test_values_are_in_no_file_of_a_run(tmp_path: Path) -> None:
    """Ingest and refine records with personal data, broken ones among them, and search every file that the two leave.

    The tasks are those of the engine, without its processes; `kept` and `dropped` of ingest hold the texts as they came.
    """
    rows = read("positives.jsonl")[::4]
    values = [row["value"] for row in rows]
    plain = [row["text"] for row in rows]
    records = [json.dumps({"id": str(place), "text": row["text"]}, ensure_ascii=False) for place, row in enumerate(rows)]
    records += [f'{{"id": "b{place}", "text": "{text[:150].replace(chr(10), " ")}' for place, text in enumerate(plain)]
    records += [json.dumps({"id": "c", "text": [text]}, ensure_ascii=False) for text in plain]
    source = tmp_path / "records.jsonl"
    source.write_text("\n".join(records), encoding="utf-8")
    out = tmp_path / "out"
    moves: list[tuple[str, list[Split] | None, Reader, tuple[Stage, ...]]] = [
        ("ingest", plan_raw(Inputs([str(source)])), RawReader(), ingest_stages(IngestConfig())),
        ("refine", None, DocumentReader(), refine_stages(RefineConfig(preset=(), languages=(), min_language_score=0))),
    ]
    for name, splits, reader, stages in moves:
        splits = splits or plan_documents(Inputs([str(out / "ingest" / "kept")]))[0]
        columns = frozenset({"id", "source", "file", "position", "text", "text_bytes"}).union(*(stage.writes for stage in stages))
        for split in splits:
            facts = RowTask(split, reader, stages, columns)(out / name)
            (out / name / "receipt.json").write_text(json.dumps(facts, ensure_ascii=False), encoding="utf-8")
    assert len(pq.read_table(out / "ingest" / "quarantine")) == 2 * len(plain)
    assert len(pq.read_table(out / "refine" / "kept")) == len(rows)
    searched = [path for path in out.rglob("*") if path.is_file() and path.relative_to(out).parts[:2] not in RAW]
    for path in searched:
        text = str(pq.read_table(path).to_pylist()) if path.suffix == ".parquet" else path.read_text("utf-8")
        assert [value for value in values if value in text] == [], path
    assert {path.parent.name for path in searched} >= {"ingest", "refine", "kept", "quarantine"}


RAW = (("ingest", "kept"), ("ingest", "dropped"))
"""The only places of a run where texts stand as they came."""
