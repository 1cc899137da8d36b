"""Whole dialogues in one forward, for training: what several of them begin with is computed once.

Rollouts of a group are shown the same, and are alike until they first say something different. Put
together by what they begin with they are a tree: each branch is a stretch of tokens behind the
branches before it. A token sees those of its own branch up to itself, and all of the branches
before. A dialogue that shares nothing is a branch without any before it.

Axis letters: T tokens of all branches, H heads, J key/value heads, D head width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Branch:
    """`length` tokens behind those of the branches with the numbers `before`, the first of them at
    the root."""

    length: int
    before: tuple[int, ...] = ()


def attend_branches(
    branches: Sequence[Branch],
    module: torch.nn.Module,
    query_1HTD: torch.Tensor,
    key_1JTD: torch.Tensor,
    value_1JTD: torch.Tensor,
    **options: Any,
) -> torch.Tensor:
    """(1, T, H, D): attention within the tree, whose tokens lie one branch behind the other, by
    transformers' own sdpa; `options` are what it takes besides.

    Each branch is attended to as the end of the dialogue from its root on, and what comes out for
    the branches before it is dropped. A mask would spare that work, but with one there is neither
    the fast kernel nor its small memory.
    """
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    lengths = [branch.length for branch in branches]
    by_branch = list(
        zip(
            *(states.split(lengths, dim=2) for states in (query_1HTD, key_1JTD, value_1JTD)),
            strict=True,
        )
    )
    attended = []
    for own, branch in zip(by_branch, branches, strict=True):
        way = own
        if branch.before:
            way = tuple(
                torch.cat(states, dim=2)
                for states in zip(*(by_branch[i] for i in branch.before), own, strict=True)
            )
        attended.append(
            sdpa_attention_forward(module, *way, None, **options)[0][:, -branch.length :]
        )
    return torch.cat(attended, dim=1)
