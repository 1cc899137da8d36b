"""Asking about a video from Python: one call, the answer and every look."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from oncue.ask.preparation import FREE_ANSWER_CHARACTERS, check_can_retrieve, task_of
from oncue.ask.record import Asked, AskedTurn
from oncue.ask.run import Asking
from oncue.env.retrieval import RetrievalSettings
from oncue.policy.open_policy import LocalModel, PolicySpec
from oncue.stopping import Stopper
from oncue.video.opening import source_name


def ask_video(
    video: str,
    question: str,
    spec: PolicySpec,
    options: Sequence[str] = (),
    *,
    num_frames: int = 128,
    settings: RetrievalSettings | None = None,
    zoom: bool = False,
    on_turn: Callable[[AskedTurn], None] = lambda _: None,
) -> Asked:
    """What the policy of `spec` answers to `question` about `video`, a file or an address that
    ends: `answer` (a letter where there are `options`, None without one), `evidence`, every turn.

    It looks into a pool of `num_frames` frames. `settings`: how many frames and turns it has, by
    default those of the paper for 32 frames, and up to 500 characters for an answer in its own
    words. `zoom` shows what is asked for more finely than the
    pool (not in the paper; needs `marks` in seconds). `on_turn` is called with each turn as it
    ends. The policy is opened and closed here; for many questions load the model once and give it
    to `LocalModel`. Not for use inside an event loop.

    Raises InputError and VideoError for texts or a video that cannot be used, ConfigError for
    options or settings that cannot be, ModelError for a model that cannot retrieve, BackendError
    where a server fails, KeyboardInterrupt when stopped before it asks.
    """
    task = task_of(video, question, options)
    if isinstance(spec, LocalModel) and isinstance(spec.model, str | Path):
        check_can_retrieve(spec.model)
    settings = settings or RetrievalSettings(max_answer_characters=FREE_ANSWER_CHARACTERS)
    asking = Asking(source_name(video), task, settings, turned=on_turn)
    stop = asking.run(video, spec, num_frames, Stopper(), zoom=zoom)
    return asking.finish(stop)
