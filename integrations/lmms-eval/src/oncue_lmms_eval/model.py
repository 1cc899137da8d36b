"""`--model oncue` of lmms-eval."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from lmms_eval.api.instance import Instance
from lmms_eval.api.model import lmms
from PIL import Image
from tqdm import tqdm

from oncue_lmms_eval.contexts import taken_apart
from oncue_lmms_eval.process import OncueError, OncueProcess, note
from oncue_lmms_eval.settings import command_of

_PICTURE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff")


class Oncue(lmms):
    """Asks the oncue of another environment, one bare letter for a question with options.

    `python`: of the environment that has oncue. `mode`: "retrieval", or "single_turn", which shows
    `frames` frames at once under the model's usual system message. `on_error`: "stop" ends the run
    at a question that cannot be asked, "empty" answers it with nothing. `at_once` questions are
    asked together, and `timeout_s` is the longest wait for the next answer. All other settings are
    flags of `oncue ask-lines`.
    """

    is_simple = True

    def __init__(
        self,
        python: str = "",
        mode: str = "retrieval",
        at_once: int = 8,
        timeout_s: float = 1800.0,
        on_error: str = "stop",
        batch_size: int | str | None = None,  # noqa: ARG002 - of lmms-eval; see at_once
        max_batch_size: int | None = None,  # noqa: ARG002
        **flags: Any,
    ) -> None:
        super().__init__()
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise ValueError(
                "oncue asks several questions together in one process; run lmms-eval without "
                "accelerate launch, and set at_once"
            )
        self._mode, self._on_error = mode, on_error
        command = command_of(python, mode, on_error, {**flags, "at_once": at_once})
        self._process = OncueProcess(command, timeout_s=timeout_s, num_at_once=at_once)
        note("generation settings of tasks do not count; those in --model_args do")

    def generate_until(self, requests: list[Instance]) -> list[str]:
        """The answers, in the order of the requests."""
        found: dict[int, str] = {}
        num_unclear = num_failed = 0
        with tempfile.TemporaryDirectory(prefix="oncue-") as folder:
            questions = self._questions(requests, Path(folder))
            with tqdm(total=len(requests), desc="oncue") as shown:
                for number, answer in self._process.answers(questions):
                    if "error" in answer:
                        self._fail(requests[number], answer["error"])
                        num_failed += 1
                    elif answer["answer"] is None:
                        num_unclear += 1
                    found[number] = self._text(answer)
                    shutil.rmtree(Path(folder, str(number)), ignore_errors=True)
                    shown.update()
        if num_unclear:
            note(f"{num_unclear} of {len(requests)} questions have no clear answer")
        if num_failed:
            note(f"{num_failed} of {len(requests)} questions could not be asked; they have none")
        return [found[number] for number in range(len(requests))]

    def loglikelihood(self, requests: list[Instance]) -> list[tuple[float, bool]]:
        """Not to be had: oncue answers in words."""
        raise NotImplementedError(
            f"oncue gives answers, not their likelihood; {_task(requests)} needs a model that has "
            "it, or a variant of the task with output_type: generate_until"
        )

    def generate_until_multi_round(self, requests: list[Instance]) -> list[str]:
        """Not to be had: a question is one dialogue."""
        raise NotImplementedError(
            f"oncue answers one question at a time; {_task(requests)} asks in several rounds"
        )

    def clean(self) -> None:
        """End the process of oncue."""
        self._process.close()
        super().clean()

    def _questions(self, requests: Sequence[Instance], folder: Path) -> Iterator[dict[str, Any]]:
        """What oncue is asked; pictures go into a folder of their question in `folder`."""
        for number, request in enumerate(requests):
            context, _, doc_to_visual, doc_id, task, split = request.args
            where = f"task {task}, document {doc_id}"
            visuals = doc_to_visual(self.task_dict[task][split][doc_id])
            shown = _shown(list(visuals or []), folder / str(number), where)
            yield {**shown, **self._asked(context)}

    def _asked(self, context: str) -> dict[str, Any]:
        parts = taken_apart(context)
        asked: dict[str, Any] = {"question": context}
        if parts is not None:
            asked = {"question": parts.question, "options": parts.options}
        if self._mode == "single_turn":
            asked["prompt"] = context
        return asked

    def _fail(self, request: Instance, error: str) -> None:
        if self._on_error == "stop":
            self._process.close()
            *_, doc_id, task, _split = request.args
            raise OncueError(
                f"task {task}, document {doc_id}: {error}; correct it, or count such questions as "
                "wrong with on_error=empty"
            )

    def _text(self, answer: Mapping[str, Any]) -> str:
        """What lmms-eval reads. Where no option is clearly named it is the words of a single turn,
        which lmms-eval then judges as those of any model; those of retrieval hold its form."""
        said = answer.get("answer")
        if said is None:
            said = answer.get("text", "") if self._mode == "single_turn" else ""
        return str(said)


def _shown(visuals: list[Any], folder: Path, where: str) -> dict[str, Any]:
    """The video of a request, or the files of its pictures. Raises ValueError for anything else."""
    if len(visuals) == 1 and isinstance(visuals[0], str) and not _is_picture(visuals[0]):
        return {"video": visuals[0]}
    if visuals and all(isinstance(each, Image.Image) for each in visuals):
        folder.mkdir()
        paths = [folder / f"{number:06d}.png" for number in range(len(visuals))]
        for path, picture in zip(paths, visuals, strict=True):
            picture.convert("RGB").save(path, compress_level=1)
        return {"images": [str(path) for path in paths]}
    if visuals and all(isinstance(each, str) and _is_picture(each) for each in visuals):
        return {"images": visuals}
    kinds = ", ".join(sorted({type(each).__name__ for each in visuals})) or "nothing"
    raise ValueError(
        f"{where} shows {len(visuals)} pieces ({kinds}); oncue answers about one video, or about "
        "pictures"
    )


def _is_picture(path: str) -> bool:
    return Path(path).suffix.lower() in _PICTURE_ENDINGS


def _task(requests: Sequence[Instance]) -> str:
    return f"task {requests[0].task_name}" if requests else "this task"
