"""A page in a real browser, driven by its command line alone: a script added to a copy of the page
does what a person would, and the browser prints the page as it then stands."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
BROWSER = next((found for name in BROWSERS if (found := shutil.which(name))), None)
needs_browser = pytest.mark.skipif(
    BROWSER is None, reason=f"no browser: none of {', '.join(BROWSERS)} is installed"
)


@dataclass
class Shown(HTMLParser):
    """A page as it stands: text by id of the element around it, and how many elements have each
    class."""

    page: str
    texts: dict[str, str] = field(default_factory=dict)
    num: dict[str, int] = field(default_factory=dict)
    hidden: set[str] = field(default_factory=set)
    current: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[str] = []
        self.feed(self.page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        for name in values.get("class", "").split():
            self.num[name] = self.num.get(name, 0) + 1
        if "hidden" in values:
            self.hidden.add(values.get("id", ""))
        if values.get("aria-current") == "true":
            self.current.append(values.get("aria-label", tag))
        if tag not in ("meta", "input", "img", "br"):
            self._open.append(values.get("id", ""))

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """An element of a drawing: it holds no text."""

    def handle_endtag(self, tag: str) -> None:
        if self._open and tag not in ("meta", "input", "img", "br"):
            self._open.pop()

    def handle_data(self, data: str) -> None:
        for name in filter(None, self._open):
            self.texts[name] = self.texts.get(name, "") + data


def shown(page: Path, fragment: str = "", does: str = "") -> Shown:
    """The page at `fragment`, after the script `does`."""
    if does:
        driven = page.with_name("driven.html")
        driven.write_text(
            page.read_text("utf-8").replace("</body>", f"<script>{does}</script></body>"), "utf-8"
        )
        page = driven
    assert BROWSER is not None
    flags = [
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--window-size=1200,900",
        "--virtual-time-budget=2000",
    ]
    profile = page.parent / "profile"
    done = subprocess.run(
        [
            BROWSER,
            *flags,
            f"--user-data-dir={profile}",
            "--dump-dom",
            f"{page.as_uri()}#{fragment}",
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
        env={**os.environ, "DBUS_SESSION_BUS_ADDRESS": "disabled:"},
    )
    return Shown(done.stdout)
