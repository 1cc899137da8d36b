"""What the test server can be told to do wrong."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Status:
    """Answers with an HTTP error. `{key}` in the message becomes the Authorization header: some
    servers echo it. `error_code`: the code in the body, where it is not that of HTTP."""

    code: int
    headers: Mapping[str, str] = field(default_factory=dict)
    message: str = "something is wrong"
    raw: str | None = None
    error_code: str | None = None


@dataclass(frozen=True)
class Slow:
    """Answers rightly, that much later."""

    by_s: float


@dataclass(frozen=True)
class Hang:
    """Writes the head of an answer, or nothing, and then waits until the client leaves."""

    after_head: bool = False


@dataclass(frozen=True)
class Cut:
    """Drops the connection after that many tokens; None: before the answer's head."""

    num_tokens: int | None


@dataclass(frozen=True)
class Unfinished:
    """Ends the stream in good order, but before the answer is finished."""

    reason: str | None = None


@dataclass(frozen=True)
class Event:
    """A stream whose only event holds `text`."""

    text: str


@dataclass(frozen=True)
class Page:
    """A web page with status 200, as of a proxy."""

    text: str = "<html>Welcome</html>"


Fault = Status | Slow | Hang | Cut | Unfinished | Event | Page
