"""One piece of writing by a model: asked for, read, asked for once more where it cannot be used."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from oncue.chat_client import Message, RefusedError, TooLargeError
from oncue.data.chat_writer import ChatAnswer, ChatWriter
from oncue.data.pipeline.answers import UnusableError
from oncue.data.pipeline.prompt_files import Prompt
from oncue.data.pipeline.values import REFUSED, Rejected
from oncue.data.proactive_rows import StepCost
from oncue.errors import DataError
from oncue.scoring.judge_prompts import quoted
from oncue.thoughts import behind_thoughts

T = TypeVar("T")
Part = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Asked(Generic[T]):
    """What came of it: the value that was written, or why there is none; and what it took."""

    value: T | Rejected
    took: StepCost


@dataclass(frozen=True, slots=True)
class Writing(Generic[T]):
    """What is asked for: `step` names it, `prompt` says what to do, `content` is what it is done
    with, `read` makes the value of an answer (DataError, UnusableError), `about` is for people who
    look at kept answers."""

    step: str
    prompt: Prompt
    repair: Prompt
    content: str | Sequence[Part]
    read: Callable[[str], T]
    about: str

    async def ask(self, writer: ChatWriter) -> Asked[T]:
        """Raises BackendError where the server gives no answer, but for requests that it refuses,
        and BudgetSpentError."""
        took = StepCost(self.step, writer.model, self.prompt.version)
        content = self.content if isinstance(self.content, str) else list(self.content)
        messages: list[Message] = [
            {"role": "system", "content": self.prompt.text},
            {"role": "user", "content": content},
        ]
        outcome: T | Rejected | _Fault = _Fault("malformed", "not asked")
        for _ in range(2):
            try:
                answer = await writer.answer(messages, self.prompt.version, self.about)
            except TooLargeError as error:
                return Asked(Rejected(self.step, "too_large", str(error)), took)
            except RefusedError as error:
                return Asked(Rejected(self.step, REFUSED, str(error)), took)
            took = _with(took, answer, writer)
            outcome = self._outcome(answer)
            if not isinstance(outcome, _Fault):
                return Asked(outcome, took)
            messages += [
                {"role": "assistant", "content": behind_thoughts(answer.text) or "..."},
                {"role": "user", "content": f"{self.repair.text}\nfault: {quoted(outcome.reason)}"},
            ]
        assert isinstance(outcome, _Fault)
        return Asked(Rejected(self.step, outcome.kind, outcome.reason), took)

    def _outcome(self, answer: ChatAnswer) -> T | Rejected | _Fault:
        if answer.counts.at_limit:
            return _Fault("truncated", "it was cut off at the token limit; write less")
        try:
            return self.read(answer.text)
        except UnusableError as error:
            return Rejected(self.step, "unusable", str(error))
        except DataError as error:
            return _Fault("malformed", str(error))


@dataclass(frozen=True, slots=True)
class _Fault:
    """What is wrong with an answer."""

    kind: str
    reason: str


def _with(took: StepCost, answer: ChatAnswer, writer: ChatWriter) -> StepCost:
    """`took` and this answer. An answer that is kept counts as on the day that it was paid for: a
    run that was resumed gives the same rows."""
    tokens_in = took.tokens_in + answer.counts.tokens_in
    tokens_out = took.tokens_out + answer.counts.tokens_out
    cost = writer.spending.prices.cost(writer.model, tokens_in, tokens_out)
    return replace(
        took,
        num_requests=took.num_requests + 1,
        tokens_in=tokens_in,
        tokens_out=tokens_out,
        cost=cost,
    )
