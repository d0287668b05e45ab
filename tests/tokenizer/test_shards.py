"""Token shards: the index byte for byte, an independent reader, opening with every kind of damage, and pickling to workers."""

from __future__ import annotations

import json
import pickle
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from tests.tokenizer.encoding_scene import documents, encoded, write_corpus, write_tokenizer
from tokenizer.shards import SIDE_CAR, ShardWriter, TokenFile, open_shards, write_index


def read_index(content: bytes) -> tuple[list[int], list[int], list[int]]:
    """A second reader of the Megatron index, from its description: lengths, byte pointers, document list."""
    assert content[:9] == b"MMIDIDX\x00\x00"
    version, code, sequences, entries = struct.unpack("<QBQQ", content[9:34])
    assert (version, code) == (1, 4)
    lengths = struct.unpack(f"<{sequences}i", content[34 : 34 + 4 * sequences])
    pointers = struct.unpack(f"<{sequences}q", content[34 + 4 * sequences : 34 + 12 * sequences])
    indices = struct.unpack(f"<{entries}q", content[34 + 12 * sequences :])
    return list(lengths), list(pointers), list(indices)


def test_the_index_is_megatrons_byte_for_byte() -> None:
    by_hand = (
        "4d4d494449445800 00"  # MMIDIDX, two zero bytes
        "0100000000000000"  # version 1
        "04"  # int32
        "0200000000000000 0300000000000000"  # two sequences, three entries in the document list
        "03000000 02000000"  # lengths 3 and 2
        "0000000000000000 0c00000000000000"  # they begin at bytes 0 and 12
        "0000000000000000 0100000000000000 0200000000000000"  # documents 0, 1, end
    )
    assert write_index(np.array([3, 2], np.int32)) == bytes.fromhex(by_hand)
    assert write_index(np.zeros(0, np.int32)) == bytes.fromhex(
        "4d4d49444944580000 0100000000000000 04 0000000000000000 0100000000000000 0000000000000000"
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**31 - 1), max_size=40))
def test_an_independent_reader_agrees(lengths: list[int]) -> None:
    read, pointers, indices = read_index(write_index(np.array(lengths, np.int32)))
    assert read == lengths
    assert pointers == [4 * sum(lengths[:index]) for index in range(len(lengths))]
    assert indices == list(range(len(lengths) + 1))


def side_rows(ids: list[str]) -> pa.Table:
    columns = {name: pa.nulls(len(ids), SIDE_CAR.field(name).type) for name in SIDE_CAR.names if name not in ("tokens", "first_token")}
    return pa.table({**columns, "id": ids, "text_bytes": pa.array([7] * len(ids), pa.int64())})


def test_writer_and_reader_agree_over_many_writes(tmp_path: Path) -> None:
    generator = np.random.default_rng(3)
    writer, whole = ShardWriter(tmp_path / "a" / "x", {"tokenizer_sha256": "00"}), []
    for batch in range(5):
        lengths = generator.integers(1, 50, size=batch)
        parts = [generator.integers(0, 102_400, size=length).astype(np.int32) for length in lengths]
        whole += parts
        tokens = np.concatenate([np.zeros(0, np.int32), *parts])
        writer.write(side_rows([f"{batch}-{row}" for row in range(batch)]), tokens, lengths)
    facts = writer.close()
    assert facts["documents"] == 10 and facts["tokens"] == sum(map(len, whole)) and facts["text_bytes"] == 70
    file = TokenFile(tmp_path / "a" / "x.bin", {}, facts["documents"], facts["tokens"], facts["text_bytes"], facts["files"])
    for index, part in enumerate(whole):
        assert file.document(index).tolist() == part.tolist() and not file.document(index).flags.writeable
    assert file.lengths.tolist() == [len(part) for part in whole]
    side_car = file.side_car()
    assert side_car.column("tokens").to_pylist() == file.lengths.tolist()
    assert (side_car.column("first_token").to_numpy() * 4).tolist() == file.starts.tolist()
    assert pq.read_schema(tmp_path / "a" / "x.parquet").metadata[b"tokenizer_sha256"] == b"00"
    for wrong in (-1, 10):
        with pytest.raises(IndexError, match="10 documents"):
            file.document(wrong)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("shards")
    corpus = write_corpus(root / "corpus", {f"general/{lang}/part-00000": documents(60, seed) for seed, lang in enumerate(("ko", "en"))})
    encoded([corpus], root / "out", write_tokenizer(root / "tokenizer"))
    return root / "out"


def copied(made: Path, target: Path) -> Path:
    for path in made.rglob("*"):
        if path.is_file():
            (target / path.relative_to(made)).parent.mkdir(parents=True, exist_ok=True)
            (target / path.relative_to(made)).write_bytes(path.read_bytes())
    return target


def test_documents_are_numbered_through_all_shards(made: Path) -> None:
    shards = open_shards(made)
    shards.verify()
    one_by_one = [file.document(index).tolist() for file in shards.files for index in range(file.documents)]
    assert [shards.document(index).tolist() for index in range(len(shards))] == one_by_one
    assert len(shards) == shards.manifest["documents"] == 120 and shards.tokens == sum(map(len, one_by_one))
    assert all(file.path.with_suffix(".idx").read_bytes() == write_index(file.lengths) for file in shards.files)
    for file in shards.files:
        lengths, pointers, indices = read_index(file.path.with_suffix(".idx").read_bytes())
        assert lengths == file.lengths.tolist() and pointers == file.starts.tolist() and indices[-1] == file.documents
        assert 4 * sum(lengths) == file.path.stat().st_size
    with pytest.raises(IndexError, match="120 documents"):
        shards.document(120)


def test_groups_name_their_values(made: Path) -> None:
    groups = {tuple(values.items()): sum(file.documents for file in files) for values, files in open_shards(made).groups()}
    assert sum(groups.values()) == 120
    keys = (("phase", "general"), ("lang", "ko"), ("source", "web"), ("domain", "뉴스"))
    assert keys in groups


def test_a_pickled_shard_carries_no_tokens(made: Path) -> None:
    shards = open_shards(made)
    before = len(pickle.dumps(shards.files[0]))
    wanted = shards.files[0].document(0).tolist()
    assert len(pickle.dumps(shards.files[0])) == before < 2000
    assert pickle.loads(pickle.dumps(shards)).document(0).tolist() == wanted


def test_another_tokenizer_is_refused(made: Path) -> None:
    sha256 = open_shards(made).manifest["tokenizer"]["sha256"]
    open_shards(made, sha256)
    with pytest.raises(UserError, match="were encoded with another tokenizer"):
        open_shards(made, "0" * 64)


def test_folders_that_are_no_shards_are_refused(made: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no manifest\.json"):
        open_shards(tmp_path)
    for content, sentence in (
        ("{", "can't be read as a manifest"),
        ("[]", "can't be read as a manifest"),
        ('{"segment": "count"}', "holds the result of count"),
        ('{"segment": "encode", "finished": false}', "is not finished"),
    ):
        (tmp_path / "manifest.json").write_text(content, encoding="utf-8")
        with pytest.raises(UserError, match=sentence):
            open_shards(tmp_path)


@pytest.mark.parametrize("suffix", [".bin", ".idx", ".parquet"])
def test_missing_truncated_and_changed_files_are_named(made: Path, tmp_path: Path, suffix: str) -> None:
    folder = copied(made, tmp_path / "copy")
    path = sorted(folder.rglob(f"source=*/**/*{suffix}"))[1]
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(UserError, match=f"{path.name}' has changed"):
        open_shards(folder).verify()
    path.write_bytes(content[:-4])
    with pytest.raises(UserError, match=f"{path.name}' has .* bytes and should have"):
        open_shards(folder)
    path.unlink()
    with pytest.raises(UserError, match=f"{path.name}' is missing"):
        open_shards(folder)


def test_the_manifest_counts_what_the_files_hold(made: Path) -> None:
    manifest = json.loads((made / "manifest.json").read_text(encoding="utf-8"))
    for shard in manifest["shards"]:
        rows = pq.read_table(made / f"{shard['path']}.parquet", partitioning=None)
        assert len(rows) == shard["documents"]
        assert sum(rows.column("tokens").to_pylist()) == shard["tokens"] == shard["files"][".bin"]["bytes"] // 4
    for key in ("documents", "tokens", "text_bytes"):
        assert sum(group[key] for group in manifest["groups"]) == sum(shard[key] for shard in manifest["shards"]) == manifest[key]
