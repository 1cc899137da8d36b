"""Whole dialogues in one forward, for training: what several of them begin with is computed once.

Rollouts of a group are shown the same, and are alike until they first say something different. Put together by what
they begin with they are a tree: each branch is a stretch of tokens behind the branches before it. A token sees those of
its own branch up to itself, and all of the branches before. A dialogue that shares nothing is a branch without any
before it.

Axis letters: T tokens of all branches, L tokens of one, K tokens that one sees, H heads, J key/value heads, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch


@dataclass(frozen=True, slots=True)
class Branch:
    """`length` tokens behind those of the branches with the numbers `before`, the first of them at the root."""

    length: int
    before: tuple[int, ...] = ()


class BranchAttention:
    """Attention within a tree of dialogues, whose tokens stand one branch behind the other."""

    def __init__(self, branches: Sequence[Branch], device: torch.device) -> None:
        self._branches = branches
        self._lengths = [branch.length for branch in branches]
        self._masks = [self._mask(branch, device) for branch in branches]

    def _mask(self, branch: Branch, device: torch.device) -> torch.Tensor | None:
        """(1, 1, L, K): whether a token sees another. None: those before it, which attention knows by itself."""
        num_before = sum(self._lengths[i] for i in branch.before)
        if not num_before:
            return None
        seen_LK = torch.ones(branch.length, num_before + branch.length, dtype=torch.bool, device=device)
        return seen_LK.tril_(num_before)[None, None]

    def attend(
        self,
        module: torch.nn.Module,
        query_1HTD: torch.Tensor,
        key_1JTD: torch.Tensor,
        value_1JTD: torch.Tensor,
        **options: Any,
    ) -> torch.Tensor:
        """(1, T, H, D), by transformers' own sdpa; `options` are what it takes besides."""
        from transformers.integrations.sdpa_attention import sdpa_attention_forward

        queries, keys, values = (states.split(self._lengths, dim=2) for states in (query_1HTD, key_1JTD, value_1JTD))
        attended = []
        for i, (branch, mask) in enumerate(zip(self._branches, self._masks, strict=True)):
            seen = [
                torch.cat([states[j] for j in (*branch.before, i)], dim=2) if branch.before else states[i]
                for states in (keys, values)
            ]
            attended.append(sdpa_attention_forward(module, queries[i], *seen, mask, **options)[0])
        return torch.cat(attended, dim=1)
