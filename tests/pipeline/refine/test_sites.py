"""Documents are dropped by address: lists, opt-outs and page directives, however the address is written; a bad list is the user's error."""

from __future__ import annotations

import dataclasses
import gzip
import pickle
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from pipeline.refine import addresses, site_lists
from pipeline.refine.config import SitesConfig
from pipeline.refine.sites import Sites, sites_stage
from pipeline.stage import identity


def made(folder: Path, **lists: str | tuple[str, ...]) -> Sites:
    """The stage for lists given as text (or settings given as tuples), without default directives."""
    config: dict[str, tuple[str, ...]] = {"drop_directives": ()}
    for kind, content in lists.items():
        if isinstance(content, str):
            (folder / kind).write_text(content, encoding="utf-8")
            content = (str(folder / kind),)
        config[kind] = content
    stage = sites_stage(SitesConfig(**config))
    assert stage is not None
    return stage


def reasons(stage: Sites, *urls: str | None) -> list[str | None]:
    table = stage(pa.table({"url": pa.array(urls, pa.string())}))
    return table.column("drop_reason").to_pylist() if "drop_reason" in table.column_names else [None] * len(urls)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("http://a.b.example.com/x", "a.b.example.com"),
        ("HTTPS://User:Secret@WWW.Example.COM.:8080/x?y#z", "example.com"),
        ("http://good.example@evil.example/", "evil.example"),
        ("http://good.example:80@evil.example/", "evil.example"),
        ("http://good.example\\@evil.example/", "good.example"),
        ("http:\\\\evil.example\\x", "evil.example"),
        ("http://good.example/@evil.example", "good.example"),
        ("http://good.example?@evil.example", "good.example"),
        ("http://good.example#@evil.example", "good.example"),
        ("http:///evil.example/x", "evil.example"),
        ("http:evil.example", "evil.example"),
        ("//evil.example/x", "evil.example"),
        ("evil.example/x", "evil.example"),
        ("evil.example:8080/x", "evil.example"),
        (" \thttp://ev\nil.example/ ", "evil.example"),
        ("http://ev%69l.example/", "evil.example"),
        ("http://ｅｖｉｌ．example/", "evil.example"),
        ("http://한국.kr/문서", "xn--3e0b707e.kr"),
        ("http://%ED%95%9C%EA%B5%AD.kr/", "xn--3e0b707e.kr"),
        ("http://xn--3e0b707e.kr/", "xn--3e0b707e.kr"),
        ("http://[2001:DB8::1]:80/x", "[2001:db8::1]"),
        ("http://192.0.2.1/x", "192.0.2.1"),
        ("http://www.kr/", "www.kr"),
        ("http://a_b.example/", "a_b.example"),
        ("mailto:a@b.example", None),
        ("javascript:alert(1)", None),
        ("data:text/html,x", None),
        ("http://", None),
        ("http://..../", None),
        ("http://a b/", None),
        ("http://" + "가" * 2000, None),
        ("", None),
    ],
)
def test_host(address: str, host: str | None) -> None:
    """What a browser would visit; the column form agrees with the one address form."""
    assert addresses.host_and_rest(address)[0] == host
    assert addresses.hosts(pa.chunked_array([pa.array([address], pa.large_string())])).to_pylist() == [host]


_ADDRESS_TEXT = st.text(alphabet="aB9.:/@\\?#&=-_%[]\t가。xn wWhtps", max_size=40)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(_ADDRESS_TEXT, _ADDRESS_TEXT.map("http://www.".__add__), st.none()), max_size=8))
def test_columns_agree_with_single_addresses(urls: list[str | None]) -> None:
    column = pa.chunked_array([pa.array(urls, pa.large_string())])
    assert addresses.hosts(column).to_pylist() == [None if url is None else addresses.host_and_rest(url)[0] for url in urls]
    distinct, numbers, rows = addresses.distinct_words(column)
    found: list[list[str]] = [[] for _ in urls]
    for number, row in zip(numbers.tolist(), rows.tolist(), strict=True):
        found[row].append(distinct[number].as_py())
    expected = [[] if url is None else addresses.words(url) for url in urls]
    assert [sorted(filter(None, words)) for words in found] == [sorted(words) for words in expected]


def test_hosts_match_on_label_boundaries(tmp_path: Path) -> None:
    stage = made(tmp_path, block_hosts="# spam\nexample.com  # comment\n*.wild.org\nWWW.Upper.NET\n한국.kr\n[2001:db8::1]\n")
    urls = ["http://example.com", "https://a.b.example.com/x", "http://notexample.com", "http://example.com.evil.org", "http://com"]
    assert reasons(stage, *urls) == ["site:blocked_host", "site:blocked_host", None, None, None]
    urls = [
        "http://wild.org",
        "http://upper.net",
        "http://xn--3e0b707e.kr/",
        "http://가.한국.kr",
        "http://[2001:DB8::1]/",
        None,
        "nonsense",
    ]
    assert reasons(stage, *urls) == ["site:blocked_host"] * 5 + [None, None]


def test_only_allowed_hosts_stay(tmp_path: Path) -> None:
    stage = made(tmp_path, allow_hosts="example.com\n")
    urls = ("http://example.com/a", "http://b.example.com", "http://other.com", None, "mailto:x@example.com")
    assert reasons(stage, *urls) == [None, None] + ["site:not_allowed"] * 3


def test_words_are_whole_and_decoded(tmp_path: Path) -> None:
    stage = made(tmp_path, block_words="casino\n카지노\nBET\n")
    blocked = [
        "http://x.kr/best-casino_2.html",
        "http://casino.kr/",
        "http://x.kr/?q=CASINO&p=1",
        "http://x.kr/a%2Dcasino%2Fb",
        "http://x.kr/카지노",
        "http://x.kr/%EC%B9%B4%EC%A7%80%EB%85%B8/1",
        "http://x.kr/?q=%C4%AB%C1%F6%B3%EB",  # CP949
        "http://카지노.kr/",
        f"http://{'카지노'.encode('idna').decode()}.kr/",
        "http://x.kr/bet",
    ]
    assert reasons(stage, *blocked) == ["site:blocked_word"] * len(blocked)
    kept = ["http://x.kr/casinos", "http://x.kr/alphabet", "http://x.kr/온라인카지노", "http://x.kr/#casino", "http://casino@x.kr/", None]
    assert reasons(stage, *kept) == [None] * len(kept)


def test_top_domains(tmp_path: Path) -> None:
    stage = made(tmp_path, block_top_domains=("xxx", ".한국"))
    assert reasons(stage, "http://a.xxx/", "http://xxx.com/", "http://가나.한국/") == [
        "site:blocked_top_domain",
        None,
        "site:blocked_top_domain",
    ]
    with pytest.raises(UserError, match=r"co\.kr.*top-level domain"):
        made(tmp_path, block_top_domains=("co.kr",))


def test_opt_outs_cover_what_is_below(tmp_path: Path) -> None:
    stage = made(tmp_path, opt_out="gone.org\nhttps://blog.com/anna/\nforum.kr/view?id=3\nwww.x.kr/%EA%B0%80\nroot.net/\n")
    gone = [
        "http://gone.org",
        "https://a.gone.org/x",
        "http://blog.com/anna",
        "http://blog.com/anna/2024?x=1",
        "http://www.blog.com/anna?y",
    ]
    gone += ["http://blog.com/b/../anna/x", "http://forum.kr/view?id=3&page=2", "http://x.kr/가/나", "http://root.net/any"]
    assert reasons(stage, *gone) == ["site:opt_out"] * len(gone)
    kept = [
        "http://blog.com/",
        "http://blog.com/annabel",
        "http://a.blog.com/anna",
        "http://forum.kr/view?id=33",
        "http://forum.kr/view",
        None,
    ]
    assert reasons(stage, *kept) == [None] * len(kept)


def test_directives() -> None:
    stage = sites_stage(SitesConfig())
    assert stage is not None
    given_directives = ["noai", "noindex,tdm-reservation", "noimageai", "NOAI, noindex", "", None]
    table = stage(pa.table({"url": ["http://a.kr"] * 6, "robots_directives": given_directives}))
    assert table.column("drop_reason").to_pylist() == [
        "site:directive_noai",
        "site:directive_tdm-reservation",
        None,
        "site:directive_noai",
        None,
        None,
    ]
    assert reasons(stage, "http://a.kr") == [None]


def test_the_first_reason_stays(tmp_path: Path) -> None:
    stage = made(tmp_path, block_hosts="a.xxx\n", block_words="casino\n", block_top_domains=("xxx",))
    assert reasons(stage, "http://a.xxx/casino", "http://b.xxx/casino", "http://b.xxx/") == [
        "site:blocked_host",
        "site:blocked_word",
        "site:blocked_top_domain",
    ]


def test_the_host_column_serves_rows_without_url(tmp_path: Path) -> None:
    stage = made(tmp_path, block_hosts="example.com\n")
    table = stage(pa.table({"url": [None, None, "http://ok.kr"], "host": ["www.example.com", None, "example.com"]}))
    assert table.column("drop_reason").to_pylist() == ["site:blocked_host", None, None]


def test_nothing_configured_is_no_stage() -> None:
    assert sites_stage(SitesConfig(drop_directives=())) is None


def test_empty_table_and_chunks(tmp_path: Path) -> None:
    stage = made(tmp_path, block_hosts="a.kr\n", block_words="x\n", opt_out="b.kr/x\n")
    assert len(stage(pa.table({"url": pa.array([], pa.string())}))) == 0
    chunks = pa.table({"url": pa.chunked_array([["http://a.kr"], [], ["http://c.kr", "http://b.kr/x/y"]])})
    assert stage(chunks).column("drop_reason").to_pylist() == ["site:blocked_host", None, "site:blocked_word"]


def test_compressed_lists_are_the_same_list(tmp_path: Path) -> None:
    content = "\ufeffexample.com\r\nexample.org"
    (tmp_path / "plain.txt").write_text(content, encoding="utf-8", newline="")
    (tmp_path / "list.gz").write_bytes(gzip.compress(content.encode()))
    (tmp_path / "list.zst").write_bytes(zstandard.compress(content.encode()))
    stages = [made(tmp_path, block_hosts=(str(tmp_path / name),)) for name in ("plain.txt", "list.gz", "list.zst")]
    assert len({str(identity(stage)) for stage in stages}) == 1
    for stage in stages:
        assert reasons(pickle.loads(pickle.dumps(stage)), "http://x.example.org") == ["site:blocked_host"]


def test_the_identity_follows_content_not_path(tmp_path: Path) -> None:
    first, second = tmp_path / "a", tmp_path / "b"
    first.mkdir()
    second.mkdir()
    assert identity(made(first, block_hosts="a.kr\n")) == identity(made(second, block_hosts="a.kr\n"))
    assert identity(made(first, block_hosts="a.kr\n")) != identity(made(second, block_hosts="b.kr\n"))


def test_a_list_that_changes_during_the_run_is_refused(tmp_path: Path) -> None:
    stage = made(tmp_path, block_hosts="a.kr\n")
    (tmp_path / "block_hosts").write_text("b.kr\n")
    with pytest.raises(UserError, match="changed while the run"):
        reasons(stage, "http://a.kr")


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("block_hosts", b"good.kr\nnot a host\n", "line 2 of .* is not a host name"),
        ("block_hosts", b"com\n", "line 1 of .* is not a host name"),
        ("block_hosts", b"http://example.com/x\n", "line 1 of .* is not a host name"),
        ("allow_hosts", b"good.kr\n\xb0\xa1.kr\n", "line 2 of .* is not UTF-8"),
        ("block_words", b"two words\n", "line 1 of .* is not one word"),
        ("opt_out", b"mailto:a@b.kr\n", "line 1 of .* is not a host name or address"),
        ("opt_out", b"x" * 20000, "is no list"),
        ("block_hosts", gzip.compress(b"a.kr\n" * 1000)[:-9], "can't read"),
    ],
)
def test_odd_lists_name_the_line(tmp_path: Path, kind: str, content: bytes, says: str) -> None:
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(UserError, match=says):
        sites_stage(SitesConfig(**{kind: (str(tmp_path / "list"),)}))


def test_missing_lists_and_odd_settings(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sites\.opt_out: can't read"):
        sites_stage(SitesConfig(opt_out=(str(tmp_path / "absent"),)))
    with pytest.raises(UserError, match="drop_directives"):
        sites_stage(SitesConfig(drop_directives=("NoAI",)))
    with pytest.raises(UserError, match="robots_agents"):
        sites_stage(SitesConfig(robots=(str(tmp_path / "absent"),), robots_agents=()))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 400), max_size=60), st.lists(st.integers(0, 400), max_size=30))
def test_hash_lookup_is_set_membership(listed: list[int], asked: list[int]) -> None:
    hashes = np.unique(np.array([site_lists.hash_of(f"h{number}.kr") for number in listed], np.uint64))
    found = site_lists.contains(hashes, [f"h{number}.kr" for number in asked])
    assert found.tolist() == [number in set(listed) for number in asked]


@pytest.mark.parametrize("address", ["http://" + "a." * 5000, "http://x.kr/" + "%" * 50_000, "http://x.kr" + "/a" * 20_000, "@" * 50_000])
def test_hostile_addresses_are_bounded(tmp_path: Path, address: str) -> None:
    """Only so much of an address is looked at, whatever it holds; the stage answers and keeps the row count."""
    stage = made(tmp_path, block_hosts="b.kr\n", block_words="casino\n", opt_out="x.kr/b\n")
    assert reasons(stage, address) == [None]
    host, rest = addresses.host_and_rest(address)
    assert len(rest) <= addresses.MAX_ADDRESS_CHARACTERS
    assert host is None or len(addresses.places_above(host, rest)) <= addresses.MAX_PREFIXES + 1


def test_a_stage_without_lists_reads_no_file() -> None:
    stage = dataclasses.replace(Sites(), block_top_domains=("xxx",))
    assert reasons(stage, "http://a.xxx", "http://a.kr") == ["site:blocked_top_domain", None]
