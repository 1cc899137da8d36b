"""The flags of `--run`, with which a benchmark of proactive models is run before it is scored."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.commands.evaluating import policy_spec
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.errors import ConfigError, DataError
from oncue.eval.videos import ChosenItems, MissingVideosError, choose_items

if TYPE_CHECKING:
    from oncue.eval.streams.benchmark import StreamBenchmark
    from oncue.eval.streams.policies import Contender
    from oncue.eval.streams.running import StreamRun, Watching
    from oncue.eval.streams.stream import Item
    from oncue.policy.open_policy import PolicySpec


@dataclass(frozen=True)
class RunFlags:
    """What is run with --run, and how."""

    videos: Path | None = None
    """--run: folder of the videos, by the names that the annotations give them; folders in it are
    searched, too."""

    video_names: Path | None = None
    """--run: JSON object from the name of a video in the annotations to its file, or null where it
    is missing. Names that it leaves out stay."""

    policy: str = "model"
    """--run: who is run. model: --model or --server as it is. blind: the same, shown plain grey
    frames. threshold:T: the same, speaking where its log-odds of replying are above T. polling: any
    chat model, asked at each turn whether to speak. polling-leaking-gold: asked as StreamingBench
    asks, with the gold output in the question. silence, talk (every turn), delay:SECONDS (once,
    after the question), every:SECONDS: without a model."""

    thresholds: tuple[float, ...] = ()
    """--run: several thresholds, each as --policy threshold:T; a table has a row for each."""

    calibrate_false_per_hour: float | None = None
    """--run: find the largest reply bias at which the model gives at most so many false replies per
    hour in which nothing is due. The curve goes into calibration.json in --out, or without --out
    beside a model that is a folder; `oncue watch --calibration` takes it."""

    calibrate_biases: tuple[float, ...] = ()
    """--run: biases to try first, in place of -8 to 4; then the gap in which the rate passes the
    limit is halved four times."""

    say: str = "Now."
    """--run: what talk, delay and every say."""

    poll_frames: int = 16
    """--run: how many of the newest frames a poll shows."""

    model: str | None = None
    """--run: a model folder, a hub id (owner/name), or mini, which ships with the package. By
    default mini."""

    server: str | None = None
    """--run: address of an OpenAI-compatible chat server, as for `oncue watch`; --model is then its
    name for the model."""

    device: str | None = None
    """--run: cpu, cuda, cuda:1, ... By default a GPU where there is one."""

    dtype: str | None = None
    """--run: float32, bfloat16 or float16. By default bfloat16 on a GPU, float32 elsewhere."""

    temperature: float = 0.0
    """--run: 0 always takes the likeliest token."""

    reply_bias: float = 0.0
    """--run: added to the log-odds of replying in every turn: above 0 the model speaks more
    readily, below 0 less. 0: as it was trained. With --server it needs one that lists probabilities
    of tokens."""

    max_new_tokens: int = 512
    """--run: longest reply; a longer one is cut."""

    context_tokens: int | None = None
    """--run: longest context the model is given, as for `oncue watch`. By default everything is
    kept."""

    max_pixels: int | None = None
    """--run: largest area of a frame, in pixels, before it is scaled down. By default what the
    model's folder says, but no more than the 128 vision tokens MMDuet2 was trained with."""

    frame_interval_s: float = 1.0
    """--run: seconds of video from one frame to the next."""

    frames_per_turn: int = 1
    """--run: frames shown before the policy decides again."""

    system: str | None = None
    """--run: system message. By default the one that the policy is made for."""

    limit: int | None = None
    """--run: number of items, drawn by --seed; by default all. For a trial."""

    seed: int = 0
    """--run: draws the items of --limit, and the random numbers of sampling."""

    allow_missing: bool = False
    """--run: leave out the items whose video is missing. The scores say how many; they are then not
    those of the benchmark."""

    at_once: int = 8
    """--run: items that are watched together."""

    resume: bool = False
    """--run: go on with the predictions that are there, with the same settings; where there are
    none, begin."""

    def check_unused(self) -> None:
        """Raises ConfigError for a flag that was given and would do nothing without --run."""
        for field in fields(self):
            if getattr(self, field.name) != field.default:
                flag = "--" + field.name.replace("_", "-")
                raise ConfigError(f"{flag} is for --run; leave it out, or add --run")

    def check(self) -> None:
        """Raises ConfigError for flags that cannot be, before anything is read."""
        check_smallest(
            self,
            frames_per_turn=1,
            temperature=0,
            max_new_tokens=1,
            context_tokens=1,
            limit=1,
            seed=0,
            at_once=1,
        )
        if self.videos is None:
            raise ConfigError("give the folder of the videos with --videos")
        if self.system is not None and not self.system.strip():
            raise ConfigError("--system is empty; leave it out for the policy's own")
        if self.thresholds and self.policy != "model":
            raise ConfigError("give --thresholds or --policy, not both")
        self._check_calibration()
        self._check_used(self.contender())
        for threshold in self.thresholds:
            if not math.isfinite(threshold):
                raise ConfigError(f"--thresholds must be numbers, got {threshold}")
        self.watching()

    def _check_used(self, contender: Contender) -> None:
        """Raises ConfigError for a flag that would do nothing with this policy."""
        used = {
            "model": contender.has_model,
            "server": contender.has_model,
            "reply_bias": contender.takes_reply_bias and not self.thresholds,
            "temperature": contender.has_model,
            "system": contender.has_model,
            "say": contender.speaks_fixed_text,
            "poll_frames": contender.polls,
        }
        for name, is_used in used.items():
            if not is_used and getattr(self, name) != getattr(type(self), name):
                flag = "--" + name.replace("_", "-")
                who = "--thresholds" if self.thresholds else f"--policy {self.policy}"
                raise ConfigError(f"{flag} does nothing with {who}; leave it out")

    def _check_calibration(self) -> None:
        if self.calibrate_false_per_hour is None:
            if self.calibrate_biases:
                raise ConfigError("--calibrate-biases needs --calibrate-false-per-hour")
            return
        if not 0 <= self.calibrate_false_per_hour < math.inf:
            raise ConfigError(
                "--calibrate-false-per-hour must be 0 or more, got "
                f"{self.calibrate_false_per_hour:g}"
            )
        if self.policy != "model" or self.thresholds or self.reply_bias:
            raise ConfigError(
                "--calibrate-false-per-hour sets the reply bias of a model; leave --policy, "
                "--thresholds and --reply-bias out"
            )

    def contender(self) -> Contender:
        """Who is run."""
        from oncue.eval.streams.policies import Contender

        return Contender.named(self.policy, self.say, self.poll_frames)

    def contender_at(self, threshold: float) -> Contender:
        """The model with one of --thresholds."""
        from oncue.eval.streams.policies import THRESHOLD, Contender

        return Contender(THRESHOLD, threshold)

    def watching(self) -> Watching:
        from oncue.eval.streams.running import Watching

        return Watching(
            self.frame_interval_s, self.frames_per_turn, self.system, self.seed, self.at_once
        )

    def spec(self, plan: StreamRun) -> PolicySpec:
        """The model, or the server's, or the script of a policy that asks none."""
        if not plan.contender.has_model:
            return plan.contender.script()
        from oncue.eval.streams.policies import with_reply_bias

        sampling = {
            "temperature": self.temperature,
            "reply_bias": self.reply_bias,
            "max_new_tokens": self.max_new_tokens,
        }
        items = plan.chosen.items
        questions = [question for item in items for question in item.stream.questions]
        spec = policy_spec(self, sampling, self.seed, ("device", "dtype", "temperature"), questions)
        return with_reply_bias(spec, self.reply_bias)

    def chosen(self, items: Sequence[Item[Any]]) -> ChosenItems[Item[Any]]:
        """What is run of `items`. Prints each video that is missing. Raises DataError."""
        from oncue.eval.streams.running import check_videos

        files = None if self.video_names is None else _read_names(self.video_names)
        try:
            chosen = choose_items(
                items,
                lambda item: item.stream.video,
                self.videos,
                files=files,
                limit=self.limit,
                seed=self.seed,
                allow_missing=self.allow_missing,
            )
        except MissingVideosError as error:
            for path in error.paths:
                print(f"missing: {path}", file=sys.stderr)
            raise
        check_videos(chosen.items, chosen.paths, Progress)
        return chosen

    def plan(self, benchmark: StreamBenchmark[Any], annotations: tuple[Path, ...]) -> StreamRun:
        """What is to be run. Raises as `chosen`, and what reading the annotations raises."""
        from oncue.eval.streams.running import StreamRun
        from oncue.eval.streams.scoring import items_of

        items = items_of(benchmark, annotations)
        return StreamRun(
            benchmark,
            annotations,
            self.chosen(items),
            len(items),
            self.contender(),
            self.watching(),
            self.limit,
        )


def _read_names(path: Path) -> dict[str, str | None]:
    """The file of --video-names. Raises DataError for another form."""
    try:
        names = json.loads(path.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"cannot read {path} as JSON: {error}") from error
    if not isinstance(names, dict) or not all(
        file is None or (isinstance(file, str) and file.strip()) for file in names.values()
    ):
        raise DataError(
            f"{path} must hold one object from the name of a video to its file, or null: "
            '{"NAME": "FILE", ...}'
        )
    return names
