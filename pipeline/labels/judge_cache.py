"""Every answer a judge gave, on disk before it is used, and what was spent: so that nothing is paid for twice and no budget passed.

SQLite with a write-ahead log: a commit survives the death of the process at any moment. One connection serves all threads, under a lock.
"""

from __future__ import annotations

import contextlib
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from pipeline.errors import RunFailed, UserError
from pipeline.labels.judge_client import Answer

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answers
    (key TEXT PRIMARY KEY, answer TEXT NOT NULL, prompt_tokens INTEGER, completion_tokens INTEGER) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS refused (key TEXT PRIMARY KEY, error TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS spent (what TEXT PRIMARY KEY, amount INTEGER NOT NULL) WITHOUT ROWID;
INSERT OR IGNORE INTO spent VALUES ('requests', 0), ('prompt_tokens', 0), ('completion_tokens', 0);
"""


@dataclass(frozen=True)
class Spent:
    """What a folder's requests have cost, all runs together. requests counts every try, answered or not."""

    requests: int
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True)
class Budget:
    """Upper bounds; None: no bound. Prices: money per million tokens; cost is in the same money."""

    requests: int | None = None
    tokens: int | None = None
    cost: float | None = None
    prompt_price: float = 0.0
    completion_price: float = 0.0

    @property
    def needs_usage(self) -> bool:
        """Whether the endpoint must say how many tokens each answer took."""
        return self.tokens is not None or self.cost is not None

    def cost_of(self, prompt_tokens: float, completion_tokens: float) -> float:
        """The price of so many tokens."""
        return (prompt_tokens * self.prompt_price + completion_tokens * self.completion_price) / 1e6


class BudgetSpent(Exception):
    """One more request could pass the budget."""


class AnswerCache:
    """Answers by question, and the account. Open it with `with`."""

    def __init__(self, path: Path, budget: Budget) -> None:
        """Raises UserError for a file that is no cache of ours."""
        self._budget, self._lock = budget, threading.Lock()
        self._waiting: dict[int, tuple[int, int]] = {}  # tokens that requests under way may take, by ticket
        self._tickets = 0
        try:
            self._database = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
            self._database.execute("PRAGMA journal_mode=WAL")
            self._database.execute("PRAGMA synchronous=FULL")
            self._database.executescript(_SCHEMA)
            ratio = self._database.execute("SELECT MAX(amount) FROM spent WHERE what = 'tokens_per_kilobyte'").fetchone()[0]
        except sqlite3.Error as error:
            raise UserError(f"'{path}' is no cache of answers ({error}); move it away, or give another folder with -o") from error
        self._per_kilobyte: int | None = ratio or None

    def __enter__(self) -> AnswerCache:
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._database.close()

    def get(self, key: str) -> str | None:
        """The answer to a question, or None."""
        with self._lock:
            found = self._database.execute("SELECT answer FROM answers WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def refusal(self, key: str) -> str | None:
        """Why this very request was refused before, or None."""
        with self._lock:
            found = self._database.execute("SELECT error FROM refused WHERE key = ?", (key,)).fetchone()
        return found[0] if found else None

    def put_refusals(self, refusals: Mapping[str, str]) -> None:
        """Store why requests were refused, by key."""
        with self._lock, self._transaction():
            self._database.executemany("INSERT OR REPLACE INTO refused VALUES (?, ?)", list(refusals.items()))

    def spent(self) -> Spent:
        """What was spent so far."""
        with self._lock:
            return self._spent()

    def _spent(self) -> Spent:
        amounts = dict(self._database.execute("SELECT what, amount FROM spent").fetchall())
        return Spent(amounts["requests"], amounts["prompt_tokens"], amounts["completion_tokens"])

    def start(self, prompt_bytes: int, max_answer_tokens: int) -> int:
        """Count one request about to be sent, and set aside what it may cost; returns its ticket.

        A prompt is taken to have as many tokens per byte as the densest one answered so far, and before the first answer one token a byte,
        which no tokenizer of bytes exceeds. Raises BudgetSpent when the budget may not suffice.
        """
        with self._lock:
            prompt = prompt_bytes if self._per_kilobyte is None else -(-prompt_bytes * self._per_kilobyte // 1000)
            spent, budget = self._spent(), self._budget
            prompts = spent.prompt_tokens + prompt + sum(tokens for tokens, _ in self._waiting.values())
            completions = spent.completion_tokens + max_answer_tokens + sum(tokens for _, tokens in self._waiting.values())
            if (
                (budget.requests is not None and spent.requests >= budget.requests)
                or (budget.tokens is not None and prompts + completions > budget.tokens)
                or (budget.cost is not None and budget.cost_of(prompts, completions) > budget.cost)
            ):
                raise BudgetSpent
            self._tickets += 1
            self._waiting[self._tickets] = (prompt, max_answer_tokens)
            self._add("requests", 1)
            return self._tickets

    def release(self, ticket: int) -> None:
        """Forget what was set aside for a request that brought no answer (if it was paid for, nobody says how much)."""
        with self._lock:
            self._waiting.pop(ticket, None)

    def put(self, ticket: int, key: str, prompt_bytes: int, answer: Answer) -> None:
        """Store an answer and book its tokens, at once and together.

        Raises RunFailed when the budget is in tokens or money and the answer doesn't say what it took.
        """
        with self._lock:
            density = self._per_kilobyte
            if answer.prompt_tokens is not None:
                seen = -(-answer.prompt_tokens * 1000 // max(1, prompt_bytes))
                density = max(density or 0, seen)
            with self._transaction():
                self._database.execute(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?)",
                    (key, answer.text, answer.prompt_tokens, answer.completion_tokens),
                )
                self._add("prompt_tokens", answer.prompt_tokens or 0)
                self._add("completion_tokens", answer.completion_tokens or 0)
                if density is not None:
                    self._database.execute("INSERT OR REPLACE INTO spent VALUES ('tokens_per_kilobyte', ?)", (density,))
            self._per_kilobyte = density
            self._waiting.pop(ticket, None)
        if self._budget.needs_usage and (answer.prompt_tokens is None or answer.completion_tokens is None):
            raise RunFailed(
                "the endpoint doesn't say how many tokens an answer took, so no budget of tokens or cost can be kept; use --max-requests"
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[None]:
        """All of the block, or nothing of it, whatever it raises: an open transaction would take the next answers with it."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            if self._database.in_transaction:
                self._database.execute("ROLLBACK")
            raise

    def _add(self, what: str, amount: int) -> None:
        self._database.execute("UPDATE spent SET amount = amount + ? WHERE what = ?", (amount, what))
