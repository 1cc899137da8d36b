"""The grammar of Video-MTR: a thought, then a range of frames to look at or the answer (paper
section 3.1).

    <think> ... </think><retrieve>12,40</retrieve>
    <think> ... </think><answer>B</answer>
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from typing import Literal, get_args

from oncue.errors import ConfigError
from oncue.render.options import LETTERS
from oncue.thoughts import CLOSING, OPENING, behind_thoughts
from oncue.types import Action, Answer, Malformed, Retrieve

Unit = Literal["frames", "seconds"]  # what the numbers of a range count
Thinking = Literal["required", "asked", "off"]

MAX_ANSWER_CHARACTERS = 50  # of an answer in own words, as released
ADVICE = "; allow more tokens (--max-new-tokens)"  # for whoever runs the policy, not for the policy
_ACTION = re.compile(r"<(retrieve|answer)>([^<]*)</\1>")
_NUMBER = {"frames": r"\d+", "seconds": r"\d+(?:\.\d+)?"}
_RANGE = {"frames": "two whole frame numbers", "seconds": "two times in seconds"}
_EXAMPLE_ANSWER = "a red car"


@dataclass(frozen=True, slots=True)
class RetrievalFormat:
    """Ranges from 0 to `last` in `unit`, and answers: one of the option `letters`, or without any
    own words of at most `max_answer_characters`.

    `last` is the largest frame number of the pool, or the length of the video in seconds. A turn is
    one action and nothing else behind its thought. `thinking`: a turn without a thought is
    `Malformed` where it is "required"; elsewhere it may be left out, and where it is "off" nobody
    asks for one. A letter may be written small. Own words may be any: only the reward knows whether
    a number is due (`oncue.scoring.answers.is_well_formed`). `read(write(action)) == action`.
    Raises ConfigError for what cannot be.
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
        is_whole = self.unit == "seconds" or not self.last % 1
        if not 0 <= self.last < math.inf or not is_whole:
            raise ConfigError(
                f"the largest number of a range in {self.unit} must be at least 0"
                f"{' and whole' if self.unit == 'frames' else ''}, got {self.last}"
            )
        if self.letters != LETTERS[: len(self.letters)]:
            raise ConfigError(f"letters of options are A, B, C, ..., got {self.letters!r}")
        if self.max_answer_characters < 1:
            raise ConfigError(
                "max_answer_characters of an answer must be at least 1, got "
                f"{self.max_answer_characters}"
            )

    @property
    def silence_text(self) -> None:
        """None: a question is asked, so silence is no action."""

    @property
    def instruction(self) -> str:
        """Both actions, each with an example that can be read."""
        look = self._example(self.write(Retrieve(self.last // 4, self.last // 2)))
        asked, kind = "the times of its first and last frame, in seconds", "times"
        if self.unit == "frames":
            asked, kind = "the numbers of its first and last frame", "whole numbers"
        return (
            f"{self._thought_part('Then do', ', and what is still missing')} exactly one of two "
            "things, and write nothing else.\n"
            f"1. See more frames of one part of the video. Write {asked}. For example:\n{look}\n"
            f"Both are {kind} from 0 to {self._shown_last}, the smaller one first.\n"
            f"2. Answer the question. For example:\n{self._answer_part()}"
        )

    @property
    def answer_instruction(self) -> str:
        """The answer alone, where nothing more can be looked at."""
        return (
            f"{self._thought_part('Then answer')} the question, and write nothing else. For "
            f"example:\n{self._answer_part()}"
        )

    def write(self, action: Action) -> str:
        """The text of `action`. Raises ValueError for one that would be read back as something
        else."""
        if isinstance(action, Malformed):
            return action.text
        if isinstance(action, Retrieve):
            text = f"<retrieve>{_digits(action.start)},{_digits(action.end)}</retrieve>"
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
        """The action that `text` states; `truncated`: the token limit cut it off.

        Everything else is `Malformed`. Its reason quotes nothing of `text`, so that it can be shown
        to the policy, and ends with `ADVICE` where the limit is at fault.
        """
        said = behind_thoughts(text)
        found = _ACTION.fullmatch(said.strip()) if said is not None else None
        if found is None and truncated:
            return Malformed(text, f"it was too long and was cut off{ADVICE}")
        if said is None:
            return Malformed(text, "it ends within a thought")
        if self.thinking == "required" and CLOSING not in text:
            return Malformed(text, f"there is no thought between {OPENING} and {CLOSING}")
        if OPENING in text.lstrip()[1:] or text.count(CLOSING) > 1:
            return Malformed(text, "there must be one thought, and nothing before it")
        if found is None:
            return Malformed(
                text,
                "apart from a thought it must be exactly one action, from its opening to its "
                "closing tag",
            )
        kind, body = found.groups()
        read = self._range(body) if kind == "retrieve" else self._answer(body)
        return read if not isinstance(read, str) else Malformed(text, read)

    def why_not(self, start: float, end: float) -> str:
        """What is wrong with a range that ends before it starts, goes beyond the video, or counts
        parts of frames; "" for others."""
        if start > end:
            return "the range ends before it starts"
        if start < 0 or end > self.last:
            return f"the range must lie within 0 and {self._shown_last}"
        if self.unit == "frames" and (start % 1 or end % 1):
            return f"a range is {_RANGE[self.unit]}"
        return ""

    def _range(self, body: str) -> Retrieve | str:
        number = _NUMBER[self.unit]
        found = re.fullmatch(rf"\s*({number})\s*,\s*({number})\s*", body, re.ASCII)
        if found is None:
            return f"a range is {_RANGE[self.unit]} with a comma between them"
        start, end = float(found[1]), float(found[2])
        return self.why_not(start, end) or Retrieve(start, end)

    def _answer(self, body: str) -> Answer | str:
        said = body.strip()
        if self.letters:
            if len(said) == 1 and said.isascii() and said.upper() in self.letters:
                return Answer(said.upper())
            return f"an answer is one letter: {', '.join(self.letters)}"
        if not said:
            return "the answer is empty"
        if len(said) > self.max_answer_characters:
            return f"an answer has at most {self.max_answer_characters} characters, got {len(said)}"
        return Answer(said)

    def _answer_part(self) -> str:
        if self.letters:
            example = self.letters[len(self.letters) // 2]
            rule = f"The answer is one letter: {', '.join(self.letters)}."
        else:
            example = _EXAMPLE_ANSWER[: self.max_answer_characters].strip()
            rule = f"The answer has at most {self.max_answer_characters} characters."
        return f"{self._example(self.write(Answer(example)))}\n{rule}"

    def _thought_part(self, then: str, also: str = "") -> str:
        """Where to think, if at all, and how the sentence begins that says what comes `then`."""
        if self.thinking == "off":
            return then.removeprefix("Then ").capitalize()
        return (
            f"First write between {OPENING} and {CLOSING} what the frames show about the "
            f"question{also}. {then}"
        )

    def _example(self, action_text: str) -> str:
        """An action as the instruction shows it."""
        if self.thinking == "off":
            return action_text
        return f"{OPENING}...{CLOSING}{action_text.removeprefix(self._empty_thought())}"

    def _empty_thought(self) -> str:
        return f"{OPENING}{CLOSING}" if self.thinking == "required" else ""

    @property
    def _shown_last(self) -> str:
        """The largest number, rounded down to a tenth: a range may end there."""
        exact = Decimal(repr(float(self.last)))
        return _digits(float(exact.quantize(Decimal("0.1"), ROUND_DOWN)))


def _digits(number: float) -> str:
    """A number as ranges write it: whole where it is, else in full, never with an exponent."""
    return f"{int(number)}" if number == int(number) else f"{Decimal(repr(float(number))):f}"
