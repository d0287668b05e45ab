"""The loader: batches are a pure function of the numbers of samples, and hold each token once as input and once as target."""

from __future__ import annotations

import itertools
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch

from pipeline.errors import UserError
from tests.training.data_scene import Scene, documents_of, numbered_documents, some_lengths, stage
from training.batch import NO_TARGET
from training.ledger import Ledger
from training.loader import batches, micro_batches, open_stage, open_validation, sample_numbers, samples_read, steps_of
from training.plan import Validation


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    lengths = some_lengths(900)
    langs = [["ko", "en"][place % 2] for place in range(900)]
    domains = [["law", "news", "code"][place % 3] for place in range(900)]
    return Scene(tmp_path_factory.mktemp("scene"), numbered_documents(lengths, lang=langs, domain=domains))


def mixed(scene):
    """Three streams in a stage, one of them packed."""
    where = [{"lang": ("ko",)}, {"lang": ("en",), "domain": ("law", "news")}, {"lang": ("en",), "domain": ("code",)}]
    specs = [scene.spec(f"s{place}", where=one, epochs=4) for place, one in enumerate(where)]
    specs[1] = scene.spec("s1", where=where[1], epochs=4, packing="best_fit")
    return scene.data(specs, stage(480, [0.5, 0.3, 0.2]))


def same(one, other):
    tensors = [
        (a.ids, a.targets, a.labels, a.segments.positions, a.segments.piece, a.segments.bounds, torch.tensor(a.segments.longest))
        for a in (one, other)
    ]
    return all(torch.equal(a, b) for a, b in zip(*tensors, strict=True))


def everything(batch):
    """Per sequence: ids, targets, labels, positions."""
    return torch.stack([batch.ids, batch.targets, batch.labels, batch.segments.positions], 1)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
@pytest.mark.parametrize("epochs", [1, 2])
def test_every_token_is_read_once_and_every_other_than_a_first_is_once_a_target(scene, packing, epochs):
    spec = scene.spec(packing=packing, epochs=epochs)
    total = scene.source(packing=packing, epochs=epochs).total
    batch = scene.data([spec], stage(total, [1.0], batch=1)).batch(np.arange(total))
    tokens = Counter(token for document in scene.documents for token in document.ids)
    firsts = {document.ids[0] for document in scene.documents}
    assert {token: count for token, count in Counter(batch.ids.flatten().tolist()).items() if token} == dict.fromkeys(tokens, epochs)
    targets = Counter(target for target in batch.targets.flatten().tolist() if target != NO_TARGET)
    assert targets == dict.fromkeys(set(tokens) - firsts, epochs)


@pytest.mark.parametrize("packing", ["concat", "best_fit"])
def test_no_piece_and_no_target_crosses_a_document(scene, packing):
    spec = scene.spec(packing=packing)
    batch = scene.data([spec], stage(96, [1.0])).batch(np.arange(96))
    of = documents_of(scene.documents)
    ids, targets, piece = batch.ids.flatten().numpy(), batch.targets.flatten().numpy(), batch.segments.piece.flatten().numpy()
    positions, bounds = batch.segments.positions.flatten().numpy(), batch.segments.bounds.numpy()
    for begin, end in itertools.pairwise(bounds.tolist()):
        assert len(set(of[ids[begin:end]])) == 1
        assert begin // 16 == (end - 1) // 16  # a piece is within a sequence
        assert (piece[begin:end] == piece[begin]).all()
        assert positions[begin:end].tolist() == list(range(end - begin))
        if ids[begin]:
            assert ids[begin:end].tolist() == list(range(ids[begin], ids[begin] + end - begin))
    has = targets != NO_TARGET
    assert (of[targets[has]] == of[ids[has]]).all() and (targets[has] == ids[has] + 1).all()
    last = np.array([document.ids[-1] for document in scene.documents])
    assert set(ids[~has]) <= {0, *last.tolist()}  # only where a document ends, and padding
    assert batch.segments.longest == np.diff(bounds).max()


def test_any_number_of_ranks_reads_the_same_global_batches(scene):
    data = mixed(scene)
    whole = [everything(data.batch(np.arange(step * 8, step * 8 + 8))) for step in range(60)]
    for world, micro in ((1, 8), (1, 2), (2, 4), (2, 1), (4, 2), (4, 1), (8, 1)):
        ranks = [list(batches(data, range(60), 8, micro, rank, world)) for rank in range(world)]
        for step in range(60):
            turns = [[everything(batch) for batch in ranks[rank][step]] for rank in range(world)]
            again = torch.cat([turns[rank][turn] for turn in range(len(turns[0])) for rank in range(world)])
            assert torch.equal(again, whole[step]), (world, micro, step)


def test_resuming_is_a_slice(scene):
    whole = list(batches(mixed(scene), range(60), 8, 2, 1, 2))
    for step in (1, 7, 59):
        rest = list(batches(mixed(scene), range(step, 60), 8, 2, 1, 2))  # opened anew
        assert all(same(a, b) for one, other in zip(whole[step:], rest, strict=True) for a, b in zip(one, other, strict=True))


def test_samples_do_not_depend_on_their_batch(scene):
    data = mixed(scene)
    asked = np.array([479, 3, 200, 3, 77])
    together = everything(data.batch(asked))
    assert torch.equal(together, torch.cat([everything(data.batch(asked[place : place + 1])) for place in range(len(asked))]))


def test_shares_labels_and_what_is_used(scene):
    data = mixed(scene)
    assert data.labels == (("s0", "ko"), ("s1", "en"), ("s2", "en"))
    labels = data.batch(np.arange(480)).labels
    assert (labels == labels[:, :1]).all()
    counts = torch.bincount(labels[:, 0], minlength=3).tolist()
    assert counts == [240, 144, 96] == list(data.used(480))
    for read in (0, 1, 100, 333):
        assert list(data.used(read)) == torch.bincount(labels[:read, 0], minlength=3).tolist()


def test_labels_tell_the_languages_of_one_source_apart(scene):
    data = scene.data([scene.spec()], stage(96, [1.0]))
    assert data.labels == (("s0", "en"), ("s0", "ko"))
    batch = data.batch(np.arange(96))
    lang = np.array(["", *(document.lang for document in scene.documents)])[documents_of(scene.documents)[batch.ids.numpy()] + 1]
    for label, (_, name) in enumerate(data.labels):
        assert (lang[batch.labels.numpy() == label] == name).all()


def test_the_seed_decides_the_order(scene, tmp_path):
    plan = scene.plan([scene.spec()], [stage(96, [1.0])])
    one = open_stage(plan, 0, Ledger.empty(), scene.cache).batch(np.arange(8))
    other = open_stage(replace(plan, seed=8), 0, Ledger.empty(), tmp_path).batch(np.arange(8))
    assert not torch.equal(one.ids, other.ids)


def test_validation_reads_what_training_does_not(scene):
    specs = [scene.spec("s0", holdout=0.2), scene.spec("held", holdout=0.2, held_out=True)]
    plan = replace(scene.plan(specs, [stage(96, [1.0])]), validation=Validation(0.2, 1000, (1,)))
    (held,) = open_validation(plan, 0, scene.cache)
    trained = scene.data(specs, stage(scene.source(name="s0", holdout=0.2).total, [1.0], batch=1))
    ids = [set(data.batch(np.arange(data.samples)).ids.flatten().tolist()) - {0} for data in (held, trained)]
    assert not ids[0] & ids[1] and len(ids[0] | ids[1]) == sum(len(document.ids) for document in scene.documents)
    assert {stream for stream, _ in held.labels} == {"held"}


def test_skipped_samples_are_read_by_nobody():
    ranges = [(30, 34), (10, 20), (15, 22), (50, 50)]
    skipped = {*range(10, 22), *range(30, 34)}
    left = [number for number in range(100) if number not in skipped]
    assert sample_numbers(np.arange(84), ranges).tolist() == left
    assert steps_of(100, 8, ranges) == 84 // 8
    assert steps_of(20, 8, ranges) == 1
    assert [samples_read(step, 8, ranges) for step in range(4)] == [0, 8, 28, 40]
    assert samples_read(0, 8, [(0, 5)]) == 5


def test_batches_leave_out_what_is_skipped(scene):
    data = mixed(scene)
    skipped = list(batches(data, range(3), 8, 8, skip_ranges=[(8, 16)]))
    whole = list(batches(data, range(4), 8, 8))
    assert all(same(a[0], b[0]) for a, b in zip(skipped, [whole[0], whole[2], whole[3]], strict=True))


def test_a_batch_that_ranks_cannot_share_is_refused():
    with pytest.raises(UserError, match="can't be shared evenly by 3 ranks"):
        micro_batches(0, 8, 1, 0, 3)


def test_a_token_the_model_does_not_have_is_named(tmp_path):
    documents = numbered_documents([20, 20, 20])
    documents[1] = type(documents[1])("ko", "general", "web", "law", [5, 6, 7 << 20, 8])
    scene = Scene(tmp_path, documents)
    data = scene.data([scene.spec(length=4)], stage(11, [1.0], length=4, batch=1))
    with pytest.raises(UserError, match=r"00000_000.bin' has the token id 7,340,032 at token 22, and the model's vocabulary has 1,048,576"):
        data.batch(np.arange(11))


def test_samples_outside_the_stage_are_an_error(scene):
    with pytest.raises(IndexError):
        mixed(scene).batch(np.array([480]))
