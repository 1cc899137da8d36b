"""`oncue data filter`: rows of proactive dialogues that keep to limits."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import tyro

from oncue.commands.curating import check_out, print_summary, wrote
from oncue.commands.judging import SERVER, JudgeServer
from oncue.commands.number_checks import check_smallest
from oncue.commands.progress import Progress
from oncue.commands.turn_flags import TurnFlags
from oncue.errors import ConfigError, shown_address
from oncue.files import user_cache

if TYPE_CHECKING:
    from oncue.data.quality.blind import BlindModel
    from oncue.data.quality.filtering import FilterCounts
    from oncue.data.quality.filters import Filter

_EXPECTED = "openai:MODEL@URL, such as openai:Qwen3-32B@http://localhost:8000/v1"
DROPPED_ENDING = ".dropped.jsonl"


@dataclass(frozen=True)
class DataFilter:
    """Keep rows of proactive dialogues that pass filters. A row is kept whole or left out whole.

    Each filter has a flag, and only those given are asked, in the order below. The first that
    leaves a row out is its reason. Rows that are left out are listed beside --out, in the same name
    with .dropped.jsonl as its ending: {row_id, video_id, where, filter, reason}.

    Example: oncue data filter rows.jsonl --duplicates near --min-answers 2 --out kept.jsonl
    """

    rows: tyro.conf.Positional[tuple[Path, ...]]
    """JSON-lines files of proactive dialogues."""

    out: Path
    """File for the rows that are kept."""

    duplicates: Literal["exact", "near"] | None = None
    """Leave out rows with two answers that are the same. near: but for case, punctuation and
    articles."""

    min_span_s: float | None = None
    """Leave out rows with a reply span shorter than this, in seconds."""

    max_span_s: float | None = None
    """Leave out rows with a reply span longer than this, in seconds."""

    min_answers: int | None = None
    """Leave out rows with fewer answers."""

    min_silence: float | None = None
    """Leave out rows in which a smaller share of the turns is silent, from 0 to 1."""

    max_silence: float | None = None
    """Leave out rows in which a larger share of the turns is silent, from 0 to 1."""

    leaks: str | None = None
    """Leave out rows with an answer that says what cannot be seen yet: lexical, or openai:MODEL@URL
    for a model that reads the captions."""

    blind: str | None = None
    """Leave out rows with a question that this model answers without the video: openai:MODEL@URL.
    --judge compares its attempts with the gold replies."""

    blind_samples: int = 3
    """Attempts of --blind at each question; half of them must be right."""

    blind_temperature: float = 1.0
    """Temperature of the attempts."""

    blind_cache: Path | None = None
    """SQLite file that keeps the attempts. By default oncue/blind.sqlite3 in the user's cache
    folder."""

    judge: str = "lexical"
    """Judge of --blind: lexical, exact, or openai:MODEL@URL."""

    judge_server: JudgeServer = field(default_factory=JudgeServer)
    """How the models of --leaks and --judge are asked."""

    turns: tyro.conf.OmitArgPrefixes[TurnFlags] = field(default_factory=TurnFlags)

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, ask, write. Returns the exit code."""
        from oncue.data.quality.checking import num_rows
        from oncue.data.quality.filtering import filter_rows

        self._check_flags()
        dropped = self.out.with_suffix(DROPPED_ENDING)
        kept_answers = [path for path in (self.blind_cache, self.judge_server.cache) if path]
        check_out(self.out, (*self.rows, *kept_answers))
        check_out(dropped, (*self.rows, *kept_answers, self.out))
        blind = self._blind()
        filters = self._filters(blind)
        with Progress("rows", num_rows(self.rows)) as progress:
            try:
                counts = filter_rows(self.rows, filters, self.out, dropped, progress.step)
            finally:
                if blind is not None:
                    print(f"{blind.model}: {blind.usage.line()}", file=sys.stderr)
        self._report(counts, filters, dropped)
        return 0

    def _check_flags(self) -> None:
        if not self.rows:
            raise ConfigError("no rows to filter; give files of proactive dialogues")
        check_smallest(self, min_span_s=0, max_span_s=0, min_answers=1, blind_samples=1)
        check_smallest(self, min_silence=0, max_silence=0, blind_temperature=0)
        servers = [s for s in (self.leaks, self.judge) if s is not None and s.startswith(SERVER)]
        if not servers:
            self.judge_server.check_unused("lexical", "--judge-server.")
        if self.blind is None and (self.judge != "lexical" or self.blind_cache is not None):
            raise ConfigError(
                "--judge and --blind-cache are for --blind; give it, or leave them out"
            )

    def _filters(self, blind: BlindModel | None) -> list[Filter]:
        """Raises ConfigError where none is set, and for models that cannot be."""
        from oncue.data.quality.filters import Limits
        from oncue.data.quality.model_filters import blind_filter, leak_filter
        from oncue.scoring.server_judge import ServerJudge

        limits = Limits(
            self.duplicates,
            self.min_span_s,
            self.max_span_s,
            self.min_answers,
            self.min_silence,
            self.max_silence,
            self.leaks == "lexical",
        )
        filters = limits.filters(self.turns.grid())
        if self.leaks not in (None, "lexical"):
            _server("--leaks", self.leaks, "lexical, or ")
            model = self.judge_server.judge(self.leaks, 4, "--judge-server.")
            assert isinstance(model, ServerJudge)
            filters.append(leak_filter(model))
        if blind is not None:
            server = self.judge_server if self.judge.startswith(SERVER) else JudgeServer()
            filters.append(blind_filter(blind, server.judge(self.judge, 4, "--judge-server.")))
        if not filters:
            raise ConfigError(
                "no filter is set; give one, such as --duplicates near or --min-answers 2"
            )
        return filters

    def _blind(self) -> BlindModel | None:
        if self.blind is None:
            return None
        from oncue.data.quality.blind import BlindModel, BlindOptions

        model, url = _server("--blind", self.blind)
        cache = self.blind_cache or user_cache() / "blind.sqlite3"
        options = BlindOptions(self.blind_samples, self.blind_temperature, cache=cache)
        return BlindModel(url, model, options)

    def _report(self, counts: FilterCounts, filters: list[Filter], dropped: Path) -> None:
        numbers = {one.name: counts.dropped[one.name] for one in filters}
        if self.json:
            files = {"out": str(self.out), "dropped_rows": str(dropped)}
            print_summary(
                {"num_read": counts.num_read, "num_kept": counts.num_kept, "dropped": numbers}
                | files
            )
            return
        print(f"{counts.num_read:>7,} rows")
        for name, number in numbers.items():
            print(f"{number:>7,} left out: {name}")
        print(wrote(counts.num_kept, self.out))
        print(f"reasons are in {dropped}")


def _server(flag: str, spec: str, also: str = "") -> tuple[str, str]:
    """Model and address. Raises ConfigError for another form."""
    from oncue.scoring.judge_specs import server_of

    server = server_of(spec)
    if server is None:
        raise ConfigError(f"{flag} must be {also}{_EXPECTED}, got {shown_address(spec)!r:.80}")
    return server
