"""From a token of a shard back to the document, the record of the crawl and the run; and what is no shard."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.errors import UserError
from tests.pipeline.fake_run import make_run
from tests.tokenizer.encoding_scene import documents, encoded, reference_ids, write_corpus, write_tokenizer
from tokenizer import shards
from tokenizer.shards import open_shards
from tokenizer.special_tokens import EOS, special_tokens
from tokenizer.trace import AROUND, find_record, places, trace


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tokenizer(tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture(scope="module")
def folder(tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Shards whose side-cars have row groups of three documents."""
    root = tmp_path_factory.mktemp("traced")
    keys = {"general/ko/part-00000": documents(80, 0), "general/en/part-00000": documents(80, 1), "domain/ko/part-00000": documents(30, 0)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards, "_ROW_GROUP", 3)
        encoded([write_corpus(root / "corpus", keys)], root / "out", tokenizer)
    return root / "out"


def test_random_positions_lead_to_their_record(folder: Path, tokenizer: Path) -> None:
    rows = {row["id"]: row for seed in (0, 1) for row in documents(80, seed).to_pylist()}
    generator = random.Random(9)
    files = open_shards(folder).files
    assert any(pq.read_metadata(file.path.with_suffix(".parquet")).num_row_groups > 2 for file in files)
    for _ in range(60):
        file = generator.choice(files)
        position = generator.randrange(file.tokens)
        found = trace(file.path, position)
        row = rows[found.id]
        assert {key: getattr(found, key) for key in ("source", "url", "file", "position", "host", "domain")} == {
            key: row[key] for key in ("source", "url", "file", "position", "host", "domain")
        }
        whole = reference_ids(tokenizer, row["text"])
        assert (found.token_id, found.tokens) == (whole[found.token_in_document], len(whole))
        assert file.document(found.document).tolist() == whole and found.group == dict(file.group)


def test_every_position_of_a_shard_falls_into_its_document(folder: Path) -> None:
    file = min(open_shards(folder).files, key=lambda file: abs(file.documents - 12))
    expected = [(document, token) for document, length in enumerate(file.lengths.tolist()) for token in range(length)]
    found = [trace(file.path, position) for position in range(file.tokens)]
    assert [(one.document, one.token_in_document) for one in found] == expected


def test_the_text_around_is_the_documents(folder: Path, tokenizer: Path) -> None:
    file = max(open_shards(folder).files, key=lambda file: file.documents)
    longest = int(file.lengths.argmax())
    last = int(file.starts[longest]) // 4 + int(file.lengths[longest]) - 1
    found = trace(file.path, last, tokenizer=tokenizer)
    text = {row["id"]: row["text"] for seed in (0, 1) for row in documents(80, seed).to_pylist()}[found.id]
    assert found.around and found.around.token == EOS and found.around.after == "" and found.token_id == special_tokens().index(EOS)
    assert text.endswith(found.around.before[1:]) and file.lengths[longest] > AROUND
    assert f"[{EOS}]" in found.render()
    assert json.loads(found.to_json())["around"]["token"] == EOS


def test_hostile_values_are_shown_not_obeyed(tokenizer: Path, tmp_path: Path) -> None:
    table = pa.table({"id": ["i\x1b[2J"], "text": ["글 \x1b]0;x\x07"], "url": ["https://a/\u202egnp"], "domain": ["a\nb"]})
    pq.write_table(table, tmp_path / "in.parquet")
    encoded([tmp_path / "in.parquet"], tmp_path / "out", tokenizer)
    file = open_shards(tmp_path / "out").files[0]
    shown = trace(file.path, 1, tokenizer=tokenizer).render()
    assert not set(shown) & set("\x1b\u202e\x07") and "\\x1b" in shown and "a\\nb" in shown


def test_places_are_all_shards_that_hold_the_document(folder: Path) -> None:
    found = places(folder, "d0-5")
    assert {Path(place.shard).relative_to(folder).parts[0] for place in found} == {"phase=domain", "phase=general"} and len(found) == 2
    for place in found:
        traced = trace(Path(place.shard), place.first_token)
        assert (traced.id, traced.document, traced.token_in_document, traced.tokens) == ("d0-5", place.document, 0, place.tokens)
    assert places(folder, "nobody") == []
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        places(folder.parent, "d0-5")


def test_a_run_gives_the_record(tokenizer: Path, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", documents=40, splits=1)
    encoded([run / "corpus"], tmp_path / "out", tokenizer)
    file = open_shards(tmp_path / "out").files[0]
    found = trace(file.path, file.tokens - 1, run=run)
    record = found.record
    assert record and record.view == "documents" and record.url and record.url.startswith("https://host")
    assert (record.file, record.position, record.source) == (found.file, found.position, found.source)
    assert record.title and record.excerpt and record.excerpt[0] in "온G"
    assert f"record url       {record.url}" in found.render()
    with pytest.raises(UserError, match="has no document 'nobody'"):
        find_record(run, "nobody")
    with pytest.raises(UserError, match="is not a run"):
        trace(file.path, 0, run=tmp_path)


def test_what_is_no_shard_is_one_sentence(folder: Path, tokenizer: Path, tmp_path: Path) -> None:
    file = open_shards(folder).files[0]
    for position in (-1, file.tokens, 10**15):
        with pytest.raises(UserError, match=f"holds tokens 0 to {file.tokens - 1:,}"):
            trace(file.path, position)
    with pytest.raises(UserError, match="is a folder; give one of its token files"):
        trace(folder, 0)
    with pytest.raises(UserError, match="isn't a token file"):
        trace(folder / "manifest.json", 0)
    with pytest.raises(UserError, match="can't read"):
        trace(tmp_path / "none.bin", 0)
    bare = tmp_path / "bare.bin"
    bare.write_bytes(file.path.read_bytes())
    with pytest.raises(UserError, match=r"bare\.parquet' is missing"):
        trace(bare, 0)
    bare.with_suffix(".parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="can't be read as the side-car"):
        trace(bare, 0)
    for table in (pa.table({"id": ["a"]}), pa.table({"first_token": pa.array([], pa.int64())})):
        pq.write_table(table, bare.with_suffix(".parquet"))
        with pytest.raises(UserError, match="can't be read as the side-car"):
            trace(bare, 0)
    smallest = min(open_shards(folder).files, key=lambda other: other.tokens)
    bare.with_suffix(".parquet").write_bytes(smallest.path.with_suffix(".parquet").read_bytes())
    bare.write_bytes(bytes(4 * (smallest.tokens + 1)))
    with pytest.raises(UserError, match="knows no document at token"):
        trace(bare, smallest.tokens)
    bare.write_bytes(b"12345")
    with pytest.raises(UserError, match="not a multiple of 4"):
        trace(bare, 0)
    bare.write_bytes(b"")
    with pytest.raises(UserError, match="holds no tokens"):
        trace(bare, 0)
    with pytest.raises(UserError, match="was encoded with another tokenizer"):
        trace(file.path, 0, tokenizer=write_tokenizer(tmp_path / "other", vocab_size=550))


def test_an_index_or_a_side_car_stands_for_its_shard(folder: Path) -> None:
    file = open_shards(folder).files[0]
    assert trace(file.path.with_suffix(".idx"), 0) == trace(file.path.with_suffix(".parquet"), 0) == trace(file.path, 0)
