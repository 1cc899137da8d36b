"""The distribution tokens are drawn from, and the draw."""

from __future__ import annotations

import math

import pytest
import torch

from oncue.errors import ConfigError
from oncue.policy.sampling import Sampling, choose_token, token_logprobs

NONE_BANNED = torch.zeros(6, dtype=torch.bool)
LOGITS = torch.tensor([2.0, 1.0, 0.5, 0.0, -1.0, -3.0])


def test_temperature_and_cuts_renormalise() -> None:
    plain = token_logprobs(LOGITS, Sampling(temperature=2.0), NONE_BANNED)
    assert torch.allclose(plain, (LOGITS / 2).log_softmax(0))
    cut = token_logprobs(LOGITS, Sampling(temperature=2.0, top_k=2), NONE_BANNED)
    assert torch.isinf(cut[2:]).all()
    assert torch.allclose(cut[:2], (LOGITS[:2] / 2).log_softmax(0))
    mass = LOGITS.softmax(0).cumsum(0)  # 0.57, 0.78, 0.90, ...
    assert mass[1] < 0.8 < mass[2]
    cut = token_logprobs(LOGITS, Sampling(temperature=1.0, top_p=0.8), NONE_BANNED)
    assert torch.isfinite(cut[:3]).all()
    assert torch.isinf(cut[3:]).all()
    assert float(cut.exp().sum()) == pytest.approx(1.0)


def test_the_likeliest_token_survives_every_cut() -> None:
    tight = token_logprobs(LOGITS, Sampling(temperature=1.0, top_k=1, top_p=1e-6), NONE_BANNED)
    assert tight[0] == 0.0
    assert torch.isinf(tight[1:]).all()


def test_leading_axes_are_kept() -> None:
    sampling = Sampling(temperature=0.7, top_k=3, top_p=0.9)
    rows = torch.stack([LOGITS, LOGITS.flip(0), LOGITS * 2])[:, None].expand(3, 2, 6)
    together = token_logprobs(rows, sampling, NONE_BANNED)
    for row, logprobs in zip(rows.reshape(-1, 6), together.reshape(-1, 6), strict=True):
        assert torch.equal(token_logprobs(row, sampling, NONE_BANNED), logprobs)


def test_banned_tokens_leave_before_the_cuts() -> None:
    banned = NONE_BANNED.clone()
    banned[0] = True
    for sampling in (Sampling(), Sampling(temperature=1.0, top_k=1), Sampling(temperature=1.0, top_p=0.1)):
        logprobs = token_logprobs(LOGITS, sampling, banned)
        assert logprobs[0] == -math.inf
        assert choose_token(logprobs, sampling, torch.Generator()) == 1


def test_draws_follow_the_distribution() -> None:
    sampling = Sampling(temperature=1.0, top_k=4)
    logprobs = token_logprobs(LOGITS, sampling, NONE_BANNED)
    generator = torch.Generator().manual_seed(0)
    num_draws = 4000
    counts = torch.bincount(
        torch.tensor([choose_token(logprobs, sampling, generator) for _ in range(num_draws)]), minlength=6
    )
    expected = logprobs.exp() * num_draws
    assert counts[4:].sum() == 0
    chi_square = float((((counts - expected) ** 2) / expected)[:4].sum())
    assert chi_square < 16.3  # 99.9 % of honest samplers, 3 degrees of freedom
    even = torch.full((4,), num_draws / 4)  # control: another distribution is rejected
    assert float((((counts[:4] - even) ** 2) / even).sum()) > 16.3


def test_one_random_number_per_token() -> None:
    logprobs = token_logprobs(LOGITS, Sampling(temperature=1.0), NONE_BANNED)
    drawn, counted = torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    for _ in range(5):
        choose_token(logprobs, Sampling(temperature=1.0), drawn)
    torch.rand(5, dtype=torch.float64, generator=counted)
    assert torch.equal(drawn.get_state(), counted.get_state())
    choose_token(logprobs, Sampling(), drawn)  # greedy takes none
    assert torch.equal(drawn.get_state(), counted.get_state())


@pytest.mark.parametrize("temperature", [1e-6, 1e6])
@pytest.mark.parametrize("reply_bias", [-1e6, 0.0, 1e6])
def test_at_the_ends_of_their_ranges_numbers_stay_numbers(temperature: float, reply_bias: float) -> None:
    sampling, banned = Sampling(temperature=temperature, reply_bias=reply_bias), NONE_BANNED.clone()
    banned[5] = True
    logits = LOGITS * 1000
    logits[0] -= reply_bias * temperature  # as `Chooser` does to the token of silence
    logprobs = token_logprobs(logits, sampling, banned)
    assert not logprobs.isnan().any()
    assert float(logprobs.exp().sum()) == pytest.approx(1.0)
    assert choose_token(logprobs, sampling, torch.Generator()) < 5


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
        Sampling(**wrong)  # type: ignore[arg-type]
