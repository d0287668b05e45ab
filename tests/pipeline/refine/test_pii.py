"""Personal data is replaced and counted; what merely looks like it stays."""

from __future__ import annotations

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.refine.pii import ANY_HINT, CARD, EMAIL, IP, KINDS, PHONE, RRN, Pii, replace


def cleaned(text: str) -> str:
    for kind in KINDS:
        text, _ = replace(text, kind)
    return text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("문의: hong.gildong+1@mail.example.co.kr으로", f"문의: {EMAIL}으로"),
        ("메일a_b@naver.com.", f"메일{EMAIL}."),
        ("전화 010-1234-5678.", f"전화 {PHONE}."),
        ("01012345678로", f"{PHONE}로"),
        ("010 1234 5678 / 010.1234.5678", f"{PHONE} / {PHONE}"),
        ("(010) 1234-5678, 016-123-4567", f"{PHONE}, {PHONE}"),
        ("+82 10-1234-5678, +82-2-123-4567", f"{PHONE}, {PHONE}"),
        ("+821012345678", PHONE),
        ("02-123-4567, 031)123-4567, (02)1234-5678, 070-1234-5678", f"{PHONE}, {PHONE}, {PHONE}, {PHONE}"),
        ("주민 900101-1234567", f"주민 {RRN}"),
        ("주민등록번호 9001011234567", f"주민등록번호 {RRN}"),
        ("외국인등록번호: 850315-5123456", f"외국인등록번호: {RRN}"),
        ("200229-3123456", RRN),
        ("카드 4111-1111-1111-1111", f"카드 {CARD}"),
        ("5555555555554444 3782 822463 10005", f"{CARD} {CARD}"),
        ("접속 211.45.67.89에서", f"접속 {IP}에서"),
        ("server 8.8.4.4:53", f"server {IP}:53"),
        ("IP 주소 1.2.3.4", f"IP 주소 {IP}"),
    ],
)
def test_personal_data_is_replaced(text: str, expected: str) -> None:
    assert cleaned(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "2023-01-15", "2023.01.15 12:30", "20230115", "2010-1234-5678", "1,234,567원", "010", "0.1234567890123",
        "ISBN 978-89-6077-733-4", "ISBN 9788960777334", "8801062628476", "1609459200000",
        "v1.2.3.4", "version 1.2.3.4", "버전 10.2.30.44", "Chrome/91.0.44.124", "4.1.2.3 절차", "1.2.3.4.5", "300.1.1.1", "01.02.03.04",
        "10.0.0.1", "127.0.0.1", "192.168.0.10", "172.16.3.4", "203.0.113.9", "8.8.8.0/24",
        "1588-1234", "1644-0000", "119", "사업자등록번호 123-45-67890", "법인등록번호 110111-1234567", "1101111234567",
        "900230-1234567", "901301-1234567", "900101-123456", "900101-12345678", "1900101-1234567",
        "4111-1111-1111-1112", "1234567890123456", "0000-0000-0000-0000", "id=4111111111111111",
        "git@github.com:owner/repository.git", "logo@2x.png", "@user", "a@b", "user@localhost", "package@1.2.3",
        "01111111110", "021234567", "3-010-1234-5678-9",
    ],
)  # fmt: skip
def test_what_looks_alike_stays(text: str) -> None:
    assert cleaned(text) == text
    assert cleaned(f"앞 {text} 뒤") == f"앞 {text} 뒤"


def test_a_corporate_number_is_told_from_a_resident_one_by_its_check_digit() -> None:
    digits = "110111123456"
    check = (10 - sum(int(digit) * (1 + place % 2) for place, digit in enumerate(digits)) % 10) % 10
    corporate = f"{digits[:6]}-{digits[6:]}{check}"
    assert cleaned(corporate) == corporate
    other = f"{digits[:6]}-{digits[6:]}{(check + 1) % 10}"
    assert cleaned(other) == RRN


def test_stage_counts_by_kind_and_leaves_clean_rows_alone() -> None:
    texts = ["깨끗한 글", None, "a@b.kr c@d.kr 010-1234-5678", "900101-1234567, 4111111111111111", "접속 8.8.8.8", ""]
    column = pa.chunked_array([pa.array(texts[:3], pa.large_string()), pa.array(texts[3:], pa.large_string())])
    table = Pii()(pa.table({"text": column}))
    assert table.column("text").to_pylist() == ["깨끗한 글", None, f"{EMAIL} {EMAIL} {PHONE}", f"{RRN}, {CARD}", f"접속 {IP}", ""]
    assert table.column("pii_email").to_pylist() == [0, 0, 2, 0, 0, 0]
    assert table.column("pii_phone").to_pylist() == [0, 0, 1, 0, 0, 0]
    assert table.column("pii_rrn").to_pylist() == [0, 0, 0, 1, 0, 0]
    assert table.column("pii_card").to_pylist() == [0, 0, 0, 1, 0, 0]
    assert table.column("pii_ip").to_pylist() == [0, 0, 0, 0, 1, 0]
    assert table.column("text_bytes").to_pylist() == [len((text or "").encode()) for text in table.column("text").to_pylist()]


def test_empty_table() -> None:
    assert len(Pii()(pa.table({"text": pa.chunked_array([], pa.large_string())}))) == 0


NUMBER_PIECES = [*"01289 -.)(@", "010", "02", "82", "+82", "1234", "5678", "900101", "4111", "a.kr", "8.8", "가"]
NUMBERS = st.lists(st.sampled_from(NUMBER_PIECES), max_size=14).map("".join)


@settings(max_examples=250, deadline=None)
@given(NUMBERS)
def test_the_hints_never_hide_personal_data_and_replacing_is_final(text: str) -> None:
    """What Python's patterns would replace, the RE2 hints must let through; a second pass finds nothing more of what was replaced."""
    stage = Pii()(pa.table({"text": pa.chunked_array([pa.array([text], pa.large_string())])}))
    assert stage.column("text")[0].as_py() == cleaned(text)


@pytest.mark.parametrize(
    "text",
    ["a" * 2_000_000, "a@" * 500_000, "a." * 500_000 + "@", "a@" + "a." * 500_000, "1-" * 500_000, "0" * 2_000_000, "1." * 500_000],
    ids=["letters", "at signs", "local part", "domain", "hyphens", "digits", "octets"],
)
def test_hostile_runs_end(text: str) -> None:
    Pii()(pa.table({"text": pa.chunked_array([pa.array([text], pa.large_string())])}))


def test_values_do_not_survive_in_any_column() -> None:
    table = Pii()(pa.table({"text": pa.chunked_array([pa.array(["전화 010-1234-5678"], pa.large_string())])}))
    assert "1234" not in str(table.to_pydict())


def test_hints_are_one_expression_for_the_first_pass() -> None:
    assert all(kind.hint in ANY_HINT for kind in KINDS)
