"""Sources: which documents they take, how often, and that chunks hold each of their tokens once."""

from __future__ import annotations

import itertools
from collections import Counter

import numpy as np
import pytest
import xxhash
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import UserError
from tests.training.data_scene import SEED, Scene, numbered_documents, some_lengths
from training.sources import PADDING, _build, open_source


def read_all(source):
    """The ids of each chunk of all passes, numbered through, without padding."""
    runs = source.runs(np.arange(source.total))
    chunks = [[] for _ in range(source.total)]
    for row, file, first, tokens in zip(runs.row, runs.file, runs.first, runs.tokens, strict=True):
        chunks[row] += [] if file == PADDING else source.files[file].ids[first : first + tokens].tolist()
    return chunks


def flat(chunks):
    return itertools.chain.from_iterable(chunks)


def ids_of(documents):
    return Counter(token for document in documents for token in document.ids)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
@settings(max_examples=25, deadline=None)
@given(lengths=st.lists(st.integers(1, 40), min_size=1, max_size=30), length=st.integers(1, 20), per_shard=st.integers(1, 7))
def test_every_token_of_a_pass_once_and_chunks_full(tmp_path_factory, packing, lengths, length, per_shard):
    scene = Scene(tmp_path_factory.mktemp("scene"), numbered_documents(lengths), per_shard)
    source = scene.source(packing=packing, length=length)
    assert Counter(flat(read_all(source))) == ids_of(scene.documents)
    assert (source.documents, source.tokens) == (len(lengths), sum(lengths))
    runs = source.runs(np.arange(source.total))
    assert np.array_equal(np.bincount(runs.row, runs.tokens), np.full(source.total, length))
    assert (runs.offset[1:] == np.where(runs.row[1:] == runs.row[:-1], runs.offset[:-1] + runs.tokens[:-1], 0)).all()
    if packing == "concat":
        assert source.total == -(-sum(lengths) // length)
        assert (runs.file[:-1] != PADDING).all()


def test_best_fit_cuts_no_document_that_fits(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(300)))
    runs = scene.source(packing="best_fit").runs(np.arange(scene.source(packing="best_fit").total))
    lengths = Counter(len(document.ids) for document in scene.documents if len(document.ids) <= 16)
    pieces = Counter(int(tokens) for tokens, file in zip(runs.tokens, runs.file, strict=True) if file != PADDING)
    rests = Counter(len(document.ids) % 16 for document in scene.documents if len(document.ids) > 16)
    assert {size: count for size, count in pieces.items() if size < 16} == {
        size: count for size, count in (lengths + rests).items() if 0 < size < 16
    }


def test_the_order_is_each_chunk_once_per_pass_and_other_in_each(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(200)))
    source = scene.source(epochs=3)
    once = source.total // 3
    order = source.order(np.arange(source.total)).reshape(3, once)
    for number, one in enumerate(order):
        assert np.array_equal(np.sort(one), np.arange(number * once, (number + 1) * once))
    assert all((order[a] % once != order[b] % once).sum() > 0.8 * once for a in range(3) for b in range(a))
    assert len(source.indices) == 1  # the passes are over the same documents
    chunks = read_all(source)
    assert chunks[:once] == chunks[once : 2 * once] == chunks[2 * once :]


@pytest.mark.parametrize("balance_replay", [False, True])
def test_balance_decides_how_often_each_document_is_read(tmp_path, balance_replay):
    lengths = some_lengths(60)
    epochs, replayed = [[0, 1, 2, 3, None][place % 5] for place in range(60)], [[0, 1, 0, 2, None][place % 5] for place in range(60)]
    scene = Scene(tmp_path, numbered_documents(lengths, epochs=epochs, replay_epochs=replayed))
    source = scene.source(epochs=None, balance_replay=balance_replay)
    times = [(1 if e is None else e) - (0 if balance_replay else r or 0) for e, r in zip(epochs, replayed, strict=True)]
    expected = Counter()
    for document, count in zip(scene.documents, times, strict=True):
        expected.update(dict.fromkeys(document.ids, count))
    assert Counter(flat(read_all(source))) == +expected
    assert source.documents == sum(times)
    assert len(source.passes) == max(times)
    begin = 0
    for number, end in enumerate(source.pass_ends):  # a pass reads no document twice
        inside = Counter(flat(read_all(source)[begin:end]))
        assert set(inside.values()) == {1}
        assert sum(inside.values()) == sum(length for length, count in zip(lengths, times, strict=True) if count > number)
        begin = end


@pytest.mark.parametrize(("epochs", "replayed"), [([1, 2], [0, 3]), ([1, -1], [0, 0])])
def test_epochs_that_make_no_sense_are_refused(tmp_path, epochs, replayed):
    scene = Scene(tmp_path, numbered_documents([5, 6], epochs=epochs, replay_epochs=replayed))
    with pytest.raises(UserError, match=r"fewer epochs than replay_epochs"):
        scene.source(epochs=None)


def test_where_and_lengths_and_long_documents_select(tmp_path):
    lengths = some_lengths(80)
    langs, domains = [["ko", "en"][place % 2] for place in range(80)], [["law", "news", "code"][place % 3] for place in range(80)]
    long = [[True, False, None][place % 3] for place in range(80)]
    scene = Scene(tmp_path, numbered_documents(lengths, lang=langs, domain=domains, long_document=long))
    source = scene.source(where={"lang": ("ko",), "domain": ("law", "code")}, min_tokens=5)
    mine = [d for d in scene.documents if d.lang == "ko" and d.domain in ("law", "code") and len(d.ids) >= 5]
    assert Counter(flat(read_all(source))) == ids_of(mine)
    assert set(source.languages) == {"ko"}
    source = scene.source(long_only=True)
    assert Counter(flat(read_all(source))) == ids_of([d for d in scene.documents if d.columns["long_document"]])


def test_held_out_documents_are_those_of_no_other_source(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(400)))
    trained, held = scene.source(holdout=0.25), scene.source(holdout=0.25, held_out=True)
    expected = [d for place, d in enumerate(scene.documents) if xxhash.xxh3_64_intdigest(f"d{place}".encode()) < 2**62]
    assert 60 < len(expected) < 140
    assert Counter(flat(read_all(held))) == ids_of(expected)
    assert Counter(flat(read_all(trained))) + ids_of(expected) == ids_of(scene.documents)


def test_an_index_is_built_once_and_the_same_everywhere(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(50)))
    first = scene.source()
    made = {path: path.stat().st_mtime_ns for path in scene.cache.rglob("*")}
    again = scene.source()
    assert {path: path.stat().st_mtime_ns for path in scene.cache.rglob("*")} == made
    elsewhere = open_source(scene.spec(), scene.sha256, tmp_path / "other", SEED)
    assert first.fingerprint == again.fingerprint == elsewhere.fingerprint
    assert read_all(first) == read_all(elsewhere)
    assert not list(scene.cache.glob(".*"))


def test_the_fingerprint_is_of_everything_but_the_folder(tmp_path):
    documents = numbered_documents(some_lengths(50), epochs=[1] * 50)
    scene = Scene(tmp_path / "a", documents)
    moved = Scene(tmp_path / "b", documents)
    assert scene.source().fingerprint == moved.source().fingerprint
    changed = Scene(tmp_path / "c", [*documents[:-1], numbered_documents([3])[0]])
    other_epochs = Scene(tmp_path / "d", numbered_documents(some_lengths(50), epochs=[1] * 49 + [2]))
    sources = [scene.source(), changed.source(), other_epochs.source(), scene.source(length=8), scene.source(packing="best_fit")]
    sources += [scene.source(epochs=2), scene.source(min_tokens=2), scene.source(holdout=0.1), scene.source(where={"lang": ("ko",)})]
    sources += [open_source(scene.spec(), scene.sha256, scene.cache, SEED + 1)]
    assert len({source.fingerprint for source in sources}) == len(sources)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"where": {"language": ("ko",)}}, "selects by 'language', .* grouped by domain, lang, phase, source; name"),
        ({"where": {"lang": ("fr",)}}, "asks for lang 'fr', .* have en, ko; name"),
        ({"min_tokens": 1000}, "source 'web' has no document: .* min_tokens 1000"),
        ({"long_only": True}, "has no document: .* long_only True"),
        ({"epochs": 0}, "has no document: .* epochs 0"),
        ({"held_out": True}, "has no document: .* held_out True"),
    ],
)
def test_a_selection_of_nothing_is_refused_with_what_there_is(tmp_path, fields, message):
    scene = Scene(tmp_path, numbered_documents([5, 6], lang=["ko", "en"]))
    with pytest.raises(UserError, match=message):
        scene.source(**fields)
    assert not scene.cache.exists()


def test_shards_of_another_tokenizer_and_missing_ones_are_refused(tmp_path):
    scene = Scene(tmp_path, numbered_documents([5, 6]))
    with pytest.raises(UserError, match="another tokenizer"):
        open_source(scene.spec(), "0" * 64, scene.cache, SEED)
    path = next(scene.shards.rglob("*.bin"))
    path.write_bytes(path.read_bytes()[:-4])
    with pytest.raises(UserError, match="bytes and should have"):
        scene.source()
    path.unlink()
    with pytest.raises(UserError, match="is missing"):
        scene.source()


def test_two_processes_that_build_one_index_both_get_it(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(50)))
    folder = scene.cache / scene.source().fingerprint
    made = {path: path.read_bytes() for path in folder.iterdir()}
    _build(scene.spec(), scene.source().files, folder)
    assert {path: path.read_bytes() for path in folder.iterdir()} == made
    assert [path.name for path in scene.cache.iterdir()] == [folder.name]


def test_a_damaged_index_is_named(tmp_path):
    scene = Scene(tmp_path, numbered_documents(some_lengths(50)))
    folder = scene.cache / scene.source().fingerprint
    path = folder / "ends-0.npy"
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(UserError, match=rf"the index of source 'web' in '{folder}' is damaged"):
        scene.source()
