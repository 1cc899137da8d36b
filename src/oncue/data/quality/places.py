"""Where a name was first seen, among any number of names: they are kept on the disk."""

from __future__ import annotations

import sqlite3


class Places:
    """The first place of each name, in a file without a name that goes when it is closed."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.execute("CREATE TABLE seen (name TEXT PRIMARY KEY, place TEXT NOT NULL)")
        self._database.execute("BEGIN")

    def first(self, name: str, place: str) -> str:
        """The place of the first call with `name`: `place` itself where this is the first."""
        added = self._database.execute(
            "INSERT OR IGNORE INTO seen VALUES (?, ?)", (name, place)
        ).rowcount
        if added:
            return place
        found = self._database.execute("SELECT place FROM seen WHERE name = ?", (name,))
        return str(found.fetchone()[0])

    def close(self) -> None:
        self._database.close()
