"""Encoding: ids against HF on hostile text, groups and their paths, conservation, determinism, resume, and bad input."""

from __future__ import annotations

import functools
import gzip
import json
import os
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from pipeline.engine import LocalEngine
from pipeline.errors import RunFailed, UserError
from tests.tokenizer.encoding_scene import (
    HOSTILE,
    documents,
    encoded,
    reference,
    reference_ids,
    sentence,
    token_files,
    write_corpus,
    write_tokenizer,
)
from tokenizer import encode, texts
from tokenizer.encode_groups import MOST_GROUPS, grouped, path_safe, refuse_too_long
from tokenizer.encode_kernel import lay_out
from tokenizer.encoder import PROBE, Encoder, first_difference, load_tokenizer
from tokenizer.shards import Shards, open_shards
from tokenizer.special_tokens import EOS, special_tokens

EOS_ID = special_tokens().index(EOS)


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    keys = ["general/ko/part-00000", "general/en/part-00000", "domain/ko/part-00000", "domain/ko/part-00001"]
    return write_corpus(tmp_path_factory.mktemp("corpus"), {key: documents(90, seed) for seed, key in enumerate(keys)})


def by_id(shards: Shards) -> dict[str, list[int]]:
    """The ids of every document by its id, and that no id occurs twice."""
    found: dict[str, list[int]] = {}
    for file in shards.files:
        for row, identifier in enumerate(file.side_car(["id"]).column("id").to_pylist()):
            assert identifier not in found
            found[identifier] = file.document(row).tolist()
    return found


def jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


@functools.cache
def _encoders(tokenizer: Path) -> list[Encoder]:
    return [Encoder(load_tokenizer(tokenizer), backend) for backend in ("gigatoken", "tokenizers")]


# ids


@pytest.mark.parametrize("backend", ["gigatoken", "tokenizers"])
def test_hostile_texts_have_the_ids_of_hf_and_no_special_among_them(tokenizer: Path, tmp_path: Path, backend: str) -> None:
    rows = [{"id": str(index), "text": text} for index, text in enumerate(HOSTILE)]
    encoded([jsonl(tmp_path / "in.jsonl", rows)], tmp_path / "out", tokenizer, backend=backend)
    found = by_id(open_shards(tmp_path / "out"))
    for index, text in enumerate(HOSTILE):
        assert found[str(index)] == reference_ids(tokenizer, text)
        assert min(found[str(index)][:-1]) >= len(special_tokens()) and found[str(index)][-1] == EOS_ID


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.text(max_size=30), st.sampled_from([*HOSTILE, *special_tokens()[:14]])), max_size=8))
def test_any_text_has_the_ids_of_hf(tokenizer: Path, given_texts: list[str]) -> None:
    encoders = _encoders(tokenizer)
    values = pa.array(given_texts, pa.large_string())
    assert first_difference(encoders, values) is None
    ids, offsets = encoders[0](values)
    for row, text in enumerate(given_texts):
        assert ids[offsets[row] : offsets[row + 1]].tolist() == reference_ids(tokenizer, text, eos=False)
    assert not len(ids) or ids.min() >= len(special_tokens())


def test_specials_are_in_no_encoder(tokenizer: Path) -> None:
    loaded = load_tokenizer(tokenizer)
    plain = json.loads(loaded.plain)
    assert not plain["added_tokens"] and not set(special_tokens()) & set(plain["model"]["vocab"])
    assert loaded.vocab_size == 600 and loaded.ids[EOS] == EOS_ID
    import gigatoken

    with_specials = gigatoken.Tokenizer.from_json((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    assert EOS_ID in with_specials.encode(EOS).tolist()  # the trap that plain_encoder_json is for


def test_a_special_that_a_word_could_become_stays_text(tokenizer: Path, tmp_path: Path) -> None:
    """With ignore_merges, as Llama 3 has it, a word that is in the vocabulary is taken whole: specials must not be there."""
    raw = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    raw["model"]["ignore_merges"] = True
    raw["model"]["vocab"]["zqj"] = 600
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": 600, "content": "zqj"})
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    loaded = load_tokenizer(tmp_path)
    for backend in ("gigatoken", "tokenizers"):
        ids, _ = Encoder(loaded, backend)(pa.array(["zqj zqj", "zqj"], pa.large_string()))
        assert 600 not in ids.tolist()


def test_a_special_that_merges_make_is_refused(tokenizer: Path, tmp_path: Path) -> None:
    raw = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    merge = "".join(raw["model"]["merges"][5])
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": raw["model"]["vocab"][merge], "content": merge})
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError, match=r"makes its special token .* from text by merges"):
        load_tokenizer(tmp_path)


def test_added_tokens_that_are_not_special_are_text(tokenizer: Path, tmp_path: Path) -> None:
    raw = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    raw["added_tokens"].append({**raw["added_tokens"][0], "id": 600, "content": "    ", "special": False})
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    loaded = load_tokenizer(tmp_path)
    for backend in ("gigatoken", "tokenizers"):
        ids, _ = Encoder(loaded, backend)(pa.array(["a    b"], pa.large_string()))
        assert ids.tolist() == reference_ids(tmp_path, "a    b", eos=False) and 600 in ids.tolist()


def test_dev_documents_have_the_ids_of_hf(shared_data: Path, tokenizer: Path, tmp_path: Path) -> None:
    rows = []
    for path in sorted((shared_data / "text").glob("*/*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as stream:
            for number, line in zip(range(6), stream, strict=False):
                rows.append({"id": f"{path.name}-{number}", "text": json.loads(line)["text"][:8000]})
    encoded([jsonl(tmp_path / "in.jsonl", rows)], tmp_path / "out", tokenizer, check_bytes=0)
    found = by_id(open_shards(tmp_path / "out"))
    expected = reference(tokenizer).encode_batch_fast([row["text"] for row in rows], add_special_tokens=False)
    assert len(rows) > 60 and [found[row["id"]][:-1] for row in rows] == [encoding.ids for encoding in expected]


def test_both_backends_give_the_same_files(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    for backend in ("gigatoken", "tokenizers"):
        manifest = encoded([corpus], tmp_path / backend, tokenizer, backend=backend)
        assert manifest["backend"].startswith(backend + " ")
    assert token_files(tmp_path / "gigatoken") == token_files(tmp_path / "tokenizers") != {}


def test_an_encoder_that_starts_anew_gives_the_same_ids(tokenizer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = random.Random(4)
    values = pa.array([sentence(generator) for _ in range(50)], pa.large_string())
    encoder = Encoder(load_tokenizer(tokenizer), "gigatoken")
    before = encoder(values)
    monkeypatch.setattr("tokenizer.encoder.RENEW_BYTES", 100)
    for _ in range(3):
        assert all(np.array_equal(one, other) for one, other in zip(before, encoder(values), strict=True))


def test_slices_of_a_column_are_encoded_as_such(tokenizer: Path) -> None:
    values = pa.array(["버린 것", "가나다 abc", "", "둘째", "버린 것"], pa.large_string()).slice(1, 3)
    for backend in ("gigatoken", "tokenizers"):
        ids, offsets = Encoder(load_tokenizer(tokenizer), backend)(values)
        parts = [ids[offsets[row] : offsets[row + 1]].tolist() for row in range(3)]
        assert parts == [reference_ids(tokenizer, text, eos=False) for text in ("가나다 abc", "", "둘째")]


# the kernel and the groups


@settings(max_examples=100, deadline=None)
@given(st.lists(st.lists(st.integers(0, 2**31 - 1), max_size=6), max_size=8), st.data())
def test_lay_out_is_a_join(parts: list[list[int]], data: st.DataObject) -> None:
    rows = data.draw(st.lists(st.integers(0, len(parts) - 1), max_size=10)) if parts else []
    closing = data.draw(st.sampled_from([-1, 0, 7]))
    ids = np.array([one for part in parts for one in part], np.uint32)
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    expected = [one for row in rows for one in [*parts[row], *([closing] if closing >= 0 else [])]]
    out = np.full(len(expected), -5, np.int32)
    lay_out(ids, offsets, np.array(rows, np.int64), closing, out)
    assert out.tolist() == expected


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([None, "", "a", "unknown"]), st.sampled_from(["x", "y", None, "../x"])), min_size=1, max_size=30))
def test_groups_part_the_rows(rows: list[tuple[str | None, str | None]]) -> None:
    table = pa.table({"one": pa.array([row[0] for row in rows], pa.string()), "two": pa.array([row[1] for row in rows], pa.string())})
    expected: dict[tuple[str, ...], list[int]] = {}
    for index, row in enumerate(rows):
        expected.setdefault((row[0] or "unknown", row[1] or "unknown"), []).append(index)
    assert {values: mine.tolist() for values, mine in grouped(table, ["one", "two"])} == expected
    assert [(values, mine.tolist()) for values, mine in grouped(table, [])] == [((), list(range(len(rows))))]


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=300))
def test_a_value_is_one_harmless_path_component(value: str) -> None:
    safe = path_safe(value)
    assert len(safe) <= 120 and all(char.isascii() and (char.isalnum() or char in "-_.%") for char in safe)
    folder = Path("/root") / f"domain={safe}"
    assert os.path.normpath(folder) == str(folder) and folder.parent == Path("/root")


def test_long_values_stay_apart() -> None:
    one, other = path_safe("가" * 100 + "x"), path_safe("가" * 100 + "y")
    assert one != other and one.startswith("%EA%B0%80") and "%-" not in one and "%E-" not in one
    assert path_safe("news_1.a-b") == "news_1.a-b" and path_safe("a b%") == "a%20b%25"


def test_path_hostile_values_stay_inside(tokenizer: Path, tmp_path: Path) -> None:
    values = ["..", "../../etc/passwd", "/abs", "a/b", "a\\b", "", None, "x" * 400, "뉴스", "k=v", "con\x00trol\n", "~", ".", "%2e%2e"]
    rows = [{"id": str(index), "text": "글", "domain": value} for index, value in enumerate(values)]
    table = pa.Table.from_pylist(rows, pa.schema([("id", pa.string()), ("text", pa.string()), ("domain", pa.string())]))
    pq.write_table(table, tmp_path / "in.parquet")
    out = tmp_path / "deep" / "out"
    encoded([tmp_path / "in.parquet"], out, tokenizer)
    shards = open_shards(out)
    assert all(file.path.resolve().is_relative_to(out.resolve()) for file in shards.files)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["deep", "in.parquet"] and os.listdir(tmp_path / "deep") == ["out"]
    found = {group["domain"] for group, _ in shards.groups()}
    assert found == {value or "unknown" for value in values} and by_id(shards).keys() == {str(index) for index in range(len(values))}


def test_groups_follow_the_path_of_the_corpus_and_the_columns(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    encoded([corpus], tmp_path / "out", tokenizer, group_by=["lang", "host"])
    groups = {file.path.parent.relative_to(tmp_path / "out").as_posix() for file in open_shards(tmp_path / "out").files}
    assert "phase=domain/lang=ko/host=host3.kr" in groups and len(groups) == 3 * 7
    encoded([corpus / "phase=domain"], tmp_path / "bare", tokenizer, group_by=[])
    assert {file.path.parent.relative_to(tmp_path / "bare").as_posix() for file in open_shards(tmp_path / "bare").files} == {
        "phase=domain/lang=ko"
    }


def test_documents_keep_their_order_and_their_columns(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    encoded([corpus], tmp_path / "out", tokenizer)
    rows = {row["id"]: row for seed in range(4) for row in documents(90, seed).to_pylist()}
    for file in open_shards(tmp_path / "out").files:
        side = file.side_car().to_pylist()
        assert [row["position"] for row in side] == sorted(row["position"] for row in side)
        for row in side:
            given_row = rows[row["id"]]
            same = ("source", "url", "host", "domain", "epochs", "replay_epochs", "long_document", "file", "position")
            assert {key: row[key] for key in same} == {key: given_row[key] for key in same}
            assert row["lang"] == file.group["lang"] and row["text_bytes"] == len(given_row["text"].encode())


def test_without_eos_and_with_another(tokenizer: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"id": "1", "text": "좋은 글"}])
    for name, config, ending in (("none", {"eos": False}, []), ("end", {"eos_token": "<|end|>"}, [special_tokens().index("<|end|>")])):
        encoded([source], tmp_path / name, tokenizer, **config)
        assert by_id(open_shards(tmp_path / name))["1"] == reference_ids(tokenizer, "좋은 글", eos=False) + ending


# conservation


def test_documents_in_are_documents_encoded_and_skipped(tokenizer: Path, tmp_path: Path) -> None:
    texts_ = [b"good", None, b"", b"\xff\xfe", b"\xec\x98", "\ud55c".encode(), b"a\x00b"] * 3
    schema = pa.schema([("id", pa.string()), ("text", pa.string())])
    raw = pa.array(texts_, pa.binary())
    column = pa.Array.from_buffers(pa.string(), len(raw), raw.buffers())
    table = pa.table([pa.array([str(index) for index in range(len(texts_))]), column], schema=schema)
    pq.write_table(table, tmp_path / "in.parquet", row_group_size=4)
    manifest = encoded([tmp_path / "in.parquet"], tmp_path / "out", tokenizer)
    assert manifest["skipped"] == {"empty": 3, "invalid UTF-8": 6, "no text": 3}
    assert manifest["corpus"]["documents"] == 21 and manifest["documents"] == 9
    found = by_id(open_shards(tmp_path / "out"))
    assert sorted(found, key=int) == [str(index) for index in range(21) if index % 7 in (0, 5, 6)]
    assert found["5"] == reference_ids(tokenizer, "한")


def test_lost_documents_stop_the_run(corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = texts.read_texts
    monkeypatch.setattr(encode, "read_texts", lambda *arguments: (table.slice(1) for table in read(*arguments)))
    with pytest.raises(RunFailed, match=r"documents came in, .* were encoded and 0 skipped"):
        encoded([corpus], tmp_path / "out", tokenizer)


def test_an_input_without_texts_stops_the_run(tokenizer: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "in.jsonl", [{"id": str(row), "text": "" if row else "글"} for row in range(200)])
    with pytest.raises(RunFailed, match=r"encode could use 1 of 200 documents.*(empty|no text) \(199\)"):
        encoded([source], tmp_path / "out", tokenizer)
    with pytest.raises(UserError, match="is not finished"):
        open_shards(tmp_path / "out")
    assert encoded([source], tmp_path / "out", tokenizer, min_kept_share=0)["documents"] == 1


# shards of a bounded size, batches, determinism, resume


def test_shards_are_filled_to_their_size_whatever_the_batches(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded([corpus], tmp_path / "one", tokenizer, shard_bytes=6000, group_by=["source"])
    shards = open_shards(tmp_path / "one")
    sizes = [file.path.stat().st_size for file in shards.files]
    assert all(size <= 6000 or file.documents == 1 for size, file in zip(sizes, shards.files, strict=True)) and len(sizes) > 12
    assert any(file.path.stem.endswith("_002") for file in shards.files)
    monkeypatch.setattr(texts, "BATCH_BYTES", 2000)
    encoded([corpus], tmp_path / "two", tokenizer, shard_bytes=6000, group_by=["source"])
    bins = {name: content for name, content in token_files(tmp_path / "one").items() if not name.endswith(".parquet")}
    assert bins == {name: content for name, content in token_files(tmp_path / "two").items() if not name.endswith(".parquet")}
    assert by_id(shards) == by_id(open_shards(tmp_path / "two"))


def test_workers_and_the_order_of_files_change_no_byte(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    inputs = [corpus / "phase=domain" / "lang=ko" / f"part-0000{part}.parquet" for part in (0, 1)]
    inputs.append(corpus / "phase=general" / "lang=en" / "part-00000.parquet")
    encoded(inputs, tmp_path / "inline", tokenizer, split_bytes=4000)
    engine = LocalEngine(2)
    try:
        encoded(inputs[::-1], tmp_path / "two", tokenizer, engine, split_bytes=4000)
    finally:
        engine.close()
    assert token_files(tmp_path / "inline") == token_files(tmp_path / "two") != {}
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text(encoding="utf-8")) for name in ("inline", "two"))
    for varying in ("workers", "wall_seconds", "cpu_seconds", "peak_memory_bytes"):
        del one[varying], two[varying]
    assert one == two


def test_what_is_missing_after_a_kill_is_made_again(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    encoded([corpus], out, tokenizer, split_bytes=4000)
    whole = token_files(out)
    unchanged = {path: path.stat().st_mtime_ns for path in out.rglob("*.bin")}
    cut = sorted(unchanged)[0]
    cut.write_bytes(cut.read_bytes()[:-4])
    receipts = sorted((out / "steps" / "encode" / "receipts").glob("*.json"))
    gone = json.loads(receipts[-1].read_text(encoding="utf-8"))
    receipts[-1].unlink()
    (out / "manifest.json").write_text('{"segment": "encode", "finished": false}', encoding="utf-8")
    (out / "phase=general" / "lang=ko" / "source=old").mkdir(parents=True)
    (out / "phase=general" / "lang=ko" / "source=old" / "stale.bin").write_bytes(b"1234")
    encoded([corpus], out, tokenizer, split_bytes=4000)
    assert token_files(out) == whole
    open_shards(out).verify()
    redone = {path for path, stamp in unchanged.items() if path.stat().st_mtime_ns != stamp}
    assert cut in redone and {out / name for name in gone["outputs"] if name.endswith(".bin")} <= redone
    assert redone < unchanged.keys() and not (out / "phase=general" / "lang=ko" / "source=old").exists()


def test_another_grouping_leaves_nothing_of_the_first(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    encoded([corpus], tmp_path / "out", tokenizer)
    encoded([corpus], tmp_path / "out", tokenizer, group_by=["host"])
    encoded([corpus], tmp_path / "fresh", tokenizer, group_by=["host"])
    assert token_files(tmp_path / "out") == token_files(tmp_path / "fresh")
    assert not list((tmp_path / "out").rglob("source=*"))


# bad input


def test_another_tokenizer_into_the_same_folder_is_refused(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    encoded([corpus], tmp_path / "out", tokenizer)
    before = token_files(tmp_path / "out")
    other = write_tokenizer(tmp_path / "other", vocab_size=550)
    with pytest.raises(UserError, match="holds shards of another tokenizer"):
        encoded([corpus], tmp_path / "out", other)
    (tmp_path / "out" / "manifest.json").write_text(
        json.dumps({"segment": "encode", "finished": False, "tokenizer": {"sha256": load_tokenizer(tokenizer).sha256}}), encoding="utf-8"
    )
    with pytest.raises(UserError, match="holds shards of another tokenizer"):
        encoded([corpus], tmp_path / "out", other)
    assert token_files(tmp_path / "out") == before


def test_a_tokenizer_that_gigatoken_refuses_names_the_way_out(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    raw = json.loads((tokenizer / "tokenizer.json").read_text(encoding="utf-8"))
    raw["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\p{L}+|\P{L}+"
    (tmp_path / "tokenizer.json").write_text(json.dumps(raw), encoding="utf-8")
    with pytest.raises(UserError, match=r"gigatoken can't work with .*--set backend=tokenizers"):
        encoded([corpus], tmp_path / "out", tmp_path)
    assert not (tmp_path / "out").exists()
    encoded([corpus], tmp_path / "out", tmp_path, backend="tokenizers")


@pytest.mark.parametrize("where", ["probe", "document"])
def test_a_backend_that_differs_from_the_reference_stops_the_run(
    corpus: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    right = Encoder.__call__

    def wrong(encoder: Encoder, values: pa.Array) -> tuple[np.ndarray, np.ndarray]:
        ids, offsets = right(encoder, values)
        spoil = encoder.backend == "gigatoken" and (len(values) == len(PROBE)) == (where == "probe")
        return (ids + 1 if spoil else ids), offsets

    monkeypatch.setattr(Encoder, "__call__", wrong)
    name = "the text" if where == "probe" else "the document 'd"
    with pytest.raises(UserError, match=f"gigatoken gives {name}.* other ids than tokenizers does"):
        encoded([corpus], tmp_path / "out", tokenizer)


@pytest.mark.parametrize(
    ("content", "sentence_"),
    [
        (None, r"has no tokenizer\.json"),
        ("{", "can't be read as a tokenizer"),
        ("[1]", "can't be read as a tokenizer"),
        ('{"model": {"type": "Unigram", "vocab": []}}', "is Unigram, and encode works with BPE"),
    ],
)
def test_folders_that_are_no_tokenizer_are_refused(corpus: Path, tmp_path: Path, content: str | None, sentence_: str) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content, encoding="utf-8")
    with pytest.raises(UserError, match=sentence_):
        encoded([corpus], tmp_path / "out", tmp_path)


def test_a_tokenizer_without_eos_is_refused(corpus: Path, tmp_path: Path) -> None:
    write_tokenizer(tmp_path / "t", specials=["<s>", "</s>"])
    with pytest.raises(UserError, match=r"has no special token '<\|eos\|>'.*--set eos_token"):
        encoded([corpus], tmp_path / "out", tmp_path / "t")


def test_columns_that_are_not_there_are_refused(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"group_by names 'sorce', and .* has no such column"):
        encoded([corpus], tmp_path / "out", tokenizer, group_by=["sorce"])
    for name in ("id", "text", "../x", ""):
        with pytest.raises(ValidationError, match="can't be grouped by"):
            encode.EncodeConfig(group_by=[name])


def test_too_many_groups_are_refused(tokenizer: Path, tmp_path: Path) -> None:
    rows = [{"id": str(row), "text": "글", "url": f"https://host{row}.kr/"} for row in range(MOST_GROUPS + 1)]
    with pytest.raises(UserError, match="more than 256 groups of host; name columns with fewer values"):
        encoded([jsonl(tmp_path / "in.jsonl", rows)], tmp_path / "out", tokenizer, group_by=["host"])


def test_documents_that_an_index_cannot_hold_are_refused() -> None:
    table = pa.table({"id": ["short", "long"]})
    refuse_too_long(table, np.array([1, 2**31 - 2]), "s")
    with pytest.raises(UserError, match="the document 'long' of split s has 2,147,483,647 tokens"):
        refuse_too_long(table, np.array([1, 2**31 - 1]), "s")


def test_a_damaged_input_is_named(corpus: Path, tokenizer: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "in.parquet"
    content = bytearray(next(corpus.rglob("*.parquet")).read_bytes())
    content[100:3000] = bytes(2600)
    damaged.write_bytes(content)
    with pytest.raises(RunFailed, match=r"in\.parquet' can't be read to its end"):
        encoded([damaged], tmp_path / "out", tokenizer)
    damaged.write_bytes(next(corpus.rglob("*.parquet")).read_bytes())
    assert encoded([damaged], tmp_path / "out", tokenizer)["documents"] == 90
    assert not (tmp_path / "out" / "failed").exists()
