"""The study of MMDuet2 (arXiv 2512.06810) in miniature: its tables 2, 6 and 7 and figure 5, on
made-up clips.

Every arm begins with `mini-sft`. The `sft` arms teach it to speak late, as supervised fine-tuning
does in the paper, where gold replies are at the end of their spans: here mostly one turn after
the first. Reinforcement learning goes on from there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from oncue.data.dialogue_sources import WorldSource
from oncue.data.examples import WorldExamples
from oncue.data.mixed_source import MixedSource
from oncue.recipes.mini_rl import mini_grpo, mini_late_sft
from oncue.study.arms import Arm, Study
from oncue.study.clip_view import ClipView
from oncue.study.stream_findings import STREAMS
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig

SHAPES = ClipView("shapes", "shapes")
FOOTAGE = ClipView("footage", "footage")
SELDOM = ClipView("shapes-2s", "shapes", frame_interval_s=2.0)
SAMPLED = ClipView("shapes-sampled", "shapes", temperature=mini_grpo().sampling.temperature)

# The paper's 50 characters are more than any sentence of this world has, so its term would never be
# anything but 0. "Right: yellow triangle " has 23: to share more, two sentences must begin to tell
# the same kind of event of one thing.
PREFIX_CHARACTERS = 23

# Twice that of the recipe: at 1e-4 the model had not done learning after the 100 steps
# (docs/experiment_log.md).
LEARNING_RATE = 2e-4


def study_sft(frame_interval_s: float = 1.0) -> Callable[[str, int], SftConfig]:
    """The settings of supervised fine-tuning with a frame every so many seconds; samples stay as
    long in time."""

    def config(model: str, seed: int) -> SftConfig:
        recipe = mini_late_sft()
        (stage,) = recipe.stages
        assert isinstance(stage.source, MixedSource)
        parts = tuple(
            replace(part, num_turns=_turns(part.num_turns, frame_interval_s))
            for part in stage.source.parts
            if isinstance(part, WorldSource)
        )
        stages = (replace(stage, source=replace(stage.source, parts=parts)),)
        return replace(
            recipe, model=model, stages=stages, seed=seed, frame_interval_s=frame_interval_s
        )

    return config


def study_rl(
    frame_interval_s: float = 1.0, without: str | None = None
) -> Callable[[str, int], GrpoConfig]:
    """The settings of reinforcement learning, `without` one term of the reward; segments stay as
    long in time.

    All runs have as many steps, so that they have made as many updates.
    """

    def config(model: str, seed: int) -> GrpoConfig:
        recipe = mini_grpo()
        examples = recipe.examples
        assert isinstance(examples, WorldExamples)
        changes: dict[str, Any] = {} if without is None else {without: 0.0}
        return replace(
            recipe,
            model=model,
            seed=seed,
            learning_rate=LEARNING_RATE,
            examples=replace(
                examples,
                num_turns=_turns(examples.num_turns, frame_interval_s),
                history_turns=_turns(examples.history_turns, frame_interval_s),
            ),
            frame_interval_s=frame_interval_s,
            reward=replace(
                recipe.reward_of_streams, prefix_characters=PREFIX_CHARACTERS, **changes
            ),
        )

    return config


def _turns(turns_of_1_s: tuple[int, int], frame_interval_s: float) -> tuple[int, int]:
    low, high = turns_of_1_s
    return round(low / frame_interval_s), round(high / frame_interval_s)


STUDY = Study(
    name="mmduet2-mini",
    title="MMDuet2 in miniature: what multi-turn GRPO changes",
    about=(
        "A model of about a million parameters on made-up clips with exact gold, trained by the "
        "code that trains the "
        "3B model. Every arm begins with mini-sft; seeds differ in the clips that are drawn and in "
        "what is "
        "sampled. Scores are of held-out test clips, greedy unless said otherwise, judged exactly. "
        "They are this "
        "model's in this world, and not the paper's. Settings were chosen by seed 0 on clips of "
        "the split val."
    ),
    arms=(
        Arm(
            "sft",
            "supervised, most gold replies one turn late",
            study_sft(),
            (SHAPES, FOOTAGE, SELDOM, SAMPLED),
            paper="SFT: PAUC 37.6 (WEB), 26.4 (EGO); duplicates 1.7, 4.4",
        ),
        Arm(
            "rl",
            "GRPO with all four terms of the reward",
            study_rl(),
            (SHAPES, FOOTAGE, SELDOM, SAMPLED),
            start="sft",
            paper="RL: PAUC 53.3 (WEB), 33.6 (EGO); duplicates 4.2, 8.1; replies 3.3, 3.5",
        ),
        Arm(
            "no_repetition",
            "GRPO without the term that counts repeated replies",
            study_rl(without="repetition"),
            (SHAPES, SAMPLED),
            start="sft",
            paper="PAUC 55.5 (WEB), 35.6 (EGO); duplicates 17.3, 31.9; replies 4.9, 8.0",
        ),
        Arm(
            "no_in_span",
            "GRPO without the term that counts replies out of every span",
            study_rl(without="in_span"),
            (SHAPES, SAMPLED),
            start="sft",
            paper=(
                "PAUC 62.7 (WEB); duplicates 9.6; replies 8.4; "
                "on EGO it talked at almost every turn"
            ),
        ),
        Arm(
            "no_prefix",
            "GRPO without the term that counts replies which begin like an earlier one",
            study_rl(without="prefix"),
            (SHAPES, SAMPLED),
            start="sft",
            paper="PAUC 53.0 (WEB), 27.5 (EGO); duplicates 4.3, 2.3; replies 3.1, 0.6",
        ),
        Arm(
            "sft_2s",
            "supervised with a frame every 2 s",
            study_sft(2.0),
            (SHAPES, SELDOM),
            paper="the start of the paper's reinforcement learning",
        ),
        Arm(
            "sft_2s_rl_1s",
            "supervised with a frame every 2 s, GRPO with one every second",
            study_rl(1.0),
            (SHAPES, SELDOM),
            start="sft_2s",
            paper="PAUC at 1 s and 2 s: 47.0, 39.4 (WEB)",
        ),
        Arm(
            "rl_2s",
            "supervised and GRPO with a frame every 2 s",
            study_rl(2.0),
            (SHAPES, SELDOM),
            start="sft_2s",
            paper="PAUC at 1 s and 2 s: 53.3, 44.2 (WEB)",
        ),
    ),
    findings=STREAMS,
)
