"""Helpers of the policy tests: an engine that remembers its logits, and the stock model run over a
whole prefix."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.request import Request
from oncue.engine.sampler import Sampler, banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.engine.session import EngineSession
from oncue.model.loading import LoadedModel
from oncue.render.decision import Lead
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.types import EnvTurn, PolicyTurn
from tiny_model import random_turn


class RecordingEngine(Engine):
    """Keeps the logits (V,) behind every token it chose, in order."""

    def __init__(
        self, loaded: LoadedModel, sampling: SamplingParams | None = None, **options: Any
    ) -> None:
        super().__init__(loaded, sampling, **options)
        self._steps._sampler = RecordingSampler(loaded, self.sampling)

    @property
    def logits(self) -> list[torch.Tensor]:
        assert isinstance(self._steps._sampler, RecordingSampler)
        return self._steps._sampler.logits


class RecordingSampler(Sampler):
    def __init__(self, loaded: LoadedModel, sampling: SamplingParams) -> None:
        super().__init__(loaded, sampling)
        self.logits: list[torch.Tensor] = []

    def choose(self, answers: Sequence[Request], logits_RV: torch.Tensor) -> None:
        before, asked = (
            [len(answer.chosen) for answer in answers],
            [answer.num_asked for answer in answers],
        )
        super().choose(answers, logits_RV)
        first = 0
        for answer, num_before, num_asked in zip(answers, before, asked, strict=True):
            num_chosen = len(answer.chosen) - answer.forced - num_before
            self.logits += logits_RV[first : first + num_chosen].unbind()
            first += num_asked


class ScriptedEngine(Engine):
    """Chooses the k-th of `answers` (token ids, the closing one included) in the k-th turn of each
    session."""

    def __init__(
        self,
        loaded: LoadedModel,
        answers: Sequence[Sequence[int]],
        sampling: SamplingParams | None = None,
        **options: Any,
    ) -> None:
        super().__init__(loaded, sampling, **{**options, "record": True})
        self._steps._sampler = _ScriptedChooser(loaded, self.sampling, answers)


class _ScriptedChooser(Sampler):
    def __init__(
        self, loaded: LoadedModel, sampling: SamplingParams, answers: Sequence[Sequence[int]]
    ) -> None:
        super().__init__(loaded, sampling)
        self._scripts, self._settings, self._banned_V = answers, sampling, banned_tokens(loaded)

    def choose(self, answers: Sequence[Request], logits_RV: torch.Tensor) -> None:
        first = 0
        for answer in answers:
            num_asked, recorder = answer.num_asked, answer.state.recorder
            assert recorder is not None
            script, begun = self._scripts[recorder.num_turns], len(answer.chosen)
            tokens = [*script[begun : begun + num_asked], *[script[-1]] * num_asked][:num_asked]
            logprobs_RV = token_logprobs(
                logits_RV[first : first + num_asked], self._settings, self._banned_V
            )
            answer.advance(tokens, logprobs_RV[range(num_asked), tokens].tolist())
            first += num_asked


def shown(num_turns: int, seed: int = 0) -> list[EnvTurn]:
    """Turns of random frames: mostly one frame, sometimes two or none, a question now and then."""
    random = np.random.default_rng(seed)
    turns = []
    for k in range(num_turns):
        num_frames = 1 if k % 7 else 2
        text = "Tell me whenever something moves." if k % 10 == 0 else ""
        turns.append(
            random_turn(
                random, float(k + 1), 0 if k % 10 == 5 else num_frames, text or "?" * (k % 10 == 5)
            )
        )
    return turns


async def hold(session: EngineSession, turns: Sequence[EnvTurn]) -> list[PolicyTurn]:
    """Show the turns one after the other."""
    return [await session.respond(turn) for turn in turns]


def say(
    engine: Engine, turns: Sequence[EnvTurn], seed: int | None = None
) -> tuple[list[PolicyTurn], tuple[int, ...]]:
    """A fresh session's answers to `turns`, and its prefix afterwards."""
    with engine.open(seed=seed) as session:
        answers = asyncio.run(hold(session, turns))
        return answers, session.context_ids


@torch.inference_mode()
def stock_logits(
    loaded: LoadedModel, context_ids: Sequence[int], turns: Sequence[EnvTurn]
) -> torch.Tensor:
    """Logits (L, V) of one plain forward of transformers, which lays out the positions by
    itself."""
    patched = [
        loaded.renderer.frame_processor(pixels) for turn in turns for pixels in turn.pictures
    ]
    ids = torch.tensor([list(context_ids)])
    loaded.model.model.rope_deltas = None
    output = loaded.model(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        mm_token_type_ids=(ids == loaded.renderer.image_pad_id).int(),
        pixel_values=torch.from_numpy(np.concatenate([frame.patches for frame in patched])),
        image_grid_thw=torch.tensor([frame.grid for frame in patched]),
        use_cache=False,
    )
    return output.logits[0]


def cached_against_stock(
    loaded: LoadedModel,
    turns: Sequence[EnvTurn],
    sampling: SamplingParams,
    stock: LoadedModel | None = None,
) -> tuple[float, int, list[PolicyTurn]]:
    """The largest difference of a session's logits from those of one plain forward over its whole
    prefix, how many of its (greedy) tokens that forward would have chosen otherwise, and its
    answers. `stock` is the model of that forward, by default the same one."""
    engine = RecordingEngine(loaded, sampling)
    answers, context_ids = say(engine, turns)
    indices = drawn_indices(context_ids, engine, turns, answers)
    plain = stock_logits(stock or loaded, context_ids, turns)[[index - 1 for index in indices]]
    allowed = plain.masked_fill(banned_tokens(loaded), -math.inf)
    chosen = torch.tensor([context_ids[index] for index in indices])
    difference = float((plain - torch.stack(engine.logits)).abs().max())
    return difference, int((allowed.argmax(-1) != chosen).sum()), answers


def drawn_indices(
    context_ids: Sequence[int],
    engine: Engine,
    turns: Sequence[EnvTurn],
    answers: Sequence[PolicyTurn],
) -> list[int]:
    """Where in the prefix each token stands that the engine chose itself (forced closing tokens
    left out)."""
    renderer = engine.renderer
    cursor = len(renderer.system_block(PROACTIVE_SYSTEM))
    indices: list[int] = []
    for k, (turn, answer) in enumerate(zip(turns, answers, strict=True)):
        cursor += len(renderer.user_turn(turn, Lead.CLOSED if k else Lead.START))
        assert tuple(context_ids[cursor : cursor + len(answer.token_ids)]) == answer.token_ids
        indices += range(cursor, cursor + len(answer.token_ids) - answer.forced_close)
        cursor += len(answer.token_ids)
    assert cursor == len(context_ids)
    return indices
