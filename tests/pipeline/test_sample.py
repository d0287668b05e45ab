"""The synthetic sample: the same bytes every time, texts as far apart as they claim, and truths that hold."""

from __future__ import annotations

import calendar
import gzip
import io
import itertools
import random
import re
import tarfile
import zlib
from collections import Counter
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
import zstandard

from pipeline.errors import UserError
from pipeline.sample import benchmark, noise, variants, write_sample
from pipeline.sample.articles import DOMAINS, LANGUAGES, Writer
from pipeline.sample.grammar import Grammar, fit_particles
from pipeline.sample.labelled import sentences_of
from pipeline.sample.plants import CP949_SENTENCE
from pipeline.sample.scoring import squeeze

DOCUMENTS = 240


@pytest.fixture(scope="module")
def sample(tmp_path_factory) -> Path:
    return write_sample(tmp_path_factory.mktemp("sample") / "out", documents=DOCUMENTS)


@pytest.fixture(scope="module")
def truths(sample) -> list[dict]:
    return [orjson.loads(line) for line in (sample / "truth.jsonl").read_bytes().splitlines()]


@pytest.fixture(scope="module")
def contents(sample, truths) -> dict[str, bytes]:
    """The bytes of each record, by the truth's name, read back at the place that the truth names."""
    return {truth["name"]: read_at(sample, truth["file"], truth["position"]) for truth in truths}


def read_at(sample: Path, file: str, position: int | None) -> bytes:
    path = sample / file.split("!")[0]
    data = path.read_bytes()
    if "!" in file:
        with tarfile.open(path) as archive:
            return archive.extractfile(file.split("!")[1]).read()
    if path.suffix == ".html":
        return data
    if path.suffix == ".parquet":
        return orjson.dumps(pq.read_table(path).slice(position, 1).to_pylist()[0])
    if ".warc" in file:
        return zlib.decompressobj(wbits=31).decompress(data[position:])  # one gzip member, however it ends
    if file.endswith(".zst"):
        data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
    elif file.endswith(".gz"):
        data = gzip.decompress(data)
    return data[position : data.index(b"\n", position)]


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def text_of(truth: dict, content: bytes) -> str:
    """The text of a planted document: the `text` of a record, or everything in a page."""
    if truth["file"].startswith(("jsonl", "parquet")):
        return orjson.loads(content)["text"]
    return content.decode(truth["charset"], errors="strict")


# --- the files


def test_same_seed_same_bytes_and_another_seed_other_texts(sample, tmp_path):
    again = write_sample(tmp_path / "again", documents=DOCUMENTS)
    assert files_of(again) == files_of(sample)
    other = files_of(write_sample(tmp_path / "other", seed=8, documents=DOCUMENTS))
    assert other["truth.jsonl"] != files_of(sample)["truth.jsonl"]


def test_refuses_a_folder_that_holds_something_and_too_few_documents(sample, tmp_path):
    with pytest.raises(UserError, match="not an empty folder"):
        write_sample(sample)
    with pytest.raises(UserError, match="ask for 100 or more"):
        write_sample(tmp_path / "tiny", documents=99)
    assert not (tmp_path / "tiny").exists()


def test_readme_says_in_both_languages_that_all_is_made_up(sample):
    text = (sample / "README.txt").read_text(encoding="utf-8")
    assert "모든 문서는 가짜입니다" in text and "SYNTHETIC" in text


def test_every_record_has_exactly_one_truth(sample, truths):
    assert len({truth["name"] for truth in truths}) == len(truths)
    assert len({(truth["file"], truth["position"]) for truth in truths}) == len(truths)
    per_file = Counter(truth["file"].split("!")[0] for truth in truths)
    for path in (sample / "jsonl").iterdir():
        data = path.read_bytes()
        if path.suffix == ".gz":
            data = gzip.decompress(data)
        elif path.suffix == ".zst":
            data = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        assert data.count(b"\n") == per_file[f"jsonl/{path.name}"]
    for path in (sample / "parquet").iterdir():
        assert pq.ParquetFile(path).metadata.num_rows == per_file[f"parquet/{path.name}"]
        assert pq.ParquetFile(path).metadata.num_row_groups >= 1
    for path in (sample / "crawl").glob("*0[01].warc.gz"):
        assert len(re.findall(rb"WARC/1\.0\r\n", gzip.decompress(path.read_bytes()))) == per_file[f"crawl/{path.name}"]
    with tarfile.open(sample / "crawl/pages.tar.gz") as archive:
        assert len(archive.getnames()) == per_file["crawl/pages.tar.gz"]
    assert len(list((sample / "html").iterdir())) == sum(count for file, count in per_file.items() if file.startswith("html/"))
    assert sum(1 for truth in truths if truth["markers"] or truth["expected"] == "dropped") > DOCUMENTS * 0.9


def test_kept_documents_stand_where_the_truth_says_and_decode_as_it_says(truths, contents):
    checked = 0
    for truth in truths:
        if truth["charset"] is None or truth["kind"] == "truncated":
            continue
        content = contents[truth["name"]]
        if ".warc" in truth["file"]:
            head, _, content = content.split(b"\r\n\r\n", 2)
            assert f"WARC-Target-URI: {truth['url']}".encode() in head
            content = content.removesuffix(b"\r\n\r\n")
        text = text_of(truth, content)
        assert all(marker in text for marker in truth["markers"]), truth["name"]
        checked += 1
    assert checked >= DOCUMENTS - 1


def test_charset_cases_are_what_they_claim(truths, contents):
    kinds = {truth["kind"]: truth for truth in truths if truth["kind"].startswith("charset_")}
    assert len(kinds) == 6
    for kind, truth in kinds.items():
        _, http, body = contents[truth["name"]].split(b"\r\n\r\n", 2)
        header_label = re.search(rb"charset=([\w-]+)", http)
        meta_label = re.search(rb"<meta charset=\"([\w-]+)\"", body)
        valid_utf8 = True
        try:
            body.decode("utf-8")
        except UnicodeDecodeError:
            valid_utf8 = False
        assert valid_utf8 == (kind == "charset_utf8_as_euc_kr")
        assert bool(header_label) == (kind not in ("charset_meta", "charset_undeclared"))
        assert bool(meta_label) == (kind in ("charset_meta", "charset_cp949", "charset_utf8_as_euc_kr"))
        if kind == "charset_cp949":
            with pytest.raises(UnicodeDecodeError):
                body.decode("euc_kr")
            assert CP949_SENTENCE in body.decode("cp949")


def test_the_third_archive_ends_in_the_middle_of_a_record(sample, truths):
    data = (sample / "crawl/sample-02-truncated.warc.gz").read_bytes()
    with pytest.raises(EOFError):
        gzip.GzipFile(fileobj=io.BytesIO(data)).read()
    cut = [truth for truth in truths if truth["kind"] == "truncated"]
    assert len(cut) == 1 and cut[0]["expected"] == "quarantined"
    member = zlib.decompressobj(wbits=31)
    member.decompress(data[cut[0]["position"] :])
    assert not member.eof


def test_broken_lines_are_broken_in_the_named_way(truths, contents):
    broken = {truth["kind"]: contents[truth["name"]] for truth in truths if truth["kind"].startswith("broken_")}
    assert len(broken) == 5
    for kind in ("broken_not_json", "broken_invalid_utf8"):
        with pytest.raises(orjson.JSONDecodeError):
            orjson.loads(broken[kind])
    assert isinstance(orjson.loads(broken["broken_not_object"]), list)
    assert "text" not in orjson.loads(broken["broken_no_text"])
    assert isinstance(orjson.loads(broken["broken_text_number"])["text"], int)
    twins = [truth for truth in truths if truth["kind"] == "duplicate_id"]
    assert len(twins) == 1 and twins[0]["expected"] == "quarantined"
    pair = [truth for truth in truths if truth["source_id"] == twins[0]["source_id"]]
    assert len(pair) == 2 and pair[0]["file"] == pair[1]["file"] and pair[0]["position"] < pair[1]["position"] == twins[0]["position"]


# --- the texts


def test_articles_have_the_promised_size_and_share_little():
    writer, rng = Writer(), random.Random(1)
    for language, domain in itertools.product(LANGUAGES, DOMAINS):
        articles = [writer.article(language, domain, rng) for _ in range(12)]
        for article in articles:
            assert 600 <= len(article.text) <= 4000 and len(article.paragraphs) >= 3
            assert not re.search(r"[\[\]{}|@<>]", article.text + article.title)
        sets = [variants.shingles(article.text) for article in articles]
        assert max(variants.jaccard(first, second) for first, second in itertools.combinations(sets, 2)) < 0.3


def test_korean_articles_fit_ks_x_1001():
    writer, rng = Writer(), random.Random(2)
    for domain in DOMAINS:
        text = "".join(writer.article("ko", domain, rng).text for _ in range(10))
        assert all(len(character.encode("euc_kr")) <= 2 for character in set(text))


def test_near_duplicates_and_near_misses_have_their_similarity(truths, contents):
    texts = {truth["name"]: text_of(truth, contents[truth["name"]]) for truth in truths if truth["kind"].startswith("near_")}
    pairs = [truth for truth in truths if truth["kind"] == "near_duplicate"]
    assert pairs
    for truth in pairs:
        similarity = variants.jaccard(variants.shingles(texts[truth["name"]]), variants.shingles(texts[truth["duplicate_of"]]))
        assert 0.85 <= similarity < 1.0
    writer, rng = Writer(), random.Random(3)
    for number in range(12):
        article = writer.article(LANGUAGES[number % 2], DOMAINS[number % 6], rng)
        other = variants.near_miss(article, writer, rng)
        assert 0.38 <= variants.jaccard(variants.shingles(article.text), variants.shingles(other)) <= 0.52
        assert not set(article.text.split("\n")) & set(other.split("\n"))


def test_exact_duplicates_cross_formats_and_encodings(truths, contents):
    copies = [truth for truth in truths if truth["kind"] == "exact_duplicate"]
    by_name = {truth["name"]: truth for truth in truths}
    assert any(truth["charset"] == "euc_kr" for truth in copies)
    assert any(truth["file"].split("/")[0] != by_name[truth["duplicate_of"]]["file"].split("/")[0] for truth in copies)
    for truth in copies:
        original = by_name[truth["duplicate_of"]]
        assert truth["markers"] == original["markers"] and truth["group"] == original["group"] == original["name"]


@pytest.mark.parametrize(
    ("marked", "fitted"),
    [
        ("달<은> 산<은>", "달은 산은"),
        ("해<은> 바다<이>", "해는 바다가"),
        ("길<으로> 문<으로> 차<으로>", "길로 문으로 차로"),
        ("물<과> 나무<과>", "물과 나무와"),
        ("3<을> 9<을> 10<이> 2<이다>", "3을 9를 10이 2다"),
        ("없음", "없음"),
    ],
)
def test_particles_follow_the_last_syllable(marked, fitted):
    assert fit_particles(marked) == fitted


def test_grammar_chooses_inserts_counts_and_complains():
    grammar = Grammar({"fruit": "apple|pear"})
    rng = random.Random(0)
    drawn = {grammar.expand("a {fruit}", rng) for _ in range(50)}
    assert drawn == {"An apple", "A pear"}
    assert {grammar.expand("[x|y]{3..4}", rng) for _ in range(50)} == {"X3", "X4", "Y3", "Y4"}
    letters = Grammar({"letter": "|".join("abcdefghijkl")})
    assert all(len(set(letters.expand("{letter}{letter}", rng).lower())) == 2 for _ in range(200)), "one slot, one value twice"
    with pytest.raises(ValueError, match="no entry named 'nut'"):
        grammar.expand("{nut}", rng)
    for malformed in ("[a|b", "a]", "{1..}", "{Big}"):
        with pytest.raises(ValueError, match="phrase tables"):
            Grammar({"entry": malformed})


def test_noise_is_of_its_kind():
    rng = random.Random(5)
    assert len(set(noise.repetition("다시 한 번.").split("\n"))) == 1
    assert all(len(noise.short(language, rng).split()) < 10 for language in LANGUAGES)
    for language, script in (("ja", "[ぁ-ん]"), ("zh", "[一-龥]"), ("de", "[a-zäöü]"), ("fr", "[a-zàé]"), ("es", "[a-zñí]")):
        text = noise.foreign(language, rng)
        assert len(re.findall(script, text)) > len(text) * 0.2 and not re.search("[가-힣]", text)


# --- benchmarks, labels, personal data


def test_benchmark_answers_are_right():
    for language in LANGUAGES:
        items = benchmark.items(random.Random(4), language)
        assert len({item.question for item in items}) == len(items) == 60
        for number, item in enumerate(items):
            assert len(set(item.choices)) == 4 and item.text.startswith(item.question)
            answer = item.choices["ABCD".index(item.answer)]
            numbers = [int(digits) for digits in re.findall(r"\d+", item.question)]
            if number % 4 == 0:
                assert int(answer) == (numbers[0] + numbers[2]) * numbers[1]
            elif number % 4 == 1:
                days = benchmark._DAYS[language].split("|")
                start = next(day for day in days if day in item.question)
                assert answer == days[(days.index(start) + numbers[-1]) % 7]
            elif number % 4 == 3:
                fill, leak, minutes = numbers if language == "en" else (numbers[1], numbers[3], numbers[4])
                assert int(answer) == (fill - leak) * minutes
            else:
                people = [person for person in benchmark._PEOPLE[language].split("|") if person in item.question]
                first, second = sorted(people, key=item.question.index)[:2]
                assert set(item.choices) == set(people) and answer not in (first, second)


def plain(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def test_leaks_hold_the_whole_item_and_nothing_else_does(sample, truths, contents):
    items = {}
    for path in (sample / "benchmarks").iterdir():
        for line in path.read_bytes().splitlines():
            item = orjson.loads(line)
            assert list(item) == ["id", "benchmark", "split", "lang", "question", "choices", "answer", "text"]
            items[item["id"]] = plain(item["text"])
    leaks = [truth for truth in truths if truth["kind"].startswith("leak_")]
    assert {truth["kind"] for truth in leaks} == {"leak_exact", "leak_spacing", "leak_case", "leak_punctuation"}
    assert {truth["language"] for truth in leaks} == {"ko", "en"}
    windows: set[str] = set()
    for text in items.values():
        width = 24 if re.search("[가-힣]", text) else 50
        assert len(text) >= 2 * width
        windows |= {text[start : start + width] for start in range(len(text) - width + 1)}
    for truth in truths:
        if truth["charset"] is None or not truth["file"].startswith(("jsonl", "parquet")):
            continue
        text = plain(text_of(truth, contents[truth["name"]]))
        if truth["benchmark_item"]:
            assert items[truth["benchmark_item"]] in text
        else:
            for width in (24, 50):
                assert not windows & {text[start : start + width] for start in range(len(text) - width + 1)}


def test_labelled_texts_suffice_and_share_no_sentence_with_the_crawl(sample, truths, contents):
    crawl: set[str] = set()
    for truth in truths:
        if truth["charset"] and truth["file"].startswith(("jsonl", "parquet")):
            crawl |= sentences_of(text_of(truth, contents[truth["name"]]))
    for name, labels in (("domain", set(DOMAINS)), ("quality", {"high", "low"})):
        rows = [orjson.loads(line) for line in (sample / f"labelled/{name}.jsonl").read_bytes().splitlines()]
        counts = Counter((row["label"], row["lang"]) for row in rows)
        assert set(counts) == set(itertools.product(labels, LANGUAGES)) and min(counts.values()) >= 80
        assert not crawl & set().union(*(sentences_of(row["text"]) for row in rows))


def test_personal_data_cannot_belong_to_anyone():
    rng = random.Random(6)
    for _ in range(300):
        number = variants.resident_number(rng)
        digits = [int(digit) for digit in number if digit.isdigit()]
        year, month, day = 1900 + int(number[:2]), int(number[2:4]), int(number[4:6])
        assert 1 <= day <= calendar.monthrange(year, month)[1]
        weights = (2, 3, 4, 5, 6, 7, 8, 9, 2, 3, 4, 5)
        assert (11 - sum(w * d for w, d in zip(weights, digits, strict=False)) % 11) % 10 != digits[12]
        assert re.fullmatch(r"[\w.-]+@(mail\.|sample\.)?example\.(com|org|net)", variants.email(rng))
        assert re.search(r"[- ]0\d{3}[- ]\d{4}$", variants.phone(rng))


def test_squeeze_ignores_layout_and_composition():
    assert squeeze("한\n 국\t어") == squeeze("한국어") == "한국어"
