"""Topics with names, definitions and seed words in several languages, from YAML: the 24 shipped ones or a user's own."""

from __future__ import annotations

import difflib
import functools
from collections import Counter
from importlib import resources
from pathlib import Path

import yaml
from pydantic import Field, ValidationError, field_validator, model_validator

from pipeline.config import first_error, read_yaml
from pipeline.errors import UserError
from pipeline.labels.config import checked_hosts, checked_seeds
from pipeline.settings import Settings


class Topic(Settings):
    """One topic: what it is called and means, and what shows that a document is about it."""

    id: str = Field(pattern=r"^\S+$", description="The label that its documents get, without blanks.")
    name: dict[str, str] = Field(description="Its name by language.")
    definition: dict[str, str] = Field(description="What belongs to it, in one sentence by language; the judge's prompt lists them.")
    seeds: dict[str, tuple[str, ...]] = Field(description="Seed words by language; all of them are looked for in every document.")
    hosts: tuple[str, ...] = Field((), description="Host names, subdomains included, whose documents are about it.")
    sources: tuple[str, ...] = Field((), description="Sources whose documents are about it.")

    @field_validator("seeds")
    @classmethod
    def _seeds(cls, seeds: dict[str, tuple[str, ...]]) -> dict[str, tuple[str, ...]]:
        for language, listed in seeds.items():
            twice = sorted(seed for seed, count in Counter(listed).items() if count > 1)
            if not listed or twice:
                raise ValueError(f"'{language}' lists the seed '{twice[0]}' twice" if twice else f"'{language}' has no seeds; list some")
        return {language: checked_seeds(listed) for language, listed in seeds.items()}

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return checked_hosts(hosts)

    @model_validator(mode="after")
    def _some_evidence(self) -> Topic:
        if not (self.seeds or self.hosts or self.sources):
            raise ValueError(f"the topic '{self.id}' has neither seeds nor hosts nor sources; nothing could show it")
        return self

    def all_seeds(self) -> frozenset[str]:
        """Its seeds of every language."""
        return frozenset(seed for listed in self.seeds.values() for seed in listed)


class Taxonomy(Settings):
    """A list of topics, of which a document has one."""

    name: str = Field(min_length=1, description="Name of the list, for manifests and prompts.")
    topics: tuple[Topic, ...] = Field(min_length=2, description="The topics.")

    @model_validator(mode="after")
    def _distinct(self) -> Taxonomy:
        for id_, count in Counter(topic.id for topic in self.topics).items():
            if count > 1:
                raise ValueError(f"there are {count} topics with the id '{id_}'; give each its own")
        return self

    def shared_seeds(self) -> dict[str, list[str]]:
        """Seeds that several topics list, and which: each of them gets an equal part of the seed's weight."""
        owners: dict[str, list[str]] = {}
        for topic in self.topics:
            for seed in topic.all_seeds():
                owners.setdefault(seed, []).append(topic.id)
        return {seed: ids for seed, ids in sorted(owners.items()) if len(ids) > 1}


class Places(Settings):
    """Where documents of one topic come from."""

    hosts: tuple[str, ...] = Field((), description="Host names, subdomains included.")
    sources: tuple[str, ...] = Field((), description="Names of sources.")

    @field_validator("hosts")
    @classmethod
    def _hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        return checked_hosts(hosts)


def load_taxonomy(path: Path | None) -> Taxonomy:
    """The taxonomy in a YAML file, or the shipped one. Raises UserError that names the file and the key."""
    if path is None:
        return _shipped()
    try:
        return Taxonomy.model_validate(read_yaml(path))
    except ValidationError as error:
        raise UserError(f"{path}: {first_error(error)}") from error


@functools.lru_cache(maxsize=1)
def _shipped() -> Taxonomy:
    text = resources.files("pipeline.labels").joinpath("presets/topics.yaml").read_text(encoding="utf-8")
    return Taxonomy.model_validate(yaml.safe_load(text))


def with_places(taxonomy: Taxonomy, path: Path) -> Taxonomy:
    """The taxonomy with the hosts and sources that a YAML file lists by topic. Raises UserError for a topic that isn't in it."""
    topics = {topic.id: topic for topic in taxonomy.topics}
    for id_, value in read_yaml(path).items():
        if id_ not in topics:
            near = difflib.get_close_matches(str(id_), list(topics), n=1, cutoff=0.0)
            raise UserError(f"{path}: there is no topic '{id_}' in {taxonomy.name}; did you mean '{near[0]}'?")
        try:
            places = Places.model_validate(value)
        except ValidationError as error:
            raise UserError(f"{path}: {id_}: {first_error(error)}") from error
        topic = topics[id_]
        topics[id_] = topic.model_copy(update={"hosts": topic.hosts + places.hosts, "sources": topic.sources + places.sources})
    return taxonomy.model_copy(update={"topics": tuple(topics.values())})
