"""Topics of documents from their seeds: weighted by how rare each seed is, divided by the text's length, with a margin over the second.

A seed that f of a language's n documents hold weighs ln(1 + (n - f + 1/2) / (f + 1/2)), the inverse document frequency of BM25
(Robertson and Zaragoza 2009), whatever the number of times it occurs; one that several topics list gives each an equal part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pipeline.labels.seeds import SeedTable, seed_table
from pipeline.labels.taxonomy import Taxonomy

NO_TOPIC = -1


@dataclass(frozen=True)
class TopicSeeds:
    """The seeds of a taxonomy. topics: int32[seeds, most topics of one seed], the topics of each seed, NO_TOPIC behind the last."""

    table: SeedTable
    topics: np.ndarray


def topic_seeds(taxonomy: Taxonomy) -> TopicSeeds:
    """Lay out the seeds of all topics and languages for one search."""
    owners: dict[str, list[int]] = {}
    for index, topic in enumerate(taxonomy.topics):
        for seed in topic.all_seeds():
            owners.setdefault(seed, []).append(index)
    table = seed_table(owners)
    topics = np.full((len(table.seeds), max((len(owned) for owned in owners.values()), default=1)), NO_TOPIC, np.int32)
    for place, seed in enumerate(table.seeds):
        topics[place, : len(owners[seed])] = owners[seed]
    return TopicSeeds(table, topics)


def seed_weights(frequencies: np.ndarray, documents: np.ndarray) -> np.ndarray:
    """float64[languages, seeds]: the weight of each seed in each language.

    frequencies: int64[languages, seeds], documents that hold the seed. documents: int64[languages].
    """
    return np.log1p((documents[:, None] - frequencies + 0.5) / (frequencies + 0.5))


@dataclass(frozen=True)
class Best:
    """The best topic of each document (int64), how many different seeds of it were found (int64), its score, and the second's (float64)."""

    topic: np.ndarray
    hits: np.ndarray
    score: np.ndarray
    second: np.ndarray

    @property
    def clearness(self) -> np.ndarray:
        """float64: score / (1 + second). Within a topic it ranks documents better than the score alone (measured in docs/labels.md)."""
        return self.score / (1 + self.second)


def best_topics(
    topics: np.ndarray, size: int, documents: np.ndarray, seeds: np.ndarray, weights: np.ndarray, text_bytes: np.ndarray
) -> Best:
    """The best topic of each of len(text_bytes) documents by their seeds, as `seeds_in` returns them.

    topics: as in TopicSeeds. size: number of topics. weights: float64 per pair of document and seed. text_bytes: int64 per document: a
    score is divided by log2(2 + kilobytes), since a long text holds more seeds of every topic. Of equal topics the first is best.
    """
    count = len(text_bytes)
    hits, scores = np.zeros(count * size), np.zeros(count * size)
    parts = (topics[seeds] >= 0).sum(axis=1)
    for column in range(topics.shape[1]):
        topic = topics[seeds, column]
        there = topic >= 0
        cell = documents[there].astype(np.int64) * size + topic[there]
        hits += np.bincount(cell, minlength=count * size)
        scores += np.bincount(cell, weights[there] / parts[there], minlength=count * size)
    table = scores.reshape(count, size) / np.log2(2 + text_bytes / 1000)[:, None]
    topic = table.argmax(axis=1)
    rows = np.arange(count)
    score = table[rows, topic]
    table[rows, topic] = -1
    return Best(topic, hits.reshape(count, size)[rows, topic].astype(np.int64), score, np.maximum(table.max(axis=1), 0))
