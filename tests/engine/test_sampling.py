"""The distribution tokens are drawn from, and the draw."""

from __future__ import annotations

import math

import pytest
import torch

from oncue.engine.sampling import SamplingParams, choose_tokens, token_logprobs
from oncue.errors import ConfigError


def drawn(
    logprobs: torch.Tensor, sampling: SamplingParams, num: int = 1, seed: int = 0
) -> torch.Tensor:
    """Tokens (num,) drawn from one distribution (V,)."""
    uniforms = torch.rand(num, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return choose_tokens(logprobs.expand(num, -1), sampling, uniforms.tolist())


NONE_BANNED = torch.zeros(6, dtype=torch.bool)
LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def test_temperature_and_cuts_renormalise() -> None:
    plain = token_logprobs(LOGITS, SamplingParams(temperature=2.0), NONE_BANNED)
    assert torch.allclose(plain, (LOGITS / 2).log_softmax(0))
    cut = token_logprobs(LOGITS, SamplingParams(temperature=2.0, top_k=2), NONE_BANNED)
    assert torch.isinf(cut[2:]).all()
    assert torch.allclose(cut[:2], (LOGITS[:2] / 2).log_softmax(0))
    mass = LOGITS.softmax(0).cumsum(0)  # 0.57, 0.78, 0.90, ...
    assert mass[1] < 0.8 < mass[2]
    cut = token_logprobs(LOGITS, SamplingParams(temperature=1.0, top_p=0.8), NONE_BANNED)
    assert torch.isfinite(cut[:3]).all()
    assert torch.isinf(cut[3:]).all()
    assert float(cut.exp().sum()) == pytest.approx(1.0)


def test_the_likeliest_token_survives_every_cut() -> None:
    tight = token_logprobs(
        LOGITS, SamplingParams(temperature=1.0, top_k=1, top_p=1e-6), NONE_BANNED
    )
    assert tight[0] == 0.0
    assert torch.isinf(tight[1:]).all()


def test_leading_axes_are_kept() -> None:
    sampling = SamplingParams(temperature=0.7, top_k=3, top_p=0.9)
    rows = torch.stack([LOGITS, LOGITS.flip(0), LOGITS * 2])[:, None].expand(3, 2, 6)
    together = token_logprobs(rows, sampling, NONE_BANNED)
    for row, logprobs in zip(rows.reshape(-1, 6), together.reshape(-1, 6), strict=True):
        assert torch.equal(token_logprobs(row, sampling, NONE_BANNED), logprobs)


def test_banned_tokens_leave_before_the_cuts() -> None:
    banned = NONE_BANNED.clone()
    banned[0] = True
    for sampling in (
        SamplingParams(),
        SamplingParams(temperature=1.0, top_k=1),
        SamplingParams(temperature=1.0, top_p=0.1),
    ):
        logprobs = token_logprobs(LOGITS, sampling, banned)
        assert logprobs[0] == -math.inf
        assert drawn(logprobs, sampling).tolist() == [1]


def test_draws_follow_the_distribution() -> None:
    sampling = SamplingParams(temperature=1.0, top_k=4)
    logprobs = token_logprobs(LOGITS, sampling, NONE_BANNED)
    num_draws = 4000
    counts = torch.bincount(drawn(logprobs, sampling, num_draws), minlength=6)
    expected = logprobs.exp() * num_draws
    assert counts[4:].sum() == 0
    chi_square = float((((counts - expected) ** 2) / expected)[:4].sum())
    assert chi_square < 16.3  # 99.9 % of honest samplers, 3 degrees of freedom
    even = torch.full((4,), num_draws / 4)  # control: another distribution is rejected
    assert float((((counts[:4] - even) ** 2) / even).sum()) > 16.3


def test_every_row_has_its_own_number() -> None:
    sampling = SamplingParams(temperature=1.0)
    rows = token_logprobs(torch.stack([LOGITS, LOGITS.flip(0), LOGITS]), sampling, NONE_BANNED)
    for row in rows:
        assert choose_tokens(row[None], sampling, [0.0]).tolist() == [0]
        assert choose_tokens(row[None], sampling, [1 - 2**-53]).tolist() == [5]
    assert choose_tokens(rows, sampling, [0.0, 1 - 2**-53, 0.6]).tolist() == [0, 5, 1]
    assert choose_tokens(rows, SamplingParams(), []).tolist() == [0, 5, 0]


def test_a_token_without_mass_is_never_drawn() -> None:
    """Not by the smallest number, nor by the largest, wherever the tokens that are cut stand."""
    logprobs = torch.tensor([-math.inf, 0.3, -math.inf, 0.7, -math.inf]).log_softmax(0)
    numbers = [0.0, 0.3, 0.5, 1 - 2**-53]
    assert choose_tokens(
        logprobs.expand(4, -1), SamplingParams(temperature=1.0), numbers
    ).tolist() == [1, 1, 3, 3]


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("reply_bias", [-1e6, 0.0, 1e6])
def test_at_the_ends_of_their_ranges_numbers_stay_numbers(
    temperature: float, reply_bias: float
) -> None:
    sampling, banned = (
        SamplingParams(temperature=temperature, reply_bias=reply_bias),
        NONE_BANNED.clone(),
    )
    banned[5] = True
    logits = LOGITS * 1000
    logits[0] -= reply_bias * temperature  # as `Sampler` does to the token of silence
    logprobs = token_logprobs(logits, sampling, banned)
    assert not logprobs.isnan().any()
    assert float(logprobs.exp().sum()) == pytest.approx(1.0)
    assert int(drawn(logprobs, sampling)) < 5


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": -1.0},
        {"temperature": math.nan},
        {"temperature": 1e-300},
        {"temperature": 1e300},
        {"reply_bias": -1e40},
        {"top_k": -1},
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"max_new_tokens": 0},
        {"seed": -1},
    ],
)
def test_settings_out_of_range(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SamplingParams(**wrong)  # type: ignore[arg-type]
