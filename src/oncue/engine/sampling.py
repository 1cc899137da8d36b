"""From logits to the next token: one distribution, shared by whoever draws from it and whoever
trains on it.

Axis letters: R rows, V vocabulary, ... any leading axes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from oncue.errors import ConfigError
from oncue.model.upload import upload

FLOAT32_SAFE = (
    1e6  # logits times this stay far from the largest float32 (3e38), and so from inf - inf
)


@dataclass(frozen=True, slots=True)
class SamplingParams:
    """How the tokens of a policy turn are chosen.

    `temperature` 0 takes the likeliest token; others (1e-6 to 1e6) draw from softmax(logits /
    temperature), cut to the `top_k` likeliest tokens (0: no cut) and then to the smallest set that
    holds `top_p` of the mass (1: no cut). At most `max_new_tokens` tokens are chosen per turn; a
    turn that has not closed itself by then is closed by the engine. `seed` starts the random
    numbers of the sessions (see `Engine.open`). `reply_bias`: added to the log-odds of replying
    where an answer begins (taken from those of the first token of silence, at any temperature); 0:
    as trained, above 0 the model speaks more readily, below 0 less. Below 0 it holds for all tokens
    of silence, so that a silent answer that has begun is finished.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    max_new_tokens: int = 512
    seed: int = 0
    reply_bias: float = 0.0

    def __post_init__(self) -> None:
        if self.temperature != 0 and not 1 / FLOAT32_SAFE <= self.temperature <= FLOAT32_SAFE:
            raise ConfigError(
                f"temperature must be 0 (greedy) or lie between {1 / FLOAT32_SAFE:g} and "
                f"{FLOAT32_SAFE:g}, "
                f"got {self.temperature}"
            )
        if self.top_k < 0:
            raise ConfigError(
                f"top_k must be 0 (no cut) or a positive number of tokens, got {self.top_k}"
            )
        if not 0 < self.top_p <= 1:
            raise ConfigError(f"top_p must lie in (0, 1], got {self.top_p}")
        if self.max_new_tokens < 1:
            raise ConfigError(f"max_new_tokens must be at least 1, got {self.max_new_tokens}")
        if self.seed < 0:
            raise ConfigError(f"seed must not be negative, got {self.seed}")
        if not abs(self.reply_bias) <= FLOAT32_SAFE:
            raise ConfigError(
                f"reply_bias must lie between {-FLOAT32_SAFE:g} and {FLOAT32_SAFE:g} (0: as "
                "trained), "
                f"got {self.reply_bias}"
            )


def token_logprobs(
    logits: torch.Tensor, sampling: SamplingParams, banned_V: torch.Tensor
) -> torch.Tensor:
    """Natural-log probabilities (..., V) float32 of the very distribution the next token is drawn
    from.

    Banned tokens (`banned_V`, bool) are out before anything else, then come temperature, `top_k`
    and `top_p`, and the rest is renormalised; tokens that are cut have -inf. A trainer that wants
    the ratio 1 at step 0 calls this function on its own logits. Greedy decoding (temperature 0)
    reports the distribution of `logits` at temperature 1, uncut. `reply_bias` is in `logits`
    already.
    """
    scores = logits.float().masked_fill(banned_V, -math.inf)
    if sampling.temperature > 0:
        scores = scores / sampling.temperature
        if 0 < sampling.top_k < scores.shape[-1]:
            threshold = scores.topk(sampling.top_k, dim=-1).values[..., -1:]
            scores = scores.masked_fill(scores < threshold, -math.inf)
        if sampling.top_p < 1:
            scores = _cut_to_mass(scores, sampling.top_p)
    return scores.log_softmax(-1)


def choose_tokens(
    logprobs_RV: torch.Tensor, sampling: SamplingParams, uniforms: Sequence[float]
) -> torch.Tensor:
    """The next token (R,) of each row of `token_logprobs`: the likeliest when greedy, else the one
    in whose share of the mass the row's number of `uniforms` (in [0, 1)) lies.

    The cumulative distribution is taken in float64, so what is drawn hardly depends on the device.
    Everything stays on that of the rows, which are long.
    """
    if sampling.temperature == 0:
        return logprobs_RV.argmax(-1)
    # It has no float64
    rows_RV = logprobs_RV.cpu() if logprobs_RV.device.type == "mps" else logprobs_RV
    cumulative_RV = rows_RV.double().exp().cumsum(-1)
    total_R1 = cumulative_RV[:, -1:]
    uniforms_R1 = upload(torch.tensor(uniforms, dtype=torch.float64), rows_RV.device)[:, None]
    targets_R1 = torch.minimum(
        uniforms_R1 * total_R1, torch.nextafter(total_R1, torch.zeros_like(total_R1))
    )
    tokens_R = torch.searchsorted(cumulative_RV, targets_R1, right=True)[:, 0]
    # A row of NaN has no such token
    return tokens_R.clamp(max=rows_RV.shape[1] - 1).to(logprobs_RV.device)


def _cut_to_mass(scores: torch.Tensor, top_p: float) -> torch.Tensor:
    """`scores` with -inf outside the smallest set of likeliest tokens whose mass reaches
    `top_p`."""
    ordered, order = scores.sort(dim=-1, descending=True)
    mass = ordered.softmax(-1)
    beyond = mass.cumsum(-1) - mass >= top_p  # the mass before the token already suffices
    return scores.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -math.inf)
