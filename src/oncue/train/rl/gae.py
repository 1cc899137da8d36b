"""Advantages from a critic, over tokens, over turns, and over both (Video-MTR, section 3.3).

All functions take arrays (L,) of one row, or (B, L) of several: B rows, L places. A row may hold
places that nobody chose, such as what was observed between turns: `mask` says which count, and
elsewhere results are 0. `turn_ends` flags the last chosen place of each turn; for one row it may
also list their positions in order. It is given and never inferred from rewards, because a turn may
earn nothing. `values`: what the critic expects from the state in which the choice of a place was
made. Results are float64 and not whitened.

Axis letters: B rows, L places, N turns of a row, T chosen places of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

WHITEN_EPSILON = 1e-8

_OfRow = Callable[[np.ndarray, np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]


def bilevel_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    turn_ends: np.ndarray,
    *,
    gamma_turn: float,
    gamma_token: float,
    lam: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns): GAE over the turns, whose returns are then the rewards of GAE over the
    tokens of each turn.

    `rewards` count at turn ends; those of other chosen places (such as a penalty on every token)
    count within their turn alone. Raises ValueError for shapes that differ, flags that are not 0 or
    1, a turn end or a reward outside the mask, a chosen place behind the last turn end, numbers
    that are not finite, and for `gamma_turn`, `gamma_token` or `lam` outside [0, 1]. Source: arXiv
    2508.20478, section 3.3, and the public code of its framework.
    """
    _check_fractions(gamma_turn=gamma_turn, gamma_token=gamma_token, lam=lam)

    def of_row(r_T: np.ndarray, v_T: np.ndarray, ends_N: np.ndarray) -> tuple:
        advantages_N = gae(r_T[ends_N], v_T[ends_N], gamma_turn, lam)
        placed_T = r_T.copy()
        placed_T[ends_N] = advantages_N + v_T[ends_N]
        return _within_turns(placed_T, v_T, ends_N, gamma_token, lam)

    return _by_row(of_row, rewards, values, mask, turn_ends)


def within_turns_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    turn_ends: np.ndarray,
    *,
    gamma_token: float,
    lam: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns): GAE over the tokens of each turn by itself, which ends with its
    reward.

    With the rewards of `paper_boundary` this is the credit that the text of the paper describes.
    Raises ValueError as `bilevel_gae`.
    """
    _check_fractions(gamma_token=gamma_token, lam=lam)

    def of_row(r_T: np.ndarray, v_T: np.ndarray, ends_N: np.ndarray) -> tuple:
        return _within_turns(r_T, v_T, ends_N, gamma_token, lam)

    return _by_row(of_row, rewards, values, mask, turn_ends)


def turn_wise_gae(
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    turn_ends: np.ndarray,
    *,
    gamma_turn: float,
    lam: float,
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns): GAE over the turns. Every token of a turn gets the advantage and the
    return of its turn end; rewards and values of other places play no part.

    Raises ValueError as `bilevel_gae`.
    """
    _check_fractions(gamma_turn=gamma_turn, lam=lam)

    def of_row(r_T: np.ndarray, v_T: np.ndarray, ends_N: np.ndarray) -> tuple:
        advantages_N = gae(r_T[ends_N], v_T[ends_N], gamma_turn, lam)
        lengths_N = np.diff(ends_N, prepend=-1)
        return np.repeat(advantages_N, lengths_N), np.repeat(advantages_N + v_T[ends_N], lengths_N)

    return _by_row(of_row, rewards, values, mask, turn_ends)


def masked_gae(
    rewards: np.ndarray, values: np.ndarray, mask: np.ndarray, *, gamma: float, lam: float
) -> tuple[np.ndarray, np.ndarray]:
    """(advantages, returns): ordinary GAE over the chosen places, as if nothing lay between them.

    Raises ValueError as `bilevel_gae`. Source: arXiv 1506.02438.
    """
    _check_fractions(gamma=gamma, lam=lam)

    def of_row(r_T: np.ndarray, v_T: np.ndarray, _: np.ndarray) -> tuple:
        advantages_T = gae(r_T, v_T, gamma, lam)
        return advantages_T, advantages_T + v_T

    return _by_row(of_row, rewards, values, mask, None)


def paper_boundary(
    rewards_N: Sequence[float] | np.ndarray,
    outcome_N: Sequence[float] | np.ndarray,
    *,
    gamma_turn: float,
) -> np.ndarray:
    """(N,) float64: the reward at the end of each turn as the paper states it, R_fms of that turn
    plus gamma_turn^(N - turn) R_acc.

    `outcome_N`: the part of `rewards_N` that is about the whole episode (R_acc, in the turn that
    answers). Only that part is carried back; the rest, the form of a turn included, stays where it
    was earned. Raises ValueError for another number of turns, and a gamma outside [0, 1].
    """
    _check_fractions(gamma_turn=gamma_turn)
    rewards, outcome = np.asarray(rewards_N, np.float64), np.asarray(outcome_N, np.float64)
    if rewards.ndim != 1 or rewards.shape != outcome.shape:
        raise ValueError(
            f"rewards and their outcome part must be (N,) both, got {rewards.shape} and "
            f"{outcome.shape}"
        )
    return rewards - outcome + returns_to_go(outcome, gamma_turn)


def whiten(values: np.ndarray, mask: np.ndarray, over: np.ndarray | None = None) -> np.ndarray:
    """`values` with mean 0 and deviation 1 over the places of `mask`, and 0 elsewhere.

    `over`: the numbers whose mean and deviation count, by default those of the places. The variance
    is that of a sample (divided by n - 1), plus 1e-8. Fewer than two numbers have no deviation, and
    all places become 0. Raises ValueError for a mask of another shape.
    """
    values, chosen = np.asarray(values, np.float64), _flags(mask, "mask")
    if values.shape != chosen.shape:
        raise ValueError(f"values and mask must have one shape, got {values.shape}, {chosen.shape}")
    whitened, picked = np.zeros_like(values), values[chosen]
    known = picked if over is None else np.asarray(over, np.float64)
    if len(known) > 1:
        whitened[chosen] = (picked - known.mean()) / np.sqrt(known.var(ddof=1) + WHITEN_EPSILON)
    return whitened


def returns_to_go(values_K: Sequence[float] | np.ndarray, discount: float = 1.0) -> np.ndarray:
    """(K,) float64: the sum of the values from each exchange on, each later one times `discount`
    once more."""
    returns_K = np.asarray(values_K, np.float64).copy()
    for k in range(len(returns_K) - 2, -1, -1):
        returns_K[k] += discount * returns_K[k + 1]
    return returns_K


def gae(rewards_N: np.ndarray, values_N: np.ndarray, gamma: float, lam: float) -> np.ndarray:
    """(N,) float64: generalised advantage estimates of steps that end an episode."""
    deltas_N = rewards_N + gamma * np.append(values_N[1:], 0.0)[: len(values_N)] - values_N
    return returns_to_go(deltas_N, gamma * lam)


def _within_turns(
    rewards_T: np.ndarray, values_T: np.ndarray, ends_N: np.ndarray, gamma: float, lam: float
) -> tuple[np.ndarray, np.ndarray]:
    firsts = [0, *(ends_N + 1)]
    turns = [slice(first, end + 1) for first, end in zip(firsts, ends_N, strict=False)]
    of_turns = [gae(rewards_T[turn], values_T[turn], gamma, lam) for turn in turns]
    advantages_T = np.concatenate([np.zeros(0), *of_turns])
    return advantages_T, advantages_T + values_T


def _by_row(
    of_row: _OfRow,
    rewards: np.ndarray,
    values: np.ndarray,
    mask: np.ndarray,
    turn_ends: np.ndarray | None,
) -> tuple[np.ndarray, np.ndarray]:
    """What `of_row` makes of the chosen places of each row, put back in their places."""
    rewards, values = np.asarray(rewards, np.float64), np.asarray(values, np.float64)
    chosen = _flags(mask, "mask")
    ends = np.zeros_like(chosen) if turn_ends is None else _ends(turn_ends, rewards.shape)
    _check_arrays(rewards, values, chosen, ends, needs_ends=turn_ends is not None)
    advantages, returns = np.zeros(rewards.shape), np.zeros(rewards.shape)
    for row in np.ndindex(rewards.shape[:-1]):
        at = chosen[row]
        found = of_row(rewards[row][at], values[row][at], np.flatnonzero(ends[row][at]))
        advantages[row][at], returns[row][at] = found
    return advantages, returns


def _flags(flags: np.ndarray, name: str) -> np.ndarray:
    array = np.asarray(flags)
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"{name} must have one flag, 0 or 1, for each place, got {array!r:.80}")
    return array.astype(bool)


def _ends(turn_ends: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The flags of turn ends. Those of another length than the only row are positions in it."""
    array = np.asarray(turn_ends)
    if len(shape) != 1 or array.ndim != 1 or array.shape == shape or array.dtype == bool:
        return _flags(array, "turn_ends")
    flags = np.zeros(shape, bool)
    if not np.isin(array, np.arange(len(flags))).all() or (np.diff(array) <= 0).any():
        raise ValueError(
            f"turn_ends must have one flag for each of the {len(flags)} places, or list positions "
            f"among them in order, got {array!r:.80}"
        )
    flags[array.astype(int)] = True
    return flags


def _check_arrays(
    rewards: np.ndarray,
    values: np.ndarray,
    chosen: np.ndarray,
    ends: np.ndarray,
    *,
    needs_ends: bool,
) -> None:
    shapes = [array.shape for array in (rewards, values, chosen, ends)]
    if rewards.ndim not in (1, 2) or len(set(shapes)) > 1:
        raise ValueError(
            "rewards, values, mask and turn_ends must have one shape, (L,) or (B, L), got "
            f"{', '.join(map(str, shapes))}"
        )
    if (ends & ~chosen).any():
        raise ValueError(f"a turn ends outside the mask, at {_first(ends & ~chosen)}")
    lost = (rewards != 0) & ~chosen
    if lost.any():
        raise ValueError(
            f"a reward lies outside the mask, at {_first(lost)}; place it at a turn end"
        )
    if not (np.isfinite(rewards[chosen]).all() and np.isfinite(values[chosen]).all()):
        raise ValueError("rewards and values must be finite wherever the mask is set")
    open_places = chosen & ~np.logical_or.accumulate(ends[..., ::-1], axis=-1)[..., ::-1]
    if needs_ends and open_places.any():
        raise ValueError(
            f"the place {_first(open_places)} lies behind the last turn end; flag the end of every "
            "turn"
        )


def _first(flags: np.ndarray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(flags)[0])


def _check_fractions(**named: float) -> None:
    for name, value in named.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{name} must lie from 0 to 1, got {value}")
