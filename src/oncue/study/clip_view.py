"""A model watches clips of a world, as files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oncue.engine.sampling import SamplingParams
from oncue.env.streaming import FILE_LOOKAHEAD
from oncue.eval.benchmarks.world import World
from oncue.eval.benchmarks.world_clips import ClipSet, prepare
from oncue.eval.runner import run_benchmark
from oncue.eval.table import rounded
from oncue.policy.open_policy import LocalModel, open_policy
from oncue.study.arms import Scores, View
from oncue.world.make import drawn_by

_MODEL = "model"  # the name of what was trained, in the files of its scores
_MAX_NEW_TOKENS = 32  # no reply of a world needs more
_NAMES = (
    *("pauc", "duplicates", "num_duplicates", "num_following", "num_replies"),
    *("first_reply_delay_s", "false_replies_per_quiet_min", "hit_turns"),
)


@dataclass(frozen=True, slots=True)
class ClipView(View):
    """`num_clips` test clips of a world, a frame every `frame_interval_s` seconds. `temperature` 0
    is greedy."""

    world: str
    num_clips: int = 200
    frame_interval_s: float = 1.0
    temperature: float = 0.0

    @property
    def drawn_by(self) -> str:
        return drawn_by()

    @property
    def names(self) -> tuple[str, ...]:
        return _NAMES

    def prepare(self, cache: Path) -> None:
        """The clips as video files; those already there are kept."""
        prepare(cache, self._clips)

    def measure(self, model: Path, cache: Path, device: str | None) -> dict[str, Any]:
        """The scores of a model, with those of silence and the oracle beside them."""
        sampling = SamplingParams(temperature=self.temperature, max_new_tokens=_MAX_NEW_TOKENS)
        spec = LocalModel(model, device, sampling=sampling, lookahead=FILE_LOOKAHEAD)
        return run_benchmark(World(self._clips, cache), open_policy(spec), name=_MODEL).numbers()

    def numbers(self, scores: Scores) -> dict[str, float | None]:
        """`pauc`, `duplicates` and `hit_turns` in percent, `num_replies` per clip,
        `first_reply_delay_s`, and `false_replies_per_quiet_min`. `duplicates` is of the
        `num_following` replies that follow another in their span, and None where there are none."""
        row = scores["policies"][_MODEL]
        return {
            "pauc": row["pauc_omega_0.5"],
            "duplicates": row["duplicates"],
            "num_duplicates": row["n_duplicates"],
            "num_following": row["n_duplicates_decided"],
            "num_replies": rounded(row["n_replies"] / row["n_samples"], 3),
            "first_reply_delay_s": row["first_reply_delay_s"],
            "false_replies_per_quiet_min": row["false_replies_per_quiet_min"],
            "hit_turns": row["hit_turns"],
        }

    def references(self, scores: Scores) -> dict[str, Any]:
        """Silence, talk at every turn, the earliest perfect replies."""
        headline = scores["headline"]
        names = ("silence_pauc", "talk_pauc", "oracle_pauc", "n_clips")
        return {
            **{name: headline[name] for name in names},
            "oracle_delay_s": scores["policies"]["oracle"]["first_reply_delay_s"],
            "frame_interval_s": self.frame_interval_s,
            "temperature": self.temperature,
        }

    @property
    def _clips(self) -> ClipSet:
        return ClipSet(self.world, "test", self.num_clips, frame_interval_s=self.frame_interval_s)
