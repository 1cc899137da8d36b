"""What a question needs before it can be asked: a model that can retrieve, and frames as that model
is shown them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from oncue.env.streaming import check_questions, check_text
from oncue.errors import ConfigError, ModelError
from oncue.hub import BUNDLED_FOLDERS, RETRIEVAL_NAME, resolve_model
from oncue.policy.open_policy import LocalModel, PolicySpec, Script, ServerModel
from oncue.render.images import FrameProcessor
from oncue.render.options import LETTERS
from oncue.render.shrink import shrink_by
from oncue.types import Question, Task
from oncue.video.opening import source_name

if TYPE_CHECKING:
    from oncue.video.pool_reader import Shrink

FREE_ANSWER_CHARACTERS = 500  # of an answer in own words; the 50 of Video-MTR are for its rewards
_REMEDY = (
    "give a Qwen-VL model that follows instructions (--model FOLDER or a hub id), one behind a "
    f"chat server (--server), or {RETRIEVAL_NAME} for generated long films"
)


def task_of(video: str, question: str, options: Sequence[str]) -> Task:
    """What is asked about `video`. Raises InputError for a question or an option that is no text,
    ConfigError for options that nobody could choose from."""
    asked = Question(question)
    check_questions([asked], None)
    for option in options:
        check_text("the option", option)
    blank = any(not option.strip() for option in options)
    if blank or len(options) == 1 or len(options) > len(LETTERS):
        raise ConfigError(
            f"--options needs 2 to {len(LETTERS)} answers with text in them, got {len(options)}"
            f"{', one of them empty' if blank else ''}; without --options the model answers in its "
            "own words"
        )
    return Task(source_name(video), (asked,), options=tuple(options))


def check_can_retrieve(name: str | Path) -> None:
    """Raises ModelError for a model that cannot ask for frames: the bundled ones that only watch,
    and those that decide by a token whether they are silent. Its weights are not fetched."""
    from oncue.render.folder import read_decision_name

    folder = resolve_model(name, weights=False)
    watching = (path for each, path in BUNDLED_FOLDERS.items() if each != RETRIEVAL_NAME)
    if any(folder.resolve() == bundled.resolve() for bundled in watching):
        raise ModelError(
            f"{name} cannot retrieve: it only watches, and was never taught to ask for frames or "
            f"to answer questions; {_REMEDY}"
        )
    if read_decision_name(folder) == "token":
        raise ModelError(
            f"{name} cannot retrieve: it decides by a token whether it is silent, and here silence "
            f"is no action; {_REMEDY}"
        )


def shrink_for(spec: PolicySpec) -> Shrink | None:
    """Makes frames as small as the model of `spec` sees them, so that a pool of them is small; None
    for a script, which may look at all of a frame. What the model is shown is the same."""
    match spec:
        case LocalModel():
            from oncue.render.qwen_vl import QwenVLRenderer

            if not isinstance(spec.model, str | Path):
                return shrink_by(spec.model.renderer.frame_processor)
            return shrink_by(
                QwenVLRenderer.from_pretrained(spec.model, spec.max_pixels).frame_processor
            )
        case ServerModel():
            from oncue.policy.chat_server import ServerOptions

            options = spec.options or ServerOptions()
            return shrink_by(FrameProcessor(max_pixels=options.max_pixels))
        case Script():
            return None
