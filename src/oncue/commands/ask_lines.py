"""`oncue ask-lines`: many questions about long videos, from another program."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Literal

from oncue.ask.opening import FREE_ANSWER_CHARACTERS, check_can_retrieve, shrink_for
from oncue.commands.evaluating import policy_spec
from oncue.commands.number_checks import check_smallest
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.hub import name_or_bundled

LOCAL_ONLY = ("device", "dtype", "temperature")


@dataclass(frozen=True)
class AskLines:
    """Answer questions about long videos as `oncue ask` does, one JSON object per line on stdin,
    until it ends. The model stays loaded. This is how other programs, such as lmms-eval in an
    environment of its own, ask oncue.

    A request is {"id", "video", "question", "options"}; "options" may be left out. stdout has a
    line {"ready": true, ...}, then {"id", "answer"} for each request as it is ready: the letter of
    an option, or own words. An answer of "" has a "reason". A request that cannot be asked gets
    {"id", "error"}, and the others go on.

    Example: oncue ask-lines --server http://localhost:8000 < requests.jsonl
    """

    model: str | None = None
    """A model folder or a hub id (owner/name). The models that ship with oncue cannot retrieve, so
    this or --server is needed."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue ask`; --model is then its name for
    the model."""

    mode: Literal["retrieval", "single-turn", "blind"] = "retrieval"
    """single-turn: the model is shown as many frames at once, evenly spread. blind: none."""

    frames: int = 128
    """Frames of the whole video that the model can ask for, its pool."""

    budget: int = 32
    """Frames shown in all of 3 turns: half of them at first, a quarter in each later turn."""

    max_turns: int = 3
    """Turns of the model, the one with its answer included."""

    thinking: Literal["required", "asked", "off"] = "asked"
    """Whether the model is asked to think before it acts."""

    at_once: int = 8
    """Questions that are asked together. Memory holds the frames of at most so many videos more."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    seed: int = 0
    """Seed of the sampling."""

    max_new_tokens: int = 1024
    """Longest turn of the model, its thought included; a longer one is cut, and not valid."""

    context_tokens: int | None = None
    """Longest context the model is given. By default what the model has room for."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down, as for `oncue ask`."""

    def run(self) -> int:
        """Load, answer, end with the input. Returns the exit code."""
        from oncue.aio import completed
        from oncue.ask.input_lines import lines_from
        from oncue.ask.lines import LineAnswerer
        from oncue.policy.open_policy import open_policy
        from oncue.startup import loading
        from oncue.video.pool_reader import read_pool
        from oncue.watch.live import JsonLines

        settings = self._settings()
        if self.server is None:
            check_can_retrieve(name_or_bundled(self.model))
        sampling = {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        spec = policy_spec(self, sampling, self.seed, LOCAL_ONLY, ())
        with loading():
            policy = open_policy(spec)
        shrink = shrink_for(spec)
        with policy:
            answerer = LineAnswerer(
                policy,
                settings,
                lambda video: read_pool(video, self.frames, shrink=shrink),
                JsonLines().write,
                num_at_once=self.at_once,
                seed=self.seed,
            )
            completed(answerer.run(lines_from(sys.stdin.fileno())))
        return 0

    def _settings(self) -> RetrievalSettings:
        """Raises ConfigError for what cannot be, before anything is opened."""
        from oncue.eval.benchmarks.mcq import most_frames, settings_for

        check_smallest(
            self,
            frames=1,
            budget=4,
            max_turns=1,
            at_once=1,
            temperature=0,
            seed=0,
            max_new_tokens=1,
            context_tokens=1,
        )
        settings = replace(
            RetrievalSettings.for_budget(self.budget, self.max_turns),
            thinking=self.thinking,
            max_answer_characters=FREE_ANSWER_CHARACTERS,
        )
        if self.frames < most_frames(settings):
            raise ConfigError(
                f"--frames {self.frames} is fewer than the {most_frames(settings)} frames that may "
                "be seen; raise it, or lower --budget or --max-turns"
            )
        return settings_for(self.mode, settings)
