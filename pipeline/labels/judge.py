"""Labels from an LLM judge: documents are sampled, asked about in order of their key, and written with what the judge said.

The order by key makes budgets nested: what a bigger budget buys holds what a smaller one bought (but for a few requests that were under
way together at its end). Every answer is stored the moment it arrives, so the same command, given again, goes on where it was.
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from pipeline import __version__
from pipeline.errors import RunFailed, UserError
from pipeline.labels.agreement import kappa
from pipeline.labels.config import JudgeConfig
from pipeline.labels.judge_cache import AnswerCache, Budget, BudgetSpent
from pipeline.labels.judge_client import Down, Endpoint, Refused, Unreachable, Unusable, ask
from pipeline.labels.judge_prompt import Template, messages, parse, question_key, request_key
from pipeline.labels.output import SCHEMA, SortedFile, evidence, output_folder, summary
from pipeline.labels.reading import Codes, documents, keys_of, smallest, texts_of
from pipeline.labels.taxonomy import Taxonomy
from pipeline.progress import Progress
from pipeline.segment import write_json
from pipeline.splits import Split

_FAILURES_IN_A_ROW = 5
"""So many documents without an answer, one after the other, mean that the endpoint is down: each has used up its retries."""

_REFUSALS_IN_A_ROW = 50
"""So many refused documents without an answer between them are no accident of the documents: where half of a corpus is refused, such a row
comes once in 2**50. Refused requests cost nothing or little, so the number may be large."""

_AGAIN = "answers so far are kept, so the same command goes on from here"

_BATCH_ROWS = 256
_WHY_CHARS = 300

_ASKED = pa.schema([field_ for field_ in SCHEMA if field_.name not in ("label", "why", "score")] + [pa.field("gold", pa.string())])
_QUARANTINE = pa.schema([pa.field(name, pa.string()) for name in ("id", "lang", "source", "url", "answer", "error")])


@dataclass(frozen=True)
class Judge:
    """Who is asked what, and how much may be spent. sample: documents per language, None for all. gold_column: known labels, or None."""

    endpoint: Endpoint
    model: str
    template: Template
    taxonomy: Taxonomy
    budget: Budget = field(default_factory=Budget)
    sample: int | None = None
    concurrency: int = 8
    gold_column: str | None = None


@dataclass(frozen=True)
class _Question:
    key: str
    request: str  # also covers the endpoint and all of the body: what a refusal depends on
    body: dict[str, Any]
    size: int


class _Asker:
    """Asks questions in several threads; what they share. Only `ask` runs in threads."""

    def __init__(self, judge: Judge, config: JudgeConfig, cache: AnswerCache) -> None:
        self.judge, self.config, self.cache = judge, config, cache
        self.stop, self._lock = threading.Event(), threading.Lock()
        self.budget_spent = False
        self.failed: dict[str, str] = {}
        self.fatal: Exception | None = None
        self._down_in_a_row, self._answered = 0, False
        self._refused: dict[
            str, str
        ] = {}  # refusals since the last answer; they are stored when one comes, which shows whose fault they were

    def ask(self, question: _Question) -> None:
        """Ask one question and store the answer; nothing more is asked once `stop` is set."""
        tickets: list[int] = []

        def before_try() -> None:
            if self.stop.is_set():
                raise BudgetSpent
            for ticket in tickets:
                self.cache.release(ticket)
            tickets.append(self.cache.start(question.size, self.config.max_answer_tokens))

        try:
            answer = ask(self.judge.endpoint, question.body, self.config, before_try, self.stop)
            with self._lock:
                self._down_in_a_row, self._answered = 0, True
                refused, self._refused = self._refused, {}
            self.cache.put(tickets[-1], question.key, question.size, answer)
            if refused:
                self.cache.put_refusals(refused)
        except BudgetSpent:
            self.budget_spent = self.budget_spent or not self.stop.is_set()
            self.stop.set()
        except Down as error:
            with self._lock:
                self.failed[question.key] = str(error)
                self._down_in_a_row += 1
                nobody_there = isinstance(error, Unreachable) and not self._answered
                if nobody_there or self._down_in_a_row >= _FAILURES_IN_A_ROW:
                    self._end(RunFailed(f"{error}; {'check --endpoint; ' if nobody_there else ''}{_AGAIN}"))
        except Refused as error:
            with self._lock:
                self.failed[question.key] = self._refused[question.request] = str(error)
                if len(self._refused) >= _REFUSALS_IN_A_ROW:
                    self._end(RunFailed(f"{error} ({len(self._refused)} documents in a row); mend that: {_AGAIN}"))
        except Unusable as error:
            self._end(UserError(str(error)))
        except sqlite3.Error as error:
            self._end(RunFailed(f"can't write to answers.sqlite ({error}); mend that: {_AGAIN}"))
        except Exception as error:
            self._end(error)
        finally:
            for ticket in tickets:
                self.cache.release(ticket)

    def recall(self, questions: Iterable[_Question]) -> None:
        """Take stored refusals for failures of this run, so that what was refused isn't asked again."""
        for question in questions:
            error = self.cache.refusal(question.request)
            if error is not None:
                self.failed[question.key] = error

    def _end(self, error: Exception) -> None:
        self.fatal = self.fatal or error
        self.stop.set()

    def ask_all(self, questions: Sequence[_Question], pool: ThreadPoolExecutor) -> None:
        """Ask questions that have no answer yet, until one ends everything. The first of all goes alone: a wrong address costs one request.

        Raises UserError for an endpoint that can't be used, RunFailed for one that keeps failing.
        """
        waiting = list(questions)
        while waiting and not self._answered and not self.stop.is_set():
            self.ask(waiting.pop(0))
        if not self.stop.is_set():
            for _ in pool.map(self.ask, waiting):
                pass
        if self.fatal is not None:
            raise self.fatal


def judge_documents(splits: Sequence[Split], judge: Judge, config: JudgeConfig, out: Path, progress: Progress) -> dict[str, Any]:
    """Ask about the documents and write OUT/labelled.parquet, OUT/quarantine.parquet (what could not be read) and the manifest.

    Raises UserError for an endpoint, key, model or column that can't be used, RunFailed for an endpoint that stopped working.
    """
    with output_folder(out, "classify judge", splits) as folder:
        asked = folder / ".tmp" / "asked.parquet"
        total, chosen = _write_chosen(splits, judge, config, asked)
        with AnswerCache(folder / "answers.sqlite", judge.budget) as cache:
            before = cache.spent()
            asker = _Asker(judge, config, cache)
            labelled = SortedFile(folder / "labelled.parquet", folder / ".tmp")
            golds: list[tuple[str, str, str]] = []
            quarantined, left, done = [], 0, 0
            pool = ThreadPoolExecutor(judge.concurrency)
            try:
                for table in _batches(asked):
                    questions = [_question(judge, config, row) for row in table.select(["text", "lang"]).to_pylist()]
                    new = {question.key: question for question in questions if cache.get(question.key) is None}
                    asker.recall(new.values())
                    if not asker.stop.is_set():
                        asker.ask_all([question for key, question in new.items() if key not in asker.failed], pool)
                    rows, unread, unanswered = _read(table, questions, judge, asker)
                    labelled.write(rows.select(SCHEMA.names), keys_of(rows.column("id"), config.seed))
                    golds += zip(rows["gold"].to_pylist(), rows["label"].to_pylist(), rows["lang"].to_pylist(), strict=True)
                    quarantined += unread
                    left += unanswered
                    done += len(table)
                    progress.say(f"judge: {done:,} of {chosen:,} documents, {cache.spent().requests - before.requests:,} requests")
            finally:
                asker.stop.set()
                pool.shutdown(wait=True, cancel_futures=True)
            if asker.failed and labelled.rows == 0 and not left:
                raise RunFailed(f"{next(iter(asker.failed.values()))}; no document could be judged")
            labelled.close()
            temporary = folder / ".tmp" / "quarantine.parquet"
            pq.write_table(pa.Table.from_pylist(quarantined, schema=_QUARANTINE), temporary, compression="zstd")
            os.replace(temporary, folder / "quarantine.parquet")
            facts = _facts(folder, judge, config, cache, before.requests)
        facts |= {
            "documents": total,
            "left_out": {"not in the sample": total - chosen, "in quarantine": len(quarantined), "left for another run": left},
            "budget_spent": asker.budget_spent,
            "agreement": _agreement(golds, judge) if judge.gold_column else None,
        }
        facts["notes"] = _notes(facts)
        write_json(folder / "manifest.json", facts)
    return facts


def _write_chosen(splits: Sequence[Split], judge: Judge, config: JudgeConfig, path: Path) -> tuple[int, int]:
    """Write the documents of the sample to `path`, sorted by key; returns how many there are, and how many were chosen."""
    codes, keys, languages = Codes([]), [], []
    for table in documents(splits):
        keys.append(keys_of(table.column("id"), config.seed))
        languages.append(codes.of(table.column("lang")).astype(np.int64))
    key, language = np.concatenate(keys), np.concatenate(languages)
    limits = np.full(len(codes.names), judge.sample or len(key))
    chosen = smallest(language, np.zeros(len(key)), key, limits)
    file, start, has_gold = SortedFile(path, path.parent, _ASKED), 0, False
    for table in documents(splits, [judge.gold_column] if judge.gold_column else []):
        rows = np.flatnonzero(chosen[start : start + len(table)])
        gold = texts_of(table, judge.gold_column) if judge.gold_column else pa.chunked_array([pa.nulls(len(table), pa.string())])
        has_gold = has_gold or gold.null_count < len(table)
        file.write(table.append_column("gold", gold).take(rows), key[rows + start])
        start += len(table)
    file.close()
    if judge.gold_column and not has_gold:
        raise UserError(f"no document has anything in '{judge.gold_column}'; name another --gold-column, or leave it out")
    return len(key), file.rows


def _batches(path: Path) -> Iterator[pa.Table]:
    for batch in pq.ParquetFile(path).iter_batches(_BATCH_ROWS):
        yield pa.Table.from_batches([batch])


def _question(judge: Judge, config: JudgeConfig, row: dict[str, Any]) -> _Question:
    asked = messages(judge.template, judge.taxonomy, row["text"][: config.max_chars], row["lang"])
    body = {"model": judge.model, "messages": asked, "temperature": 0, config.max_tokens_field: config.max_answer_tokens}
    key = question_key(judge.model, asked, config.max_answer_tokens)
    return _Question(key, request_key(f"{judge.endpoint} {judge.endpoint.path}", body), body, len(orjson.dumps(asked)))


def _read(table: pa.Table, questions: Sequence[_Question], judge: Judge, asker: _Asker) -> tuple[pa.Table, list[dict[str, Any]], int]:
    """(the rows with a label, rows for quarantine, how many have no answer)."""
    labels, whys, unread, unanswered = [], [], [], 0
    provenance = table.select(["id", "lang", "source", "url"]).to_pylist()
    for row, question in zip(provenance, questions, strict=True):
        answer = asker.cache.get(question.key)
        label = None if answer is None else parse(judge.template, answer)
        if answer is None and question.key not in asker.failed:
            unanswered += 1
        elif label is None:
            failed = asker.failed.get(question.key)
            unread.append(row | {"answer": answer, "error": failed or f"the answer gives no {judge.template.kind} that is allowed"})
        labels.append(label)
        whys.append(f"{judge.model}: {' '.join((answer or '').split())[:_WHY_CHARS]}")
    scores = [float(label) if label is not None and judge.template.kind == "score" else None for label in labels]
    columns = {"label": pa.array(labels, pa.string()), "why": pa.array(whys, pa.string()), "score": pa.array(scores, pa.float64())}
    for name, values in columns.items():
        table = table.append_column(name, values)
    return table.filter(pa.array([label is not None for label in labels])), unread, unanswered


def _facts(folder: Path, judge: Judge, config: JudgeConfig, cache: AnswerCache, requests_before: int) -> dict[str, Any]:
    spent = cache.spent()
    return {
        "segment": "classify judge",
        "version": __version__,
        "endpoint": str(judge.endpoint),
        "model": judge.model,
        "template": judge.template.model_dump(mode="json"),
        "labels": summary(folder / "labelled.parquet"),
        "evidence": evidence(folder / "labelled.parquet"),
        "requests": spent.requests - requests_before,
        "spent": {
            "requests": spent.requests,
            "prompt_tokens": spent.prompt_tokens,
            "completion_tokens": spent.completion_tokens,
            "cost": round(judge.budget.cost_of(spent.prompt_tokens, spent.completion_tokens), 6),
        },
        "config": config.model_dump(mode="json"),
    }


def _agreement(golds: Sequence[tuple[str | None, str, str]], judge: Judge) -> dict[str, Any]:
    """Judge against the known labels, over all documents that have both, and by language."""
    found = {}
    for language in ["all", *sorted({language for gold, _, language in golds if gold is not None})]:
        pairs = [(gold.removesuffix(".0"), label) for gold, label, its in golds if gold is not None and language in ("all", its)]
        numbers = judge.template.kind == "score" and all(re.fullmatch(r"-?[0-9]{1,18}", gold) for gold, _ in pairs)
        first, second = [gold for gold, _ in pairs], [label for _, label in pairs]
        found[language] = {
            "documents": len(pairs),
            "equal": round(sum(gold == label for gold, label in pairs) / len(pairs), 4) if pairs else None,
            "kappa": kappa(first, second),
            "weighted_kappa": kappa(first, second, weighted=True) if numbers else None,
        }
    return found


def _notes(facts: dict[str, Any]) -> list[str]:
    spent, left = facts["spent"], facts["left_out"]["left for another run"]
    notes = [
        f"{facts['requests']:,} requests; all runs of this folder: {spent['requests']:,} requests, {spent['prompt_tokens']:,} + "
        f"{spent['completion_tokens']:,} tokens, cost {spent['cost']:g}"
    ]
    if facts["budget_spent"]:
        notes.append(f"the budget is spent: {left:,} documents are left; raise it and give the same command again to go on")
    for language, agreement in (facts["agreement"] or {}).items():
        weighted = f", weighted {agreement['weighted_kappa']}" if agreement["weighted_kappa"] is not None else ""
        equal = f"equal on {agreement['equal']}, kappa {agreement['kappa']}{weighted}"
        notes.append(f"agreement with the known labels, {language}: {agreement['documents']:,} documents, {equal}")
    return notes
