"""Answers of a model, such as a judge, that were paid for once: a SQLite file that several runs may
share at the same time."""

from __future__ import annotations

import hashlib
import json
import logging
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path

from oncue.errors import ConfigError

_log = logging.getLogger(__name__)
_WAIT_S = 10.0  # for another run that is just writing
_TABLE = """
CREATE TABLE IF NOT EXISTS judge_answers (
    key TEXT PRIMARY KEY, model TEXT NOT NULL, prompt_version TEXT NOT NULL,
    question TEXT NOT NULL, answer TEXT NOT NULL
) WITHOUT ROWID
"""
# Beside the answers: older versions know the other table as it is
_COUNTS_TABLE = """
CREATE TABLE IF NOT EXISTS answer_counts (
    key TEXT PRIMARY KEY, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
    at_limit INTEGER NOT NULL, is_counted INTEGER NOT NULL
) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class AnswerCounts:
    """Tokens that a model read and wrote for an answer. `at_limit`: its token limit ended it.
    `is_counted`: the server counted them; else they are estimated."""

    tokens_in: int
    tokens_out: int
    at_limit: bool = False
    is_counted: bool = True


def answer_key(*parts: object) -> str:
    """A digest of all that an answer depends on: model, prompt version, text, ..."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


class AnswerCache:
    """Answers by key. Each is written in one step: whoever is killed leaves whole answers. None:
    kept in memory.

    A file that fails later (a full disk) is reported once; answers then are neither found nor kept,
    and work goes on. Raises ConfigError for a file that cannot be used.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = path
        self._failed = False
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._database = _opened(path)
        except (OSError, sqlite3.Error) as error:
            raise ConfigError(
                f"cannot keep a model's answers in {path} ({error}); give another file"
            ) from error

    def get(self, key: str) -> str | None:
        """The answer kept under `key`, None without one."""
        rows = self._run("SELECT answer FROM judge_answers WHERE key = ?", key)
        return str(rows[0][0]) if rows else None

    def counts(self, key: str) -> AnswerCounts | None:
        """What was counted of the answer kept under `key`, None where nothing was."""
        rows = self._run(
            "SELECT tokens_in, tokens_out, at_limit, is_counted FROM answer_counts WHERE key = ?",
            key,
        )
        if not rows:
            return None
        tokens_in, tokens_out, at_limit, is_counted = rows[0]
        return AnswerCounts(
            int(str(tokens_in)), int(str(tokens_out)), bool(at_limit), bool(is_counted)
        )

    def put(
        self,
        key: str,
        model: str,
        prompt_version: str,
        question: str,
        answer: str,
        counts: AnswerCounts | None = None,
    ) -> None:
        """Keep an answer with its counts; `model`, `prompt_version` and `question` are for people
        who look into the file."""
        if counts is not None:  # first: an answer is never there without them
            numbers = (counts.tokens_in, counts.tokens_out, counts.at_limit, counts.is_counted)
            self._run(
                "INSERT OR REPLACE INTO answer_counts VALUES (?, ?, ?, ?, ?)",
                key,
                *map(int, numbers),
            )
        self._run(
            "INSERT OR REPLACE INTO judge_answers VALUES (?, ?, ?, ?, ?)",
            key,
            model,
            prompt_version,
            question,
            answer,
        )

    def close(self) -> None:
        self._database.close()

    def _run(self, statement: str, *values: str | int) -> list[tuple[object, ...]]:
        try:
            return self._database.execute(statement, values).fetchall()
        except sqlite3.Error as error:
            if not self._failed:
                _log.warning("a model's answers are no longer kept in %s: %s", self.path, error)
            self._failed = True
            return []


def _opened(path: Path | None) -> sqlite3.Connection:
    """A connection that commits every statement by itself, tried for writing."""
    database = sqlite3.connect(
        ":memory:" if path is None else path,
        timeout=_WAIT_S,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        # Readers and a writer do not wait for each other
        _use_wal(database)
        database.execute("PRAGMA synchronous = NORMAL")
        database.execute(_TABLE)
        database.execute(_COUNTS_TABLE)
        database.execute("BEGIN IMMEDIATE")
        database.execute(
            "SELECT key, model, prompt_version, question, answer FROM judge_answers LIMIT 0"
        )
        database.execute("ROLLBACK")
    except sqlite3.Error:
        database.close()
        raise
    return database


def _use_wal(database: sqlite3.Connection) -> None:
    """Waits for another run that opens the file at this moment: SQLite itself does not wait where
    the kind of journal changes."""
    deadline_s = time.monotonic() + _WAIT_S
    while True:
        try:
            database.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            is_busy = error.sqlite_errorcode & 0xFF == sqlite3.SQLITE_BUSY
            if not is_busy or time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
