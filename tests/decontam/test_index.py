"""An index survives the way to disk unchanged, and a folder that is not what its manifest says is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from decontam import DecontamError, Index, MatchSettings, Scanner, build_index, load_index, save_index

TEXTS = [
    "Which of the following statements about photosynthesis in green plants is not correct?",
    "임종석이 여의도 농민 폭력 시위를 주도한 혐의로 지명수배 된 날은?",
    "만족입니다 정말로요",
    "x",
]


def items(texts: list[str]) -> pa.Table:
    names = [f"i{number}" for number in range(len(texts))]
    return pa.table(
        {"benchmark": ["b"] * len(texts), "split": [""] * len(texts), "item": names, "field": ["question"] * len(texts), "text": texts}
    )


def tables_of(index: Index) -> dict[str, np.ndarray]:
    found = {"pool": index.pool, "starts": index.starts}
    for name in ("long", "hangul", "short"):
        found |= {f"{name}.{key}": value for key, value in getattr(index, name).arrays().items()}
    return found


def test_round_trip(tmp_path: Path) -> None:
    index = build_index(items(TEXTS))
    save_index(index, tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert loaded.settings == index.settings and loaded.entries.equals(index.entries)
    for name, array in tables_of(index).items():
        assert np.array_equal(tables_of(loaded)[name], array) and not tables_of(loaded)[name].flags.writeable
    documents = pa.array([f"앞 {text} 뒤" for text in TEXTS])
    matches = Scanner(loaded).scan(documents)
    assert matches.equals(Scanner(index).scan(documents))
    assert matches["row"].to_pylist() == [0, 1, 2]


def test_same_items_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        save_index(build_index(items(TEXTS)), tmp_path / name)
    files = sorted(path.name for path in (tmp_path / "a").iterdir())
    assert files == sorted(path.name for path in (tmp_path / "b").iterdir())
    assert all((tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes() for name in files)


def test_saving_over_an_index_replaces_it(tmp_path: Path) -> None:
    save_index(build_index(items(TEXTS)), tmp_path)
    save_index(build_index(items(TEXTS[:1]), MatchSettings.parity()), tmp_path)
    assert len(load_index(tmp_path).entries) == 1 and load_index(tmp_path).settings == MatchSettings.parity()


def flip_a_byte(folder: Path) -> None:
    content = bytearray((folder / "pool.npy").read_bytes())
    content[-1] ^= 1
    (folder / "pool.npy").write_bytes(content)


def cut_short(folder: Path) -> None:
    (folder / "long.postings.npy").write_bytes((folder / "long.postings.npy").read_bytes()[:-4])


def change_version(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"normalizer": "0"}))


def climb_out(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../pool.npy"] = manifest["files"].pop("pool.npy")
    (folder / "manifest.json").write_text(json.dumps(manifest))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (flip_a_byte, "damaged"),
        (cut_short, "bytes instead of"),
        (change_version, "built with normalizer 0"),
        (climb_out, "lacks the file"),
        (lambda folder: (folder / "items.parquet").unlink(), "lacks the file items.parquet"),
        (lambda folder: (folder / "manifest.json").unlink(), "holds no manifest.json"),
        (lambda folder: (folder / "manifest.json").write_text("{"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text("[]"), "cannot be read"),
        (lambda folder: (folder / "manifest.json").write_text('{"settings": {"length": 3}, "files": {}}'), "cannot be read"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, damage, message: str) -> None:
    save_index(build_index(items(TEXTS)), tmp_path)
    damage(tmp_path)
    with pytest.raises(DecontamError, match=message):
        load_index(tmp_path)


def test_items_that_cannot_be_indexed() -> None:
    with pytest.raises(DecontamError, match="lacks the column split"):
        build_index(items(TEXTS).drop_columns("split"))
    with pytest.raises(DecontamError, match="empty"):
        build_index(items(TEXTS).slice(0, 0))


def test_entries_describe_lengths_and_repeated_texts() -> None:
    entries = build_index(items(["가" * 30 + "!", "a b" * 10, "A-B" * 10, ""])).entries
    assert entries["length"].to_pylist() == [30, 20, 20, 0]
    assert entries["required"].to_pylist() == [24, 50, 50, 50]
    assert entries["frequency"].to_pylist() == [1, 2, 2, 1]
