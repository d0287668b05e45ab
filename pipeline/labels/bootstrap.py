"""Topics without labelled documents: seed words and known places label the clear cases, self-trained models the next clearest.

Each round of self-training trains a fastText model on what seeds and places labelled and on what the round before added, lets it predict
all other documents, and adds the surest share of those predicted as each topic in each language: a share, never an absolute probability,
since a model's probabilities mean something else in each language and after each round. What a round adds replaces what the one
before added, so a mistake can be taken back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipeline import __version__
from pipeline.classify.config import ModelConfig, TrainConfig
from pipeline.classify.move import existing_model
from pipeline.classify.score import Score
from pipeline.classify.train import train_model
from pipeline.errors import UserError
from pipeline.labels.config import BootstrapConfig
from pipeline.labels.output import SortedFile, evidence, output_folder, summary
from pipeline.labels.reading import Codes, documents, keys_of, smallest
from pipeline.labels.rules import on_hosts, seeds_held, with_parents
from pipeline.labels.scores import NO_TOPIC, TopicSeeds, best_topics, seed_weights, topic_seeds
from pipeline.labels.seeds import seeds_in
from pipeline.labels.taxonomy import Taxonomy
from pipeline.segment import write_json
from pipeline.splits import Split

_SEEDS, _PLACE, _MODEL = 0, 1, 2
_HOW = ("seeds", "place", "model")


@dataclass(frozen=True)
class _Corpus:
    """What is known of all documents, in order of reading. keys: uint64; languages: int64 codes of `names`; topic: int64 or NO_TOPIC; how:
    int8, what gave the topic; score: float64, how clear the seeds are, or the model's probability."""

    names: list[str]
    keys: np.ndarray
    languages: np.ndarray
    topic: np.ndarray
    how: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class _Found:
    """The seeds of one table's documents, and the place's topic of each."""

    languages: np.ndarray
    keys: np.ndarray
    place: np.ndarray
    text_bytes: np.ndarray
    documents: np.ndarray
    seeds: np.ndarray


def bootstrap(splits: Sequence[Split], taxonomy: Taxonomy, config: BootstrapConfig, out: Path) -> dict[str, Any]:
    """Write the documents whose topic is clear to OUT/labelled.parquet; returns the manifest.

    The documents are read twice, and twice more per round. Equal documents and settings give equal bytes.
    Raises UserError when no document, or with `rounds` fewer than two topics, could be labelled.
    """
    seeds = topic_seeds(taxonomy)
    with output_folder(out, "classify bootstrap", splits) as folder:
        seeded, left_out = _by_seeds_and_places(splits, taxonomy, seeds, config)
        corpus, rounds = seeded, []
        for number in range(1, config.rounds + 1):
            corpus, facts = _round(splits, taxonomy, seeds, config, folder, seeded, corpus)
            rounds.append({"round": number, **facts})
        path = folder / "labelled.parquet"
        _write(splits, taxonomy, seeds, config, corpus, path, corpus.topic != NO_TOPIC)
        labels = summary(path)
        rare = [topic.id for topic in taxonomy.topics if sum(labels.get(topic.id, {}).values()) < config.min_documents]
        notes = [f"fewer than {config.min_documents} documents: {', '.join(rare)}"] if rare else []
        manifest = {
            "segment": "classify bootstrap",
            "version": __version__,
            "documents": len(corpus.keys),
            "labels": labels,
            "evidence": evidence(path),
            "by": {how: int(((corpus.topic != NO_TOPIC) & (corpus.how == code)).sum()) for code, how in enumerate(_HOW)},
            "left_out": left_out,
            "rounds": rounds,
            "shared_seeds": taxonomy.shared_seeds(),
            "notes": notes + [_say(facts) for facts in rounds],
            "taxonomy": taxonomy.name,
            "config": config.model_dump(mode="json"),
        }
        write_json(folder / "manifest.json", manifest)
    return manifest


def _by_seeds_and_places(
    splits: Sequence[Split], taxonomy: Taxonomy, seeds: TopicSeeds, config: BootstrapConfig
) -> tuple[_Corpus, dict[str, int]]:
    codes, tables = Codes([]), []
    frequencies = np.zeros((0, len(seeds.table.seeds)), np.int64)
    for table in documents(splits):
        found = _found(table, taxonomy, seeds, config, codes)
        frequencies = np.vstack([frequencies, np.zeros((len(codes.names) - len(frequencies), frequencies.shape[1]), np.int64)])
        np.add.at(frequencies, (found.languages[found.documents], found.seeds), 1)
        enough_of_any = np.bincount(found.documents, minlength=len(found.keys))[found.documents] >= config.min_seeds
        tables.append(replace(found, documents=found.documents[enough_of_any], seeds=found.seeds[enough_of_any]))
    size = frequencies.shape
    languages = np.concatenate([found.languages for found in tables])
    weights = seed_weights(frequencies, np.bincount(languages, minlength=size[0]))
    best = []
    for found in tables:
        weight = weights[found.languages[found.documents], found.seeds]
        best.append(best_topics(seeds.topics, len(taxonomy.topics), found.documents, found.seeds, weight, found.text_bytes))
    names = ("topic", "hits", "score", "second", "clearness")
    topic, hits, score, second, clearness = (np.concatenate([getattr(one, name) for one in best]) for name in names)
    keys, place = (np.concatenate([getattr(found, name) for found in tables]) for name in ("keys", "place"))
    enough = hits >= config.min_seeds
    clear = enough & (score >= config.min_margin * second)
    against = (place != NO_TOPIC) & clear & (topic != place)
    chosen = np.where(place != NO_TOPIC, place, np.where(clear, topic, NO_TOPIC))
    chosen[against] = NO_TOPIC
    group = np.where(chosen != NO_TOPIC, chosen * size[0] + languages, -1)
    limits = np.full(len(taxonomy.topics) * size[0], config.sample)
    within = smallest(group, np.where(place != NO_TOPIC, -np.inf, -clearness), keys, limits)
    if not within.any():
        raise UserError(
            f"no document holds {config.min_seeds} seeds of one topic with a clear margin; give more documents, or lower min_seeds"
        )
    left_out = {
        "with fewer than min_seeds seeds of a topic": int((~enough & (place == NO_TOPIC)).sum()),
        "without a clear margin": int((enough & ~clear & (place == NO_TOPIC)).sum()),
        "where place and seeds disagree": int(against.sum()),
        "over the sample": int((chosen != NO_TOPIC).sum() - within.sum()),
    }
    how = np.where(place != NO_TOPIC, _PLACE, _SEEDS).astype(np.int8)
    return _Corpus(codes.names, keys, languages, np.where(within, chosen, NO_TOPIC), how, clearness), left_out


def _found(table: pa.Table, taxonomy: Taxonomy, seeds: TopicSeeds, config: BootstrapConfig, codes: Codes) -> _Found:
    in_document, seed = seeds_in(table.column("text"), seeds.table, config.max_chars)
    text_bytes = pc.binary_length(pc.utf8_slice_codeunits(table.column("text"), 0, config.max_chars)).to_numpy().astype(np.int64)
    languages = codes.of(table.column("lang")).astype(np.int64)
    return _Found(languages, keys_of(table.column("id"), config.seed), _places(table, taxonomy), text_bytes, in_document, seed)


def _places(table: pa.Table, taxonomy: Taxonomy) -> np.ndarray:
    """int64 per row: the first topic whose hosts or sources the document comes from, or NO_TOPIC."""
    found = np.full(len(table), NO_TOPIC, np.int64)
    for index, topic in enumerate(taxonomy.topics):
        for names, fits in ((topic.hosts, _on_host), (topic.sources, _of_source)):
            if names:
                here = pc.fill_null(fits(table, names), False).to_numpy(zero_copy_only=False)
                found[here & (found == NO_TOPIC)] = index
    return found


def _on_host(table: pa.Table, hosts: tuple[str, ...]) -> pa.ChunkedArray:
    return on_hosts(table.column("host"), frozenset(hosts))


def _of_source(table: pa.Table, sources: tuple[str, ...]) -> pa.ChunkedArray:
    return pc.is_in(table.column("source"), pa.array(sources))


def _round(
    splits: Sequence[Split],
    taxonomy: Taxonomy,
    seeds: TopicSeeds,
    config: BootstrapConfig,
    folder: Path,
    seeded: _Corpus,
    before: _Corpus,
) -> tuple[_Corpus, dict[str, Any]]:
    """Train on what is labelled `before`, predict, and add the surest to what is `seeded`."""
    topics = [topic.id for topic in taxonomy.topics]
    sizes = np.bincount(before.topic[before.topic != NO_TOPIC], minlength=len(topics))
    taught = sizes >= config.min_documents
    if taught.sum() < 2:
        raise UserError(
            f"self-training needs two topics of at least {config.min_documents} labelled documents, and there are {int(taught.sum())}; "
            "give more documents, or lower min_documents"
        )
    lines, model = folder / ".tmp" / "training.parquet", folder / ".tmp" / "model.bin"
    used = (before.topic != NO_TOPIC) & taught[np.maximum(before.topic, 0)]
    _write(splits, taxonomy, seeds, config, before, lines, used)
    card = train_model(TrainConfig(inputs=[str(lines)], seed=config.seed), model)
    score = Score((existing_model(ModelConfig(name="domain", path=str(model))),))
    predicted, sure = [], []
    for table in documents(splits):
        scored = score(table)
        predicted.append(pc.index_in(scored.column("domain"), pa.array(topics)).fill_null(NO_TOPIC).to_numpy().astype(np.int64))
        sure.append(pc.fill_null(scored.column("domain_score"), 0.0).to_numpy())
    topic, probability = np.concatenate(predicted), np.concatenate(sure)
    free = (seeded.topic == NO_TOPIC) & (topic != NO_TOPIC)
    group = np.where(free, topic * len(seeded.names) + seeded.languages, -1)
    available = np.bincount(group[free], minlength=len(topics) * len(seeded.names))
    added = smallest(group, -probability, seeded.keys, np.floor(available * config.share).astype(np.int64))
    now = replace(
        seeded,
        topic=np.where(added, topic, seeded.topic),
        how=np.where(added, _MODEL, seeded.how).astype(np.int8),
        score=np.where(added, probability, seeded.score),
    )
    marked = seeded.topic != NO_TOPIC
    facts = {
        "trained_on": int(used.sum()),
        "topics": int(taught.sum()),
        "held_out_accuracy": card["held_out"]["accuracy"],
        "held_out_macro_f1": card["held_out"]["macro_f1"],
        "agrees_with_seeds": round(float((topic == seeded.topic)[marked].mean()), 4),
        "added": int(added.sum()),
        "changed": int((now.topic != before.topic).sum()),
    }
    return now, facts


def _write(
    splits: Sequence[Split],
    taxonomy: Taxonomy,
    seeds: TopicSeeds,
    config: BootstrapConfig,
    corpus: _Corpus,
    path: Path,
    chosen: np.ndarray,
) -> None:
    """The chosen documents with topic, evidence and score, as one labelled file."""
    topics = [topic.id for topic in taxonomy.topics]
    folder = path.parent if path.parent.name == ".tmp" else path.parent / ".tmp"
    labelled, start = SortedFile(path, folder), 0
    for table in documents(splits):
        rows = np.flatnonzero(chosen[start : start + len(table)])
        places, start = rows + start, start + len(table)
        if len(rows) == 0:
            continue
        table = table.take(rows)
        why = _why(table, taxonomy, seeds, config, corpus.topic[places], corpus.how[places])
        labels = pa.array([topics[index] for index in corpus.topic[places]], pa.string())
        labelled.write(
            table.append_column("label", labels).append_column("why", why).append_column("score", pa.array(corpus.score[places])),
            corpus.keys[places],
        )
    labelled.close()


def _why(table: pa.Table, taxonomy: Taxonomy, seeds: TopicSeeds, config: BootstrapConfig, topic: np.ndarray, how: np.ndarray) -> pa.Array:
    """What gave each document its topic, in words: its seeds of that topic, its place, or the model."""
    held = seeds_held(table, seeds.table, config.max_chars)
    of_topic = [one.all_seeds() for one in taxonomy.topics]
    hosts, sources = table.column("host").to_pylist(), table.column("source").to_pylist()
    own_hosts = [frozenset(one.hosts) for one in taxonomy.topics]
    said = []
    for row, (index, code) in enumerate(zip(topic.tolist(), how.tolist(), strict=True)):
        mine = ", ".join(seed for seed in held[row] if seed in of_topic[index])
        on_host = hosts[row] is not None and not own_hosts[index].isdisjoint(with_parents(hosts[row]))
        by_place = f"host {hosts[row]}" if on_host else f"source {sources[row]}"
        said.append({_SEEDS: f"seeds {mine}", _PLACE: by_place, _MODEL: f"model{f'; seeds {mine}' if mine else ''}"}[code])
    return pa.array(said, pa.string())


def _say(facts: dict[str, Any]) -> str:
    return (
        f"round {facts['round']}: trained on {facts['trained_on']:,} documents of {facts['topics']} topics, accuracy on held-out ones "
        f"{facts['held_out_accuracy']}, agrees with seeds and places on {facts['agrees_with_seeds']}, added {facts['added']:,}"
        f" ({facts['changed']:,} other than before)"
    )
