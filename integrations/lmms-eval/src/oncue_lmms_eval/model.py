"""The model class of lmms-eval: each request is a question about a video, answered by oncue."""

from __future__ import annotations

from typing import Any

from lmms_eval.api.model import lmms
from loguru import logger
from tqdm import tqdm

from oncue_lmms_eval.process import Asked, OncueProcess
from oncue_lmms_eval.prompts import read_prompt

_OWN = ("batch_size", "max_batch_size", "device_map")  # of lmms-eval: they mean nothing here


class OncueModel(lmms):
    """`oncue_python`: the Python of the environment that has oncue. Every other argument is a flag
    of `oncue ask-lines`, with _ for -: model, server, mode, budget, frames, at_once, ...

    A question with options is answered with one bare letter, which every parser of lmms-eval reads;
    "" where the model gave no answer.
    """

    is_simple = True

    def __init__(self, oncue_python: str = "", **flags: Any) -> None:
        super().__init__()
        if not oncue_python:
            raise ValueError(
                "give --model_args oncue_python=PATH, the Python of an environment that has oncue"
            )
        self._process = OncueProcess(oncue_python, _words(flags))
        logger.info(f"oncue answers with {self._process.model}")

    def generate_until(self, requests: list[Any]) -> list[str]:
        """The answers, in the order of the requests."""
        asked = [self._asked(request) for request in requests]
        answers = [""] * len(asked)
        with tqdm(total=len(asked), desc="oncue") as progress:
            for place, answer in self._process.ask(asked):
                answers[place] = answer.text
                if answer.reason:
                    logger.warning(f"no answer about {asked[place].video}: {answer.reason}")
                progress.update(1)
        return answers

    def generate_until_multi_round(self, requests: list[Any]) -> list[str]:
        raise NotImplementedError("oncue looks into a video in turns of its own, not of the task")

    def loglikelihood(self, requests: list[Any]) -> list[tuple[float, bool]]:
        raise NotImplementedError("oncue gives answers, no likelihoods; use a task that generates")

    def clean(self) -> None:
        """Ends oncue, when lmms-eval has all answers."""
        self._process.close()
        super().clean()

    def _asked(self, request: Any) -> Asked:
        context, _, doc_to_visual, doc_id, task, split = request.args
        visuals = doc_to_visual(self.task_dict[task][split][doc_id])
        if len(visuals) != 1 or not isinstance(visuals[0], str):
            raise ValueError(
                f"oncue answers questions about one video file, but {task} item {doc_id} has "
                f"{[type(visual).__name__ for visual in visuals]}"
            )
        prompt = read_prompt(context)
        return Asked(visuals[0], prompt.question, prompt.options)


def _words(flags: dict[str, Any]) -> list[str]:
    """Arguments as words of the command line. What lmms-eval adds of its own accord is left out."""
    words: list[str] = []
    for name, value in flags.items():
        if name not in _OWN and value is not None:
            words += [f"--{name.replace('_', '-')}", str(value)]
    return words
