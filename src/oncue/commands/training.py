"""What the training commands share: a recipe, a file of settings and flags become one config, and
that a run."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import tyro

from oncue.errors import (
    ConfigError,
    DataError,
    JudgeDownError,
    RunStoppedError,
    StoppedElsewhereError,
)
from oncue.files import disk_of, is_full, prepare_folder
from oncue.out_of_memory import lack_of_memory
from oncue.train.log_to import LogName

_BAD_ROWS_SHOWN = 10
_SHAPE = (tyro.conf.FlagCreatePairsOff, tyro.conf.AvoidSubcommands, tyro.conf.EnumChoicesFromValues)


@dataclass(frozen=True)
class RunOptions:
    """Flags of a training run, beside the settings of its recipe."""

    out: Path
    """The run directory."""

    recipe: str | None = None
    """Where settings come from. sft: mini (a new model), mini-more (a second run), mini-late (it
    goes on, and mostly speaks late), mini-retrieval (a new model for films; unfinished), mmduet2-3b
    (published settings). grpo: mini (from mini-sft), mini-retrieval (unfinished), mmduet2-3b
    (published), video-mtr-7b (questions about videos). ppo: mini (unfinished), video-mtr-7b,
    video-mtr-3b (published), video-mtr-release (the released code). Not needed with --resume auto,
    which takes the settings of the run in --out."""

    config: Path | None = None
    """YAML file of settings, such as the config.yaml of another run; it replaces those of the
    recipe."""

    data: tuple[Path, ...] | None = None
    """Training files (JSONL); they replace the data of the recipe (sft: of its last stage)."""

    resume: Literal["auto", "never"] = "never"
    """auto: go on where the run in --out stopped, with its settings, or start it where --recipe is
    given. A run that is finished goes on where it is given more steps."""

    allow_changed_data: bool = False
    """Resume although rows of --data were edited since the run was started; a warning says
    which."""

    check_data: Literal["all", "sample", "none"] = "all"
    """How many rows of files are looked at before the first step: their form, and the heads of the
    images and videos they name. sample: 1,000, drawn by the seed. Bad ones stop the start, or are
    counted with --skip-bad-rows."""

    dry_run: bool = False
    """Print the resolved settings and what they cost, and stop. The first step is made and thrown
    away, to say how long the run takes; Ctrl-C leaves this out. Nothing is written. Exit codes: 0
    the run can start, 1 too little memory or disk, 2 a model, data or settings that cannot be
    used."""

    log_to: tuple[LogName, ...] | None = None
    """Where metrics go beside metrics.jsonl: tensorboard (event files in OUT/tensorboard) or wandb
    (OUT/wandb; offline unless WANDB_MODE says otherwise), or both. Each needs its package. Give it
    again when the run is resumed."""

    json: bool = False
    """One JSON object per logged step on stdout; everything else goes to stderr."""


class TrainCommand:
    """A training command. Subclasses name their flags (`options_class`), and say what is trained
    and how it goes."""

    options_class: ClassVar[type[RunOptions]] = RunOptions
    help_recipe: ClassVar[str] = "mini"  # whose settings the help shows

    def __init__(self, options: Any, config: Any) -> None:
        self.options, self.config = options, config

    @classmethod
    def from_flags(cls, flags: Sequence[str], prog: str) -> Self:
        """Reads the flags of the run, then the rest as settings over the recipe's."""
        from oncue.config import load_config

        wants_help = not {"-h", "--help"}.isdisjoint(flags)
        flags = [flag for flag in flags if flag not in ("-h", "--help")]
        if wants_help:  # shows the settings of a recipe, so it needs one
            flags = ["--recipe", cls.help_recipe, "--out", "RUN", *flags]
        options, rest = tyro.cli(
            cls.options_class, args=flags, prog=prog, config=_SHAPE, return_unknown_args=True
        )
        require_values("--data", options.data)
        require_values("--log-to", options.log_to)
        config = (
            cls.recipe(options.recipe)
            if options.recipe is not None
            else cls._settings_of_run(options)
        )
        kind = type(config)
        if options.config is not None:
            config = load_config(kind, options.config, config)
        if wants_help:
            with contextlib.suppress(SystemExit):
                tyro.cli(
                    cls.options_class, args=["--help"], prog=prog, config=_SHAPE, default=options
                )
            tyro.cli(kind, args=["--help"], prog=prog, config=_SHAPE, default=config)
        return cls(options, cls.settings(config, rest, options, prog))

    @classmethod
    def _settings_of_run(cls, options: RunOptions) -> Any:
        """The settings of the run in --out. Raises ConfigError where it is not to be resumed, or is
        not there."""
        from oncue.train.run_dir import stored_settings

        is_there = (options.out / "config.yaml").exists()
        if options.resume != "auto":
            advice = (
                f", or --resume auto to go on with the run in {options.out}" if is_there else ""
            )
            raise ConfigError(f"no recipe is given; name one with --recipe, such as mini{advice}")
        if not is_there:
            raise ConfigError(
                f"there is no run in {options.out} to resume; give its --out, or start one with "
                "--recipe"
            )
        return stored_settings(options.out, cls.config_class())

    @classmethod
    def config_class(cls) -> type[Any]:
        """The type of the settings."""
        raise NotImplementedError

    @classmethod
    def recipe(cls, name: str) -> Any:
        """The settings of the recipe `name`."""
        raise NotImplementedError

    @classmethod
    def settings(cls, config: Any, flags: Sequence[str], options: Any, prog: str) -> Any:
        """The settings with `flags`, and the data that `options` name."""
        raise NotImplementedError

    def train(self) -> Path:
        """Trains, and returns the folder of the final model."""
        raise NotImplementedError

    def progress_line(self, metrics: dict[str, Any]) -> str:
        """What is said of a logged step."""
        raise NotImplementedError

    def plan(self) -> Iterator[str]:
        """What the run would cost, a line for each part."""
        raise NotImplementedError

    def run(self) -> int:
        """Train, or say what would be trained. Returns the exit code.

        Of several processes that train together, the first speaks for all; one that cannot go on
        says so itself.
        """
        from oncue.train.log_to import check_log_to
        from oncue.train.parallel import Ranks

        is_first = Ranks.of_environment().is_first
        if is_first:
            check_log_to(self.log_to)
            check_rows(self.config, self.options.check_data)
        if self.options.dry_run:
            return self._describe() if is_first else 0
        prepare_folder(self.options.out)
        try:
            with self._at_work() if is_first else contextlib.nullcontext(), _resumable():
                final = self.train()
        except StoppedElsewhereError:
            return 1
        if is_first:
            print(f"trained: {final}", file=sys.stderr)
        return 0

    @contextlib.contextmanager
    def _at_work(self) -> Iterator[None]:
        """Keeps the run directory to this process, its settings as they are now, and its curves up
        to date."""
        from oncue.files import alone_in
        from oncue.train.resuming import change_settings
        from oncue.train.run_dir import curves_to_the_end

        with alone_in(self.options.out), curves_to_the_end(self.options.out):
            if self.resumes:
                allowed = self.options.allow_changed_data
                said = change_settings(self.options.out, self.config, allow_changed_data=allowed)
                if said:
                    print(said, file=sys.stderr)
            yield

    @property
    def resumes(self) -> bool:
        return bool(self.options.resume == "auto")

    @property
    def log_to(self) -> tuple[LogName, ...]:
        return self.options.log_to or ()

    def report(self, metrics: dict[str, Any]) -> None:
        """Says what was logged, and what should worry the owner of the run."""
        if self.options.json:
            print(json.dumps({"type": "step", **metrics}), flush=True)
        else:
            print(self.progress_line(metrics), flush=True)
        for warning in metrics.get("warnings", ()):
            print(f"oncue: warning: step {metrics['step']}: {warning}", file=sys.stderr)

    def _describe(self) -> int:
        """Prints the resolved settings, and what they cost. Nothing is written. Returns the exit
        code: that of the worst problem which keeps the run from starting."""
        import yaml

        from oncue.config import to_plain

        print(yaml.safe_dump(to_plain(self.config), sort_keys=False, allow_unicode=True), end="")
        code = 0
        for line in self.plan():
            print(line, file=sys.stderr)
            code = max(code, getattr(line, "exit_code", 0))
        return code


def check_rows(config: Any, how_many: Literal["all", "sample", "none"]) -> None:
    """Looks at the rows of the files a run trains on, with progress on stderr, and says which
    cannot be used. Raises DataError where there are any, unless the settings skip them and others
    are left."""
    from oncue.commands.progress import Progress
    from oncue.data.row_checks import row_checks, what_is_wrong

    checks = row_checks(config, how_many)
    if not checks:
        return
    with Progress("rows looked at", len(checks)) as progress:
        wrong = what_is_wrong(checks, progress.step)
    if not wrong:
        return
    counted = f"{len(wrong):,} of {len(checks):,} rows cannot be used"
    if not config.skip_bad_rows or len(wrong) == len(checks):
        remedy = (
            "correct them"
            if config.skip_bad_rows
            else "correct them, or leave them out with --skip-bad-rows"
        )
        for line in wrong[1:_BAD_ROWS_SHOWN]:
            print(f"oncue: {line}", file=sys.stderr)
        raise DataError(f"{counted}; {remedy}; the first: {wrong[0]}")
    print(f"oncue: warning: {counted} and are skipped; the first: {wrong[0]}", file=sys.stderr)


def parse_settings(config: Any, flags: Sequence[str], prog: str) -> Any:
    """`config` with what `flags` change."""
    return tyro.cli(type(config), args=flags, prog=prog, config=_SHAPE, default=config)


def parse_known(config: Any, flags: Sequence[str], prog: str) -> tuple[Any, list[str]]:
    """`config` with what those `flags` change that are about it, and the others."""
    return tyro.cli(
        type(config), args=flags, prog=prog, config=_SHAPE, default=config, return_unknown_args=True
    )


def refuse_replaced(flags: Sequence[str], *prefixes: str) -> None:
    """Raises ConfigError for the first flag that begins so: it is about what --data takes the place
    of."""
    for flag in flags:
        if flag.replace("_", "-").startswith(prefixes):
            raise ConfigError(
                f"{flag.partition('=')[0]} does nothing with --data, which replaces what it is "
                "about; give one"
            )


def require_values(flag: str, given: Sequence[Any] | None) -> None:
    """Raises ConfigError for a flag without a value, as an empty variable of a
    shell leaves it."""
    if given is not None and not given:
        raise ConfigError(f"{flag} has no value; give at least one, or leave {flag} out")


def check_files(paths: Sequence[Path], form: str) -> None:
    """Raises ConfigError for a file that is not there. `form`: what the files should be."""
    missing = [path for path in paths if not path.is_file()]
    if missing:
        raise ConfigError(f"there is no training file {missing[0]}; give {form}")


@contextlib.contextmanager
def _resumable() -> Iterator[None]:
    """Turns what stops a run from outside into one line that says how to go on."""
    try:
        yield
    except JudgeDownError as error:
        raise RunStoppedError(
            f"{error}. The run stopped at its last finished step; the same command with --resume "
            "auto goes on from "
            "its newest checkpoint"
        ) from error
    except BrokenPipeError:  # the reader of stdout has gone, which is no fault of the disk
        raise
    except OSError as error:
        if lack_of_memory(error):
            raise
        room = f"; {disk_of(Path(error.filename))}" if is_full(error) and error.filename else ""
        raise RunStoppedError(
            f"the run cannot go on ({error}{room}); make room or repair the disk, then the same "
            "command with --resume "
            "auto goes on from the newest checkpoint"
        ) from error
