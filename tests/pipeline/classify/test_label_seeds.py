"""Seed words: found as the slow search finds them, weighed by rarity; the taxonomy is checked, and its seeds label clear documents."""

from __future__ import annotations

import json
import math
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

from pipeline.alone import Inputs, plan_documents
from pipeline.classify.config import TrainConfig
from pipeline.classify.train import train_model
from pipeline.errors import UserError
from pipeline.labels.bootstrap import bootstrap
from pipeline.labels.config import BootstrapConfig
from pipeline.labels.output import render
from pipeline.labels.reading import smallest
from pipeline.labels.scores import best_topics, seed_weights, topic_seeds
from pipeline.labels.seeds import seed_table, seeds_in
from pipeline.labels.taxonomy import Taxonomy, load_taxonomy, with_places
from tests.pipeline.classify.labelled_scene import write_rows

SEEDS = ("cat", "category", "c++", "open source", "baby", "box", "축구", "축구장", "프로야구", "시", "ai2", "é1a")
PLURALS = {"cats": "cat", "categories": "category", "open sources": "open source", "babies": "baby", "boxes": "box", "é1as": "é1a"}


def twin(text: str, seeds: tuple[str, ...]) -> set[str]:
    """The search, character by character."""
    spelled = {seed: seed for seed in seeds} | PLURALS
    folded = "".join(char.lower() if char.isascii() else char for char in text)
    word = [char.isascii() and char.isalnum() for char in folded]
    hangul = ["가" <= char <= "힣" for char in folded]
    found, place = set(), 0
    while place < len(folded):
        inside = place > 0 and ((word[place] and word[place - 1]) or (hangul[place] and hangul[place - 1]))
        fitting = []
        for spelling in spelled:
            end = place + len(spelling)
            whole = end >= len(folded) or not (word[end] and word[end - 1])
            if not inside and folded.startswith(spelling, place) and whole:
                fitting.append(spelling)
        if not fitting:
            place += 1
            continue
        longest = max(fitting, key=lambda spelling: len(spelling.encode()))
        found.add(spelled[longest])
        place += len(longest)
    return found


PIECES = st.sampled_from([*SEEDS, *PLURALS, *(seed.upper() for seed in SEEDS), "x", "가", " ", ".", "\n", "에서", "é", "+", "1", "s"])


@settings(max_examples=150, deadline=None)
@given(st.lists(st.one_of(st.none(), st.lists(PIECES, max_size=14).map("".join)), min_size=1, max_size=6), st.integers(1, 60))
def test_the_compiled_search_finds_what_the_slow_one_finds(texts: list[str | None], max_chars: int) -> None:
    table = seed_table(SEEDS)
    documents, seeds = seeds_in(pa.chunked_array([pa.array(texts, pa.large_string())]), table, max_chars)
    found: list[set[str]] = [set() for _ in texts]
    for document, seed in zip(documents.tolist(), seeds.tolist(), strict=True):
        assert table.seeds[seed] not in found[document], "a seed is reported once per document"
        found[document].add(table.seeds[seed])
    assert found == [twin((text or "")[:max_chars], SEEDS) for text in texts]
    assert documents.tolist() == sorted(documents.tolist())


def test_a_long_text_is_searched_beyond_the_first_chunk() -> None:
    text = "x " * 3000 + "축구 " + "y " * 3000 + "cats"
    table = seed_table(SEEDS)
    _, seeds = seeds_in(pa.chunked_array([pa.array([text], pa.large_string())]), table, 10**6)
    assert {table.seeds[seed] for seed in seeds} == {"축구", "cat"}


def taxonomy(**more: Any) -> Taxonomy:
    topics = [
        {"id": "sport", "seeds": {"en": ["goal", "match", "league", "coach"], "ko": ["축구", "선수", "감독", "우승"]}},
        {"id": "science", "seeds": {"en": ["atom", "cell", "theory", "coach"], "ko": ["실험", "이론", "세포", "원자"]}},
        {"id": "music", "seeds": {"en": ["violin", "song"]}, **more},
    ]
    return Taxonomy.model_validate({"name": "t", "topics": [{"name": {}, "definition": {}, **topic} for topic in topics]})


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.sampled_from(["goal", "match", "coach", "atom", "violin", "filler"]), max_size=8), min_size=1, max_size=8))
def test_scores_are_those_of_the_formula(words: list[list[str]]) -> None:
    topics = taxonomy()
    seeds = topic_seeds(topics)
    texts = [" ".join(line) for line in words]
    documents, found = seeds_in(pa.chunked_array([pa.array(texts, pa.large_string())]), seeds.table, 1000)
    frequencies = np.bincount(found, minlength=len(seeds.table.seeds))[None, :]
    weights = seed_weights(frequencies, np.array([len(texts)]))[0]
    text_bytes = np.array([len(text) for text in texts])
    best = best_topics(seeds.topics, 3, documents, found, weights[found], text_bytes)
    for row, line in enumerate(words):
        scores = []
        for topic in topics.topics:
            total = 0.0
            for seed in topic.all_seeds() & set(line):
                holders = sum(seed in other for other in words)
                owners = sum(seed in other.all_seeds() for other in topics.topics)
                total += math.log(1 + (len(words) - holders + 0.5) / (holders + 0.5)) / owners
            scores.append(total / math.log2(2 + len(texts[row]) / 1000))
        assert best.score[row] == pytest.approx(max(scores))
        assert best.second[row] == pytest.approx(sorted(scores)[-2])
        assert scores[best.topic[row]] == pytest.approx(max(scores))
        assert best.hits[row] == len(topics.topics[best.topic[row]].all_seeds() & set(line))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 2), st.integers(0, 3), st.integers(0, 9)), max_size=20), st.integers(0, 5))
def test_smallest_takes_the_first_of_each_group_and_is_nested(rows: list[tuple[int, int, int]], limit: int) -> None:
    groups, ranks, keys = (np.array([row[column] for row in rows], np.int64) for column in range(3))
    chosen = smallest(groups, ranks.astype(np.float64), keys.astype(np.uint64), np.full(3, limit))
    for group in range(3):
        mine = sorted((rank, key, place) for place, (its, rank, key) in enumerate(rows) if its == group)
        assert sorted(np.flatnonzero(chosen & (groups == group)).tolist()) == sorted(place for _, _, place in mine[:limit])
    assert not chosen[groups == -1].any()
    more = smallest(groups, ranks.astype(np.float64), keys.astype(np.uint64), np.full(3, limit + 1))
    assert (more | ~chosen).all()


def test_the_shipped_taxonomy_has_24_topics_with_25_seeds_or_more_in_each_language() -> None:
    shipped = load_taxonomy(None)
    assert len(shipped.topics) == 24
    for topic in shipped.topics:
        assert all(len(topic.seeds[language]) >= 25 and topic.name[language] and topic.definition[language] for language in ("en", "ko"))
        assert any("가" <= seed[0] <= "힣" for seed in topic.seeds["ko"])
    assert len(shipped.shared_seeds()) < 5


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": "sport"}, "2 topics with the id 'sport'"),
        ({"seeds": {"en": []}}, "'en' has no seeds"),
        ({"seeds": {"en": ["a song", "a song"]}}, "lists the seed 'a song' twice"),
        ({"seeds": {"en": ["ab"]}}, "three letters"),
        ({"seeds": {"en": ["(song"]}}, "no mark first"),
        ({"seeds": {}}, "nothing could show it"),
        ({"hosts": ["https://x.kr/"]}, "not a host name"),
        ({"sedes": {}}, "unknown key 'sedes'; did you mean 'seeds'"),
    ],
)
def test_a_taxonomy_that_cannot_work_is_refused(change: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError, match=says.replace("(", r"\(")):
        taxonomy(**change)


def test_places_are_added_to_topics_that_exist(tmp_path: Path) -> None:
    file = tmp_path / "places.yaml"
    file.write_text("sport: {hosts: [sports.example.kr]}")
    assert with_places(taxonomy(), file).topics[0].hosts == ("sports.example.kr",)
    file.write_text("sports: {hosts: [sports.example.kr]}")
    with pytest.raises(UserError, match="there is no topic 'sports' in t; did you mean 'sport'"):
        with_places(taxonomy(), file)


WORDS = {
    "sport": ["goal", "match", "league", "축구", "선수", "감독", "stadium", "trophy", "경기"],
    "science": ["atom", "cell", "theory", "실험", "이론", "세포", "laboratory", "protein", "논문"],
}


def corpus(count: int) -> list[dict[str, Any]]:
    """Documents of two topics: most with seeds, every third with other words of the topic only."""
    chooser = random.Random(3)
    made = []
    for number in range(count):
        label = ("sport", "science")[number % 2]
        words = WORDS[label][-3:] if number % 3 == 0 else WORDS[label]
        text = f"{number} " + " ".join(chooser.choice(words) for _ in range(12))
        made.append({"id": f"d{number}", "text": text, "lang": ("ko", "en")[number // 2 % 2], "gold": label})
    return made


def run(path: str, out: Path, topics: Taxonomy | None = None, **settings: Any) -> dict[str, Any]:
    splits, _ = plan_documents(Inputs([path]))
    return bootstrap(splits, topics or taxonomy(), BootstrapConfig.model_validate(settings), out)


def test_seeds_label_what_is_clear_and_rounds_what_is_like_it_in_any_order(tmp_path: Path) -> None:
    records = corpus(120)
    facts = run(write_rows(tmp_path / "a.jsonl", records), tmp_path / "one", rounds=2, share=0.5)
    shuffled = records.copy()
    random.Random(1).shuffle(shuffled)
    run(write_rows(tmp_path / "b" / "a.jsonl", shuffled), tmp_path / "two", rounds=2, share=0.5)
    assert (tmp_path / "one" / "labelled.parquet").read_bytes() == (tmp_path / "two" / "labelled.parquet").read_bytes()
    rows = pq.read_table(tmp_path / "one" / "labelled.parquet").to_pylist()
    gold = {record["id"]: record["gold"] for record in records}
    assert all(gold[row["id"]] == row["label"] for row in rows)
    assert facts["by"]["seeds"] >= 70 and facts["by"]["model"] >= 15 and len(facts["rounds"]) == 2
    assert {row["why"].split()[0] for row in rows} >= {"seeds", "model"}
    assert "music" in facts["notes"][0] and "round 2" in render(facts)
    seeds_only = run(str(tmp_path / "a.jsonl"), tmp_path / "none", rounds=0)
    assert seeds_only["by"]["model"] == 0 and seeds_only["left_out"]["with fewer than min_seeds seeds of a topic"] >= 40
    card = train_model(TrainConfig(inputs=[str(tmp_path / "one" / "labelled.parquet")], dim=8, bucket=2000), tmp_path / "m.bin")
    assert card["labels"] == {"science": "science", "sport": "sport"}


def test_places_label_and_contradict(tmp_path: Path) -> None:
    records = [
        {"id": "a", "text": "nothing to see", "url": "https://www.music.example.kr/x", "source": "web"},
        {"id": "b", "text": "the goal, the match, the league", "url": "https://music.example.kr/y"},
        {"id": "c", "text": "nothing either", "source": "notes"},
        {"id": "d", "text": "goal match league"},
    ]
    path = write_rows(tmp_path / "a.jsonl", records)
    facts = run(path, tmp_path / "out", taxonomy(hosts=["example.kr"], sources=["notes"]), min_seeds=3)
    rows = {row["id"]: (row["label"], row["why"]) for row in pq.read_table(tmp_path / "out" / "labelled.parquet").to_pylist()}
    assert rows["a"] == ("music", "host music.example.kr") and rows["c"] == ("music", "source notes") and rows["d"][0] == "sport"
    assert set(rows) == {"a", "c", "d"} and facts["left_out"]["where place and seeds disagree"] == 1


def test_a_taxonomy_of_places_alone_needs_no_seeds(tmp_path: Path) -> None:
    topics = [{"id": place, "name": {}, "definition": {}, "seeds": {}, "sources": [place]} for place in ("a", "b")]
    path = write_rows(
        tmp_path / "x.jsonl", [{"id": str(number), "text": f"text {number}", "source": "ab"[number % 2]} for number in range(30)]
    )
    facts = run(path, tmp_path / "out", Taxonomy.model_validate({"name": "places", "topics": topics}), rounds=1)
    assert facts["labels"] == {"a": {"und": 15}, "b": {"und": 15}}


def test_nothing_to_label_is_said(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "a.jsonl", [{"id": "a", "text": "nothing to see"}])
    with pytest.raises(UserError, match="no document holds 2 seeds"):
        run(path, tmp_path / "out")
    path = write_rows(tmp_path / "b.jsonl", [{"id": str(number), "text": f"goal match {number}"} for number in range(20)])
    with pytest.raises(UserError, match="two topics of at least 10 labelled documents, and there are 1"):
        run(path, tmp_path / "two", rounds=1)
    path = write_rows(tmp_path / "c.jsonl", [{"id": "a", "text": ""}])
    with pytest.raises(UserError, match="any text"):
        run(path, tmp_path / "three")


def test_seeds_of_the_shipped_taxonomy_on_real_news(shared_data: Path, tmp_path: Path) -> None:
    """Measured in docs/labels.md; here only that it works: better than 0.6 where chance among 24 topics is 0.04."""
    facts = run(str(shared_data / "labelled" / "topic" / "en_agnews_test.jsonl.gz"), tmp_path / "out", load_taxonomy(None))
    assert facts["documents"] == 5092
    table = pq.read_table(tmp_path / "out" / "labelled.parquet", columns=["label"])
    assert json.dumps(facts, ensure_ascii=False) and len(table) > 500
    assert facts["labels"]["sports_and_fitness"]["en"] > 100
