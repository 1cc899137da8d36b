"""The mini recipes of reinforcement learning: a model that mostly speaks late, then rewards for
when it does.

Minutes each on two cores, from the supervised model, on made-up clips. What was tried is in
docs/experiment_log.md.
"""

from __future__ import annotations

from dataclasses import replace

from oncue.data.dialogue_sources import WorldSource
from oncue.data.examples import WorldExamples
from oncue.data.mixed_source import MixedSource
from oncue.dialogue.write import Placement
from oncue.engine.sampling import SamplingParams
from oncue.recipes.mini import COMPARING, mini_sft
from oncue.render.qwen_vl import DEFAULT_SYSTEM
from oncue.rewards.proactive import RewardSettings
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig, Stage

# Forms are harder to tell apart than anything in footage, so shapes are shown twice as often.
_WORLDS = {"shapes": 2.0, "footage": 1.0}
# more happens than in the worlds' own clips: a segment in which nothing is due teaches little
_MEAN_GAP_S = 2.0


def mini_late_sft() -> SftConfig:
    """Every setting of the start: the supervised model goes on, with most gold replies one turn
    after the first.

    So it speaks late, as a model does whose labels are at the end of their spans, and at times at
    once, which is what reinforcement learning can then pay for. A third of the samples are short
    clips in which it speaks at once, under another system message: without them it forgets the
    names of what it has just seen. Silence weighs 1, as in the paper: at half of that, as in
    `mini-sft`, it speaks more readily, and more often twice in a span.
    """
    streams = WorldSource(
        worlds=_WORLDS,
        num_turns=(8, 20),
        mean_gap_s=_MEAN_GAP_S,
        turn_odds=(0.1, 0.9),
        pixel_noise=3.0,
    )
    names = WorldSource(
        worlds={"shapes": 3.0, "footage": 1.0},
        num_turns=(4, 8),
        mean_gap_s=0.6,
        empty_frac=0.0,
        question_kinds={"all": 4.0, "appears": 1.0, "leaves": 1.0},
        placement=Placement.START,
        pixel_noise=3.0,
        system=DEFAULT_SYSTEM,
    )
    return replace(
        mini_sft(),
        model="mini-sft",
        stages=(
            Stage("late", MixedSource((names, streams), (0.35, 0.65)), 12, 400, frozen=COMPARING),
        ),
        learning_rate=6e-4,
        silence_weight=1.0,
        log_every_steps=25,
        save_every_steps=200,
    )


def mini_grpo() -> GrpoConfig:
    """Every setting: 32 rollouts of 16 s per step.

    `repetition_scope`: in these clips the same thing often happens twice. Where telling it again
    counts as repetition, what is right is punished with what is wrong, and less of both is said.
    `repetition`: three times the published weight, since it is so rare here to say the same twice
    within a span that the published one hardly unlearns it.

    `temperature`: at 1 the model says so much that is wrong that silence pays best, and it falls
    silent for good. `scale_by_deviation`: in a group in which nothing is due, one false reply would
    count as much as a right one does elsewhere, though it costs far less than that earns. Unscaled,
    more is said, right and wrong.
    """
    return GrpoConfig(
        model="mini-sft",
        examples=WorldExamples(
            worlds=_WORLDS,
            num_turns=(16, 16),
            history_turns=(0, 4),
            mean_gap_s=_MEAN_GAP_S,
            empty_frac=0.08,
            pixel_noise=3.0,
        ),
        num_steps=100,
        prompts_per_step=8,
        group_size=4,
        sampling=SamplingParams(temperature=0.7, top_k=0, max_new_tokens=16),
        reward=RewardSettings(profile="paper", repetition=6.0, repetition_scope="span"),
        judge="exact",
        scale_by_deviation=False,
        frame_interval_s=1.0,
        frames_per_turn=1,
        lookahead=3,
        learning_rate=1e-4,
        final_learning_rate_frac=0.3,
        warmup_steps=10,
        betas=(0.9, 0.98),
        max_tokens=4096,
        micro_batch_size=16,
        frozen=COMPARING,
        gradient_checkpointing=False,
    )
