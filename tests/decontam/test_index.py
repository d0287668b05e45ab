"""An index survives the way to disk unchanged, benchmarks come and go without a rebuild, and what doesn't fit its manifest is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from decontam import DecontamError, Index, MatchSettings, Scanner, add_benchmarks, build_index, load_index, remove_benchmarks, save_index
from decontam.segment import Segment, folder_name

TEXTS = [
    "Which of the following statements about photosynthesis in green plants is not correct?",
    "임종석이 여의도 농민 폭력 시위를 주도한 혐의로 지명수배 된 날은?",
    "만족입니다 정말로요 추천합니다",
    "x",
]


def items(texts: list[str], benchmark: str = "b") -> pa.Table:
    names = [f"i{number}" for number in range(len(texts))]
    size = len(texts)
    return pa.table({"benchmark": [benchmark] * size, "split": [""] * size, "item": names, "field": ["question"] * size, "text": texts})


def arrays_of(index: Index) -> dict[str, np.ndarray]:
    found = {"pool": index.pool}
    for family, table in index.tables.items():
        found |= {f"{family}.{name}": array for name, array in table.arrays().items()}
    for segment in index.segments:
        found |= {f"{segment.benchmark}.pool": segment.pool, f"{segment.benchmark}.facts": segment.facts}
        for family, seeds in segment.seeds.items():
            found |= {f"{segment.benchmark}.{family}": seeds.positions, f"{segment.benchmark}.{family}.common": seeds.common}
    return found


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def only(index: Index) -> Segment:
    [segment] = index.segments
    return segment


def test_round_trip(tmp_path: Path) -> None:
    index = build_index(items(TEXTS))
    save_index(index, tmp_path / "index")
    loaded = load_index(tmp_path / "index")
    assert loaded.settings == index.settings and loaded.fingerprint == index.fingerprint
    assert only(loaded).entries.equals(only(index).entries) and only(loaded).items == 4
    for name, array in arrays_of(index).items():
        assert np.array_equal(arrays_of(loaded)[name], array) and not arrays_of(loaded)[name].flags.writeable
    documents = pa.array([f"앞 {text} 뒤" for text in TEXTS])
    matches = Scanner(loaded).scan(documents)
    assert matches.equals(Scanner(index).scan(documents))
    assert matches["row"].to_pylist() == [0, 1, 2]


def test_same_items_same_bytes_in_any_order_of_benchmarks(tmp_path: Path) -> None:
    first, second = items(TEXTS, "a"), items(TEXTS[::-1], "b")
    save_index(build_index(pa.concat_tables([first, second])), tmp_path / "together")
    save_index(build_index(pa.concat_tables([second, first])), tmp_path / "turned")
    save_index(build_index(second), tmp_path / "apart")
    add_benchmarks(tmp_path / "apart", first)
    assert files_of(tmp_path / "together") == files_of(tmp_path / "turned") == files_of(tmp_path / "apart")


def test_benchmarks_come_and_go_without_a_rebuild(tmp_path: Path) -> None:
    save_index(build_index(items(TEXTS, "old")), tmp_path)
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files_of(tmp_path) if name.startswith("segments")}
    add_benchmarks(tmp_path, items(TEXTS[:2], "new"))
    assert [segment.benchmark for segment in load_index(tmp_path).segments] == ["new", "old"]
    assert {name: (tmp_path / name).stat().st_mtime_ns for name in before} == before
    add_benchmarks(tmp_path, items(TEXTS[:1], "new"))
    assert load_index(tmp_path).by_name["new"].items == 1  # a newer version takes the older one's place
    assert sorted(path.name.rsplit("-", 1)[0] for path in (tmp_path / "segments").iterdir()) == ["new", "old"]
    remove_benchmarks(tmp_path, ["old"])
    assert [segment.benchmark for segment in load_index(tmp_path).segments] == ["new"]
    assert len(list((tmp_path / "merged").iterdir())) == 1
    with pytest.raises(DecontamError, match="lacks the benchmark 'old'; it has new"):
        remove_benchmarks(tmp_path, ["old"])


def test_some_benchmarks_of_an_index(tmp_path: Path) -> None:
    save_index(build_index(pa.concat_tables([items(TEXTS[:1], "a"), items(TEXTS[1:], "b")])), tmp_path)
    documents = pa.array([" / ".join(TEXTS)])
    assert set(Scanner(load_index(tmp_path)).scan(documents)["benchmark"].to_pylist()) == {"a", "b"}
    assert Scanner(load_index(tmp_path, ["a"])).scan(documents)["benchmark"].to_pylist() == ["a"]
    assert len(Scanner(load_index(tmp_path, [])).scan(documents)) == 0
    with pytest.raises(DecontamError, match="lacks the benchmark 'c'; it has a, b"):
        load_index(tmp_path, ["c"])


def test_hostile_names_stay_in_the_folder(tmp_path: Path) -> None:
    names = ["../../out", "/etc/passwd", "a\x00b", "..", "가" * 300, "A", "a"]
    save_index(build_index(pa.concat_tables([items(TEXTS, name) for name in names])), tmp_path / "index")
    assert [path.name for path in tmp_path.iterdir()] == ["index"]
    assert sorted(load_index(tmp_path / "index").by_name) == sorted(names)
    assert "/" not in folder_name("../x", "0" * 32) and folder_name("../x", "0" * 32).isprintable()


def test_other_folders_are_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "precious.txt").write_text("x")
    with pytest.raises(DecontamError, match="holds other files and no index"):
        save_index(build_index(items(TEXTS)), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["precious.txt"]


def segment_folder(index: Path) -> Path:
    [folder] = (index / "segments").iterdir()
    return folder


def merged_folder(index: Path) -> Path:
    [folder] = (index / "merged").iterdir()
    return folder


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def change(path: Path, **values: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda index: flip_a_byte(segment_folder(index) / "pool.npy"), "damaged"),
        (lambda index: flip_a_byte(segment_folder(index) / "items.parquet"), "damaged"),
        (lambda index: flip_a_byte(merged_folder(index) / "long.words.npy"), "damaged"),
        (lambda index: (merged_folder(index) / "long.words.npy").unlink(), "lacks the file long.words.npy"),
        (lambda index: (merged_folder(index) / "merged.json").unlink(), "lacks merged.json"),
        (lambda index: (segment_folder(index) / "long.seeds.npy").write_bytes(b"x"), "has 1 bytes instead of"),
        (lambda index: (segment_folder(index) / "items.parquet").unlink(), "lacks the file items.parquet"),
        (lambda index: (segment_folder(index) / "segment.json").unlink(), "lacks segment.json"),
        (lambda index: change(segment_folder(index) / "segment.json", normalizer="0"), "built with normalizer 0"),
        (lambda index: change(segment_folder(index) / "segment.json", format=1), "built with format 1"),
        (lambda index: change(segment_folder(index) / "segment.json", files={}), "can't be read"),
        (lambda index: change(segment_folder(index) / "segment.json", files=[]), "can't be read"),
        (lambda index: change(segment_folder(index) / "segment.json", benchmark="c"), "is not the one that index.json lists"),
        (lambda index: (index / "index.json").unlink(), "lacks index.json"),
        (lambda index: (index / "index.json").write_text("{"), "can't be read"),
        (lambda index: (index / "index.json").write_text("[]"), "holds no JSON object"),
        (lambda index: change(index / "index.json", format=1), "built with format 1"),
        (lambda index: change(index / "index.json", settings={"length": 3}), "can't be read"),
        (lambda index: change(index / "index.json", segments=[{"benchmark": "b"}]), "can't be read"),
        (lambda index: change(index / "index.json", segments=[{"benchmark": "b", "fingerprint": "../../x"}]), "lacks segment.json"),
    ],
)
def test_damaged_folders_are_refused(tmp_path: Path, damage: Callable[[Path], object], message: str) -> None:
    save_index(build_index(items(TEXTS)), tmp_path)
    damage(tmp_path)
    with pytest.raises(DecontamError, match=message) as error:
        load_index(tmp_path)
    assert str(error.value).count(". ") == 0 and str(error.value).endswith(".")


def test_items_that_cannot_be_indexed() -> None:
    for column in ("split", "benchmark"):
        with pytest.raises(DecontamError, match=f"lacks the column {column}"):
            build_index(items(TEXTS).drop_columns(column))
    with pytest.raises(DecontamError, match="empty"):
        build_index(items(TEXTS).slice(0, 0))
    with pytest.raises(DecontamError, match="has no benchmark"):
        build_index(items(TEXTS).set_column(0, "benchmark", pa.array(["b", "b", None, "b"])))


def test_facts_of_entries() -> None:
    segment = only(build_index(items(["가" * 30 + "!", "a b" * 12, "A-B" * 12, "나" * 12, ""])))
    assert segment.lengths.tolist() == [30, 24, 24, 12, 0]
    assert segment.required.tolist() == [24, 50, 50, 24, 50]
    assert segment.whole.tolist() == [0, 24, 24, 12, 0]
    assert segment.frequency.tolist() == [0, 2, 2, 1, 0]
    assert segment.windows == 30 - 24 + 1


def test_a_short_question_is_looked_for_once_per_item() -> None:
    """The reader gives a question with its choices written in several ways; each begins with the same question."""
    question = "What is the capital of Mongolia?"
    texts = [
        f"{question}\nUlaanbaatar on the Tuul\nDarkhan in the north",
        f"{question}\nA. Ulaanbaatar on the Tuul\nB. Darkhan in the north",
        question,
    ]
    table = items([*texts, question])
    table = table.set_column(2, "item", pa.array(["i", "i", "i", "j"])).append_column(
        "question_chars", pa.array([len(question)] * 2 + [None] * 2, pa.int32())
    )
    segment = only(build_index(table))
    assert segment.whole.tolist() == [26, 0, 0, 26] and segment.frequency.tolist() == [2, 2, 2, 2]
    assert Scanner(build_index(table)).scan(pa.array([question]))["item"].to_pylist() == ["i", "j"]


def test_memory_stays_near_eight_bytes_per_seed_and_two_per_character() -> None:
    rng = np.random.default_rng(0)
    texts = ["".join(map(chr, rng.integers(97, 123, 1000))) for _ in range(400)]
    index = build_index(items(texts))
    windows = sum(segment.windows for segment in index.segments)
    assert windows == 400 * 951 and index.memory / windows < 11


def test_pool_stride_saves_memory_and_changes_nothing() -> None:
    rng = np.random.default_rng(1)
    texts = ["".join(map(chr, rng.integers(97, 100, 300))) for _ in range(40)]
    documents = pa.array([text[at : at + 120] for text in texts for at in (0, 7, 33)])
    indexes = [build_index(items(texts), MatchSettings(pool_stride=stride)) for stride in (1, 2, 5)]
    found = [Scanner(index).scan(documents).drop_columns("frequency") for index in indexes]
    assert found[0].equals(found[1]) and found[0].equals(found[2]) and len(found[0]) >= 120
    assert indexes[0].memory > 1.5 * indexes[1].memory > 1.5 * indexes[2].memory


@pytest.mark.parametrize("folder_of", [segment_folder, merged_folder])
def test_building_again_mends_a_damaged_folder(tmp_path: Path, folder_of: Callable[[Path], Path]) -> None:
    index = build_index(items(TEXTS))
    save_index(index, tmp_path / "index")
    flip_a_byte(folder_of(tmp_path / "index") / "pool.npy")
    save_index(index, tmp_path / "index")
    assert load_index(tmp_path / "index").fingerprint == index.fingerprint


def test_benchmarks_added_at_once_are_all_kept(tmp_path: Path) -> None:
    save_index(build_index(items(TEXTS)), tmp_path / "index")
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: add_benchmarks(tmp_path / "index", items(TEXTS, name)), "cdef"))
    assert list(load_index(tmp_path / "index").by_name) == ["b", "c", "d", "e", "f"]
