"""Boilerplate lines go, text stays: families of notices, frames, runs inside, and what must never be cut."""

from __future__ import annotations

import gzip
import json
import re
from importlib import resources

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.refine.lines import EDGES, ONLY_BOILERPLATE, RECORDED_CHARS, LinePatterns, Lines, host_salts, read_lines
from pipeline.refine.lines_kernel import hash_lines
from pipeline.stage import apply, identity
from tests.pipeline.refine import twin_lines as twin

BODY = ["어제 시장에서 사과를 샀다.", "값은 작년보다 조금 올랐다고 한다.", "내년에는 더 오를 것이라는 말이 있다."]

NOTICES = [
    "<저작권자 ⓒ 온누리일보, 무단 전재 및 재배포 금지>",
    "저작권자(c) 온누리통신, 무단전재-재배포 금지",
    "ⓒ 온누리경제",
    "[ⓒ 온누리경제 & onnuri.example, 무단전재 및 재배포 금지]",
    "Copyright ⓒ Onnuri. 무단 복제 및 전재 금지",
    "저작권자 온누리일보 무단 전재 바람",
    "무단전재 및 재배포, AI학습 이용을 금합니다",
    "※ 본 콘텐츠의 무단 전재 및 재배포를 금지합니다.",
    "본 기사의 무단 전재를 금지합니다.",
    "- Copyrights ⓒ 온누리. All Rights Reserved -",
    "홍길동 기자 gildong@onnuri.example",
    "온누리일보=홍길동 선임기자 gildong@onnuri.example",
    "[온누리일보 홍길동 기자 gildong@onnuri.example]",
    "글·사진 홍길동·김철수 기자 (gildong@onnuri.example) 다른기사 보기",
    "gildong@onnuri.example 홍길동 기자",
    "기사제보 및 보도자료 press@onnuri.example",
    "네이버에서 온누리일보 구독하기",
    "▶ 온누리일보 카카오톡 채널 추가하기",
    "※ '당신의 제보가 뉴스가 됩니다' [카카오톡] 온누리 검색 [전화] 02-123-1234",
    "사업자등록번호: 123-45-67890",
    "청소년보호책임자 : 홍길동",
    "통신판매업신고 제2020-서울종로-0001호",
    "등록번호: 서울 아00000 | 등록일자: 2001.01.01 | 발행인: 홍길동 | 편집인: 김철수",
    "호스팅 제공자: 온누리 | 개인정보관리책임자: 홍길동 | 법인명: 온누리",
    "© 2019 Onnuri Times",
    "2020 © Onnuri Group",
    "All Rights Reserved.",
    "Copyright 2023 Onnuri Press. All rights reserved. This material may not be published, broadcast, rewritten or redistributed.",
    "Sign up for our weekly newsletter",
    "Advertisement",
    "Story continues below advertisement",
    "Continue reading below",
]

EDGE_NOTICES = [
    "이 기사의 저작권은 온누리일보에 있습니다.",
    "상호: 온누리상점 | 대표: 홍길동 | 주소: 서울시 종로구 온누리로 1 | 사업자등록번호: 000",
    "회사명: 온누리 / 이메일: press@onnuri.example / TEL: 02-123-4567 / FAX: 02-123-4568 / 법인명: 온누리",
    "발행일: 2001.01.01 | 주소: 서울 | 저작권자 © 온누리",
    "개인정보관리책임자 : 홍길동(privacy@onnuri.example)",
    "당사의 모든 제작물의 저작권은 온누리에 있으며, 무단복제나 도용은 저작권법에 의해 금지되어 있습니다.",
    "경제신문 자료 재가공 불허",
    "저희는 재배포를 금합니다.",
    "Copyright (c) 2001-2019 Onnuri Inc.",
    "Copyright 2020 Onnuri Authors",
    "광고 문의 ad@onnuri.example",
    "입력 2024.01.31 10:30 수정 2024.01.31 11:00",
    "2024/01/31 10:30 송고",
    "[온누리신문=홍길동 기자]",
    "제보는 카카오톡 온누리",
    "This site uses cookies to improve your experience.",
    "We use cookies on our website to remember you.",
    "By continuing to browse you accept our use of cookies",
    "Follow us on Twitter and Facebook",
]
"""Cut where pages begin and end, not inside."""

BESIDE_NOTICES = [
    "홍길동 기자",
    "gildong@onnuri.example",
    "온라인뉴스팀 news@onnuri.example",
    "홍길동 기자의 다른 기사 보기",
    "수정 2024.01.31",
    "[광고]",
    "법인명 : 온누리",
]
"""Cut beside other lines of a frame, never alone."""


def table(*texts: str | None) -> pa.Table:
    return pa.table({"text": pa.array(texts, pa.large_string())})


def result(text: str, stage: Lines | None = None) -> dict:
    return (stage or Lines())(table(text)).to_pylist()[0]


def cut(text: str) -> list[tuple[int, str]]:
    return [(line["line"], line["reason"]) for line in result(text)["cut_lines"]]


@pytest.mark.parametrize("line", NOTICES)
def test_a_notice_is_cut_wherever_it_stands(line: str) -> None:
    text = "\n".join([BODY[0], line, *BODY[1:]])
    row = result(text)
    assert [(entry["line"], entry["reason"]) for entry in row["cut_lines"]] == [(1, "notice")]
    assert row["text"] == "\n".join(BODY) and row["text_bytes"] == len("\n".join(BODY).encode())


@pytest.mark.parametrize(
    "line",
    [
        "언론사들은 무단 전재 및 재배포 금지를 요청했다.",
        "(서울=연합뉴스) 홍길동 기자 = 시장에서 사과를 샀다.",
        "홍길동 기자는 gildong@onnuri.example 주소를 썼다.",
        "사업자등록번호, 대표자, 주소 및 전화번호를 적어야 한다.",
        "저작권은 저작자에게 있다.",
        "통신판매업을 하려는 자는 신고하여야 한다.",
        "Copyright",
        "Copyright law was reformed in 2019 in several countries.",
        "The cookie aisle uses cookies of every kind.",
        "# Advertisement",
        "Advertisements cover every wall of the station.",
        "- [Follow us on Twitter](https://example.com)",
        "Write to me@example.com for the data.",
        "고객센터에 전화했더니 친절하게 알려 주었다.",
        "이용약관과 개인정보처리방침을 읽고 동의했다.",
        "목록",
        "Search",
        "댓글",
    ],
)
def test_text_about_such_things_and_single_weak_lines_stay(line: str) -> None:
    for text in ("\n".join([BODY[0], line, *BODY[1:]]), "\n".join([line, *BODY]), "\n".join([*BODY, line]), line):
        assert cut(text) == [] and result(text)["text"] == text


@pytest.mark.parametrize("line", EDGE_NOTICES)
def test_a_line_of_frames_is_cut_at_the_ends_only(line: str) -> None:
    for text in ("\n".join([line, *BODY]), "\n".join([*BODY, "", line])):
        assert result(text)["text"] == "\n".join(BODY)
    inside = "\n".join([BODY[0], line, *BODY[1:]])
    assert result(inside)["text"] == inside
    beside_a_notice = "\n".join([BODY[0], line, NOTICES[0], *BODY[1:]])
    assert result(beside_a_notice)["text"] == "\n".join(BODY)


@pytest.mark.parametrize("line", BESIDE_NOTICES)
def test_a_name_time_or_address_goes_only_beside_a_notice_or_buttons(line: str) -> None:
    for text in ("\n".join([line, *BODY]), "\n".join([*BODY, line]), "\n".join([BODY[0], line, line, line, *BODY[1:]])):
        assert cut(text) == []
    for others in ([NOTICES[0]], ["목록", "이전글"], [EDGE_NOTICES[0]]):
        assert result("\n".join([*BODY, line, *others]))["text"] == "\n".join(BODY)


@pytest.mark.parametrize(
    "lines",
    [
        ["저작권 안내", "무단 전재 금지 표시가 없어도 보호됩니다.", "1. 무단 복제 및 배포 금지", "2. 무단 도용 금지", "이상입니다."],
        [
            '"저작권자 ⓒ 온누리일보, 무단전재 금지"라는 표시는 필수가 아니다.',
            "「무단전재 및 재배포 금지」란 무슨 뜻인가요?",
            "표시일 뿐이다.",
        ],
        [
            "제11조 (저작권의 귀속)",
            "본 콘텐츠의 저작권은 회사에 귀속됩니다.",
            "제12조 (무단 전재 및 재배포 금지)",
            "이용자는 복제할 수 없습니다.",
        ],
        [
            "책방 목록입니다.",
            "상호: 온누리책방 / 대표: 홍길동 / 주소: 서울 종로구",
            "상호: 한빛책방 / 대표: 김철수 / 주소: 서울 중구",
            "이상입니다.",
        ],
        ["음악회에 초대합니다.", "많이 와 주세요.", "주소: 서울시 온누리로 1 / 전화: 02-123-4567 / 이메일: concert@onnuri.example"],
        [
            "개인정보처리방침",
            "이름과 주소를 모읍니다.",
            "개인정보 보호책임자 : 홍길동 (보호팀장)",
            "전화 : 02-123-4567",
            "이 방침은 1월 1일부터 시행합니다.",
        ],
        ["MIT License", "Copyright (c) 2024 Onnuri", "Permission is hereby granted, free of charge.", "The software is provided as is."],
        ["파일의 첫 줄입니다.", "// Copyright (c) 2024 Onnuri. All rights reserved.", "# Copyright (c) 2024 Onnuri", "함수가 이어집니다."],
        [
            "Copyright 2019 was a good year for reform, lawyers said.",
            "We use cookies to decorate the tree.",
            "It is old.",
            "All rights reserved is a phrase.",
        ],
        [
            "Join us.",
            "Sign up for our newsletter workshop on Monday; it teaches layout.",
            "Follow us on this journey through the Alps",
            "It is free.",
        ],
        ["홍길동 기자", "오늘은 소설가를 모셨습니다.", "김철수 작가", "반갑습니다.", "홍길동 기자"],
        ["지원하는 앱", "공유 방법은 아래와 같습니다.", "페이스북", "카카오톡", "트위터"],
        ["변경 이력", "수정 2024.01.02", "오타를 고쳤다.", "수정 2024.02.03"],
        ["용어", "홍보", "광고"],
    ],
)
def test_texts_about_notices_lists_laws_and_code_stay(lines: list[str]) -> None:
    assert cut("\n".join(lines)) == []


def test_frames_and_runs_are_cut_and_leave_one_blank_line() -> None:
    text = "회원가입\n로그인\n\n" + BODY[0] + "\n\n페이스북\n트위터\n카카오톡\n\n" + BODY[1] + "\n\n조회수 12\n·\n목록\n이전글"
    row = result(text)
    assert row["text"] == f"{BODY[0]}\n\n{BODY[1]}"
    assert [line["text"] for line in row["cut_lines"]] == [
        "회원가입",
        "로그인",
        "페이스북",
        "트위터",
        "카카오톡",
        "조회수 12",
        "·",
        "목록",
        "이전글",
    ]
    assert {line["reason"] for line in row["cut_lines"]} == {"furniture"}
    assert row["boilerplate_line_ratio"] == pytest.approx(8 / 11)


@pytest.mark.parametrize(
    "text",
    [
        "공유 방법은 세 가지다:\n페이스북\n트위터\n카카오톡",  # a colon leads the list
        "지원하는 곳\n본문이다.\n- 게시판\n- 페이스북\n- 트위터\n- 밴드",  # the end of a list that is text
        "# 검색\n# 로그인\n본문이다.\n# 댓글\n# 추천\n# 목록",  # headings
        "Search\n======\nLogin\n-----\nThe text of this page.\nIts second line.",
        "본문이다.\n둘째다.\n```\nhome\nlogin\nsearch\n```",  # code
        "본문이다.\n둘째다.\n\thome\n    login\n\tsearch",
        "본문이다.\n- 검색\n- 로그인\n- 목록\n끝이다.",  # a list inside
        "추천",
        "추천\n공유",
    ],
)
def test_titles_lists_code_and_one_line_texts_stay(text: str) -> None:
    assert cut(text) == []


def test_a_page_of_nothing_else_is_dropped_with_its_text_as_it_was() -> None:
    text = "목록\n\n로그인\n회원가입\n저작권자 ⓒ 온누리, 무단 전재 금지"
    parted = apply(Lines(), table("\n".join(BODY), text, "ⓒ 온누리경제"))
    assert parted.dropped.column("drop_reason").to_pylist() == [ONLY_BOILERPLATE] * 2
    assert parted.dropped.column("text").to_pylist()[0] == text and parted.dropped.column("cut_lines").to_pylist() == [[], []]
    assert parted.kept.column("text").to_pylist() == ["\n".join(BODY)]


def test_null_empty_sliced_and_chunked_tables() -> None:
    texts = [None, "", "\n\n", *BODY, "목록\n로그인\n" + BODY[0]]
    whole = Lines()(table(*texts))
    assert whole.column("text").to_pylist() == [None, "", "\n\n", *BODY, BODY[0]]
    assert whole.column("text_bytes").to_pylist()[:2] == [0, 0]
    assert Lines()(table(*texts).slice(3)).to_pylist() == whole.slice(3).to_pylist()
    assert Lines()(pa.concat_tables([table(*texts[:4]), table(*texts[4:])])).to_pylist() == whole.to_pylist()
    assert len(Lines()(table())) == 0
    assert Lines()(table()).schema.field("cut_lines").type == whole.schema.field("cut_lines").type


def test_measuring_only_leaves_the_text() -> None:
    text = "목록\n로그인\n" + BODY[0]
    row = result(text, Lines(cut=False))
    assert row["text"] == text and row["cut_lines"] == [] and row["boilerplate_line_ratio"] == pytest.approx(2 / 3)


def test_the_record_is_masked_and_bounded() -> None:
    row = result(
        "\n".join(["홍길동 기자 gildong@onnuri.example", *BODY, "© 2020 " + "온누리 " * 25 + "010-1234-5678", "로그인 " * 400, "목록"])
    )
    assert len(row["cut_lines"]) == 4
    record = str(row["cut_lines"])
    assert "gildong@" not in record and "1234" not in record
    assert max(len(line["text"]) for line in row["cut_lines"]) == RECORDED_CHARS
    assert row["text"] == "\n".join(BODY)


def stage_knowing(tmp_path_factory: pytest.TempPathFactory, lines: list[str], host: str) -> Lines:
    known = read_lines(pa.array(["\n".join(lines)], pa.large_string()))
    hashes = np.empty(len(known.starts), np.uint64)
    hash_lines(known.data, *known.spans, host_salts(pa.array([host])), hashes)
    path = tmp_path_factory.mktemp("lines") / "host_lines.parquet"
    pq.write_table(pa.table({"hash": np.sort(hashes), "documents": np.full(len(hashes), 10)}), path)
    return Lines(host_lines=str(path), host_lines_hash=str(path))


FREQUENT = ["온누리 소식은 매일 아침에", "여기는 늘 있는 줄", "## 설명"]
PIECES = [
    "",
    " ",
    "---",
    "===",
    "|",
    "```",
    "~~~",
    "회원가입",
    "로그인 | 회원가입",
    "목록",
    "Search",
    "  Login",
    "\thome",
    "    home",
    "- 검색",
    "1. 목록",
    "# 댓글",
    "#",
    "> 공유",
    "<b>",
    "공유 방법:",
    "방법은：",
    "저작권자 ⓒ 온누리, 무단전재 금지",
    "- Follow us on Twitter",
    "Follow us on Twitter",
    "Advertisement",
    "```notice ⓒ",
    "홍길동 기자 a@b.example",
    "사업자번호 123-45-67890",
    "무단 전재 금지를 요청했다.",
    "ⓒ 온누리입니다.",
    "•",
    "• 목록",
    "①",
    "ⓒ",
    "！",
    "ａ",
    "中",
    "é",
    *FREQUENT,
    *(f" {line}" for line in FREQUENT),
    *BODY,
    "Plain words of English.",
    "© 2020 Onnuri",
    "COPYRIGHT 2020 Onnuri",
    "홍길동 기자",
    "# 홍길동 기자",
    "입력 2024.01.31 10:30",
    "# Copyright 2020 Onnuri",
    "무단 복제 금지",
    "## 무단 복제 금지",
    "방법은 같다",
    "다음과 같습니다.",
    "습니다.",
    "x" * 650 + " ⓒ",
]


@pytest.fixture(scope="module")
def knowing(tmp_path_factory: pytest.TempPathFactory) -> Lines:
    return stage_knowing(tmp_path_factory, FREQUENT, "a.example")


@settings(max_examples=250, deadline=None)
@given(rows=st.lists(st.lists(st.sampled_from(PIECES), max_size=12).map("\n".join), min_size=1, max_size=4))
def test_equals_twin(knowing: Lines, rows: list[str]) -> None:
    hosts = ["a.example", "other.example", None, "a.example"][: len(rows)]
    got = knowing(table(*rows).append_column("host", pa.array(hosts, pa.string()))).to_pylist()
    for text, host, row in zip(rows, hosts, got, strict=True):
        reasons, emptied = twin.cuts(text, set(FREQUENT) if host == "a.example" else set())
        lines = text.split("\n")
        expected = [(place, reason) for place, reason in enumerate(reasons) if reason and lines[place].strip(twin.BLANKS)]
        assert [(line["line"], line["reason"]) for line in row["cut_lines"]] == expected
        assert (row.get("drop_reason") == ONLY_BOILERPLATE) == emptied
        assert row["text"] == twin.without_cut(text, reasons)
        solid = [line for line in lines if line.strip(twin.BLANKS)]
        assert row["boilerplate_line_ratio"] == pytest.approx(sum(map(twin.is_furniture, solid)) / max(1, len(solid)))
        sizes = [len(line.encode()) for line in solid]
        furniture = sum(size for line, size in zip(solid, sizes, strict=True) if twin.is_furniture(line))
        assert row["boilerplate_byte_ratio"] == pytest.approx(furniture / max(1, sum(sizes)))


@settings(max_examples=150, deadline=None)
@given(texts=st.lists(st.text(st.characters(exclude_categories=("Cs",)), max_size=60), max_size=5))
def test_any_unicode_loses_whole_lines_only_and_rows_do_not_mix(texts: list[str]) -> None:
    rows = Lines()(table(*texts)).to_pylist()
    for text, row in zip(texts, rows, strict=True):
        assert row == {**result(text), **({"drop_reason": row["drop_reason"]} if "drop_reason" in row else {})}
        left = iter(text.split("\n"))
        assert all(line in left for line in row["text"].split("\n") if row["cut_lines"])


def test_frequent_lines_go_at_the_frame_and_stay_inside(knowing: Lines) -> None:
    def text_of(text: str, host: str = "a.example") -> str:
        return knowing(table(text).append_column("host", pa.array([host]))).to_pylist()[0]["text"]

    page = "\n".join([FREQUENT[0], *BODY, FREQUENT[2], BODY[0], FREQUENT[1], BODY[1], FREQUENT[1]])
    assert text_of(page) == "\n".join([*BODY, FREQUENT[2], BODY[0], FREQUENT[1], BODY[1]])
    assert text_of(page, "other.example") == page
    title_then_text = "\n".join([FREQUENT[2], *BODY])  # a heading that pages begin with belongs to what follows
    assert text_of(title_then_text) == title_then_text
    near_copy = "\n".join([*FREQUENT, "짧은 글.", *FREQUENT])
    assert text_of(near_copy) == near_copy


def test_the_setting_of_the_path_is_not_part_of_the_fingerprint() -> None:
    assert identity(Lines(host_lines="a", host_lines_hash="1")) == identity(Lines(host_lines="b", host_lines_hash="1"))
    assert identity(Lines(host_lines="a", host_lines_hash="1")) != identity(Lines(host_lines="a", host_lines_hash="2"))
    assert Lines(host_lines="a").reads == {"text", "host"} and Lines().reads == {"text"}


def shipped_patterns() -> list[str]:
    text = resources.files("pipeline.refine").joinpath("presets/lines.yaml").read_text(encoding="utf-8")
    patterns = LinePatterns.model_validate(yaml.safe_load(text))
    return [
        *patterns.anywhere,
        *patterns.calls,
        *patterns.frame,
        *patterns.beside,
        *patterns.registry_fields,
        *patterns.fields,
        *patterns.sole_fields,
    ]


def test_every_pattern_has_an_example_that_is_cut() -> None:
    """A pattern whose lines have no hint would never be tried; the examples are cut through the kernel above."""
    lines = [line.lower().replace("(c)", "©").strip(EDGES) for line in [*NOTICES, *EDGE_NOTICES, *BESIDE_NOTICES]]
    assert [pattern for pattern in shipped_patterns() if not any(re.search(pattern, line) for line in lines)] == []


def test_no_pattern_repeats_without_bound() -> None:
    for pattern in shipped_patterns():
        outside_classes = re.sub(r"\\.|\[[^\]]*\]", "x", pattern)
        assert not re.search(r"[*+]|\{[0-9]*,\}", outside_classes), f"unbounded repetition in {pattern}"


def test_clean_real_text_is_left_alone(shared_data) -> None:
    for name, allowed in (("ko/wiki_korquad_contexts", 0), ("ko/bible_krv1961", 0), ("en/peps", 4), ("ko/docs_react_ko", 0)):
        with gzip.open(shared_data / "text" / f"{name}.jsonl.gz") as stream:
            texts = [json.loads(line)["text"] for line in stream]
        assert sum(map(len, Lines()(table(*texts)).column("cut_lines").to_pylist())) <= allowed, name
