"""What a study is: arms, each a way of training, run with several seeds and looked at from several
sides."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from oncue.errors import ConfigError
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig


@dataclass(frozen=True, slots=True)
class View:
    """How a trained model is looked at: `num_clips` test clips of a world, a frame every
    `frame_interval_s` seconds. `temperature` 0 is greedy."""

    name: str
    world: str
    num_clips: int = 200
    frame_interval_s: float = 1.0
    temperature: float = 0.0


@dataclass(frozen=True, slots=True)
class Arm:
    """A way of training. `start`: the arm whose model it starts from, that of the same seed; empty
    for the study's own start. `config(model, seed)` are its complete settings. `about` and `paper`
    (its row there) are for the reader."""

    name: str
    about: str
    config: Callable[[str, int], SftConfig | GrpoConfig]
    views: tuple[View, ...]
    seeds: tuple[int, ...] = (0, 1, 2)
    start: str = ""
    paper: str = ""


@dataclass(frozen=True, slots=True)
class Job:
    """One arm with one seed. Its name, `arm/seed`, is what the command line calls it."""

    arm: Arm
    seed: int

    @property
    def name(self) -> str:
        return f"{self.arm.name}/{self.seed}"

    @property
    def start(self) -> str | None:
        """The name of the job that must be done before; None for none."""
        return f"{self.arm.start}/{self.seed}" if self.arm.start else None


@dataclass(frozen=True, slots=True)
class Study:
    """Arms in the order in which they are run and shown. The first view of an arm is the one claims
    are about."""

    name: str
    title: str
    about: str
    arms: tuple[Arm, ...]

    def jobs(self) -> list[Job]:
        """All jobs; one comes after the job it starts from."""
        return [Job(arm, seed) for arm in self.arms for seed in arm.seeds]

    def chosen(self, names: Iterable[str]) -> list[Job]:
        """The jobs named `arm/seed` or, all seeds, `arm`; all for no name. Raises ConfigError for
        an unknown one."""
        wanted = list(names)
        jobs = self.jobs()
        known = {job.name for job in jobs} | {arm.name for arm in self.arms}
        unknown = [name for name in wanted if name not in known]
        if unknown:
            arms = ", ".join(arm.name for arm in self.arms)
            raise ConfigError(
                f"study {self.name} has no part {unknown[0]!r}; expected ARM or ARM/SEED of {arms}"
            )
        return [job for job in jobs if not wanted or job.name in wanted or job.arm.name in wanted]
