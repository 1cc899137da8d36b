"""The settings of reinforcement learning, and what they must satisfy."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

from oncue.clock import Clock
from oncue.data.examples import WorldExamples
from oncue.data.long_examples import LongFilmExamples
from oncue.data.proactive_examples import ProactiveExamples
from oncue.data.retrieval_examples import RetrievalRows
from oncue.data.row_checks import Check, example_checks
from oncue.data.row_examples import RowExamples
from oncue.engine.sampling import SamplingParams
from oncue.errors import ConfigError
from oncue.rewards.bootstrapping import BootstrappingSettings
from oncue.rewards.proactive import RewardSettings
from oncue.rewards.retrieval import RetrievalRewardSettings
from oncue.setting_checks import check_run, require, require_at_least_one, require_not_negative
from oncue.train.rl.advantage import CreditName
from oncue.train.rl.critic_settings import CriticSettings, GaeSettings
from oncue.train.rl.policy_loss import LossSettings
from oncue.train.run_config import lighter_steps


@dataclass(frozen=True, slots=True)
class GrpoConfig:
    """Everything a run depends on. Recipes return complete ones; every field can be set on the
    command line.

    A step rolls out `group_size` episodes for each of `prompts_per_step` examples, and updates the
    weights `num_minibatches` times, each on its share of the examples, and all of that
    `num_epochs` times. `reward`: of streams or of retrieval, as the examples are. `judge`: see
    `make_judge`.
    `lookahead`: how many turns of a rollout may share the forward of the one before them, as long
    as it is silent (`engine.lookahead`): quicker where forwards are small, waste where they are
    large and much is said. `frozen`: patterns of the names of parameters that stay as they are.
    `bootstrapping`: of retrieval, a bonus for looks as long as there are few. `credit`: how scores
    become advantages, `group` (one per episode, as published) or
    `return_to_go` (per turn, with `credit_discount` per turn; `train.rl.advantage`).
    `scale_by_deviation`: divide advantages by the deviation of the group.
    `final_learning_rate_frac`: where the cosine after the warm-up ends, relative to its peak (1:
    the rate stays, as published). `sharding`: what several processes do with the model, `none`:
    each has it whole, `full`: weights, gradients and optimiser are spread over all of them.
    `skip_bad_rows`: an example of a file that cannot be used is left out and counted, and the next
    one takes its place; else it stops the run. Raises ConfigError for a value out of range.
    """

    model: str
    examples: WorldExamples | RowExamples | ProactiveExamples | RetrievalRows | LongFilmExamples = (
        field(default_factory=WorldExamples)
    )
    num_steps: int = 100
    prompts_per_step: int = 8
    group_size: int = 4
    num_minibatches: int = 1
    num_epochs: int = 1
    sampling: SamplingParams = field(
        default_factory=lambda: SamplingParams(temperature=1.2, top_k=10, max_new_tokens=100)
    )
    reward: RewardSettings | RetrievalRewardSettings = field(default_factory=RewardSettings)
    bootstrapping: BootstrappingSettings | None = None
    judge: str = "exact"
    loss: LossSettings = field(default_factory=LossSettings)
    credit: CreditName = "group"
    credit_discount: float = 1.0
    scale_by_deviation: bool = True
    frame_interval_s: float = 1.0
    frames_per_turn: int = 1
    max_pixels: int | None = None
    lookahead: int = 0
    learning_rate: float = 1e-6
    warmup_steps: int = 0
    final_learning_rate_frac: float = 1.0
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.9, 0.999)
    max_grad_norm: float = 1.0
    max_tokens: int = 16_384
    micro_batch_size: int = 1
    freeze_vision: bool = False
    freeze_merger: bool = False
    frozen: tuple[str, ...] = ()
    gradient_checkpointing: bool = True
    device: str | None = None
    param_dtype: str = "float32"
    autocast_dtype: str | None = None
    sharding: Literal["none", "full"] = "none"
    num_workers: int = 1
    skip_bad_rows: bool = False
    seed: int = 0
    log_every_steps: int = 1
    save_every_steps: int = 20
    store_every_steps: int = 5
    keep_checkpoints: int = 2

    def __post_init__(self) -> None:
        check_run(self)
        require_at_least_one(
            self,
            *("num_steps", "prompts_per_step", "num_minibatches", "num_epochs"),
            "store_every_steps",
        )
        require_not_negative(self, "warmup_steps", "lookahead")
        self._check_group_size()
        require(
            self.sampling.temperature > 0,
            "sampling.temperature",
            "above 0",
            self.sampling.temperature,
        )
        sampling_seed = self.sampling.seed
        require(
            sampling_seed == 0,
            "sampling.seed",
            "0: all random numbers follow from seed",
            sampling_seed,
        )
        bias = self.sampling.reply_bias
        require(
            bias == 0, "sampling.reply_bias", "0: what is trained must be what is sampled", bias
        )
        discount = self.credit_discount
        require(0 <= discount <= 1, "credit_discount", "between 0 and 1", discount)
        rule = (
            "1 where credit is group: it gives an episode one advantage (credit "
            "return_to_go has a discount)"
        )
        require(self.credit != "group" or discount == 1, "credit_discount", rule, discount)
        fits = self.prompts_per_step % self.num_minibatches == 0
        require(
            fits,
            "num_minibatches",
            f"a divisor of prompts_per_step ({self.prompts_per_step})",
            self.num_minibatches,
        )
        retrieves = isinstance(self.reward, RetrievalRewardSettings)
        rule = "that of retrieval where examples are questions about videos, else that of streams"
        fits = self.examples.is_retrieval == retrieves
        require(fits, "reward", rule, type(self.reward).__name__)
        rule = "left out where nothing is retrieved"
        require(retrieves or self.bootstrapping is None, "bootstrapping", rule, self.bootstrapping)
        rule = "left out where answers are compared: retrieval needs no judge"
        require(not retrieves or self.judge == "exact", "judge", rule, self.judge)
        if not retrieves and not self.examples.has_exact_judge:
            rule = (
                "lexical or openai:MODEL@URL where examples come from files (exact "
                "knows generated clips only)"
            )
            require(self.judge != "exact", "judge", rule, self.judge)

    def _check_group_size(self) -> None:
        """Raises ConfigError for a group that is too small."""
        rule = "at least 2: members are compared"
        require(self.group_size >= 2, "group_size", rule, self.group_size)

    @property
    def reward_of_streams(self) -> RewardSettings:
        """The settings of the reward. Raises ConfigError for a run of retrieval."""
        if not isinstance(self.reward, RewardSettings):
            raise ConfigError("this is a run of retrieval; expected one in which a model watches")
        return self.reward

    @property
    def steps_of_stages(self) -> tuple[int, ...]:
        """How many steps the one stage takes."""
        return (self.num_steps,)

    @property
    def lighter(self) -> tuple[str, ...]:
        return (
            *lighter_steps(self),
            *((f"lower --lookahead (now {self.lookahead})",) if self.lookahead else ()),
        )

    @property
    def smaller_flags(self) -> str:
        return "--max-pixels, --group-size, --prompts-per-step or --sampling.max-new-tokens"

    def with_steps_of(self, other: GrpoConfig) -> GrpoConfig:
        """These settings with the number of steps of `other`."""
        return replace(self, num_steps=other.num_steps)

    def row_checks(self) -> Iterator[Check]:
        """A call for every row of the files of examples."""
        if isinstance(self.examples, RetrievalRows):
            return self.examples.checks()
        clock = Clock(self.frame_interval_s)
        if isinstance(self.examples, ProactiveExamples):
            return self.examples.checks(clock, self.frames_per_turn)
        if not isinstance(self.examples, RowExamples):
            return iter(())
        return example_checks(self.examples, clock, self.frames_per_turn)


@dataclass(frozen=True, slots=True)
class PpoConfig(GrpoConfig):
    """Everything a PPO run depends on: the settings of GRPO, a critic, and the credit by it.

    A group may have one member, since nothing is compared within it. `credit` and what belongs to
    it stay as they are: `gae` takes their place. `kl_in_reward`: every token loses that much of its
    log-ratio to the model that the run started from. Raises ConfigError for a value out of range.
    """

    critic: CriticSettings = field(default_factory=CriticSettings)
    gae: GaeSettings = field(default_factory=GaeSettings)
    kl_in_reward: float = 0.0

    def __post_init__(self) -> None:
        GrpoConfig.__post_init__(self)
        require_not_negative(self, "kl_in_reward")
        require(
            self.credit == "group" and self.scale_by_deviation,
            "credit",
            "left as it is: PPO has gae",
            self.credit,
        )
        head = self.critic.kind != "model" and self.sharding == "full"
        rule = "model where the policy is sharded: a head cannot reach into its shards"
        require(not head, "critic.kind", rule, self.critic.kind)

    def _check_group_size(self) -> None:
        require_at_least_one(self, "group_size")


def groups_per_process(config: GrpoConfig, num_processes: int) -> int:
    """How many groups of a step each process takes. Raises ConfigError where updates cannot be
    dealt out evenly."""
    shares = num_processes * config.num_minibatches
    if config.prompts_per_step % shares:
        raise ConfigError(
            f"prompts_per_step must be divisible by the number of processes times num_minibatches "
            f"({num_processes} x {config.num_minibatches} = {shares}), got "
            f"{config.prompts_per_step}"
        )
    return config.prompts_per_step // num_processes
