"""A chat model that says what is written, turn by turn, and `oncue ask` on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np

from oncue import cli
from oncue.video.writer import write_video
from openai_server import Json, OpenAIServer, Script

LOOK = "<think>It is not clear yet.</think><retrieve>40,79</retrieve>"
ANSWER = "<think>Now it is.</think><answer>b</answer>"


def text_of(message: Json) -> str:
    """The text of a message, its pictures left out."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content)


def num_pictures(message: Json) -> int:
    content = message["content"]
    return 0 if isinstance(content, str) else sum(p["type"] == "image_url" for p in content)


def says(*texts: str) -> Script:
    """A model whose answer in turn n is the n-th text, and the last one from then on."""

    def script(messages: Sequence[Json]) -> Sequence[str]:
        turn = int(re.search(r"Turn (\d+) of", text_of(messages[-1]))[1])  # type: ignore[index]
        return re.findall(r"\S+\s*|\s+", texts[min(turn, len(texts)) - 1])

    return script


def ask(video: Path | str, server: OpenAIServer, *flags: str, question: str = "Which cup?") -> int:
    """The exit code of `oncue ask` with options red and blue, where `flags` name no others."""
    options = [] if "--options" in flags else ["--options", "red", "blue"]
    return cli.main(["ask", str(video), question, "--server", server.url, *options, *flags])


def values_of(page: str) -> dict[str, Any]:
    """What a page is drawn from."""
    return json.loads(re.search(r'<script type="application/json"[^>]*>(.*?)</script>', page)[1])  # type: ignore[index]


def make_clip(path: Path, num_pictures: int) -> Path:
    """Ten pictures a second, each a little lighter."""
    write_video(path, (np.full((64, 96, 3), 4 * k, np.uint8) for k in range(num_pictures)), 10.0)
    return path


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """The address of a web server of the files in `folder`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
