"""`oncue data curate qvhighlights`: training rows from QVHighlights."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from oncue.aio import completed
from oncue.commands.curating import (
    SieveFlags,
    check_out,
    check_some,
    counts_of,
    print_summary,
    show_counts,
    show_dropped,
    usable,
    wrote,
)
from oncue.commands.judging import read_request_fields
from oncue.commands.number_checks import check_smallest
from oncue.errors import ConfigError, DataError, shown_address
from oncue.files import user_cache

if TYPE_CHECKING:
    from oncue.data.curate.question_prompt import Outcome
    from oncue.data.curate.question_writer import QuestionWriter
    from oncue.data.curate.qvhighlights import Query

REJECTED_ENDING = ".rejected.jsonl"


@dataclass(frozen=True)
class DataCurateQvhighlights:
    """Make rows for retrieval from QVHighlights. A model turns its sentences into questions.

    The files are JSON lines of {qid, query, vid, duration, relevant_windows: [[start_s, end_s],
    ...]}, such as highlight_train_release.jsonl. The videos themselves are not needed. Queries are
    sifted first; the model is asked about the rest alone. It answers with a question, four options
    and the right letter, or says that the sentence is not suitable. Options are put in a new order,
    so that each letter is right equally often.

    Each line of --out is a row: {problem_id, problem, data_type, problem_type, options, solution,
    path, data_source, relevant_sample_frames, num_frames, spans, duration}. Rejected sentences go
    to a file of their own: {problem_id, query, kind, reason}. Answers are kept: a run that was
    stopped goes on where it was.

    Example: oncue data curate qvhighlights highlight_train_release.jsonl --writer
    openai:Qwen3-32B@http://localhost:8000/v1 --out rows.jsonl
    """

    annotations: tyro.conf.Positional[tuple[Path, ...]]
    """JSON-lines files with relevant_windows: those of train and val."""

    out: Path | None = None
    """File for the rows: JSON lines, or one array where the name ends in .json. Rejected sentences
    go beside it, to the same name with .rejected.jsonl as its ending."""

    writer: str | None = None
    """openai:MODEL@URL: the model that writes the questions, on any OpenAI-compatible server, its
    key in OPENAI_API_KEY."""

    dry_run: bool = False
    """Say only how many queries are kept, and how many of them the model would be asked about."""

    limit: int | None = None
    """Use only the first so many of the queries that are kept."""

    seed: int = 0
    """Deals the places of the right options."""

    keep: tyro.conf.OmitArgPrefixes[SieveFlags] = field(default_factory=SieveFlags)

    cache: Path | None = None
    """SQLite file that keeps the answers. By default oncue/questions.sqlite3 in the user's cache
    folder."""

    max_at_once: int = 16
    """Requests on the way at once."""

    timeout_s: float = 120.0
    """Time limit of a request, in seconds."""

    max_tokens: int = 1024
    """Longest answer; a model that thinks first needs thousands."""

    request_fields: str = "{}"
    """JSON object of more fields for every request, such as {"chat_template_kwargs":
    {"enable_thinking": false}}."""

    skip_bad_rows: bool = False
    """Leave out and list rows that break the format. By default they are an error."""

    json: bool = False
    """The counts as one JSON object on stdout; everything else goes to stderr."""

    def run(self) -> int:
        """Read, sift, ask, write. Returns the exit code."""
        from oncue.data.curate.qvhighlights import SOURCE, read_queries
        from oncue.data.curate.sieve import sift

        sieve = self.keep.sieve()
        check_smallest(self, limit=1, seed=0)
        writer = self._writer()
        out = self._checked_out()
        queries, num_bad = usable(read_queries(self.annotations), skip_bad=self.skip_bad_rows)
        kept, counts = sift(queries, sieve)
        summary = {"source": SOURCE, **counts_of(counts), "num_bad_rows": num_bad}
        if not self.json:
            show_counts(SOURCE, counts, sieve)
        check_some(kept, out)
        kept = kept[: self.limit]
        if self.dry_run:
            self._tell_what_is_asked(kept, writer, summary)
        else:
            assert writer is not None
            self._make(kept, writer, out, summary)
        return 0

    def _make(
        self, kept: Sequence[Query], writer: QuestionWriter, out: Path, summary: Mapping[str, Any]
    ) -> None:
        """Asks, and writes both files."""
        from oncue.data.curate.qvhighlights import rejections, rows_of, write_rejections
        from oncue.data.retrieval_rows import write_rows

        outcomes = self._outcomes(kept, writer)
        rows = rows_of(kept, outcomes, self.seed)
        rejected = rejections(kept, outcomes)
        write_rejections(out.with_suffix(REJECTED_ENDING), rejected)
        kinds = dict(sorted(Counter(why.kind for _, why in rejected).items()))
        if not self.json:
            show_dropped(
                {f"its sentence gave no question ({kind})": n for kind, n in kinds.items()}
            )
        if not rows:
            raise DataError(
                f"no sentence became a question, so {out} is not written; the reasons are in "
                f"{out.with_suffix(REJECTED_ENDING)}: give another --writer"
            )
        sieve = self.keep.sieve()
        write_rows(out, (sieve.finished(row, self.keep.video_folder) for row in rows))
        letters = dict(sorted(Counter(row.answer for row in rows).items()))
        if self.json:
            made = {"num_rows": len(rows), "rejected": kinds, "right_letters": letters}
            print_summary({**summary, **made, "out": str(out)})
        else:
            listed = ", ".join(f"{letter} {number:,}" for letter, number in letters.items())
            print(f"{wrote(len(rows), out)} (right letters: {listed})")

    def _outcomes(self, kept: Sequence[Query], writer: QuestionWriter) -> dict[str, Outcome]:
        from oncue.commands.progress import Progress
        from oncue.data.curate.question_writer import unanswered, write_all

        sentences = [query.sentence for query in kept]
        try:
            with Progress("sentences", len(unanswered(writer, sentences))) as progress:
                return completed(write_all(writer, sentences, progress.step))
        finally:
            print(f"{writer.model}: {writer.usage.line()}", file=sys.stderr)

    def _tell_what_is_asked(
        self, kept: Sequence[Query], writer: QuestionWriter | None, summary: Mapping[str, Any]
    ) -> None:
        from oncue.data.curate.question_writer import unanswered

        sentences = list(dict.fromkeys(query.sentence for query in kept))
        num_to_ask = len(sentences if writer is None else unanswered(writer, sentences))
        num_kept_answers = len(sentences) - num_to_ask
        if self.json:
            asked = {"num_to_ask": num_to_ask, "num_kept_answers": num_kept_answers}
            print_summary({**summary, **asked, "out": None})
        else:
            print(f"{num_to_ask:>7,} sentences to ask about")
            print(f"{num_kept_answers:>7,} with answers that are kept")

    def _writer(self) -> QuestionWriter | None:
        """Raises ConfigError for a --writer that names no model, or one that is missing."""
        from oncue.data.chat_writer import WriterOptions
        from oncue.data.curate.question_writer import QuestionWriter
        from oncue.scoring.judge_specs import server_of

        expected = "openai:MODEL@URL, such as openai:Qwen3-32B@http://localhost:8000/v1"
        if self.writer is None:
            if self.dry_run:
                return None
            raise ConfigError(f"--writer is missing; give {expected}, or --dry-run")
        server = server_of(self.writer)
        if server is None:
            raise ConfigError(
                f"--writer must be {expected}, got {shown_address(self.writer)!r:.80}"
            )
        cache = self.cache or user_cache() / "questions.sqlite3"
        options = WriterOptions(
            max_at_once=self.max_at_once,
            timeout_s=self.timeout_s,
            max_tokens=self.max_tokens,
            request_fields=read_request_fields(self.request_fields),
            cache=None if self.dry_run and not cache.exists() else cache,
        )
        model, url = server
        return QuestionWriter(url, model, options)

    def _checked_out(self) -> Path:
        if self.dry_run:
            return Path("the file of rows") if self.out is None else self.out
        if self.out is None:
            raise ConfigError("--out is missing; give the file for the rows, or --dry-run")
        read = (*self.annotations, *([self.cache] if self.cache is not None else []))
        check_out(self.out, read)
        check_out(self.out.with_suffix(REJECTED_ENDING), (*read, self.out))
        return self.out
