"""The grammar of Video-MTR: a thought, then a range of frames to look at or the answer (paper
section 3.1).

    <think> ... </think><retrieve>12,40</retrieve>
    <think> ... </think><answer>B</answer>
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from oncue.errors import ConfigError
from oncue.thoughts import CLOSING, OPENING, behind_thoughts
from oncue.types import Action, Answer, Malformed, Retrieve

Unit = Literal["frames", "seconds"]  # what the numbers of a range count
Thinking = Literal["required", "asked", "off"]

_ACTION = re.compile(r"<(retrieve|answer)>(.*)</\1>", re.DOTALL)
_NUMBER = {"frames": r"\d+", "seconds": r"\d+(?:\.\d+)?"}
_KIND = {"frames": "whole frame numbers", "seconds": "seconds"}
MAX_ANSWER_CHARACTERS = 50  # of an answer in own words, as released


@dataclass(frozen=True, slots=True)
class RetrievalFormat:
    """Ranges from 0 to `last` in `unit`, and answers: one of the option `letters`, or without any
    own words of at most `max_answer_characters`.

    `last` is the largest frame number of the pool, or the length of the video in seconds. A turn is
    one action and nothing else behind its thought. `needs_thought`: a turn without one is
    `Malformed`; else it may be left out. A letter may be written small. `read(write(action)) ==
    action`.
    """

    last: float
    unit: Unit = "frames"
    letters: str = ""
    thinking: Thinking = "asked"
    max_answer_characters: int = MAX_ANSWER_CHARACTERS

    def __post_init__(self) -> None:
        if self.unit not in get_args(Unit):
            raise ConfigError(f"a range counts frames or seconds, got {self.unit!r}")
        if self.thinking not in get_args(Thinking):
            raise ConfigError(f"thinking is required, asked or off, got {self.thinking!r}")
        if self.last < 0:
            raise ConfigError(
                f"the last {self.unit} of a range must be at least 0, got {self.last}"
            )

    @property
    def silence_text(self) -> None:
        """None: a question is asked, so silence is no action."""

    @property
    def instruction(self) -> str:
        """Both actions, each with an example that can be read."""
        start, end = self.last // 4, self.last // 2
        look = self._example(self.write(Retrieve(start, end)))
        return (
            f"{self._thought_part()}Do exactly one of two things.\n"
            f"To see more frames of one stretch of the video, write its first and last "
            f"{'frame number' if self.unit == 'frames' else 'second'}, like this:\n{look}\n"
            f"Both are {_KIND[self.unit]} from 0 to {self._shown(self.last)}, the smaller one "
            f"first.\n{self._answer_part('If you have seen enough, answer like this:')}"
        )

    @property
    def answer_instruction(self) -> str:
        """The answer alone, where nothing more can be looked at."""
        return self._thought_part() + self._answer_part("Answer now, like this:")

    def write(self, action: Action) -> str:
        """The text of `action`. Raises ValueError for one that would be read back as something
        else."""
        if isinstance(action, Malformed):
            return action.text
        if isinstance(action, Retrieve):
            body = f"{self._shown(action.start)},{self._shown(action.end)}"
            text = f"<retrieve>{body}</retrieve>"
        elif isinstance(action, Answer):
            text = f"<answer>{action.text}</answer>"
        else:
            raise ValueError(
                f"this grammar has ranges and answers, not {type(action).__name__}; got {action}"
            )
        text = self._empty_thought() + text
        if (read_back := self.read(text)) != action:
            raise ValueError(f"{action} cannot be written here: it reads as {read_back}")
        return text

    def read(self, text: str, truncated: bool = False) -> Action:
        """The action that `text` states; `truncated`: the token limit cut it off. Everything else
        is `Malformed`; its reason quotes nothing, so that it can be shown to the policy."""
        said = behind_thoughts(text)
        if said is None:
            return Malformed(text, "the turn ends within a thought" + _advice(truncated))
        thought = text[: len(text) - len(said)]
        if self.thinking == "required" and not thought:
            return Malformed(text, f"there is no thought in {OPENING} and {CLOSING}")
        if OPENING in thought.lstrip()[1:] or thought.count(CLOSING) > 1:
            return Malformed(text, "there must be one thought, and nothing before it")
        found = _ACTION.fullmatch(said.strip())
        if found is None:
            return Malformed(
                text,
                "a turn is one <retrieve> or one <answer>, closed and with nothing around it"
                + _advice(truncated),
            )
        kind, body = found.groups()
        read = self._range(body) if kind == "retrieve" else self._answer(body)
        return read if not isinstance(read, str) else Malformed(text, read)

    def _range(self, body: str) -> Retrieve | str:
        number = _NUMBER[self.unit]
        found = re.fullmatch(rf"\s*({number})\s*,\s*({number})\s*", body, re.ASCII)
        if found is None:
            return f"a range is two {_KIND[self.unit]} with a comma between them"
        start, end = float(found[1]), float(found[2])
        if start > end:
            return "the range ends before it starts"
        if end > self.last:
            return f"the range goes beyond {self._shown(self.last)}, the last of the {self.unit}"
        return Retrieve(start, end)

    def _answer(self, body: str) -> Answer | str:
        said = body.strip()
        if self.letters:
            letter = said.upper()
            if len(letter) == 1 and letter in self.letters:
                return Answer(letter)
            return f"an answer is one letter of {', '.join(self.letters)}"
        if not said or "<" in said:
            return "an answer needs words, and no tags in it"
        if len(said) > self.max_answer_characters:
            return f"an answer has at most {self.max_answer_characters} characters, got {len(said)}"
        return Answer(said)

    def _answer_part(self, lead: str) -> str:
        if self.letters:
            example = self._example(f"<answer>{self.letters[len(self.letters) // 2]}</answer>")
            return f"{lead}\n{example}\nThe answer is one letter: {', '.join(self.letters)}."
        example = self._example("<answer>a red car</answer>")
        return f"{lead}\n{example}\nUse at most {self.max_answer_characters} characters."

    def _thought_part(self) -> str:
        if self.thinking == "off":
            return ""
        return (
            f"First say between {OPENING} and {CLOSING} what the frames show of the question, and "
            "what is missing. "
        )

    def _example(self, action_text: str) -> str:
        """An action as the instruction shows it."""
        if self.thinking == "off":
            return action_text
        return f"{OPENING}...{CLOSING}{action_text.removeprefix(self._empty_thought())}"

    def _empty_thought(self) -> str:
        return f"{OPENING}{CLOSING}" if self.thinking == "required" else ""

    def _shown(self, number: float) -> str:
        """A number as ranges write it: whole for frames; seconds in full."""
        return str(int(number)) if number == int(number) else repr(float(number))


def _advice(truncated: bool) -> str:
    return "; allow more tokens (--max-new-tokens)" if truncated else ""
