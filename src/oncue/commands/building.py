"""What `oncue data build` shares: flags of models and sources, progress, estimates."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from oncue.commands.judging import read_request_fields
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.errors import ConfigError, shown_address
from oncue.files import user_cache

if TYPE_CHECKING:
    from oncue.data.chat_writer import ChatWriter
    from oncue.data.pipeline.estimate import Estimate
    from oncue.data.pipeline.steps import Models
    from oncue.data.pipeline.values import BuildSettings, Outcome
    from oncue.data.request_limits import Spending
    from oncue.data.source_videos import SourceVideo, VideoSource

_NUM_SHOWN = 20  # missing videos and faults
_EXPECTED = "openai:MODEL@URL, such as openai:Qwen3-VL-32B@http://localhost:8000/v1"


@dataclass(frozen=True)
class SourceFlags:
    """What is read of the data set."""

    kind: Literal["web", "ego", "other"] | None = None
    """Kind of the videos, in place of that of the source."""

    name: str = ""
    """Name of the data set, in place of that of the source."""

    longest_part_s: float | None = 180.0
    """Longer videos are cut into parts of that many seconds; None: none is."""

    speech: str = ""
    """Model of faster-whisper, by name or folder, for videos without subtitles."""

    language: str = ""
    """Language of subtitles and speech, by its code."""

    def source(self, name: str, paths: Sequence[Path], videos: Path) -> VideoSource:
        """The source `name` of these paths. Raises as `make_source`."""
        from oncue.data.source_videos import VideoKind
        from oncue.data.sources.known import SOURCES, SourceOptions, make_source

        if not name:
            raise ConfigError(f"--source is missing; give one of {', '.join(SOURCES)}")
        options = SourceOptions(
            videos=videos,
            kind=VideoKind(self.kind) if self.kind else None,
            name=self.name,
            longest_part_s=self.longest_part_s,
            speech=self.speech,
            language=self.language,
        )
        return make_source(name, paths, options)


@dataclass(frozen=True)
class ModelFlags:
    """How the models are asked."""

    captioner: str | None = None
    """openai:MODEL@URL: the model that sees frames and writes captions, on any OpenAI-compatible
    server, its key in OPENAI_API_KEY. By default the writer."""

    writer: str | None = None
    """openai:MODEL@URL: the model that writes questions and answers. By default the captioner."""

    cache: Path | None = None
    """SQLite file that keeps all answers, on a local disk. By default oncue/pipeline.sqlite3 in the
    user's cache folder."""

    max_at_once: int = 16
    """Requests on the way at once, to each model."""

    requests_per_minute: int | None = None
    """At most so many requests to each model in any 60 s, repeated ones included."""

    tokens_per_minute: int | None = None
    """At most so many tokens of each model in any 60 s, read and written."""

    timeout_s: float = 120.0
    """Time limit of a request, in seconds."""

    max_tokens: int = 4096
    """Longest answer, thoughts included."""

    request_fields: str = "{}"
    """JSON object of more fields for every request, such as {"chat_template_kwargs":
    {"enable_thinking": false}}."""

    prices: tuple[str, ...] = ()
    """Money for a million tokens read and written: IN,OUT, or MODEL=IN,OUT for each model."""

    max_cost: float | None = None
    """Stop before more money than this is spent on --out, in all runs together."""

    max_tokens_total: int | None = None
    """Stop before more tokens than this are spent on --out, in all runs together."""

    def models(self, prompts: Path | None) -> Models:
        """The models that these flags name. Raises ConfigError for flags that contradict each
        other or are out of range, and DataError for prompts that cannot be read."""
        from oncue.data.pipeline.prompt_files import Prompts
        from oncue.data.pipeline.steps import Models

        captioner, writer = self.captioner or self.writer, self.writer or self.captioner
        if captioner is None or writer is None:
            raise ConfigError(f"--captioner is missing; give {_EXPECTED}, or --dry-run")
        spending = self._spending()
        first = self._chat("--captioner" if self.captioner else "--writer", captioner, spending)
        second = first if writer == captioner else self._chat("--writer", writer, spending)
        for model in (first.model, second.model):
            if self.max_cost is not None and not spending.prices.has(model):
                raise ConfigError(
                    f"--max-cost needs the price of {model}; give --prices {model}=IN,OUT for a "
                    "million tokens"
                )
        return Models(first, second, Prompts.read(prompts))

    def figures(self, found: Estimate) -> dict[str, Any]:
        """Money (None without prices) and time of what is planned."""
        from oncue.data.pipeline.values import CAPTION, MERGE, QUESTIONS
        from oncue.scoring.judge_specs import server_of

        captioner = server_of(self.captioner or self.writer or "")
        writer = server_of(self.writer or self.captioner or "")
        names = [server[0] if server is not None else "" for server in (captioner, writer)]
        models = {CAPTION: names[0], QUESTIONS: names[1], MERGE: names[1]}
        return {
            "cost": found.cost(self._spending().prices, models),
            "time_s": found.seconds(
                self.max_at_once, self.requests_per_minute, self.tokens_per_minute
            ),
        }

    def _chat(self, flag: str, spec: str, spending: Spending) -> ChatWriter:
        from oncue.data.chat_writer import ChatWriter, WriterOptions
        from oncue.scoring.judge_specs import server_of

        server = server_of(spec)
        if server is None:
            raise ConfigError(f"{flag} must be {_EXPECTED}, got {shown_address(spec)!r:.80}")
        options = WriterOptions(
            max_at_once=self.max_at_once,
            timeout_s=self.timeout_s,
            max_tokens=self.max_tokens,
            request_fields=read_request_fields(self.request_fields),
            cache=self.cache or user_cache() / "pipeline.sqlite3",
            requests_per_minute=self.requests_per_minute,
            tokens_per_minute=self.tokens_per_minute,
        )
        model, url = server
        return ChatWriter(url, model, options, spending=spending, keep_cut=True)

    def _spending(self) -> Spending:
        from oncue.data.request_limits import Prices, Spending

        check_smallest(self, max_cost=0, max_tokens_total=0)
        return Spending(Prices.read(self.prices), self.max_cost, self.max_tokens_total)


class BuildProgress:
    """How far a run is, with what it has spent. Use it in a `with` statement."""

    def __init__(self, spending: Spending) -> None:
        self._spending = spending
        self._progress: Progress | None = None

    def __enter__(self) -> BuildProgress:
        return self

    def __exit__(self, *error: object) -> None:
        if self._progress is not None:
            self._progress.__exit__(*error)

    def planned(self, num_videos: int, num_done: int) -> None:
        """So many videos, of which so many were done before."""
        if num_done:
            print(f"{num_done:,} of {num_videos:,} videos are done already", file=sys.stderr)
        self._progress = Progress("videos", num_videos - num_done, self._spent)
        self._progress.__enter__()

    def done(self, video: SourceVideo, outcome: Outcome) -> None:
        """Something came of a video; what cannot be used of it is said."""
        for rejected in outcome.rejected:
            span = rejected.scene
            scene = "" if span is None else f" ({span.start_s:g} s to {span.end_s:g} s)"
            what = f"{video.video_id}{scene}: {rejected.step}: {rejected.reason}"
            print(f"left out: {what}", file=sys.stderr)
        for damage in outcome.damage:
            print(f"damaged: {damage}", file=sys.stderr)
        if self._progress is not None:
            self._progress.step()

    def _spent(self) -> str:
        tokens = self._spending.tokens_in + self._spending.tokens_out
        cost = f", cost {self._spending.cost:.2f}" if self._spending.prices.of_model else ""
        return f"{self._spending.num_requests:,} requests, {tokens:,} tokens{cost}"


def estimated(
    source: VideoSource,
    videos: Path,
    settings: BuildSettings,
    prompts: Path | None,
    limit: int | None,
    out: Path | None,
) -> Estimate:
    """What the videos will take; measured on what is done in `out`, where something is."""
    from oncue.data.pipeline.estimate import estimate
    from oncue.data.pipeline.outputs import counts_in
    from oncue.data.pipeline.prompt_files import Prompts

    found = estimate(source.videos(), videos, settings, Prompts.read(prompts), limit)
    counts = counts_in(out) if out is not None else None
    if counts is not None:
        found.scale_to(counts)
    return found


def show_estimate(found: Estimate, figures: Mapping[str, Any]) -> None:
    """The estimate for people, on stdout."""
    for what, names, num in (
        ("missing", found.missing, found.num_missing),
        ("cannot be used", found.faults, found.num_faults),
    ):
        for name in names[:_NUM_SHOWN]:
            print(f"{what}: {name}")
        if num > _NUM_SHOWN:
            print(f"{what}: {num - _NUM_SHOWN:,} more")
    hours = found.duration_s / 3600
    print(
        f"{found.num_videos:,} videos ({hours:.2f} h): {found.num_found:,} found, "
        f"{found.num_missing:,} missing; {found.num_faults:,} rows cannot be used. All will take:"
    )
    for name, step in found.steps.items():
        print(
            f"{name:>10}: {step.num_requests:,.0f} requests, {step.tokens_in:,.0f} tokens in, "
            f"{step.tokens_out:,.0f} out"
        )
    basis = "measured on what is done" if found.is_measured else "assumed"
    cost = "unknown without --prices" if figures["cost"] is None else f"{figures['cost']:.2f}"
    print(f"cost: {cost}; time: {figures['time_s'] / 3600:.2f} h ({basis})")
