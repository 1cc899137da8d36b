"""One video through the steps (MMDuet2 section 3): captions, questions with answers, merged
answers, dialogue."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from oncue.data.chat_writer import ChatWriter
from oncue.data.pipeline.answers import read_caption, read_merged, read_questions
from oncue.data.pipeline.asking import Asked, Part, Writing
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.rules import (
    TurnGrid,
    answers_before,
    chosen_lists,
    dialogue_kind,
    dialogue_of,
    num_question_lists,
    question_times,
)
from oncue.data.pipeline.values import (
    CAPTION,
    DIALOGUE,
    MERGE,
    QUESTIONS,
    SCENES,
    BuildSettings,
    Outcome,
    QuestionList,
    Rejected,
    SeenScene,
    SeenVideo,
)
from oncue.data.proactive_rows import ProactiveRow, Provenance, Scene, StepCost
from oncue.data.source_videos import SourceVideo
from oncue.scoring.judge_prompts import quoted
from oncue.types import Task

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Models:
    """Who writes captions, and who writes questions and merges answers (they may be one), and what
    they are asked."""

    captioner: ChatWriter
    writer: ChatWriter
    prompts: Prompts


async def make_dialogue(
    video: SourceVideo, seen: SeenVideo, models: Models, settings: BuildSettings
) -> Outcome:
    """The dialogue about a video, or why there is none.

    Raises BackendError where a server gives no answer, and BudgetSpentError; whatever was answered
    by then is kept.
    """
    steps = [StepCost(SCENES, "", seen.found_by)]
    captioned = await _captions(video, seen, models, settings)
    if took := _sum([each.took for each in captioned]):
        steps.append(took)
    scenes, rejected = _kept_scenes(seen, captioned)
    if not scenes:
        why = Rejected(
            CAPTION, rejected[0].kind, f"none of its {len(rejected)} scenes has a caption"
        )
        return Outcome(None, (*rejected, why), tuple(steps), seen.damage)
    asked = await _questions(video, seen.duration_s, scenes, models)
    steps.append(asked.took)
    if isinstance(asked.value, Rejected):
        return Outcome(None, (*rejected, asked.value), tuple(steps), seen.damage)
    made, merging, reasons = await _dialogue(video, seen, scenes, asked.value, models, settings)
    steps += merging
    rejected += reasons
    if made is not None:
        made = replace(made, provenance=Provenance(video.where, tuple(steps)))
    return Outcome(made, tuple(rejected), tuple(steps), seen.damage)


async def _captions(
    video: SourceVideo, seen: SeenVideo, models: Models, settings: BuildSettings
) -> list[Asked[str]]:
    """A caption for each scene, or why it has none."""

    async def one(scene: SeenScene) -> Asked[str]:
        if settings.captions == "annotated" and scene.note.strip():
            return Asked(scene.note, StepCost(CAPTION, "", ""))
        writing = Writing(
            CAPTION,
            models.prompts.caption,
            models.prompts.repair,
            _caption_content(scene),
            read_caption,
            f"{video.video_id} from {scene.span.start_s:g} s to {scene.span.end_s:g} s",
        )
        return await writing.ask(models.captioner)

    return await _all([one(scene) for scene in seen.scenes])


def _caption_content(scene: SeenScene) -> list[Part]:
    lines = [f"{len(scene.jpegs)} frames of a scene of {scene.span.duration_s:.1f} s"]
    if scene.subtitle.strip():
        lines.append(f"what is said: {quoted(scene.subtitle)}")
    if scene.note.strip():
        lines.append(f"note: {quoted(scene.note)}")
    images = [
        {
            "type": "image_url",
            "image_url": {"url": f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"},
        }
        for jpeg in scene.jpegs
    ]
    return [*images, {"type": "text", "text": "\n".join(lines)}]


def _kept_scenes(
    seen: SeenVideo, captioned: Sequence[Asked[str]]
) -> tuple[tuple[Scene, ...], list[Rejected]]:
    """The scenes with their captions, and why others have none."""
    scenes: list[Scene] = []
    rejected: list[Rejected] = []
    for scene, caption in zip(seen.scenes, captioned, strict=True):
        if isinstance(caption.value, Rejected):
            rejected.append(replace(caption.value, scene=scene.span))
        else:
            scenes.append(Scene(scene.span, caption.value, scene.subtitle))
    return tuple(scenes), rejected


async def _questions(
    video: SourceVideo, duration_s: float, scenes: Sequence[Scene], models: Models
) -> Asked[tuple[QuestionList, ...]]:
    num = num_question_lists(duration_s)
    lines = [f"number of questions: {num}", f"number of scenes: {len(scenes)}"]
    for number, scene in enumerate(scenes, 1):
        span = f"{scene.span.start_s:.1f} s to {scene.span.end_s:.1f} s"
        lines.append(f"scene {number} ({span}): {quoted(scene.caption)}")
    writing = Writing(
        QUESTIONS,
        models.prompts.questions,
        models.prompts.repair,
        "\n".join(lines),
        lambda answer: read_questions(answer, num, len(scenes)),
        video.video_id,
    )
    return await writing.ask(models.writer)


async def _dialogue(
    video: SourceVideo,
    seen: SeenVideo,
    scenes: Sequence[Scene],
    lists: Sequence[QuestionList],
    models: Models,
    settings: BuildSettings,
) -> tuple[ProactiveRow | None, list[StepCost], list[Rejected]]:
    """The row without its provenance, or why there is none; and what merging took."""
    grid = TurnGrid(settings.clock, settings.frames_per_turn, seen.duration_s)
    kind = dialogue_kind(video.video_id, settings.seed)
    num_turns = len(grid.turns_inside)
    chosen = chosen_lists(lists, kind, num_turns, video.video_id, settings.seed)
    times_s = question_times(grid, kind, len(chosen), video.video_id, settings.seed)
    spans = [scene.span for scene in scenes]
    before = [answers_before(spans, q, t) for q, t in zip(chosen, times_s, strict=True)]
    merged = await _merged(video, chosen, before, models)
    steps = [took] if (took := _sum([each.took for each in merged])) else []
    rejected = [each.value for each in merged if isinstance(each.value, Rejected)]
    if rejected:
        return None, steps, rejected
    immediate = [each.value for each in merged if isinstance(each.value, str)]
    questions, gold = dialogue_of(spans, chosen, times_s, immediate, grid)
    if not gold:
        return None, steps, [Rejected(DIALOGUE, "silent", "no reply is due to any question")]
    task = Task(f"{video.source}:{video.video_id}", questions, gold, seen.duration_s)
    row = ProactiveRow(
        task,
        video.video,
        video.video_id,
        video.source,
        video.kind,
        kind,
        video.part,
        tuple(scenes),
    )
    return row, steps, []


async def _merged(
    video: SourceVideo,
    lists: Sequence[QuestionList],
    before: Sequence[Sequence[str]],
    models: Models,
) -> list[Asked[str]]:
    """The immediate answer to each question; "" for silence. One answer, or none, is as it is."""

    async def one(asked: QuestionList, answers: Sequence[str]) -> Asked[str]:
        if len(answers) < 2:
            return Asked("".join(answers), StepCost(MERGE, "", ""))
        lines = [f"question: {quoted(asked.question)}"]
        lines += [f"answer {number}: {quoted(text)}" for number, text in enumerate(answers, 1)]
        writing = Writing(
            MERGE,
            models.prompts.merge,
            models.prompts.repair,
            "\n".join(lines),
            read_merged,
            f"{video.video_id}: {asked.question}",
        )
        return await writing.ask(models.writer)

    return await _all([one(q, answers) for q, answers in zip(lists, before, strict=True)])


async def _all(coroutines: Sequence[Awaitable[T]]) -> list[T]:
    """The results of all; where one fails, the others are awaited first: they are paid for."""
    results = await asyncio.gather(*coroutines, return_exceptions=True)
    done: list[T] = []
    for result in results:
        if isinstance(result, BaseException):
            raise result
        done.append(result)
    return done


def _sum(costs: Sequence[StepCost]) -> StepCost | None:
    """The requests of one step as one; None where none was made."""
    sent = [each for each in costs if each.num_requests or each.model]
    if not sent:
        return None
    return replace(
        sent[0],
        num_requests=sum(each.num_requests for each in sent),
        tokens_in=sum(each.tokens_in for each in sent),
        tokens_out=sum(each.tokens_out for each in sent),
        cost=round(sum(each.cost for each in sent), 9),
    )
