"""Questions from sentences, written by a model on a server that speaks the OpenAI chat API.

Every answer is kept under all that it depends on, so none is paid for twice, whether a question
came of it or not; a run that was stopped goes on where it was.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from oncue.chat_client import Message, RefusedError
from oncue.data.chat_writer import TOO_MANY_FAILURES, ChatWriter, WriterOptions
from oncue.data.choices import labelled, letters_of
from oncue.data.curate.question_prompt import (
    NUM_OPTIONS,
    PROMPT_VERSION,
    Outcome,
    Rejected,
    WrittenQuestion,
    conversation,
)
from oncue.errors import BackendError
from oncue.scoring.server_judge import JudgeUsage


class QuestionWriter:
    """The model `model` on the server at `url` (with or without its /v1). `usage` says what it has
    cost: questions are requests there. `api_key` defaults to the variable OPENAI_API_KEY."""

    def __init__(
        self, url: str, model: str, options: WriterOptions, *, api_key: str | None = None
    ) -> None:
        self.model, self.options = model, options
        self._chat = ChatWriter(url, model, options, api_key=api_key)

    @property
    def usage(self) -> JudgeUsage:
        return self._chat.usage

    def kept(self, sentence: str) -> Outcome | None:
        """What came of `sentence` by the answers that are kept; None where one must be asked
        for."""
        asking = conversation(sentence)
        messages = next(asking)
        while (answer := self._chat.kept(messages, PROMPT_VERSION)) is not None:
            try:
                messages = asking.send(answer.text)
            except StopIteration as end:
                return end.value
        return None

    async def write(self, sentence: str) -> Outcome:
        """What comes of `sentence`. Raises BackendError where the server gives no answer, or none
        that is finished."""
        asking = conversation(sentence)
        messages = next(asking)
        while True:
            answer = await self._answer(messages, sentence)
            try:
                messages = asking.send(answer)
            except StopIteration as end:
                return end.value

    async def aclose(self) -> None:
        """Close the connections."""
        await self._chat.aclose()

    async def _answer(self, messages: Sequence[Message], sentence: str) -> str:
        answer = await self._chat.answer(messages, PROMPT_VERSION, sentence)
        if answer.counts.at_limit:
            self._chat.usage += JudgeUsage(num_failed=1)
            raise BackendError(
                f"the model {self.model} had not finished at its limit of "
                f"{self.options.max_tokens} tokens; raise --max-tokens, or turn its thinking "
                "off with --request-fields"
            )
        return answer.text


def unanswered(writer: QuestionWriter, sentences: Sequence[str]) -> list[str]:
    """The different sentences that kept answers say nothing of."""
    return [s for s in dict.fromkeys(sentences) if writer.kept(s) is None]


async def write_all(
    writer: QuestionWriter, sentences: Sequence[str], step: Callable[[], None]
) -> dict[str, Outcome]:
    """What comes of each different sentence. `step()` is called after each that was asked about.

    Raises BackendError where some have no answer: those that were given are kept, so that the next
    run asks for the rest alone.
    """
    outcomes = {s: kept for s in sentences if (kept := writer.kept(s)) is not None}
    waiting = deque(s for s in dict.fromkeys(sentences) if s not in outcomes)
    refused: dict[str, RefusedError] = {}
    failures: list[BackendError] = []
    num_in_a_row = 0

    async def work() -> None:
        nonlocal num_in_a_row
        while waiting and num_in_a_row < TOO_MANY_FAILURES:
            sentence = waiting.popleft()
            try:
                outcomes[sentence] = await writer.write(sentence)
                num_in_a_row = -1
            except RefusedError as error:
                refused[sentence] = error
            except BackendError as error:
                failures.append(error)
            num_in_a_row += 1
            step()

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(writer.options.max_at_once, len(waiting))):
                group.create_task(work())
    finally:
        await writer.aclose()
    if refused and (waiting or not writer.usage.num_answers):
        failures += refused.values()
    if failures:
        num_left, cache = len(failures) + len(waiting), writer.options.cache
        where = f": answers so far are kept in {cache}" if cache is not None else ""
        raise BackendError(
            f"{num_left:,} of {len(set(sentences)):,} sentences have no answer, one of them since "
            f"{failures[0]}. Start again when that is corrected{where}"
        )
    return outcomes | {s: Rejected("refused", str(error)) for s, error in refused.items()}


def deal(questions: Sequence[WrittenQuestion], seed: int) -> list[tuple[tuple[str, ...], str]]:
    """Options and right letter of each question, in a new order of options drawn by `seed`: of four
    questions in a row each letter is right once, and a model that likes one letter gains nothing.
    """
    rng = np.random.default_rng(seed)
    places: list[int] = []
    while len(places) < len(questions):
        places += rng.permutation(NUM_OPTIONS).tolist()
    dealt = []
    for question, place in zip(questions, places, strict=False):
        wrong = [text for i, text in enumerate(question.texts) if i != question.right]
        texts = [wrong[i] for i in rng.permutation(len(wrong))]
        texts.insert(place, question.texts[question.right])
        options = labelled(texts)
        dealt.append((options, letters_of(options)[place]))
    return dealt
