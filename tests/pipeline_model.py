"""Videos of a list, and a model that captions, asks and merges by rules, for tests and tries of the
pipeline: it answers what it is asked, by the words of the prompt.

Run by itself it is a server: python tests/pipeline_model.py [FILE]; it prints its address, and
writes it to FILE. It then does what real models do: bad JSON at first, code fences, thoughts,
refusals in words. Which of them follows from the request alone.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.chat_client import Retries
from oncue.data.chat_writer import ChatWriter, WriterOptions
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.steps import Models
from oncue.data.pipeline.values import BuildSettings
from oncue.data.request_limits import Prices, Spending
from oncue.data.source_videos import Remark, SourceVideo
from oncue.errors import DataError
from oncue.types import TimeSpan
from openai_server import Json, OpenAIServer

FAST = Retries(max_retries=1, first_wait_s=0.001, longest_wait_s=0.002)
SMALL = BuildSettings(frame_interval_s=0.5, frames_per_turn=1, frames_per_scene=2)
FENCED, THINKING, BROKEN, HOPELESS = range(4)  # of eight ways to answer; the others are plain


@dataclass(frozen=True)
class Listed:
    """A source that was written down."""

    items: tuple[SourceVideo | DataError, ...]

    def videos(self) -> Iterator[SourceVideo | DataError]:
        return iter(self.items)


def one(number: int, video: str = "clip.mp4", **more: Any) -> SourceVideo:
    scenes = tuple(Remark(TimeSpan(k, k + 0.9), f"event {k} of {number}") for k in range(6))
    return SourceVideo(
        f"v{number}", video, "made up", f"list.json, row {number}", **{"scenes": scenes, **more}
    )


def models_on(server: OpenAIServer, cache: Path | None = None, **budget: Any) -> Models:
    options = WriterOptions(retries=FAST, timeout_s=5.0, max_tokens=500, cache=cache)
    spending = Spending(Prices.read(("1,10",)), **budget)
    writer = ChatWriter(server.url, "watcher", options, spending=spending, keep_cut=True)
    return Models(writer, writer, Prompts.read())


def text_of(message: Json) -> str:
    """What is written in a message, without its pictures."""
    content = message["content"]
    if isinstance(content, str):
        return content
    return "\n".join(part["text"] for part in content if part["type"] == "text")


def digest(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big")


def written(messages: Sequence[Json]) -> Json:
    """What is asked for."""
    rules, asked = text_of(messages[0]), text_of(messages[1])
    if '{"caption"' in rules:
        pictures = json.dumps(messages[1]["content"])
        return {"caption": f"A scene number {digest(pictures) % 1000} with a cup. {asked[:60]}"}
    if '{"questions"' in rules:
        num, num_scenes = (int(n) for n in re.findall(r"number of \w+: (\d+)", asked))
        return {
            "questions": [
                {
                    "question": f"What is seen of thing {k}?",
                    "answers": [
                        {"scene": i, "answer": f"Thing {k} is seen in scene {i}."}
                        for i in range(1, num_scenes + 1)
                        if (i + k) % 3 or i == 1
                    ],
                }
                for k in range(num)
            ]
        }
    texts = re.findall(r'answer \d+: "(.*)"', asked)
    return {"answer": " ".join(texts)}


def model(messages: Sequence[Json]) -> list[str]:
    """The rightly formed answer."""
    return [json.dumps(written(messages))]


def moody(messages: Sequence[Json]) -> list[str]:
    """As models are: the mood follows from what is asked, and a repaired answer is right, but for
    the few that are hopeless."""
    right = json.dumps(written(messages))
    mood = digest(text_of(messages[1]) + text_of(messages[0])) % 8
    if mood == HOPELESS and '{"caption"' in text_of(messages[0]):
        return ["I'm sorry, but I can't help with that."]
    if mood == BROKEN and len(messages) == 2:
        return [right[:-3]]
    if mood == THINKING:
        return [f"<think>Let me {{see}}.</think>\n{right}"]
    if mood == FENCED:
        return [f"```json\n{right}\n```"]
    return [right]


if __name__ == "__main__":
    with OpenAIServer(moody, models=None) as server:
        print(server.url, flush=True)
        if len(sys.argv) > 1:
            Path(sys.argv[1]).write_text(server.url)
        while True:
            time.sleep(1)
