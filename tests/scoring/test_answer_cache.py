"""Kept answers: found again, by several runs at once, and never in the way of work."""

from __future__ import annotations

import logging
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from oncue.errors import ConfigError
from oncue.scoring.answer_cache import AnswerCache, AnswerCounts, answer_key

WRITER = """
import sys
from pathlib import Path
from oncue.scoring.answer_cache import AnswerCache
cache = AnswerCache(Path(sys.argv[1]))
for number in range(40):
    cache.put(f"{sys.argv[2]}-{number}", "model", "1", "question", f"answer {number}")
    assert cache.get(f"{sys.argv[2]}-{number}") == f"answer {number}"
"""


def test_what_was_put_is_found_by_the_next_run(tmp_path: Path) -> None:
    path = tmp_path / "new" / "answers.sqlite3"
    cache = AnswerCache(path)
    assert cache.get("a") is None
    cache.put("a", "model", "1", "question", "5")
    assert cache.get("a") == "5"
    assert AnswerCache(path).get("a") == "5"  # while the first is open
    cache.close()
    assert AnswerCache(path).get("a") == "5"
    assert AnswerCache(path).get("b") is None
    assert AnswerCache().get("a") is None


def test_runs_that_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite3"
    runs = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path), str(run)]) for run in range(3)
    ]
    assert [run.wait(60) for run in runs] == [0, 0, 0]
    cache = AnswerCache(path)
    assert all(
        cache.get(f"{run}-{number}") == f"answer {number}"
        for run in range(3)
        for number in range(40)
    )


def test_a_file_that_another_run_is_opening_is_waited_for(tmp_path: Path) -> None:
    """Before it has become a journal of the right kind, too: SQLite itself does not wait there."""
    path = tmp_path / "answers.sqlite3"
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("CREATE TABLE t (a)")
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.3, lambda: other.execute("COMMIT"))
    timer.start()
    cache = AnswerCache(path)
    timer.join()
    cache.put("k", "m", "1", "q", "a")
    assert cache.get("k") == "a"


def test_a_key_depends_on_every_part() -> None:
    parts = [
        ("1", "m", {"a": 1, "b": 2}, "x"),
        ("2", "m", {"a": 1, "b": 2}, "x"),
        ("1", "n", {"a": 1, "b": 2}, "x"),
    ]
    parts += [
        ("1", "m", {"a": 1}, "x"),
        ("1", "m", {"a": 1, "b": 2}, "y"),
        ("1m", "", {"a": 1, "b": 2}, "x"),
    ]
    assert len({answer_key(*part) for part in parts}) == len(parts)
    assert answer_key("1", {"b": 2, "a": 1}) == answer_key("1", {"a": 1, "b": 2})


@pytest.mark.parametrize("kind", ["text", "folder", "other table", "below a file"])
def test_a_file_that_cannot_be_used_is_refused(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite3"
    if kind == "text":
        path.write_text("no database " * 100)
    elif kind == "folder":
        path.mkdir()
    elif kind == "other table":
        sqlite3.connect(path).execute("CREATE TABLE judge_answers (x)")
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "answers.sqlite3"
    with pytest.raises(ConfigError, match=r"answers\.sqlite3"):
        AnswerCache(path)


def test_a_file_that_fails_later_is_told_once_and_work_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite3")
    sqlite3.connect(tmp_path / "answers.sqlite3").execute("DROP TABLE judge_answers")
    with caplog.at_level(logging.WARNING):
        for number in range(3):
            cache.put(str(number), "model", "1", "question", "5")
            assert cache.get(str(number)) is None
    assert len(caplog.records) == 1


def test_counts_are_kept_beside_the_answer(tmp_path: Path) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite3")
    cache.put("a", "m", "1", "q", "yes", AnswerCounts(5, 7, at_limit=True))
    cache.put("b", "m", "1", "q", "no")
    assert cache.counts("a") == AnswerCounts(5, 7, at_limit=True, is_counted=True)
    assert cache.counts("b") is None
