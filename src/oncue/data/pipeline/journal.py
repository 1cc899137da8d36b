"""What a run has done so far, in a SQLite file: which videos there are, what came of each, what was
spent. A process that is killed leaves whole entries; the next run goes on from them."""

from __future__ import annotations

import hashlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from oncue.data.pipeline.values import REFUSED, VIDEO, Outcome
from oncue.data.source_videos import SourceVideo
from oncue.errors import ConfigError, DataError

NAME = "journal.sqlite3"
_WAIT_S = 1.0  # for a process that is just ending
_TABLES = """
CREATE TABLE IF NOT EXISTS settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outcomes (
    video_id TEXT PRIMARY KEY, digest TEXT NOT NULL, is_row INTEGER NOT NULL, line TEXT NOT NULL,
    video TEXT NOT NULL, place TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS spending (
    number INTEGER PRIMARY KEY, model TEXT NOT NULL, tokens_in INTEGER NOT NULL,
    tokens_out INTEGER NOT NULL, cost REAL NOT NULL);
CREATE TABLE IF NOT EXISTS plan (
    place INTEGER PRIMARY KEY, video_id TEXT UNIQUE, digest TEXT NOT NULL, fault TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a place of the source holds, and what came of it: an outcome, a fault of the row, or
    neither yet."""

    video_id: str
    video: str
    where: str
    fault: str
    outcome: Outcome | None


class Journal:
    """The journal in the folder `out`, made where there is none; open in one process at a time.
    Raises ConfigError for a file that cannot be used, where another process is at work in `out`,
    and for a run with other `settings`, naming the first that differs."""

    def __init__(self, out: Path, settings: Mapping[str, Any]) -> None:
        self.path = out / NAME
        try:
            self._database = sqlite3.connect(
                self.path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        try:
            self._database.execute("PRAGMA locking_mode = EXCLUSIVE")  # two runs would pay twice
            self._database.execute("PRAGMA journal_mode = WAL")
            self._database.execute("PRAGMA synchronous = NORMAL")
            self._database.executescript(_TABLES)
            self._check_settings(settings)
        except sqlite3.Error as error:
            self._database.close()
            raise self._unusable(error) from error
        except ConfigError:
            self._database.close()
            raise

    def _unusable(self, error: sqlite3.Error) -> ConfigError:
        if "locked" in str(error):
            return ConfigError(
                f"another process is at work in {self.path.parent}; wait for it, or stop it"
            )
        return ConfigError(f"cannot keep what is done in {self.path} ({error}); give another --out")

    def close(self) -> None:
        self._database.close()

    def plan(self, videos: Iterable[SourceVideo | DataError], limit: int | None) -> int:
        """Notes which videos the source has now, the first `limit` of them; gives their number. An
        id that comes again is a fault. What was missing or corrupt, or refused by the server, is
        tried again."""
        run = self._database.execute
        run("BEGIN IMMEDIATE")
        run("DELETE FROM plan")
        num_videos = 0
        for place, video in enumerate(videos):
            if isinstance(video, DataError):
                run("INSERT INTO plan VALUES (?, NULL, '', ?)", (place, str(video)))
                continue
            known = (place, video.video_id, digest_of(video), "")
            if run("INSERT OR IGNORE INTO plan VALUES (?, ?, ?, ?)", known).rowcount:
                num_videos += 1
                if num_videos == limit:  # no more is read: that may take long
                    break
            else:
                fault = f"{video.where}: there is another video {video.video_id!r}; rename one"
                run("INSERT INTO plan VALUES (?, NULL, '', ?)", (place, fault))
        run(
            "DELETE FROM outcomes WHERE NOT is_row "
            "AND (json_extract(line, '$.rejected[0].step') = ? "
            "OR json_extract(line, '$.rejected[#-1].kind') = ?)",
            (VIDEO, REFUSED),
        )
        run("COMMIT")
        return num_videos

    def last_place(self) -> int:
        """The place in the source of the last video that is planned, -1 for none."""
        found = self._database.execute("SELECT coalesce(max(place), -1) FROM plan").fetchone()
        return int(found[0])

    def is_due(self, video: SourceVideo) -> bool:
        """Whether the video is planned, as it is here, and nothing has come of it yet."""
        digest = digest_of(video)
        found = self._database.execute(
            "SELECT plan.digest, outcomes.digest FROM plan LEFT JOIN outcomes USING (video_id) "
            "WHERE video_id = ?",
            (video.video_id,),
        ).fetchone()
        return found is not None and found[0] == digest != found[1]

    def note(self, video: SourceVideo, outcome: Outcome) -> None:
        """Something came of a video. Once it is here, it stays."""
        line = json.dumps(outcome.plain(), ensure_ascii=False)
        self._database.execute(
            "INSERT OR REPLACE INTO outcomes VALUES (?, ?, ?, ?, ?, ?)",
            (
                video.video_id,
                digest_of(video),
                outcome.row is not None,
                line,
                video.video,
                video.where,
            ),
        )

    def note_spent(self, model: str, tokens_in: int, tokens_out: int, cost: float) -> None:
        """An answer was paid for."""
        self._database.execute(
            "INSERT INTO spending VALUES (NULL, ?, ?, ?, ?)", (model, tokens_in, tokens_out, cost)
        )

    def spent(self) -> tuple[int, int, int, float]:
        """Requests, tokens read, tokens written and money of all runs so far."""
        row = self._database.execute(
            "SELECT count(*), total(tokens_in), total(tokens_out), total(cost) FROM spending"
        ).fetchone()
        return int(row[0]), int(row[1]), int(row[2]), float(row[3])

    def num_done(self) -> int:
        """How many of the planned videos have an outcome."""
        row = self._database.execute(
            "SELECT count(*) FROM plan JOIN outcomes USING (video_id) "
            "WHERE plan.digest = outcomes.digest"
        ).fetchone()
        return int(row[0])

    def entries(self) -> Iterator[Planned]:
        """All that is planned, in the order of the source."""
        rows = self._database.execute(
            "SELECT plan.video_id, fault, line, video, outcomes.place FROM plan LEFT JOIN outcomes "
            "ON plan.video_id = outcomes.video_id AND plan.digest = outcomes.digest "
            "ORDER BY plan.place"
        )
        for video_id, fault, line, video, where in rows:
            outcome = None if line is None else Outcome.from_plain(json.loads(line))
            yield Planned(video_id or "", video or "", where or "", fault, outcome)

    def _check_settings(self, settings: Mapping[str, Any]) -> None:
        """Raises ConfigError where the journal has other settings."""
        now = {name: json.dumps(value, sort_keys=True) for name, value in settings.items()}
        self._database.execute("BEGIN IMMEDIATE")
        before = dict(self._database.execute("SELECT name, value FROM settings").fetchall())
        if not before:
            self._database.executemany("INSERT INTO settings VALUES (?, ?)", now.items())
        self._database.execute("COMMIT")
        for name in now if before else ():
            if now[name] != before.get(name):
                raise ConfigError(
                    f"{self.path.parent} holds a run with another {name}: {before.get(name)}, now "
                    f"{now[name]}; give the same settings to go on, or another --out (answers that "
                    "are kept are not paid for again)"
                )


def digest_of(video: SourceVideo) -> str:
    """Of all that the source says of a video."""
    plain = json.dumps(asdict(video), sort_keys=True, default=str)
    return hashlib.sha256(plain.encode("utf-8", "backslashreplace")).hexdigest()
