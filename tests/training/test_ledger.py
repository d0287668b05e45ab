"""The ledger: replay of unseen and seen data through three stages adds up to the chunk."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import UserError
from tests.training.data_scene import Scene, numbered_documents, some_lengths, stage
from training.ledger import Ledger, place_streams
from training.plan import Replay
from training.streams import WEIGHTS


@pytest.fixture(scope="module")
def scene(tmp_path_factory):
    lengths = some_lengths(1500)
    langs = [["ko", "en", "en"][place % 3] for place in range(1500)]
    phases = [["general", "general", "general", "domain"][place % 4] for place in range(1500)]
    return Scene(tmp_path_factory.mktemp("scene"), numbered_documents(lengths, lang=langs, phase=phases))


def specs(scene):
    """Two general sources, one of the domain, and one of long sequences."""
    return [
        scene.spec("ko", where={"phase": ("general",), "lang": ("ko",)}),
        scene.spec("en", where={"phase": ("general",), "lang": ("en",)}),
        scene.spec("law", where={"phase": ("domain",)}),
        scene.spec("long", length=64, min_tokens=20, packing="best_fit"),
    ]


def own(made, sources):
    """A stage whose own streams are these sources."""
    streams = tuple(replace(stream, source=source, name=f"s{source}") for stream, source in zip(made.streams, sources, strict=True))
    return replace(made, streams=streams)


def all_of_one(made):
    """A stage whose own streams all read the first source."""
    return replace(made, streams=tuple(replace(stream, source=0) for stream in made.streams))


def chunks_read(data, samples):
    """Per stream, the (source, place of its order) of all chunks that the first samples hold."""
    stream_of, number = data._mixture.locate(np.arange(samples))
    read = []
    for index, stream in enumerate(data.streams):
        places = stream.places(number[stream_of == index], data._keys[index])
        read.append([(stream.source, place) for place in places.ravel().tolist()])
    return read


@pytest.mark.parametrize(
    ("policy", "general_samples"), [("unseen", 240), ("seen", 240), ("seen", 500), ("unseen_first", 240), ("unseen_first", 500)]
)
def test_three_stages_add_up(scene, policy, general_samples):
    sources = specs(scene)
    opened = [scene.source(**{f: getattr(spec, f) for f in ("name", "where", "length", "min_tokens", "packing")}) for spec in sources]
    stages = [
        stage(general_samples, [0.4, 0.6], "general"),
        own(stage(120, [0.7], "domain", replay=Replay("general", round(0.3 * WEIGHTS), policy)), [2]),
        own(stage(24, [0.5], "context", length=64, replay=Replay("domain", WEIGHTS // 2, policy)), [3]),
    ]
    ledger, planned, seen_before = Ledger.empty(), Ledger.empty(), Counter()
    for one in stages:
        data = scene.data(sources, one, ledger)
        assert data.streams == place_streams(one, planned, opened)
        read = chunks_read(data, one.samples)
        counts = Counter(chunk for stream, chunks in zip(data.streams, read, strict=True) for chunk in chunks if stream.kind == "fresh")
        assert set(counts.values()) == {1}  # fresh: nothing twice within a stage
        assert not set(counts) & set(seen_before)  # nor again
        for stream, chunks in zip(data.streams, read, strict=True):
            if stream.kind == "seen":
                assert set(chunks) <= set(seen_before)
                times = np.bincount([place - stream.start for _, place in chunks], minlength=stream.count)
                assert times.max() == stream.max_passes and times.max() - times.min() <= 1
        assert data.used(one.samples) == tuple(map(len, read))
        seen_before.update(counts)
        ledger, planned = ledger.after(one.name, data.streams, data.used(one.samples)), planned.after(one.name, data.streams)
        assert ledger == planned  # what was planned is what happened
        assert Ledger.from_json(json.loads(json.dumps(ledger.as_json()))) == ledger
        for source, left in ledger.left.items():  # no gap: what was read is all up to where the order was left
            assert {place for index, place in seen_before if index == source} == set(range(left))
    context = {stream.name for stream in data.streams}
    if policy == "seen":
        assert context == {"s3", "domain/s2", "domain/general/s0", "domain/general/s1"}
        kinds = [stream.kind for stream in data.streams]
        assert kinds == ["fresh", "seen", "seen", "seen"]
    weights = {stream.name: stream.weight for stream in data.streams}
    assert sum(weight for name, weight in weights.items() if name.endswith("/s2")) == round(0.35 * WEIGHTS)
    assert sum(weight for name, weight in weights.items() if name.endswith("/s0")) == round(0.06 * WEIGHTS)


def test_replay_in_longer_sequences_keeps_its_chunks_whole(scene):
    """A sample of 64 tokens is four replayed chunks of 16, one after another, each as its own stage read it."""
    general = stage(160, [0.4, 0.6], "general")
    data = scene.data(specs(scene), general)
    batch = data.batch(np.arange(160))
    short = {tuple(ids): tuple(targets) for ids, targets in zip(batch.ids.tolist(), batch.targets.tolist(), strict=True)}
    ledger = Ledger.empty().after("general", data.streams, data.used(160))
    context = own(stage(32, [0.5], "context", length=64, replay=Replay("general", WEIGHTS // 2, "seen")), [3])
    longer = scene.data(specs(scene), context, ledger)
    batch = longer.batch(np.arange(32))
    replayed = 0
    for ids, targets, label, piece in zip(batch.ids, batch.targets, batch.labels[:, 0].tolist(), batch.segments.piece, strict=True):
        if longer.labels[label][0] == "s3":
            continue
        for begin in range(0, 64, 16):
            assert short[tuple(ids[begin : begin + 16].tolist())] == tuple(targets[begin : begin + 16].tolist())
            assert begin == 0 or piece[begin] != piece[begin - 1]
        replayed += 1
    assert replayed == 16


def test_a_stage_that_ended_early_is_gone_on_from_where_it_was(scene):
    general = stage(160, [0.4, 0.6], "general")
    data = scene.data(specs(scene), general)
    read = chunks_read(data, 77)
    ledger = Ledger.empty().after("general", data.streams, data.used(77))
    assert ledger.left == {0: len(read[0]), 1: len(read[1])}
    for policy in ("unseen", "seen"):
        again = scene.data(specs(scene), own(stage(40, [0.5], "domain", replay=Replay("general", WEIGHTS // 2, policy)), [2]), ledger)
        replayed = {chunk for chunks in chunks_read(again, 40)[1:] for chunk in chunks}
        before = {chunk for chunks in read for chunk in chunks}
        assert replayed <= before if policy == "seen" else not replayed & before


def test_own_streams_and_unseen_replay_of_one_source_have_their_own_ranges(scene):
    ledger = Ledger.empty().after("general", (data := scene.data(specs(scene), stage(100, [0.4, 0.6], "general"))).streams, data.used(100))
    both = scene.data(specs(scene), stage(60, [0.25, 0.25], "domain", replay=Replay("general", WEIGHTS // 2, "unseen")), ledger)
    read = [chunk for chunks in chunks_read(both, 60) for chunk in chunks]
    assert len(set(read)) == len(read) == 60
    after = ledger.after("domain", both.streams, both.used(60))
    assert sum(after.left.values()) == 160


def test_unseen_first_takes_what_is_unseen_and_then_what_was_seen(scene):
    total = scene.source(where={"phase": ("general",), "lang": ("ko",)}).total
    data = scene.data(specs(scene), stage(total - 10, [1.0], "general", batch=1))
    ledger = Ledger.empty().after("general", data.streams, data.used(total - 10))
    made = own(stage(80, [0.5], "domain", replay=Replay("general", WEIGHTS // 2, "unseen_first")), [2])
    data = scene.data(specs(scene), made, ledger)
    assert [(stream.name, stream.kind) for stream in data.streams] == [
        ("s2", "fresh"),
        ("general/s0", "fresh"),
        ("general again/s0", "seen"),
    ]
    assert data.used(80)[1:] == (10, 30)


def test_unseen_first_leaves_a_stage_what_its_own_streams_and_other_replay_need(scene):
    """All of it together needs more of one source than there is; only replay gives way."""
    total = scene.source(where={"phase": ("general",), "lang": ("ko",)}).total
    data = scene.data(specs(scene), all_of_one(stage(100, [0.5, 0.5], "general", batch=1)))
    assert [stream.start for stream in data.streams] == [0, 50]
    ledger = Ledger.empty().after("general", data.streams, data.used(100))
    made = stage(120, [0.5], "domain", batch=1, replay=Replay("general", WEIGHTS // 2, "unseen_first"))
    data = scene.data(specs(scene), made, ledger)
    fresh = [
        chunk for stream, chunks in zip(data.streams, chunks_read(data, 120), strict=True) for chunk in chunks if stream.kind == "fresh"
    ]
    assert total - 2 <= 100 + len(fresh) <= total and len(set(fresh)) == len(fresh)
    assert min(place for _, place in fresh) == 100
    assert {stream.name: stream.kind for stream in data.streams} == {
        "s0": "fresh",
        "general/s0": "fresh",
        "general/s1": "fresh",
        "general again/s1": "seen",
    }


def test_what_is_left_is_where_reading_stopped_and_not_where_a_later_range_began(scene):
    data = scene.data(specs(scene), all_of_one(stage(100, [0.999, 0.001], "general", batch=1)))
    used = data.used(30)
    assert used[1] == 0
    assert Ledger.empty().after("general", data.streams, used).left == {0: 30}


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (stage(8000, [1.0], "general"), r"needs 128,000 tokens of 's0', and its source 'ko' has [\d,]+ left of 1 epochs; lower"),
        (stage(8, [0.5], "domain", replay=Replay("first", WEIGHTS // 2, "seen")), "replays 'first', and the stages before it are none"),
        (own(stage(8, [1.0], "context", length=72), [3]), "72 tokens, and the chunks of its source 'long' have 64"),
    ],
)
def test_what_cannot_be_is_refused(scene, made, message):
    with pytest.raises(UserError, match=message):
        scene.data(specs(scene), made)


def test_the_largest_budget_that_is_named_works(scene):
    """Of an own stream, and of replay with several chunks to a sample."""
    data = scene.data(specs(scene), stage(100, [1.0], "general", batch=4))
    ledger = Ledger.empty().after("general", data.streams, data.used(100))
    replay = Replay("general", round(0.7 * WEIGHTS), "unseen")
    cases = [
        (lambda samples: stage(samples, [1.0], "next", batch=4), "'s0'.*give it less weight, or raise max_epochs"),
        (lambda samples: own(stage(samples, [0.3], "next", 64, 4, replay), [3]), "'general/s0'.*replay less of it, or unseen_first"),
    ]
    for made, message in cases:
        with pytest.raises(UserError, match=message) as raised:
            scene.data(specs(scene), made(200), ledger)
        most = int(re.search(r"tokens to ([\d,]+)", str(raised.value))[1].replace(",", "")) // made(200).length
        assert 0 < most < 200 and most % 4 == 0
        scene.data(specs(scene), made(most), ledger)
        with pytest.raises(UserError, match=message):
            scene.data(specs(scene), made(most + 4), ledger)


@pytest.mark.parametrize("asked", [500, 5000])
def test_the_largest_budget_counts_all_that_the_stage_reads_of_a_source(scene, asked):
    """A shorter stage's replay begins sooner: behind fewer of its own chunks."""
    ledger = Ledger.empty().after("general", (data := scene.data(specs(scene), stage(100, [1.0], "general"))).streams, data.used(100))
    total = scene.source(name="ko", where=specs(scene)[0].where).total

    def made(samples):
        return stage(samples, [0.5], "next", batch=4, replay=Replay("general", WEIGHTS // 2, "unseen"))

    with pytest.raises(UserError) as raised:
        scene.data(specs(scene), made(max(asked, total)), ledger)
    most = int(re.search(r"tokens to ([\d,]+)", str(raised.value))[1].replace(",", "")) // 16
    assert most == (total - 100) // 4 * 4
    scene.data(specs(scene), made(most), ledger)


def test_two_streams_of_one_name_are_refused(scene):
    made = stage(8, [0.5, 0.5], "general")
    made = replace(made, streams=tuple(replace(stream, name="same") for stream in made.streams))
    with pytest.raises(UserError, match="more than one source called 'same'"):
        scene.data(specs(scene), made)


def test_replay_of_a_stage_that_read_nothing_is_refused(scene):
    general = scene.data(specs(scene), stage(80, [0.5, 0.5], "general"))
    ledger = Ledger.empty().after("general", general.streams, (0, 0))
    assert ledger.left == {0: 0, 1: 0}
    with pytest.raises(UserError, match="'general', which has read nothing"):
        scene.data(specs(scene), own(stage(8, [0.5], "domain", replay=Replay("general", WEIGHTS // 2, "seen")), [2]), ledger)
