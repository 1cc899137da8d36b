"""The settings of a critic, and of the credit that it makes possible."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from oncue.setting_checks import require, require_not_negative
from oncue.train.rl.turn_credit import GaeCredit, GaeName

CriticKind = Literal["model", "head", "detached_head"]


@dataclass(frozen=True, slots=True)
class CriticSettings:
    """`kind`: `model`, a second model with a value head in place of words (as published); `head`, a
    value head on the policy's own last layer, whose gradient goes into the policy, too;
    `detached_head`, the same without that. `model`: where a second model starts, by default where
    the policy does. `value_clip`: how far a value may move from the old one with gain.
    `coefficient`: weight of the value loss beside that of the policy (of `head`; the others share
    no weights). `warmup_steps`: steps at first in which the critic alone learns. Raises ConfigError
    for a value out of range.
    """

    kind: CriticKind = "model"
    model: str | None = None
    learning_rate: float = 1e-5
    value_clip: float = 0.5
    coefficient: float = 0.5
    warmup_steps: int = 0

    def __post_init__(self) -> None:
        require_not_negative(self, "learning_rate", "coefficient", "warmup_steps")
        require(self.value_clip > 0, "value_clip", "above 0", self.value_clip)
        rule = "left out where the critic is a head on the policy"
        require(self.model is None or self.kind == "model", "model", rule, self.model)


@dataclass(frozen=True, slots=True)
class GaeSettings:
    """How rewards of turns become advantages of tokens: fields as of `GaeCredit`."""

    kind: GaeName = "bilevel_gae"
    gamma_turn: float = 0.95
    gamma_token: float = 1.0
    lam: float = 1.0

    def __post_init__(self) -> None:
        self.credit()

    def credit(self) -> GaeCredit:
        """The credit of these settings, whitened. Raises ConfigError as `GaeCredit`."""
        return GaeCredit(self.kind, self.gamma_turn, self.gamma_token, self.lam)
