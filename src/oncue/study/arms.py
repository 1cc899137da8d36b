"""What a study is: arms, each a way of training, run with several seeds and looked at from several
sides."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.errors import ConfigError
from oncue.study.findings import Findings
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig

Scores = Mapping[str, Any]  # `policies`: numbers by name; `headline`: what is compared with them


@dataclass(frozen=True, slots=True)
class View(ABC):
    """How a trained model is looked at. Its fields are kept with the scores: those of another view
    count for nothing."""

    name: str

    @property
    @abstractmethod
    def drawn_by(self) -> str:
        """A digest of what draws the things that are looked at."""

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """The names of all `numbers`."""

    @abstractmethod
    def prepare(self, cache: Path) -> None:
        """Makes in `cache` what can be made before there is a model, once for all models."""

    @abstractmethod
    def measure(self, model: Path, cache: Path, device: str | None) -> dict[str, Any]:
        """The scores of a model, plain values: `policies` and `headline`."""

    @abstractmethod
    def numbers(self, scores: Scores) -> dict[str, float | None]:
        """What the results say of the model, from what `measure` gave."""

    @abstractmethod
    def references(self, scores: Scores) -> dict[str, Any]:
        """What the results have beside it, the same for every model."""


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
    are about. `findings`: what is measured, claimed and shown. `model`: what arms begin with where
    nothing else is asked for."""

    name: str
    title: str
    about: str
    arms: tuple[Arm, ...]
    findings: Findings
    model: str = "mini-sft"

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
