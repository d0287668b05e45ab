"""From counts of words to a tokenizer: cut, sum, learn each language's merges apart, compose, audit, write."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pyarrow.parquet as pq
import xxhash
from pydantic import Field, model_validator

from pipeline import __version__
from pipeline.errors import UserError
from pipeline.segment import Segment, write_json
from pipeline.settings import Settings
from tokenizer.count import load_manifest
from tokenizer.morphemes import kiwi_version
from tokenizer.seeds import syllable_merges
from tokenizer.shares import SHARED_KIND, budget_of, exact_shares, merges_to_train, shared_default
from tokenizer.special_tokens import CHAT_TEMPLATE, NAMED, TOTAL
from tokenizer.train_tasks import ALL, BpeTask, ComposeTask, CutTask, ListPlan, MorphemeTask, WordsTask
from tokenizer.words import PATTERN

SEGMENT = "train"
KOREAN = "ko"

_WORDS_PER_TASK = 100_000
"""Words of a task that cuts morphemes: about 15 seconds of Kiwi."""


class TrainConfig(Settings):
    """Settings of `onnuri tokenizer train`."""

    vocab_size: int = Field(102_400, gt=256, description="Tokens of the vocabulary, special tokens included")
    split: dict[str, float] = Field(
        {"ko": 0.5, "en": 0.5},
        description="Languages of the vocabulary with their shares of the tokens that are a language's; they add up to 1",
    )
    shared_merges: int | None = Field(
        None,
        ge=0,
        description="Tokens that are no language's, beside bytes and special tokens; null: 1.85 % of the merges, or what is needed",
    )
    special_tokens: int = Field(
        TOTAL, ge=len(NAMED), description="Special tokens, the named ones and then reserved ones; they take the first ids"
    )
    seed_syllables: Literal["ksx1001", "none"] = Field(
        "ksx1001",
        description="Syllables that are Korean tokens from the start: ksx1001 (2,350, so that no common syllable falls apart) or none",
    )
    morphemes: Literal["none", "particles"] = Field(
        "none", description="Particles: cut Korean words before particles and endings when learning (needs onnuri[korean]); none: don't"
    )
    morphemes_min_count: int = Field(2, ge=1, description="Korean words that occur less often are not cut into morphemes")
    plain: bool = Field(
        False, description="One list over all words, as a common BPE trainer learns it: nothing is cut, no language has a share, no seeds"
    )
    min_count: int = Field(1, ge=1, description="Words that occur less often, after cutting, are left out")
    max_token_bytes: int = Field(64, ge=3, description="Most bytes of a token: 21 Hangul syllables, or an indentation of 64 blanks")
    max_words: int = Field(
        20_000_000, ge=1, description="Most distinct words per language that are learned from, the most frequent; this bounds memory"
    )
    chat_template: str | None = Field(None, description="Path of a chat template (Jinja) to write in place of Onnuri's own")

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        exact_shares(self.split)
        budget_of(self.vocab_size, self.special_tokens)
        if self.plain and self.morphemes != "none":
            raise ValueError("plain tokenizers cut no morphemes; set morphemes: none, or plain: false")
        return self


def run(segment: Segment, counts: Sequence[Path], config: TrainConfig) -> dict[str, Any]:
    """Train a tokenizer on the sum of these counts; returns the manifest. The files are in `segment.directory`.

    The result depends on the counts and the configuration alone, not on the order of `counts` or the number of workers.
    Raises UserError for folders that are no counts or were made with another pattern, and where the words can't give the vocabulary.
    """
    sources = _sources(counts)
    split = exact_shares(config.split)
    _check_seeds(config, split)
    template = _chat_template(config.chat_template)
    kiwi = kiwi_version() if config.morphemes != "none" else None
    # only now: what can't be trained leaves the manifest of a finished tokenizer as it is
    write_json(segment.directory / "manifest.json", {"segment": SEGMENT, "finished": False})
    words = _words(segment, sources, config, tuple(split))
    names = [ALL] if config.plain else [*split, SHARED_KIND]
    lists = _merges(segment, words, names, split, config)
    learned_from = {name: {key: facts for key, facts in words[name].items() if key != "path"} for name in names}
    provenance = [{key: manifest[key] for key in _PROVENANCE} for _, manifest in sources]
    settings = config.model_dump(mode="json")
    facts = {"config": settings, "counts": provenance, "words": learned_from, "kiwi": kiwi}
    task = ComposeTask(
        lists=tuple(lists),
        split=tuple((language, str(share)) for language, share in split.items()),
        plain=config.plain,
        vocab_size=config.vocab_size,
        special_tokens=config.special_tokens,
        shared_merges=config.shared_merges,
        chat_template=template,
        facts=facts,
        inputs=tuple(each.path for each in lists),
    )
    (composed,) = segment.step("compose", [task], into=segment.directory)
    manifest = {
        "segment": SEGMENT,
        "finished": True,
        "version": __version__,
        "tokenizer_sha256": composed["sha256"],
        "vocab_size": config.vocab_size,
        "pattern": PATTERN,
        "chat_template_sha256": hashlib.sha256(template.encode()).hexdigest(),
        "engine": segment.engine.name,
        "workers": segment.engine.workers,
        **facts,
        "lists": composed["lists"],
        "audit": composed["audit"],
        "files": composed["outputs"],
    }
    write_json(segment.directory / "manifest.json", manifest)
    return manifest


_PROVENANCE = ("fingerprint", "corpus_fingerprint", "documents", "text_bytes", "words", "occurrences", "left_out", "config")
"""What is told of each folder of counts; `fingerprint` is of the counts themselves."""


def _sources(counts: Sequence[Path]) -> list[tuple[Path, dict[str, Any]]]:
    """The folders with their manifests, in an order that is their content's and not the caller's."""
    if not counts:
        raise UserError("there are no counts to train on; give the folder that `onnuri tokenizer count` wrote")
    sources: dict[str, tuple[Path, dict[str, Any]]] = {}
    for folder in map(Path, counts):
        manifest = load_manifest(folder)
        if manifest["pattern"] != PATTERN:
            raise UserError(f"'{folder}' was counted with another pattern of words than this version trains with; count its texts again")
        fingerprint = xxhash.xxh3_128_hexdigest(json.dumps([part["xxh3"] for part in manifest["parts"]]).encode())
        if fingerprint in sources:
            raise UserError(f"'{sources[fingerprint][0]}' and '{folder}' hold the same counts; name each of them once")
        sources[fingerprint] = folder, manifest | {"fingerprint": fingerprint}
    return [sources[fingerprint] for fingerprint in sorted(sources)]


def _parts(folder: Path, manifest: Mapping[str, Any]) -> list[str]:
    """The files of a folder of counts. Raises UserError where one is missing or has another size than it was written with."""
    paths = []
    for part in manifest["parts"]:
        path = (folder / part["file"]).absolute()  # workers have folders of their own
        if not path.is_file() or path.stat().st_size != part["bytes"]:
            raise UserError(f"'{path}' is missing or not what was counted; run `onnuri tokenizer count` again with the same arguments")
        paths.append(str(path))
    return paths


def _check_seeds(config: TrainConfig, split: Mapping[str, Fraction]) -> None:
    if config.plain or config.seed_syllables == "none" or KOREAN not in split:
        return
    budget = budget_of(config.vocab_size, config.special_tokens)
    shared = shared_default(budget) if config.shared_merges is None else config.shared_merges
    room, seeds = int((budget - shared) * split[KOREAN]), len(syllable_merges())
    if room < seeds:
        raise UserError(
            f"seed_syllables: ksx1001 takes {seeds:,} tokens, and Korean has {max(0, room):,} in a vocabulary of {config.vocab_size:,}; "
            "set seed_syllables: none, or use a larger --vocab-size"
        )


def _chat_template(path: str | None) -> str:
    try:
        return (CHAT_TEMPLATE if path is None else Path(path)).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise UserError(f"can't read the chat template '{path}': {reason}; check chat_template") from error


def _words(
    segment: Segment, sources: Sequence[tuple[Path, dict[str, Any]]], config: TrainConfig, languages: tuple[str, ...]
) -> dict[str, dict[str, Any]]:
    """The steps up to one file of words per list: its path and what was left out."""
    paths = [path for folder, manifest in sources for path in _parts(folder, manifest)]
    cut = [CutTask(f"cut-{place:05d}", None if config.plain else languages, (path,)) for place, path in enumerate(paths)]
    names = (ALL,) if config.plain else (*languages, SHARED_KIND)
    found = _sums(segment, "words", _step_files(segment, "cut", segment.step("cut", cut)), names, config)
    if config.morphemes == "none" or KOREAN not in names:
        return found
    korean = found[KOREAN]
    rows = pq.ParquetFile(korean["path"]).metadata.num_rows
    slices = [(first, min(first + _WORDS_PER_TASK, rows)) for first in range(0, rows, _WORDS_PER_TASK)]
    tasks = [
        MorphemeTask(f"slice-{place:05d}", KOREAN, *bounds, config.morphemes_min_count, kiwi_version(), (str(korean["path"]),))
        for place, bounds in enumerate(slices)
    ]
    pieces = _step_files(segment, "morphemes", segment.step("morphemes", tasks))
    return found | _sums(segment, "pieces", pieces, (KOREAN,), config)


def _step_files(segment: Segment, step: str, receipts: Sequence[dict[str, Any]]) -> dict[str, tuple[int, list[str]]]:
    """Rows and files of each list that a step wrote."""
    found: dict[str, tuple[int, list[str]]] = {}
    for receipt in receipts:
        for name, count in receipt["rows"].items():
            rows, files = found.get(name, (0, []))
            found[name] = rows + count, [*files, str(segment.step_folder(step) / f"{receipt['name']}-{name}.parquet")]
    return found


def _sums(
    segment: Segment, step: str, files: Mapping[str, tuple[int, list[str]]], names: Sequence[str], config: TrainConfig
) -> dict[str, dict[str, Any]]:
    tasks = []
    for name in names:
        rows, paths = files.get(name, (0, []))
        tasks.append(WordsTask(name, rows, config.min_count, config.max_words, tuple(paths)))
    receipts = segment.step(step, tasks)
    keys = ("words", "occurrences", "bytes", "distinct", "rare", "beyond")
    return {
        name: {key: receipt[key] for key in keys} | {"path": str(segment.step_folder(step) / f"{name}.parquet")}
        for name, receipt in zip(names, receipts, strict=True)
    }


def _merges(
    segment: Segment, words: Mapping[str, Mapping[str, Any]], names: Sequence[str], split: Mapping[str, Fraction], config: TrainConfig
) -> list[ListPlan]:
    """The step that learns each list's merges, each in a task of its own."""
    budget = budget_of(config.vocab_size, config.special_tokens)
    tasks = []
    for name in names:
        asked = budget if config.plain else merges_to_train(name, budget, split, config.shared_merges)
        with_seeds = name == KOREAN and config.seed_syllables == "ksx1001"
        tasks.append(BpeTask(name, asked, config.max_token_bytes, with_seeds, (str(words[name]["path"]),)))
    receipts = segment.step("bpe", tasks)
    folder = segment.step_folder("bpe")
    return [
        ListPlan(task.list_name, task.merges, int(receipt["seeds"]), str(folder / f"{task.list_name}.parquet"))
        for task, receipt in zip(tasks, receipts, strict=True)
    ]
