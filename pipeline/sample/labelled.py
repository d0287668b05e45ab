"""Labelled texts for training the domain and quality models of the sample; none of their sentences occurs in the crawl."""

from __future__ import annotations

import random
import re

from pipeline.sample import noise
from pipeline.sample.articles import DOMAINS, LANGUAGES, Writer

PER_LABEL = 100
HIGH, LOW = "high", "low"
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def sentences_of(text: str) -> set[str]:
    """The sentences of `text`, by punctuation and line breaks; the same crude cut on both sides of a comparison."""
    return set(_SENTENCE_END.split(text))


def _fresh(writer: Writer, language: str, domain: str, rng: random.Random, taken: set[str]) -> str:
    """Two to five sentences of a domain, none of which is in `taken`."""
    while True:
        text = " ".join(writer.sentences(language, domain, rng, 2 + int(rng.random() * 4)))
        if not sentences_of(text) & taken:
            return text


def domain_rows(writer: Writer, rng: random.Random, taken: set[str]) -> list[dict[str, str]]:
    """PER_LABEL texts per domain and language: text, label (the domain), lang."""
    return [
        {"text": _fresh(writer, language, domain, rng, taken), "label": domain, "lang": language}
        for _ in range(PER_LABEL)
        for language in LANGUAGES
        for domain in DOMAINS
    ]


def quality_rows(writer: Writer, rng: random.Random, taken: set[str]) -> list[dict[str, str]]:
    """PER_LABEL texts per label and language: `high` is article prose of all domains, `low` chatter and keyword advertising."""
    rows = []
    for number in range(PER_LABEL):
        for language in LANGUAGES:
            good = _fresh(writer, language, DOMAINS[number % len(DOMAINS)], rng, taken)
            rows.append({"text": good, "label": HIGH, "lang": language})
            rows.append({"text": noise.poor(language, rng), "label": LOW, "lang": language})
    return rows
