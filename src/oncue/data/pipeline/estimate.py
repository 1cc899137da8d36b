"""What a run will take, before it is begun: requests, tokens, money and time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from oncue.data.pipeline.outputs import Counts
from oncue.data.pipeline.prompt_files import Prompts
from oncue.data.pipeline.rules import num_question_lists
from oncue.data.pipeline.values import CAPTION, MERGE, QUESTIONS, BuildSettings
from oncue.data.request_limits import Prices
from oncue.data.source_videos import SourceVideo
from oncue.data.sources.segments import SHORTEST_SCENE_S
from oncue.data.sources.sentences import scenes_of_sentences
from oncue.data.video_files import find_video
from oncue.errors import DataError

# Assumed until videos were built; then what those took is used
_SCENE_S = 10.0  # of a video of which only the length is known
_VIDEO_S = 90.0  # of a video of which not even that is known
_CAPTION_TOKENS, _LIST_TOKENS, _MERGED_TOKENS = 110, 220, 60
_PIXELS_PER_TOKEN = 28 * 28
_CHARACTERS_PER_TOKEN = 4
_REQUEST_S = 4.0  # from sending it to the end of its answer
_MERGES_PER_LIST = 0.7  # of the questions of an nQnA video: those with two answers before them
_NUM_NAMED = 1000  # missing videos that are remembered by name


@dataclass(slots=True)
class StepEstimate:
    num_requests: float = 0.0
    tokens_in: float = 0.0
    tokens_out: float = 0.0


@dataclass(slots=True)
class Estimate:
    """What is planned, the missing videos included. `steps`: by the name of the step; `missing`:
    paths as they are written, the first of them; `faults`: rows of the source that cannot be
    used."""

    num_videos: int = 0
    num_found: int = 0
    num_missing: int = 0
    duration_s: float = 0.0
    num_unknown_lengths: int = 0
    missing: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    num_faults: int = 0
    steps: dict[str, StepEstimate] = field(
        default_factory=lambda: {name: StepEstimate() for name in (CAPTION, QUESTIONS, MERGE)}
    )
    is_measured: bool = False

    def scale_to(self, counts: Counts) -> None:
        """Takes what the videos of a run have taken, instead of what is assumed, where there are
        any."""
        num_done = counts.num_rows + counts.num_rejected
        if not counts.num_rows or not num_done:
            return
        self.is_measured = True
        for name, estimate in self.steps.items():
            taken = [step for step in counts.steps.values() if step.step == name]
            share = self.num_videos / num_done
            estimate.num_requests = share * sum(step.num_requests for step in taken)
            estimate.tokens_in = share * sum(step.tokens_in for step in taken)
            estimate.tokens_out = share * sum(step.tokens_out for step in taken)

    def cost(self, prices: Prices, models: dict[str, str]) -> float | None:
        """Money, by the model of each step; None where a price is missing."""
        if not all(prices.has(models[name]) for name in self.steps):
            return None
        return sum(
            prices.cost(models[name], round(e.tokens_in), round(e.tokens_out))
            for name, e in self.steps.items()
        )

    def seconds(
        self, max_at_once: int, requests_per_minute: int | None, tokens_per_minute: int | None
    ) -> float:
        """How long asking takes: as the slowest of the limits a minute and of the requests that are
        on the way at once. Limits are of each model; all steps are taken for one."""
        requests = sum(e.num_requests for e in self.steps.values())
        tokens = sum(e.tokens_in + e.tokens_out for e in self.steps.values())
        times = [requests * _REQUEST_S / max_at_once]
        if requests_per_minute:
            times.append(requests / requests_per_minute * 60)
        if tokens_per_minute:
            times.append(tokens / tokens_per_minute * 60)
        return max(times)

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "num_videos": self.num_videos,
            "num_found": self.num_found,
            "num_missing": self.num_missing,
            "num_bad_rows": self.num_faults,
            "duration_s": round(self.duration_s, 3),
            "num_unknown_lengths": self.num_unknown_lengths,
            "is_measured": self.is_measured,
            "num_requests": round(sum(e.num_requests for e in self.steps.values())),
            "tokens_in": round(sum(e.tokens_in for e in self.steps.values())),
            "tokens_out": round(sum(e.tokens_out for e in self.steps.values())),
            "steps": {
                name: {
                    "num_requests": round(e.num_requests),
                    "tokens_in": round(e.tokens_in),
                    "tokens_out": round(e.tokens_out),
                }
                for name, e in self.steps.items()
            },
            "missing": list(self.missing),
            "faults": list(self.faults),
        }


def estimate(
    videos: Iterable[SourceVideo | DataError],
    folder: Path,
    settings: BuildSettings,
    prompts: Prompts,
    limit: int | None = None,
    step: Callable[[], None] = lambda: None,
) -> Estimate:
    """What the first `limit` videos will take, once all are there. Nothing is opened; whether files
    are there is looked up. `step()` is called for each video."""
    found = Estimate()
    for video in videos:
        if isinstance(video, DataError):
            found.num_faults += 1
            if len(found.faults) < _NUM_NAMED:
                found.faults.append(str(video))
            continue
        found.num_videos += 1
        step()
        try:
            find_video(video.video, folder)
            found.num_found += 1
        except DataError:
            found.num_missing += 1
            if len(found.missing) < _NUM_NAMED:
                found.missing.append(video.video)
        _add(found, video, settings, prompts)
        if found.num_videos == limit:
            break
    return found


def _add(found: Estimate, video: SourceVideo, settings: BuildSettings, prompts: Prompts) -> None:
    duration_s = video.duration_s
    if duration_s is None:
        found.num_unknown_lengths += 1
        remarks = (*video.scenes, *video.sentences)
        duration_s = max((r.span.end_s for r in remarks), default=_VIDEO_S)
    found.duration_s += duration_s
    num_scenes = (
        len(video.scenes)
        or len(scenes_of_sentences(video.sentences, duration_s))
        or max(1, round(duration_s / max(_SCENE_S, SHORTEST_SCENE_S)))
    )
    num_said = sum(len(s.text) for s in video.sentences) / _CHARACTERS_PER_TOKEN
    num_noted = sum(len(s.text) for s in video.scenes) / _CHARACTERS_PER_TOKEN
    if not (video.scenes and settings.captions == "annotated"):
        images = settings.frames_per_scene * settings.frame_pixels / _PIXELS_PER_TOKEN
        fixed = len(prompts.caption.text) / _CHARACTERS_PER_TOKEN + 40
        caption = found.steps[CAPTION]
        caption.num_requests += num_scenes
        caption.tokens_in += num_scenes * (images + fixed) + num_said + num_noted
        caption.tokens_out += num_scenes * _CAPTION_TOKENS
    num_lists = num_question_lists(duration_s)
    questions = found.steps[QUESTIONS]
    questions.num_requests += 1
    questions.tokens_in += len(prompts.questions.text) / _CHARACTERS_PER_TOKEN
    questions.tokens_in += num_scenes * (_CAPTION_TOKENS + 15)
    questions.tokens_out += num_lists * _LIST_TOKENS
    merges = num_lists * _MERGES_PER_LIST / 2  # every second video has several questions
    merge = found.steps[MERGE]
    merge.num_requests += merges
    merge.tokens_in += merges * (
        len(prompts.merge.text) / _CHARACTERS_PER_TOKEN + num_scenes * _MERGED_TOKENS / 4
    )
    merge.tokens_out += merges * _MERGED_TOKENS
