"""Made-up articles: titles and paragraphs of one language and domain, woven from the phrase tables."""

from __future__ import annotations

import random
from dataclasses import dataclass

from pipeline.sample import english, english_domains, korean, korean_domains
from pipeline.sample.grammar import Grammar, expressions, pick, shuffled

DOMAINS: tuple[str, ...] = tuple(english_domains.DOMAINS)
LANGUAGES = ("ko", "en")

_SENTENCES = {"ko": (16, 40), "en": (11, 34)}
"""Fewest and most sentences per article: 600 to 2,000 Korean and 1,000 to 4,000 English characters, as ordinary web articles have."""


@dataclass(frozen=True)
class Article:
    """A text in one language about one domain: `paragraphs` are lists of sentences; `text` joins them with line breaks."""

    language: str
    domain: str
    title: str
    paragraphs: tuple[tuple[str, ...], ...]

    @property
    def text(self) -> str:
        return "\n".join(" ".join(sentences) for sentences in self.paragraphs)

    @property
    def sentences(self) -> list[str]:
        return [sentence for paragraph in self.paragraphs for sentence in paragraph]


class Writer:
    """Writes articles; one instance compiles the phrase tables of every language and domain once."""

    def __init__(self) -> None:
        self._grammars: dict[tuple[str, str], Grammar] = {}
        self._templates: dict[tuple[str, str], tuple[list[str], list[str]]] = {}
        tables = {
            "ko": (korean.COMMON, korean.GENERAL, korean_domains.DOMAINS),
            "en": ({**english.COMMON, **english.GENERAL_SLOTS}, english.GENERAL, english_domains.DOMAINS),
        }
        for language, (common, general, domains) in tables.items():
            for domain, table in domains.items():
                slots = {name: text for name, text in table.items() if name not in ("title", "sentences")}
                self._grammars[language, domain] = Grammar({**common, **slots})
                self._templates[language, domain] = (expressions(table["sentences"]) + expressions(general), table["title"].split("\n"))

    def sentences(self, language: str, domain: str, rng: random.Random, count: int) -> list[str]:
        """`count` sentences, no template twice before all were used once."""
        templates, _ = self._templates[language, domain]
        grammar = self._grammars[language, domain]
        order: list[str] = []
        while len(order) < count:
            order += shuffled(rng, templates)
        return [grammar.expand(template, rng) for template in order[:count]]

    def article(self, language: str, domain: str, rng: random.Random) -> Article:
        """One article of 600 to 4,000 characters in three or more paragraphs."""
        low, high = _SENTENCES[language]
        sentences = self.sentences(language, domain, rng, low + int(rng.random() * (high - low + 1)))
        title = self._grammars[language, domain].expand(pick(rng, self._templates[language, domain][1]), rng)
        return Article(language, domain, title, paragraphs_of(sentences, rng))


def paragraphs_of(sentences: list[str], rng: random.Random) -> tuple[tuple[str, ...], ...]:
    """The sentences in order, cut into paragraphs of three to five."""
    paragraphs: list[tuple[str, ...]] = []
    start = 0
    while start < len(sentences):
        size = 3 + int(rng.random() * 3)
        paragraphs.append(tuple(sentences[start : start + size]))
        start += size
    return tuple(paragraphs)
