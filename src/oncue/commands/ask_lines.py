"""`oncue ask-lines`: questions as JSON lines on stdin, answers as JSON lines on stdout."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from typing import Literal

from oncue.aio import completed
from oncue.ask.line_asker import LineAsker, Manner
from oncue.ask.line_loop import Counts, answer_lines
from oncue.ask.preparation import FREE_ANSWER_CHARACTERS, check_can_retrieve, shrink_for
from oncue.commands.evaluating import policy_spec
from oncue.commands.number_checks import check_smallest
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.hub import name_or_bundled
from oncue.policy.open_policy import Policy, PolicySpec, open_policy
from oncue.startup import loading
from oncue.stopping import Stopper
from oncue.types import PolicySession
from oncue.watch.report import JsonLines

LOCAL_ONLY = ("device", "dtype", "temperature", "seed")
RETRIEVAL_ONLY = ("frames", "budget", "max_turns", "unit", "marks", "thinking")


@dataclass(frozen=True)
class AskLines:
    """Answer questions from stdin, one JSON object per line, with JSON lines on stdout, until stdin
    ends. The model is opened once. For programs, such as those in another environment.

    Example: oncue ask-lines --server http://localhost:8000 < questions.jsonl > answers.jsonl

    A question: {"id": 1, "question": "Which cup?", "options": ["red", "blue"], "video": "a.mp4"};
    see docs/benchmarks/offline.md. An answer: {"id": 1, "answer": "B", ...}, in the order in which
    they are found, or {"id": 1, "error": "..."}.

    Exit codes: 0 stdin has ended, 1 a failure such as a lost server, 2 bad usage, 130 stopped by
    Ctrl-C or SIGTERM.
    """

    model: str | None = None
    """A model folder or a hub id (owner/name). The models that ship with oncue cannot answer
    questions, so this or --server is needed."""

    server: str | None = None
    """Address of an OpenAI-compatible chat server, as for `oncue ask`; --model is then its name for
    the model."""

    single_turn: int | None = None
    """No retrieval: so many frames of the video, evenly spread, then the question, under the
    model's usual system message. For models that were never taught to retrieve, such as MMDuet2."""

    frames: int = 128
    """Frames of the whole video that the model can ask for, its pool. The paper has 128, the
    released code 64."""

    budget: int = 32
    """Frames shown in all of 3 turns: half of them at first, a quarter in each later turn. The
    paper has 32, 64 and 80."""

    max_turns: int = 3
    """Turns of the model, the one with its answer included."""

    unit: Literal["frames", "seconds"] = "frames"
    """What the model asks by: numbers of frames in the pool, as in the paper, or seconds."""

    marks: Literal["frames", "seconds", "both"] | None = None
    """The mark before each frame that the model is shown. By default what --unit counts."""

    thinking: Literal["required", "asked", "off"] = "asked"
    """Whether the model is asked to think before it acts. required: a turn without a thought is not
    valid. off: it is not asked to."""

    at_once: int = 8
    """Questions that are asked together. Memory holds the frames of at most so many videos."""

    device: str | None = None
    """cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """0 always takes the likeliest token."""

    seed: int = 0
    """Seed of the sampling."""

    max_new_tokens: int = 1024
    """Longest turn of the model, its thought included; a longer one is cut."""

    context_tokens: int | None = None
    """Longest context the model is given. By default what the model has room for."""

    max_pixels: int | None = None
    """Largest area of a frame, in pixels, before it is scaled down. By default what the model's
    folder says, but no more than 128 vision tokens (100352 pixels with Qwen2.5-VL, 131072 with
    Qwen3-VL)."""

    def run(self) -> int:
        """Open the policy, answer until stdin ends. Returns the exit code."""
        manner, spec = self._manner(), self._policy()
        if sys.stdin is None:
            raise ConfigError("stdin is closed; send questions there, a JSON object per line")
        answers = JsonLines(sys.stdout)
        stopper = Stopper()
        with stopper.listening(), redirect_stdout(sys.stderr):  # stdout holds nothing but answers
            try:
                with loading():
                    policy: Policy[PolicySession] = open_policy(spec)
                with policy:
                    asker = LineAsker(policy, manner, shrink=shrink_for(spec), seed=self.seed)
                    print(f"{policy.name} waits for questions on stdin", flush=True)
                    counts = completed(self._answer(asker, policy, answers))
            except KeyboardInterrupt:
                return 130
            print(f"answered {counts.num_answered}, failed {counts.num_failed}", flush=True)
        return 0

    async def _answer(
        self, asker: LineAsker, policy: Policy[PolicySession], answers: JsonLines
    ) -> Counts:
        try:
            return await answer_lines(sys.stdin.buffer, asker, answers.write, self.at_once)
        finally:
            await policy.disconnect()

    def _manner(self) -> Manner:
        """Raises ConfigError for what cannot be, before anything is opened."""
        check_smallest(
            self,
            single_turn=1,
            frames=1,
            budget=4,
            max_turns=1,
            at_once=1,
            temperature=0,
            seed=0,
            max_new_tokens=1,
            context_tokens=1,
        )
        if self.single_turn is not None:
            for name in RETRIEVAL_ONLY:
                if getattr(self, name) != getattr(type(self), name):
                    raise ConfigError(
                        f"--{name.replace('_', '-')} is for retrieval; leave it out, or leave "
                        "--single-turn out"
                    )
            return Manner(self.single_turn)
        settings = replace(
            RetrievalSettings.for_budget(self.budget, self.max_turns),
            unit=self.unit,
            marks=self.marks or self.unit,
            thinking=self.thinking,
            max_answer_characters=FREE_ANSWER_CHARACTERS,
        )
        return Manner(self.frames, settings)

    def _policy(self) -> PolicySpec:
        """The policy that the flags name. Raises ModelError for one that cannot answer."""
        if self.server is None:
            check_can_retrieve(name_or_bundled(self.model))
        sampling = {"temperature": self.temperature, "max_new_tokens": self.max_new_tokens}
        return policy_spec(self, sampling, self.seed, LOCAL_ONLY, ())
