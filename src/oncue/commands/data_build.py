"""`oncue data build`: proactive dialogues from videos."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from oncue.commands.building import ModelFlags, SourceFlags
from oncue.commands.curating import print_summary
from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError

if TYPE_CHECKING:
    from oncue.data.pipeline.build import Built
    from oncue.data.pipeline.steps import Models
    from oncue.data.pipeline.values import BuildSettings
    from oncue.data.request_limits import Spending
    from oncue.data.source_videos import VideoSource


@dataclass(frozen=True)
class DataBuild:
    """Turn videos into proactive dialogues: questions, and replies due while the video runs.

    Every video goes through the steps of MMDuet2: scenes (annotated, of subtitle sentences, or
    found in the pictures), captions of the scenes by a multimodal model, questions with an answer
    or silence in each scene, and a dialogue. Half of the videos get one question at the start
    (1QnA), the others several at any time (nQnA).

    --out gets rows.jsonl (dialogues), rejected.jsonl (what was left out, and why) and summary.json
    (counts, costs, settings). The same command goes on where a run was stopped, killed or out of
    budget, and ends with the same files. No answer is paid for twice.

    Example: oncue data build --source youcook2 val.json --videos videos --captioner
    openai:Qwen3-VL-32B@http://localhost:8000/v1 --out built --limit 20
    """

    paths: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Files or folders of the source."""

    source: str = ""
    """Kind of source: how PATHS are read."""

    videos: Path = Path(".")
    """Folder that the paths of videos count from."""

    out: Path | None = None
    """Folder for the files. It also keeps what is done (journal.sqlite3)."""

    read: tyro.conf.OmitArgPrefixes[SourceFlags] = field(default_factory=SourceFlags)

    ask: tyro.conf.OmitArgPrefixes[ModelFlags] = field(default_factory=ModelFlags)

    captions: Literal["model", "annotated"] = "model"
    """annotated: the text of an annotated scene is its caption as it is."""

    frames_per_scene: int = 4
    """Frames that the captioner sees of a scene."""

    frame_pixels: int = 448 * 448
    """Most pixels of such a frame."""

    frame_interval: float = 2.0
    """Seconds between frames of the dialogues, for the times of questions."""

    frames_per_turn: int = 2
    """Frames in a turn of the dialogues, for the times of questions."""

    seed: int = 0
    """Draws which videos get one question, and when questions are asked."""

    prompts: Path | None = None
    """Folder with prompts to use in place of ours (--write-prompts)."""

    write_prompts: Path | None = None
    """Write our prompts into this folder, to be edited, and do nothing else."""

    limit: int | None = None
    """Use only the first so many videos."""

    decoders: int | None = None
    """Processes that read videos. By default one per core."""

    runner: Literal["local", "ray"] = "local"
    """ray: on the machines of a Ray cluster, or of RAY_ADDRESS; --videos must lead to the videos on
    each of them."""

    workers: int = 8
    """ray: actors that work at once, each with one core. They share --max-at-once and all limits.
    """

    dry_run: bool = False
    """Say only what is there, and what it would take: requests, tokens, money, time."""

    json: bool = False
    """The summary as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Plan, run, write. Returns the exit code."""
        if self.write_prompts is not None:
            return self._write_prompts(self.write_prompts)
        check_smallest(self, limit=1, seed=0, frames_per_scene=1, frames_per_turn=1, decoders=1)
        check_smallest(self, workers=1)
        check_smallest(self, frame_pixels=28 * 28)
        settings = self._settings()
        source = self._source()
        if self.dry_run:
            return self._estimate(source, settings)
        if self.out is None:
            raise ConfigError("--out is missing; give the folder for the rows, or --dry-run")
        models = self.ask.models(self.prompts)
        built = self._build(source, self.out, models, settings)
        self._show(built, models.writer.spending)
        built.check()
        return 0

    def _build(
        self, source: VideoSource, out: Path, models: Models, settings: BuildSettings
    ) -> Built:
        from oncue.commands.building import BuildProgress
        from oncue.data.pipeline.build import build

        with BuildProgress(models.writer.spending) as progress:
            return build(
                source,
                self.videos,
                out,
                models,
                settings,
                limit=self.limit,
                num_processes=self.decoders or os.cpu_count() or 1,
                most_at_once=self.ask.max_at_once,
                ray_workers=self.workers if self.runner == "ray" else None,
                on_planned=progress.planned,
                on_done=progress.done,
            )

    def _show(self, built: Built, spending: Spending) -> None:
        counts = built.counts.plain()
        spent = {
            "num_requests": spending.num_requests,
            "tokens_in": spending.tokens_in,
            "tokens_out": spending.tokens_out,
            "cost": round(spending.cost, 9),
        }
        if self.json:
            print_summary({"out": str(built.out), **counts, "spent": spent})
            return
        print(
            f"{counts['num_rows']:,} rows of {counts['num_videos']:,} videos "
            f"({', '.join(f'{k} {n:,}' for k, n in counts['dialogues'].items()) or 'none'}), "
            f"{counts['num_questions']:,} questions, {counts['num_replies']:,} replies: {built.out}"
        )
        for reason, number in counts["rejected"].items():
            print(f"{number:>7,} rejected: {reason}")
        if counts["num_bad_rows"]:
            print(f"{counts['num_bad_rows']:>7,} rows of the source cannot be used")
        print(
            f"spent so far: {spent['num_requests']:,} requests, {spent['tokens_in']:,} tokens in, "
            f"{spent['tokens_out']:,} out, cost {spent['cost']:.4f}"
        )

    def _settings(self) -> BuildSettings:
        from oncue.data.pipeline.values import BuildSettings

        settings = BuildSettings(
            seed=self.seed,
            frame_interval_s=self.frame_interval,
            frames_per_turn=self.frames_per_turn,
            captions=self.captions,
            frames_per_scene=self.frames_per_scene,
            frame_pixels=self.frame_pixels,
        )
        try:
            settings.clock  # noqa: B018
        except ValueError as error:
            raise ConfigError(f"--frame-interval: {error}") from error
        return settings

    def _source(self) -> VideoSource:
        if not self.videos.is_dir():
            raise ConfigError(f"--videos {self.videos} is no folder; give that of the videos")
        return self.read.source(self.source, self.paths, self.videos)

    def _estimate(self, source: VideoSource, settings: BuildSettings) -> int:
        from oncue.commands.building import estimated, show_estimate

        found = estimated(source, self.videos, settings, self.prompts, self.limit, self.out)
        figures = self.ask.figures(found)
        if self.json:
            print_summary({"dry_run": True, **found.plain(), **figures})
        else:
            show_estimate(found, figures)
        return 0

    def _write_prompts(self, folder: Path) -> int:
        from oncue.data.pipeline.prompt_files import write_prompts

        paths = write_prompts(folder)
        if self.json:
            print_summary({"prompts": [str(path) for path in paths]})
        else:
            print("\n".join(map(str, paths)))
        return 0
