"""Credit of turns by a critic, on traces: turns pay at their last token, in whichever segment they
are."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gae_rows import GOLDEN, THREE_TURNS, random_row
from oncue.errors import ConfigError
from oncue.render.trace import TokenTrace, TraceSegment
from oncue.rewards.bootstrapping import Bootstrapping, BootstrappingSettings
from oncue.rewards.retrieval import RetrievalRewardSettings, score_rollout
from oncue.rewards.retrieval_rollout import RetrievalRollout
from oncue.scoring.score import Score
from oncue.train.rl.advantage import bilevel_gae, of_turns, whiten
from oncue.train.rl.turn_credit import GaeCredit, GaeName, OfTokens
from oncue.types import Answer, Retrieve
from retrieval_rollouts import eight_of, episode_of

KINDS: tuple[GaeName, ...] = ("bilevel_gae", "paper_boundary", "turn_wise_gae", "masked_gae")


def trace(*segments: list[int]) -> TokenTrace:
    """A trace whose places were chosen in these turns (-1: context)."""
    return TokenTrace(
        tuple(
            TraceSegment(
                np.arange(len(turns)),
                np.zeros((3, len(turns)), np.int64),
                np.arange(len(turns)),
                np.array(turns, np.int64),
                np.zeros(len(turns), np.float32),
            )
            for turns in segments
        )
    )


def values_like(one: TokenTrace, of_chosen: list[float]) -> OfTokens:
    """A critic's values: those given where something was chosen, and noise elsewhere."""
    left, made = iter(of_chosen), []
    for segment in one.segments:
        values = np.full(len(segment), np.nan, np.float32)
        values[segment.loss_mask] = [next(left) for _ in range(int(segment.loss_mask.sum()))]
        made.append(values)
    return tuple(made)


def score_of(earned: list[float], accuracy: float = 0.0) -> Score:
    outcome = (*[0.0] * (len(earned) - 1), accuracy)
    return Score(tuple(earned), exchange_terms={"accuracy": outcome})


def lists(of_tokens: OfTokens) -> list[list[float]]:
    return [np.round(array.astype(float), 6).tolist() for array in of_tokens]


@pytest.mark.parametrize(("row", "settings", "advantages", "returns"), GOLDEN)
def test_a_trace_of_one_segment_has_the_golden_values(
    row: dict[str, list[float]],
    settings: tuple[float, ...],
    advantages: list[float],
    returns: list[float],
) -> None:
    gamma_token, lam, gamma_turn = settings
    credit = GaeCredit("bilevel_gae", gamma_turn, gamma_token, lam, whitens=False)
    turn, turns = 0, [-1]
    for chosen, end in zip(row["mask"], row["turn_ends"], strict=True):
        turns.append(turn if chosen else -1)
        turn += int(end)
    one = trace(turns)
    chosen_values = [v for v, m in zip(row["values"], row["mask"], strict=True) if m]
    earned = [r for r, end in zip(row["rewards"], row["turn_ends"], strict=True) if end]
    got = credit([Score(tuple(earned))], [one], [values_like(one, chosen_values)])
    assert got[0][0][0] == pytest.approx(np.array([0, *advantages]), abs=1e-6)
    assert got[1][0][0] == pytest.approx(np.array([0, *returns]), abs=1e-6)
    assert got[0][0][0].dtype == got[1][0][0].dtype == np.float32


@pytest.mark.parametrize("kind", KINDS)
def test_turns_in_several_segments_get_what_they_get_in_one(kind: GaeName) -> None:
    """A window that cut the prefix breaks a trace in two; the episode is the same."""
    credit = GaeCredit(
        kind,
        gamma_turn=1.0 if kind == "masked_gae" else 0.9,
        gamma_token=1.0 if kind == "turn_wise_gae" else 0.8,
        lam=0.7,
        whitens=False,
    )
    whole = trace([-1, 0, 0, -1, 1, 1, 1, -1, 2, -1, 3, 3])
    parts = trace([-1, 0, 0, -1], [-1, -1, 1, 1, 1, -1, 2], [-1, 3, 3])
    values = [0.1, 0.2, 0.4, 0.5, 0.6, 0.75, 0.35, 0.25]
    score = score_of([0.6, 0.0, -0.2, 1.1], 1.0)
    in_one = credit([score], [whole], [values_like(whole, values)])
    in_parts = credit([score], [parts], [values_like(parts, values)])
    for one, several in zip(in_one, in_parts, strict=True):
        chosen = [place for segment in lists(several[0]) for place in segment if place]
        assert chosen == [place for place in lists(one[0])[0] if place]
        assert len(chosen) == 8
        assert [len(segment) for segment in several[0]] == [4, 7, 3]
    alone = credit([score_of([0.6])], [trace([-1, 0, 0])], [values_like(trace([-1, 0, 0]), values)])
    assert lists(alone[0][0])[0] != lists(in_parts[0][0])[0][:3]  # later turns do matter


def test_segments_in_another_order_are_read_in_the_order_of_turns() -> None:
    credit = GaeCredit("bilevel_gae", 0.9, 0.8, 0.7, whitens=False)
    score, first, second = Score((0.6, 1.1)), trace([-1, 0, 0]), trace([-1, 1, -1])
    forward = trace([-1, 0, 0], [-1, 1, -1])
    backward = TokenTrace((*second.segments, *first.segments))
    one = credit([score], [forward], [values_like(forward, [0.1, 0.2, 0.3])])
    other = credit([score], [backward], [values_like(backward, [0.3, 0.1, 0.2])])
    assert lists(one[0][0]) == lists(other[0][0])[::-1]
    assert lists(one[1][0]) == lists(other[1][0])[::-1]


def test_history_is_no_turn() -> None:
    credit = GaeCredit("bilevel_gae", 0.9, 0.8, 0.7, whitens=False)
    plain, later = trace([-1, 0, 0, 1]), trace([-1, -1, 2, 2, 4])
    values = [0.1, 0.2, 0.3]
    (one,), _ = credit([Score((0.6, 1.1))], [plain], [values_like(plain, values)])
    (other,), _ = credit(
        [Score((0.0, 0.0, 0.6, 0.0, 1.1, 0.0))], [later], [values_like(later, values)]
    )
    assert lists(other)[0][2:] == lists(one)[0][1:]


def test_the_boundary_of_the_paper() -> None:
    """With gamma_token and lambda 1, a return is the reward at the end of the turn: what the turn
    earned, and the outcome discounted by the turns that follow."""
    credit = GaeCredit("paper_boundary", gamma_turn=0.95, whitens=False)
    one = trace([-1, 0, 0, -1, 1], [-1, 2, 2])
    values = values_like(one, [0.1, 0.2, 0.3, 0.4, 0.5])
    _, (returns,) = credit([score_of([0.6, -0.3, 1.1], 1.0)], [one], [values])
    first, second = 0.6 + 0.95**2, -0.3 + 0.95
    expected = [[0, first, first, 0, second], [0, 1.1, 1.1]]
    assert lists(returns) == [pytest.approx(part) for part in expected]
    speedy = Score(
        (0.6, 1.0),
        exchange_terms={"accuracy": (0.0, 1.0), "answer_speed": (0.0, -0.1), "form": (0.1, 0.1)},
    )
    two = trace([-1, 0, 1])
    _, (returns,) = credit([speedy], [two], [values_like(two, [0.0, 0.0])])
    assert lists(returns)[0] == pytest.approx([0, 0.6 + 0.95 * 0.9, 1.0])
    with pytest.raises(ValueError, match="one of accuracy, answer_speed, got none"):
        credit([Score((1.0, 1.0))], [two], [values_like(two, [0.0, 0.0])])
    other = replace(credit, outcome_terms=("form",))
    _, (returns,) = other([speedy], [two], [values_like(two, [0.0, 0.0])])
    assert lists(returns)[0] == pytest.approx([0, 0.6 + 0.95 * 0.1, 1.0])


def test_advantages_are_whitened_over_all_tokens_of_a_call() -> None:
    traces = [trace([-1, 0, 0, -1, 1]), trace([-1, 0], [-1, -1, 1, 1]), trace([-1, -1]), trace()]
    scores = [Score((0.6, 1.1)), Score((0.1, 0.0)), Score(()), Score(())]
    values = [
        values_like(traces[0], [0.1, 0.2, 0.3]),
        values_like(traces[1], [0.4, 0.5, 0.6]),
        values_like(traces[2], []),
        (),
    ]
    plain = GaeCredit("bilevel_gae", 0.95, whitens=False)
    raw, returns = plain(scores, traces, values)
    whitened, same = replace(plain, whitens=True)(scores, traces, values)
    mask = np.concatenate([s.loss_mask for one in traces for s in one.segments])
    flat = np.concatenate([a for member in raw for a in member])
    assert np.concatenate([a for member in whitened for a in member]) == pytest.approx(
        whiten(flat, mask), abs=1e-6
    )
    assert [lists(r) for r in same] == [lists(r) for r in returns]
    assert lists(whitened[2]) == [[0.0, 0.0]]
    assert whitened[3] == ()
    assert plain([], [], []) == replace(plain, whitens=True)([], [], []) == ([], [])
    assert of_turns(traces[1], whitened[1]).shape == (2,)


def test_turn_wise_advantages_are_whitened_over_turns() -> None:
    """A long turn has no more weight in mean and deviation than a short one."""
    traces = [trace([-1, 0, 0, 0, 0, 0, -1, 1]), trace([-1, 0], [-1, 1, 1])]
    scores = [Score((1.0, 0.0)), Score((0.5, 2.0))]
    values = [values_like(traces[0], [0.0] * 6), values_like(traces[1], [0.0] * 3)]
    whitened, returns = GaeCredit("turn_wise_gae", gamma_turn=0.5)(scores, traces, values)
    expected = whiten(np.array([1.0, 0.0, 1.5, 2.0]), np.ones(4))
    a, b, c, d = np.round(expected, 6).tolist()
    assert lists(whitened[0]) == [pytest.approx([0, a, a, a, a, a, 0, b])]
    assert lists(whitened[1]) == [pytest.approx([0, c]), pytest.approx([0, d, d])]
    assert lists(returns[1]) == [[0, 1.5], [0, 2.0, 2.0]]


def test_what_every_token_earns_is_added() -> None:
    """A penalty on every token, as KL divergence in the reward is, moves no turn end."""
    credit = GaeCredit("bilevel_gae", 0.9, 0.8, 0.7, whitens=False)
    one = trace([-1, 0, 0, -1, 1, 1])
    values = values_like(one, [0.1, 0.2, 0.3, 0.4])
    penalty = (np.array([np.nan, -0.1, -0.2, np.nan, -0.3, -0.4]),)
    (advantages,), _ = credit([Score((0.6, 1.1))], [one], [values], [penalty])
    expected, _ = bilevel_gae(
        np.array([-0.1, 0.6 - 0.2, -0.3, 1.1 - 0.4]),
        np.array([0.1, 0.2, 0.3, 0.4]),
        np.ones(4),
        np.array([0, 1, 0, 1]),
        gamma_turn=0.9,
        gamma_token=0.8,
        lam=0.7,
    )
    assert advantages[0][[1, 2, 4, 5]] == pytest.approx(expected, abs=1e-6)
    assert advantages[0][[0, 3]].tolist() == [0, 0]


def test_random_traces_equal_rows() -> None:
    rng = np.random.default_rng(4)
    credit = GaeCredit("bilevel_gae", 0.9, 0.8, 0.7, whitens=False)
    for _ in range(50):
        row = random_row(rng)
        ends = np.flatnonzero(row["turn_ends"])
        turns = np.where(row["mask"], np.cumsum(row["turn_ends"]) - row["turn_ends"], -1)
        one = trace([-1, *turns.tolist()])
        values = (np.concatenate([[0.0], np.nan_to_num(row["values"])]),)
        (advantages,), (returns,) = credit([Score(tuple(row["rewards"][ends]))], [one], [values])
        expected = bilevel_gae(**row, gamma_turn=0.9, gamma_token=0.8, lam=0.7)
        assert advantages[0][1:] == pytest.approx(expected[0], abs=1e-5)
        assert returns[0][1:] == pytest.approx(expected[1], abs=1e-5)


def test_what_does_not_fit_is_refused() -> None:
    credit = GaeCredit("bilevel_gae")
    one = trace([-1, 0, 0, -1, 2])
    values = values_like(one, THREE_TURNS["values"][:3])
    with pytest.raises(ValueError, match="2 values for an episode of 3 turns"):
        credit([Score((1.0, 1.0))], [one], [values])
    with pytest.raises(ValueError, match=r"turn 1 earned 0\.5, but nothing was chosen"):
        credit([Score((1.0, 0.5, 1.0))], [one], [values])
    with pytest.raises(ValueError, match=r"values must have the shapes.*\(5,\).*got \[\(4,\)\]"):
        credit([Score((1.0, 0.0, 1.0))], [one], [(np.zeros(4),)])
    with pytest.raises(ValueError, match=r"token_rewards must have .*got \[\]"):
        credit([Score((1.0, 0.0, 1.0))], [one], [values], [()])
    with pytest.raises(ValueError, match="zip"):
        credit([Score((1.0, 0.0, 1.0))], [one, one], [values, values])
    blind = GaeCredit("bilevel_gae", gamma_turn=0.0, gamma_token=0.0, lam=0.0, whitens=False)
    assert blind([Score((1.0, 0.0, 1.0))], [one], [values])[1][0][0][2] == pytest.approx(1.0)
    with pytest.raises(ConfigError, match="unknown credit 'gae'"):
        GaeCredit("gae")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"lam must lie from 0 to 1, got 1\.5"):
        GaeCredit("bilevel_gae", lam=1.5)
    with pytest.raises(ConfigError, match="gamma_turn must be 1 where credit is masked_gae"):
        GaeCredit("masked_gae", gamma_turn=0.95)
    with pytest.raises(ConfigError, match="gamma_token must be 1 where credit is turn_wise_gae"):
        GaeCredit("turn_wise_gae", gamma_token=0.9)


def test_from_an_episode_to_the_credit_of_its_tokens() -> None:
    """Reward, bonus and credit fit together, and the bonus stays with the turn that retrieved."""
    looked = episode_of([((0, 32), Retrieve(2, 5)), ((2, 3, 4, 5), Answer("B"))])
    at_once = episode_of([((0, 32), Answer("A"))])
    episodes = [looked, *[at_once] * 9]
    settings = RetrievalRewardSettings("paper")
    scores = [score_rollout(RetrievalRollout.of(e, eight_of), settings) for e in episodes]
    shaped = Bootstrapping(BootstrappingSettings()).shape(episodes, scores)
    traces = [trace([-1, 0, 0, -1, 1, 1]), *[trace([-1, 0])] * 9]
    values = [values_like(one, [0.0] * 4) for one in traces]
    credit = GaeCredit("paper_boundary", gamma_turn=0.95, whitens=False)
    _, returns = credit(shaped, traces, values)
    assert lists(returns[0])[0] == pytest.approx([0, *[0.6 + 1.0 + 0.95] * 2, 0, 1.1, 1.1])
    assert lists(returns[1])[0] == pytest.approx([0, 0.1])
