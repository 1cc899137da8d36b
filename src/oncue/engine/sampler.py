"""From the logits of a forward to the choices of everybody in it.

Axis letters: R logits read, V vocabulary.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
import torch

from oncue.engine.request import Request
from oncue.engine.sampling import SamplingParams, choose_tokens, token_logprobs
from oncue.model.loading import LoadedModel
from oncue.model.upload import upload
from oncue.types import Silence


class Sampler:
    """Chooses tokens for many answers at once; what may be chosen follows the decision format of
    each."""

    def __init__(self, loaded: LoadedModel, sampling: SamplingParams) -> None:
        self._sampling = sampling
        self._banned_V = banned_tokens(loaded).to(loaded.device)
        self._limited: dict[frozenset[int], torch.Tensor] = {}
        self._silence_ids = list(loaded.renderer.policy_turn_ids(Silence()))

    @torch.inference_mode()
    def choose(self, answers: Sequence[Request], logits_RV: torch.Tensor) -> None:
        """Advance each answer by the logits it asked for, in order."""
        asked = [answer.num_asked for answer in answers]
        tokens: list[int] = []
        logprobs: list[float] = []
        if sum(asked):
            if self._sampling.reply_bias:
                logits_RV = self._biased(answers, asked, logits_RV)
            logprobs_RV = token_logprobs(logits_RV, self._sampling, self._banned(answers, asked))
            tokens_R = choose_tokens(logprobs_RV, self._sampling, self._uniforms(answers, asked))
            tokens, logprobs = (
                tokens_R.tolist(),
                logprobs_RV.gather(1, tokens_R[:, None])[:, 0].tolist(),
            )
        first = 0
        for answer, num_asked in zip(answers, asked, strict=True):
            end = first + num_asked
            answer.advance(tokens[first:end], logprobs[first:end])
            first = end

    def _uniforms(self, answers: Sequence[Request], asked: Sequence[int]) -> list[float]:
        """A random number for each choice; greedy ones need none."""
        if self._sampling.temperature == 0:
            return []
        return [
            number
            for answer, num in zip(answers, asked, strict=True)
            for number in answer.uniforms(num)
        ]

    def _biased(
        self, answers: Sequence[Request], asked: Sequence[int], logits_RV: torch.Tensor
    ) -> torch.Tensor:
        """The logits with the log-odds of silence lower by `reply_bias` where an answer begins,
        whatever the temperature; below 0 also as long as it may still become the silent one. What
        is drafted is silence."""
        bias, silence_ids = self._sampling.reply_bias, self._silence_ids
        end = len(silence_ids) if bias < 0 else 1
        rows, ids = [], []
        for start, answer, num_asked in zip(
            itertools.accumulate(asked, initial=0), answers, asked, strict=False
        ):
            so_far = len(answer.chosen)
            if list(answer.chosen) == silence_ids[:so_far]:
                places = range(so_far, min(so_far + num_asked, end))
                rows += [start + place - so_far for place in places]
                ids += [silence_ids[place] for place in places]
        biased_RV = logits_RV.to(torch.float32, copy=True)
        at_row, at_id = [upload(np.array(each, np.int64), logits_RV.device) for each in (rows, ids)]
        biased_RV[at_row, at_id] -= bias * (self._sampling.temperature or 1.0)
        return biased_RV

    def _banned(self, answers: Sequence[Request], asked: Sequence[int]) -> torch.Tensor:
        """Which ids may not be chosen: (V,) for all alike, or (R, V) where a choice is limited."""
        limits = [
            answer.renderer.decision.allowed(len(answer.chosen) + i)
            for answer, num_asked in zip(answers, asked, strict=True)
            for i in range(num_asked)
        ]
        if not any(limits):
            return self._banned_V
        return torch.stack(
            [self._banned_V if limit is None else self._all_but(limit) for limit in limits]
        )

    def _all_but(self, allowed: frozenset[int]) -> torch.Tensor:
        if allowed not in self._limited:
            banned_V = torch.ones_like(self._banned_V)
            banned_V[sorted(allowed)] = False
            self._limited[allowed] = banned_V
        return self._limited[allowed]


def banned_tokens(loaded: LoadedModel) -> torch.Tensor:
    """Which ids (V,) bool a policy may never choose: special tokens but the closing one, and ids
    without a text."""
    renderer = loaded.renderer
    num_ids = renderer.tokenizer.get_vocab_size(with_added_tokens=True)
    banned_V = torch.arange(loaded.model.lm_head.out_features) >= num_ids
    special = {
        i for i, token in renderer.tokenizer.get_added_tokens_decoder().items() if token.special
    }
    banned_V[sorted(special | renderer.structural_ids)] = True
    banned_V[renderer.im_end_id] = False
    return banned_V
