"""Grammars without tags. That of MMDuet2: a turn is a reply in plain words, or exactly `NO REPLY`
(paper section 4.1). That of a single question: the turn is the answer."""

from __future__ import annotations

from dataclasses import dataclass

from oncue.thoughts import behind_thoughts
from oncue.types import Action, Answer, Malformed, Reply, Retrieve, Silence


@dataclass(frozen=True, slots=True)
class TextFormat:
    """Plain replies. Silence is decided once, by equality of the stripped text with `silence_text`.
    A text that the token limit cut off while it could still become silence is neither, so it is
    `Malformed`.

    What a model thinks first is no part of its answer (`oncue.thoughts`); a turn that ends within a
    thought is `Malformed`. Other text is kept as it is, so `read(write(action), truncated) ==
    action` for every action that can be written.
    """

    silence_text: str = "NO REPLY"

    @property
    def instruction(self) -> str:
        """When to be silent, and how that is written."""
        return (
            "If the information in this segment of the video cannot answer the "
            f'question, output "{self.silence_text}".'
        )

    def write(self, action: Action) -> str:
        """The text of `action`. Raises ValueError for one that would be read back as something
        else."""
        if isinstance(action, Retrieve | Answer):
            raise ValueError(
                f"plain replies have no {type(action).__name__}; use a grammar that has one, got "
                f"{action}"
            )
        if isinstance(action, Silence):
            return self.silence_text
        if isinstance(action, Reply):
            read_back = self.read(action.text, action.truncated)
            if read_back != action:
                raise ValueError(
                    f"a reply needs words of its own, got {action.text!r}, which reads as "
                    f"{read_back}; "
                    "use Silence() for a turn that says nothing, and leave thoughts out"
                )
        return action.text

    def read(self, text: str, truncated: bool = False) -> Action:
        """The action that `text` states; `truncated`: the token limit cut it off."""
        answer = behind_thoughts(text)
        if answer is None:
            advice = (
                "; allow more tokens (--max-new-tokens), or turn thinking off" if truncated else ""
            )
            return Malformed(text, f"the turn ends within a thought{advice}")
        stripped = answer.strip()
        if stripped == self.silence_text:
            return Silence()
        if not stripped:
            return Malformed(text, "the turn is empty")
        if truncated and self.silence_text.startswith(stripped):
            return Malformed(
                text, f"the token limit cut off what may be {self.silence_text}; allow more tokens"
            )
        return Reply(answer, truncated)


@dataclass(frozen=True, slots=True)
class FreeText:
    """Plain answers without silence, as any chat model gives them. What a model thinks first is no
    part of its answer."""

    silence_text: str | None = None

    @property
    def instruction(self) -> str:
        """Nothing: every text is an answer."""
        return ""

    def write(self, action: Action) -> str:
        """The text of a reply. Raises ValueError for another action."""
        if not isinstance(action, Reply):
            raise ValueError(f"free text has no {type(action).__name__}, got {action}")
        return action.text

    def read(self, text: str, truncated: bool = False) -> Action:
        """The reply that `text` is; Malformed for an empty one, and for one that ends within a
        thought."""
        answer = behind_thoughts(text)
        if answer is None:
            return Malformed(text, "the turn ends within a thought")
        return Reply(answer, truncated) if answer.strip() else Malformed(text, "the turn is empty")


@dataclass(frozen=True, slots=True)
class AnswerFormat:
    """Answers in plain words, for models that were never taught a grammar: whatever a turn says is
    the answer. Silence is no action of it, and a text that the token limit cut off counts as it is.

    Thoughts are no part of an answer; a turn that ends within one, or is empty, is `Malformed`.
    `has_options`: the instruction asks for the letter of an option.
    """

    has_options: bool = False

    @property
    def silence_text(self) -> None:
        """None: a question is asked, so silence is no action."""

    @property
    def instruction(self) -> str:
        """How to answer, where the question does not say it itself."""
        if self.has_options:
            return "Answer with the letter of the right option, and write nothing else."
        return "Answer in a few words."

    def write(self, action: Action) -> str:
        """The text of `action`. Raises ValueError for one that would be read back as something
        else."""
        if isinstance(action, Malformed):
            return action.text
        if not isinstance(action, Answer):
            raise ValueError(
                f"a single question has answers, not {type(action).__name__}; got {action}"
            )
        if (read_back := self.read(action.text)) != action:
            raise ValueError(f"{action} cannot be written here: it reads as {read_back}")
        return action.text

    def read(self, text: str, truncated: bool = False) -> Action:
        """The answer that `text` states; `truncated`: the token limit cut it off."""
        answer = behind_thoughts(text)
        if answer is None:
            advice = "; allow more tokens (--max-new-tokens)" if truncated else ""
            return Malformed(text, f"the turn ends within a thought{advice}")
        if not answer.strip():
            return Malformed(text, "the turn is empty")
        return Answer(answer.strip())
