"""Credit per turn against credit per episode, in miniature: which learns timing faster, and what it
costs.

Every arm of reinforcement learning has the settings of the study `mmduet2-mini`, but for its
credit. A higher rate for `group` is the control: what is faster only because its steps are larger
is not better.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from oncue.study.arms import Arm, Study
from oncue.study.mmduet2_mini import FOOTAGE, LEARNING_RATE, SHAPES, study_rl, study_sft
from oncue.study.stream_findings import STREAMS
from oncue.train.rl.advantage import CreditName
from oncue.train.rl.settings import GrpoConfig


def credited(
    credit: CreditName, discount: float = 1.0, learning_rate: float = LEARNING_RATE
) -> Callable[[str, int], GrpoConfig]:
    """The settings of reinforcement learning with this credit."""

    def config(model: str, seed: int) -> GrpoConfig:
        settings = study_rl()(model, seed)
        return replace(
            settings, credit=credit, credit_discount=discount, learning_rate=learning_rate
        )

    return config


def _arm(name: str, about: str, config: Callable[[str, int], GrpoConfig]) -> Arm:
    return Arm(name, about, config, (SHAPES, FOOTAGE), start="start")


STUDY = Study(
    name="credit-mini",
    title="Credit per turn in GRPO, in miniature",
    about=(
        "The bundled model's kind, on generated clips with exact gold. All arms start from the "
        "same supervised model, "
        "make as many steps, and differ in how a reward becomes advantages. Settings were not "
        "tuned for any of them."
    ),
    arms=(
        Arm("start", "supervised, most gold replies one turn late", study_sft(), (SHAPES, FOOTAGE)),
        _arm("group", "one advantage per episode, as published", credited("group")),
        _arm(
            "group_faster",
            "the same at twice the learning rate",
            credited("group", learning_rate=2 * LEARNING_RATE),
        ),
        _arm("turns", "per turn: what was earned from it on", credited("return_to_go")),
        _arm("turns_08", "the same, later turns count 0.8 per turn", credited("return_to_go", 0.8)),
        _arm("turns_05", "the same, later turns count 0.5 per turn", credited("return_to_go", 0.5)),
    ),
    findings=STREAMS,
)
