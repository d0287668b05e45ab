"""Reviewing a scan: a scene of a few documents and items, made by hand, looked at as table, text, JSON and in a session."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from decontam import DecontamError, build_index, review
from decontam.review import Selection, document_texts, excerpt, index_folder, item_text, review_folder, select_matches
from decontam.review_text import finding_json, print_finding, print_precision, to_json, visible
from decontam.review_verdicts import FALSE_POSITIVE, LEAK, append_verdict, precision, read_verdicts, session, wilson

QUESTION = "A train leaves the harbour at nine and a ferry follows it at ten; which of them arrives first?"
KOREAN = "다음 중 조선 시대의 수도에 대한 설명으로 옳은 것을 고르시오. 한양은 한강의 북쪽에 있다."
ITEMS = [
    ("trains", "test", "7", "question", QUESTION),
    ("trains", "test", "7", "answer", "The ferry, because the train waits at the border for an hour."),
    ("역사", "", "k1", "question", KOREAN),
    ("talk", "test", "t", "question", "First turn: describe the old lighthouse in a few words."),
    ("talk", "test", "t", "question", "Other turn: describe the new lighthouse in a few words."),
]
DOCUMENTS = {
    "plain": f"Seen in a forum:\n\n{QUESTION}\nNo idea. The ferry, because the train waits at the border for an hour. Thanks!",
    "korean": f"어제 본 문제입니다. {KOREAN} 답을 아시는 분?",
    "hostile": f"\x1b[31mred\x1b[0m \x9b2J\u202e {QUESTION}\x07\x1b]0;title\x07",
    "masked": "Before the question   and after it.",
    "talk": "He wrote: Other turn: describe the new lighthouse in a few words. And so she did.",
}


def row(document, entry, document_words=None, action="drop", **more):
    """A row of matches.parquet for the words of ITEMS[entry] that `document_words` (default: all) are."""
    benchmark, split, item, field, text = ITEMS[entry]
    words = document_words or text
    start = len(DOCUMENTS[document].split(words)[0].encode()) if document in DOCUMENTS else 0
    item_start = len(text.split(words)[0].encode())
    size = len(words.encode())
    facts = {
        "id": document,
        "url": "https://example.org/" + document,
        "source": "forum",
        "benchmark": benchmark,
        "split": split,
        "item": item,
    }
    entry = [other[0] for other in ITEMS[:entry]].count(benchmark)
    spans = {"field": field, "entry": entry, "start": start, "end": start + size, "item_start": item_start, "item_end": item_start + size}
    numbers = {"length": sum(letter.isalnum() for letter in words), "coverage": 1.0, "frequency": 1, "required": 50, "corpus_documents": 2}
    return facts | spans | numbers | {"answered": True, "action": action} | more


def write(folder: Path, rows, dropped=("plain", "korean", "hostile"), kept=("masked", "talk")) -> Path:
    for kind, names in (("dropped", dropped), ("kept", kept)):
        (folder / kind).mkdir(parents=True, exist_ok=True)
        table = pa.table(
            {"id": list(names), "text": pa.array([DOCUMENTS[name] for name in names], pa.large_string()), "other": list(names)}
        )
        pq.write_table(table, folder / kind / "shard-0.parquet", row_group_size=1)
    pq.write_table(pa.Table.from_pylist(rows), folder / "matches.parquet")
    (folder / "steps" / "index" / "index").mkdir(parents=True, exist_ok=True)
    return folder


def index_of(items):
    columns = zip(("benchmark", "split", "item", "field", "text"), zip(*items, strict=True), strict=True)
    answers = pa.array(["The ferry" if item[2] == "7" else None for item in items], pa.large_string())
    return build_index(pa.table({name: list(values) for name, values in columns} | {"answer": answers}))


@pytest.fixture
def scene(tmp_path, monkeypatch):
    """A scan's folder with six matches; its index is ITEMS."""
    monkeypatch.setattr(review, "load_index", lambda folder: index_of(ITEMS))
    rows = [
        row("plain", 0),
        row("plain", 1, coverage=0.9),
        row("korean", 2, coverage=0.5, corpus_documents=9),
        row("hostile", 0, url=None),
        row("masked", 0, action="mask", start=20, end=21),
        row("talk", 4, action="tag"),
        row("gone", 0, action="tag"),
    ]
    return write(tmp_path / "scan", rows)


def found(folder, context=200, **selection):
    return review.review(folder, Selection(**selection), None, context)


def printed(finding, width=120, styled=False, verdict=None) -> str:
    stream = io.StringIO()
    settings = {"force_terminal": True, "color_system": "standard"} if styled else {"force_terminal": False, "color_system": None}
    print_finding(Console(file=stream, width=width, highlight=False, **settings), finding, 1, 1, verdict)
    return stream.getvalue()


def only(folder, **selection):
    [finding] = found(folder, **selection).shown
    return finding


def test_one_document_with_two_matches_of_one_item_is_one_finding(scene):
    findings = found(scene)
    assert (findings.total, findings.matches, len(findings.shown)) == (6, 7, 6)
    plain = only(scene, document="plain")
    assert [match.facts["field"] for match in plain.matches] == ["question", "answer"]
    assert "also answer:" in printed(plain)


@pytest.mark.parametrize("selection, expected", [
    ({"benchmark": "trains"}, {"plain", "hostile", "masked", "gone"}),
    ({"item": "k1"}, {"korean"}),
    ({"document": "talk"}, {"talk"}),
    ({"action": "tag"}, {"talk", "gone"}),
    ({"min_length": 60}, {"plain", "hostile", "masked", "gone"}),
    ({"benchmark": "trains", "action": "drop"}, {"plain", "hostile"}),
])  # fmt: skip
def test_selections(scene, selection, expected):
    assert {finding.key[0] for finding in found(scene, **selection).shown} == expected


@pytest.mark.parametrize("sort, column", [("length", "length"), ("coverage", "coverage"), ("documents", "corpus_documents")])
def test_most_first_and_the_limit_keeps_the_first(scene, sort, column):
    every = found(scene, sort=sort).shown
    values = [max(match.facts[column] for match in finding.matches) for finding in every]
    assert values == sorted(values, reverse=True) and len(set(values)) > 1
    few = found(scene, sort=sort, limit=2)
    assert [finding.key for finding in few.shown] == [finding.key for finding in every[:2]] and few.total == len(every)


def test_a_sample_is_the_same_whatever_the_order_of_the_rows(scene):
    first = [finding.key for finding in found(scene, sort="sample", limit=3).shown]
    path = scene / "matches.parquet"
    pq.write_table(pq.read_table(path).take(list(range(6, -1, -1))), path)
    assert [finding.key for finding in found(scene, sort="sample", limit=3).shown] == first


def test_excerpts_hold_the_matched_words_on_both_sides(scene):
    for finding in found(scene).shown:
        for match in finding.matches:
            assert match.item.text[slice(*match.item.highlight)] in [text for *_, text in ITEMS]
            if match.document is not None and match.facts["action"] != "mask":
                assert match.document.text[slice(*match.document.highlight)] == match.item.text[slice(*match.item.highlight)]


def test_other_matches_in_view_are_marked_in_the_document_and_not_in_another_text_of_the_item(scene):
    first = only(scene, document="plain").matches[0]
    assert [first.document.text[start:end] for start, end in first.document.also] == [ITEMS[1][4]]
    assert first.item.also == ()


def test_of_several_turns_the_matched_one_is_shown(scene):
    match = only(scene, document="talk").matches[0]
    assert match.item.text == ITEMS[4][4]


def test_without_the_document_the_item_is_shown_and_why(scene):
    gone = only(scene, document="gone")
    text = printed(gone)
    assert gone.matches[0].document is None and "in neither kept/ nor dropped/" in text and "A train leaves" in text


def test_what_answers_a_question_stands_below_it(scene):
    assert "answer: The ferry" in printed(only(scene, document="plain"))
    assert "answer:" not in printed(only(scene, document="korean"))
    assert [facts["answer"] for facts in finding_json(only(scene, document="hostile"))] == ["The ferry"]


def test_masked_words_are_said_to_be_cut_out(scene):
    text = printed(only(scene, document="masked"))
    assert "were cut out" in text and "Before the" in text and "A train leaves" in text


def test_offsets_that_do_not_fit_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(review, "load_index", lambda folder: index_of(ITEMS))
    inside_a_letter = row("korean", 2) | {"start": 1, "end": 5}
    for wrong in (inside_a_letter, row("korean", 2) | {"start": 900, "end": 990}):
        [match] = only(write(tmp_path, [wrong])).matches
        assert match.document is None and "do not fit" in match.note
    with pytest.raises(DecontamError, match="not the one of this scan"):
        found(write(tmp_path, [row("korean", 2) | {"item_start": 0, "item_end": 9000}]))


@pytest.mark.parametrize("width", [40, 79, 80, 120, 200])
@pytest.mark.parametrize("document", ["plain", "korean", "hostile"])
@pytest.mark.parametrize("styled", [False, True])
def test_lines_fit_the_terminal_and_obey_nothing(scene, width, document, styled):
    text = printed(only(scene, document=document), width, styled)
    bare = re.sub(r"\x1b\[[0-9;]*m", "", text)
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", bare)
    assert ("\x1b[" in text) == styled
    assert all(cell_len(line) <= width for line in bare.splitlines())
    if not styled:
        assert "⟦" in text and "⟧" in text


def test_columns_stand_straight_with_korean(scene):
    lines = printed(only(scene, document="korean"), 100).splitlines()
    rows = [line for line in lines if line.startswith("|")]
    assert len(rows) > 2
    assert len({tuple(cell_len(part) for part in line.split("|")) for line in rows}) == 1


def test_narrow_terminals_stack_the_texts(scene):
    finding = only(scene, document="plain")
    lines = printed(finding, 79).splitlines()
    assert lines.index("-- document --") < lines.index("-- benchmark (question) --")
    assert "-- document --" not in printed(finding, 80)


def test_escapes_are_written_out(scene):
    text = printed(only(scene, document="hostile"), 200)
    assert "\\x1b[31mred" in text and "\\u202e" in text and "\\x9b2J" in text


def test_hostile_names_are_written_out(tmp_path, monkeypatch):
    name = "x\x1b[2J\nline"
    item = (name, "", "i\x9b", "question", QUESTION)
    monkeypatch.setattr(review, "load_index", lambda folder: index_of([item]))
    hostile = row("plain", 0) | {"benchmark": name, "split": "", "item": item[2], "source": "a\x07b"}
    text = printed(only(write(tmp_path, [hostile])))
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f]", text) and "x\\x1b[2J\\nline" in text


def test_markup_of_a_text_is_shown_and_not_followed(tmp_path, monkeypatch):
    text = "[bold red]these words[/bold red] [link=file:///etc]here[/link] and a closing one [/nothing] :smile:"
    monkeypatch.setitem(DOCUMENTS, "markup", text)
    monkeypatch.setattr(review, "load_index", lambda folder: index_of([("[red]b", "", "1", "question", text)]))
    hostile = row("plain", 0) | {"id": "markup", "benchmark": "[red]b", "split": "", "item": "1", "start": 0, "item_start": 0}
    hostile |= {"end": len(text), "item_end": len(text)}
    shown = printed(only(write(tmp_path, [hostile], dropped=("markup",))), 300)
    assert text in shown and "[red]b" in shown


def test_a_long_match_is_shortened_in_the_middle_and_whole_in_json(tmp_path, monkeypatch):
    long = "start " + "wörd " * 2000 + "stop"
    monkeypatch.setitem(DOCUMENTS, "long", f"before {long} after")
    monkeypatch.setattr(review, "load_index", lambda folder: index_of([("b", "", "1", "passage", long)]))
    size = len(long.encode())
    of_long = row("plain", 0) | {"id": "long", "benchmark": "b", "split": "", "item": "1", "field": "passage"}
    of_long |= {"start": 7, "end": 7 + size, "item_start": 0, "item_end": size}
    finding = only(write(tmp_path, [of_long], dropped=("long",)))
    text = printed(finding, 200)
    assert len(text) < 6000 and "start wörd" in text and "stop" in text and "characters…" in text
    [facts] = finding_json(finding)
    assert facts["document_excerpt"] == f"before {long} after"


def test_json_round_trips_and_holds_no_control_characters(scene):
    rows = [facts for finding in found(scene).shown for facts in finding_json(finding)]
    written = to_json(rows)
    assert json.loads(written) == rows and len(rows) == 7
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]", written) and "한양은" in written
    for facts in rows:
        assert facts["item_excerpt"][slice(*facts["item_highlight"])] in [text for *_, text in ITEMS]


@given(st.text(min_size=1, max_size=60), st.data())
def test_excerpts_of_any_text(text, data):
    start, end = sorted((data.draw(st.integers(0, len(text) - 1)), data.draw(st.integers(1, len(text)))))
    if start == end:
        return
    context = data.draw(st.integers(0, 30))
    encoded = text.encode()
    first, last = len(text[:start].encode()), len(text[:end].encode())
    around = excerpt(encoded, first, last, context)
    assert around.text in text and around.text[slice(*around.highlight)] == text[start:end]
    before, after = around.highlight[0], len(around.text) - around.highlight[1]
    assert before <= context and after <= context + 16
    assert around.cut_before == (before < start) and around.cut_after == (after < len(text) - end)
    assert encoded[: around.first_byte].decode() + around.text == text[: start - before] + text[start - before : end + after]
    if text.isascii():
        assert before == min(context, start) and after == min(context, len(text) - end)


@given(st.text(alphabet="가각한글한", min_size=0, max_size=12))
def test_a_cut_leaves_no_vowel_without_its_consonant(around):
    import unicodedata

    text = unicodedata.normalize("NFD", around) + "match" + unicodedata.normalize("NFD", around)
    start = text.index("match")
    for context in range(8):
        found = excerpt(text.encode(), len(text[:start].encode()), len(text[:start].encode()) + 5, context)
        assert not "\u1160" <= found.text[0] <= "\u11ff"
        rest = text[start + 5 :][len(found.text) - found.highlight[1] :]
        assert not rest or not "\u1160" <= rest[0] <= "\u11ff"


@given(st.text(max_size=50))
def test_visible_is_one_harmless_line(text):
    shown = visible(text, 40)
    assert not re.search(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e]", shown) and len(shown.splitlines()) <= 1
    if text.isascii() and text.isprintable() and len(text) <= 40:
        assert shown == text


def test_only_row_groups_that_hold_a_document_are_read(scene, monkeypatch):
    read = []
    batches = pq.ParquetFile.iter_batches

    def counted(self, size, groups, *rest, **more):
        read.append(tuple(groups))
        return batches(self, size, groups, *rest, **more)

    monkeypatch.setattr(pq.ParquetFile, "iter_batches", counted)
    assert dict(document_texts(scene, ["korean", "talk", "nowhere"])) == {name: DOCUMENTS[name].encode() for name in ("korean", "talk")}
    assert read == [(1,), (1,)]


def test_run_directories_and_recorded_indexes(tmp_path):
    write(tmp_path / "run" / "decontaminate", [row("plain", 0)])
    folder = review_folder(tmp_path / "run")
    assert folder == tmp_path / "run" / "decontaminate"
    assert index_folder(folder) == folder / "steps" / "index" / "index"
    assert index_folder(folder, tmp_path) == tmp_path
    (tmp_path / "my.index").mkdir()
    for recorded in (str(tmp_path / "my.index"), "../../my.index"):
        (folder / "report.json").write_text(json.dumps({"index": recorded}))
        assert index_folder(folder).resolve() == tmp_path / "my.index"
    (folder / "report.json").write_text(json.dumps({"index": "elsewhere"}))
    with pytest.raises(DecontamError, match="--index"):
        index_folder(folder)
    (folder / "report.json").write_text("[" * 100_000)
    with pytest.raises(DecontamError, match=r"report\.json cannot be read"):
        index_folder(folder)


def test_bad_input_is_told_in_a_sentence(scene, tmp_path):
    with pytest.raises(DecontamError, match=r"no matches\.parquet"):
        review_folder(tmp_path / "nothing")
    with pytest.raises(DecontamError, match="no order 'size'"):
        Selection(sort="size")
    with pytest.raises(DecontamError, match=r"no benchmark 'mmlu'; .*talk, trains"):
        found(scene, benchmark="mmlu")
    with pytest.raises(DecontamError, match="no item '99' in trains"):
        found(scene, benchmark="trains", item="99")
    with pytest.raises(DecontamError, match="no item '99' in any benchmark"):
        found(scene, item="99")
    assert found(scene, benchmark="trains", item="7", action="tag", min_length=5000).total == 0
    assert found(scene, document="unknown").shown == ()
    for wrong in ({"field": "passage"}, {"entry": 99}, {"entry": -1}, {"split": "dev"}):
        with pytest.raises(DecontamError, match="another text where item '7' of trains was"):
            item_text(index_of(ITEMS), row("plain", 0) | wrong)
    with pytest.raises(DecontamError, match="no benchmark 'b'"):
        item_text(index_of(ITEMS), row("plain", 0) | {"benchmark": "b"})
    matches = pq.read_table(scene / "matches.parquet")
    pq.write_table(matches.drop_columns("coverage"), scene / "matches.parquet")
    with pytest.raises(DecontamError, match="lacks the column coverage"):
        found(scene)
    (scene / "matches.parquet").write_bytes(b"no parquet")
    with pytest.raises(DecontamError, match=r"matches\.parquet cannot be read"):
        found(scene)
    pq.write_table(matches, scene / "matches.parquet")
    (scene / "kept" / "shard-0.parquet").write_bytes(b"PAR1 torn")
    with pytest.raises(DecontamError, match=r"shard-0\.parquet cannot be read"):
        found(scene)


def test_no_matches_at_all_need_no_index(scene):
    path = scene / "matches.parquet"
    pq.write_table(pq.read_table(path).slice(0, 0), path)
    (scene / "steps" / "index" / "index").rmdir()
    assert found(scene).total == 0


def walk(folder, findings, keys):
    stream, pressed = io.StringIO(), iter(keys)
    return session(Console(file=stream, width=100, color_system=None), folder, findings, lambda: next(pressed)), stream.getvalue()


def test_a_session_records_verdicts_and_goes_back_and_forth(scene):
    findings = found(scene, sort="length").shown
    given_, text = walk(scene, findings, "tnpxpfq")
    lines = [json.loads(line) for line in (scene / "review.jsonl").read_text().splitlines()]
    assert given_ == 2 and [line["verdict"] for line in lines] == [LEAK, FALSE_POSITIVE]
    assert tuple(lines[0][name] for name in ("id", "benchmark", "split", "item")) == findings[0].key
    assert set(lines[0]) == {"id", "benchmark", "split", "item", "verdict", "time"}
    assert read_verdicts(scene) == {findings[0].key: FALSE_POSITIVE}
    assert "judged: leak" in text and "[2/6]" in text and "[3/6]" in text


def test_a_session_ends_after_the_last_finding_and_on_end_of_input(scene):
    findings = found(scene, benchmark="역사").shown
    assert walk(scene, findings, "n")[0] == 0
    assert walk(scene, findings, "t")[0] == 1

    def ended():
        raise EOFError

    assert session(Console(file=io.StringIO()), scene, findings, ended) == 0


def test_precision_counts_the_last_verdict_of_each_finding(tmp_path):
    for item, verdict in (("1", LEAK), ("2", FALSE_POSITIVE), ("2", LEAK), ("3", LEAK), ("4", FALSE_POSITIVE)):
        append_verdict(tmp_path, ("d", "b", "", item), verdict)
    append_verdict(tmp_path, ("d", "a", "", "1"), FALSE_POSITIVE)
    rows = precision(read_verdicts(tmp_path).items())
    assert [(r["benchmark"], r["judged"], r["leaks"], r["false_positives"], r["precision"]) for r in rows] == [
        ("a", 1, 0, 1, 0.0),
        ("b", 4, 3, 1, 0.75),
    ]
    stream = io.StringIO()
    print_precision(Console(file=stream, width=100, color_system=None), rows)
    assert "0.750" in stream.getvalue()


@given(st.integers(1, 500), st.data())
def test_wilson_bounds_the_roots_of_its_equation(trials, data):
    successes = data.draw(st.integers(0, trials))
    low, high = wilson(successes, trials)
    assert 0 <= low <= successes / trials <= high <= 1
    for bound in (low, high):  # (p - bound)^2 = z^2 bound (1 - bound) / n is what Wilson solves
        difference = (successes / trials - bound) ** 2 - 1.959964**2 * bound * (1 - bound) / trials
        assert abs(difference) < 1e-9


@pytest.mark.parametrize(
    "line", ['{"id": 1', "[]", '{"id": "d", "benchmark": "b", "split": "", "item": "1", "verdict": "maybe"}', '{"verdict": "leak"}']
)
def test_broken_verdict_lines_are_named(tmp_path, line):
    append_verdict(tmp_path, ("d", "b", "", "1"), LEAK)
    with (tmp_path / "review.jsonl").open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(DecontamError, match=r"review\.jsonl, line 2, is no verdict"):
        read_verdicts(tmp_path)
    with pytest.raises(DecontamError, match="no verdict 'maybe'"):
        append_verdict(tmp_path, ("d", "b", "", "1"), "maybe")


def test_matches_are_read_in_one_order(scene):
    rows, total, matches = select_matches(scene, Selection(limit=1))
    assert len(rows) == 1 and (total, matches) == (6, 7)
    assert [r["field"] for r in select_matches(scene, Selection(document="plain"))[0][0]] == ["question", "answer"]


def test_a_match_of_another_document_of_the_same_id_is_not_shown_in_this_ones_text(scene):
    start = DOCUMENTS["plain"].index(QUESTION)
    other = row("plain", 0) | {"start": start + 9, "end": start + 9 + len(QUESTION)}
    write(scene, [row("plain", 0), other])
    first, second = only(scene).matches
    assert first.document.text[slice(*first.document.highlight)] == QUESTION and first.document.also == ()
    assert second.document is None and "several documents share its id" in second.note
