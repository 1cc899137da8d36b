"""The folder of a run: `config.yaml env.json metrics.jsonl checkpoints/ report.html README.md`."""

from __future__ import annotations

import json
import platform
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, TypeVar

import yaml

from oncue import __version__
from oncue.config import from_plain, to_plain
from oncue.data.data_files import FileDigest, changed_rows
from oncue.errors import ChangedDataWarning, ConfigError, DataError
from oncue.fields import field_as
from oncue.files import append_text, write_json, write_text
from oncue.json_files import json_object
from oncue.train.checkpoint import latest_checkpoint
from oncue.train.log_to import NO_LOGS, RunLogs
from oncue.train.run_report import write_report

T = TypeVar("T")

# What may differ between a run and its resumption: how often it writes, where and how it computes
# the same, and what becomes of rows that would stop it.
_FREE = (
    *(
        "num_workers",
        "log_every_steps",
        "save_every_steps",
        "store_every_steps",
        "keep_checkpoints",
    ),
    *(
        "device",
        "sharding",
        "lookahead",
        "skip_bad_rows",
        "micro_batch_size",
        "gradient_checkpointing",
    ),
)
# By a setting that the verbs after it do not have
_VERBS = {"stages": "train sft", "critic": "train ppo", "group_size": "train grpo"}
_REPORT_EVERY_S, _REPORT_BYTES_PER_S = 120.0, 100_000


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and writing of one run. `logs`: where its metrics go, too."""

    folder: Path
    logs: RunLogs = NO_LOGS

    @classmethod
    def open(
        cls,
        folder: Path,
        config: Any,
        *,
        resume: bool,
        allow_changed_data: bool = False,
        logs: RunLogs = NO_LOGS,
    ) -> RunDirectory:
        """Starts a run directory, or checks that `config` is that of the run to be resumed.

        A run that was stopped before its first step leaves nothing to lose: it may be started
        again. Raises ConfigError when the folder holds a run and `resume` is false, or when a
        setting differs, or what is in a file of rows (not what images and videos these name),
        DataError for a broken `env.json`. With `allow_changed_data` a run goes on with other rows:
        a warning says which, and `env.json` keeps it.
        """
        if folder.exists() and not folder.is_dir():
            raise ConfigError(f"{folder} is a file; give a folder for the run with --out")
        run = cls(folder, logs)
        path = folder / "config.yaml"
        if path.exists() and run.has_started():
            if not resume:
                raise ConfigError(
                    f"{folder} already holds a run; give --resume auto to go on, or another --out"
                )
            check_same(stored_settings(folder, type(config)), config, folder)
            run.check_data(config, allow_changed=allow_changed_data)
        else:
            digests = _digests(to_plain(config))
            run.write_settings(config)
            write_json(folder / "env.json", {**environment(), "training_files": _plain(digests)})
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        return run

    def write_settings(self, config: Any) -> None:
        """Writes `config.yaml`."""
        text = yaml.safe_dump(to_plain(config), sort_keys=False, allow_unicode=True)
        write_text(self.folder / "config.yaml", text)

    def check_data(self, config: Any, *, allow_changed: bool) -> None:
        """Raises ConfigError where rows of the training files differ from those that the run was
        started with. With `allow_changed` a warning says which, and `env.json` keeps it."""
        _check_files(
            self.folder / "env.json", _digests(to_plain(config)), allow_changed=allow_changed
        )

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def has_started(self) -> bool:
        """Whether there is anything that starting over would lose."""
        return bool(self.metrics()) or latest_checkpoint(self.checkpoints) is not None

    @property
    def is_finished(self) -> bool:
        """Whether the run has reached its last step."""
        return self._card.exists()

    def reopen(self) -> None:
        """Takes back that the run is finished."""
        self._card.unlink(missing_ok=True)

    @property
    def _card(self) -> Path:
        return self.folder / "README.md"

    def given_model(self) -> str | None:
        """The model in the settings that the run was started with; None where there is no run."""
        path = self.folder / "config.yaml"
        return str(_read(path).get("model")) if path.exists() else None

    def log(self, metrics: dict[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`, shows it in `logs`, and draws the curves where that
        is due."""
        path = self.folder / "metrics.jsonl"
        append_text(path, json.dumps(metrics, allow_nan=False) + "\n")
        self.logs.write(metrics)
        # About a percent of a long run
        self.draw(_REPORT_EVERY_S + path.stat().st_size / _REPORT_BYTES_PER_S)

    def draw(self, wait_s: float = 0.0) -> None:
        """Draws the curves into `report.html`, unless they are at most `wait_s` behind what is
        logged."""
        logged, report = self.folder / "metrics.jsonl", self.folder / "report.html"
        if not logged.exists():
            return
        if not report.exists() or logged.stat().st_mtime - report.stat().st_mtime > wait_s:
            write_report(self.folder, self.metrics())

    def metrics(self) -> list[dict[str, Any]]:
        """Every line of `metrics.jsonl`. A last line that was cut when the run was killed is left
        out.

        Raises DataError, with the line, for any other that cannot be read.
        """
        path = self.folder / "metrics.jsonl"
        if not path.exists():
            return []
        lines = [
            line for line in path.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")
        ]
        return [_metrics(line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]

    def log_from(self, step: int, config: Any) -> None:
        """Drops metrics of steps after `step`, which are made again, and opens `logs`.

        Raises what `RunLogs.open` does.
        """
        kept = [row for row in self.metrics() if row["step"] <= step]
        write_text(self.folder / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in kept))
        self.logs.open(self.folder, config, kept, step)

    def finish(self, config: Any, final: Path, step: int) -> None:
        """Writes the model card and the page of curves."""
        rows = self.metrics()
        write_report(self.folder, rows)
        # The loss of a policy says nothing
        shown = "reward" if rows and "reward" in rows[-1] else "loss"
        last = f"last logged {shown} {rows[-1][shown]:.4f}" if rows else "nothing logged"
        write_text(
            self._card,
            f"# {self.folder.name}\n\nTrained with oncue {__version__} from `{config.model}`: "
            f"{step} steps, {last}.\n\n"
            f"- model: `{final.relative_to(self.folder)}` (Hugging Face format)\n"
            "- settings: `config.yaml`; machine and versions: `env.json`; curves: `report.html`\n"
            + ("- rollouts: `oncue view` with this folder\n\n" if shown == "reward" else "\n")
            + 'Try it: `oncue watch VIDEO --ask "Tell me whenever something '
            f'appears." --model {final}`\n',
        )


@contextmanager
def curves_to_the_end(folder: Path) -> Iterator[None]:
    """Draws the curves of the run in `folder` up to its last logged step also where an error ends
    it, or a signal."""
    try:
        yield
    except BaseException:
        with suppress(OSError, DataError):  # what is to be said is what ended the run
            RunDirectory(folder).draw()
        raise


def environment() -> dict[str, Any]:
    """Versions and hardware a result may depend on."""
    import torch
    import transformers

    return {
        "oncue": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name()
        if torch.cuda.is_available()
        else platform.processor() or "cpu",
        "num_threads": torch.get_num_threads(),
    }


def _metrics(line: bytes, where: str) -> dict[str, Any]:
    row = json_object(line, where, "the metrics of a step; remove the line to go on")
    field_as(int, row, "step", where)
    return dict(row)


def _read(path: Path) -> dict[str, Any]:
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read ({error}); give another --out") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} must hold settings as `name: value`; give another --out")
    return plain


def stored_settings(folder: Path, kind: type[T]) -> T:
    """The settings of the run in `folder`, of type `kind`. Those that an older version lacked take
    their defaults.

    Raises ConfigError for a file that cannot be read, for a run of another verb, and for settings
    that are unknown, as those of a newer version.
    """
    plain = _read(folder / "config.yaml")
    known = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    mine = next(verb for name, verb in _VERBS.items() if name in known)
    theirs = next((verb for name, verb in _VERBS.items() if name in plain), mine)
    if theirs != mine:
        raise ConfigError(
            f"{folder} is a run of oncue {theirs}; resume it with that, or give another --out"
        )
    try:
        return from_plain(kind, plain)
    except ConfigError as error:
        raise ConfigError(f"{folder / 'config.yaml'}: {error}{_version_note(folder)}") from error


def check_same(before: Any, now: Any, folder: Path) -> None:
    """Raises ConfigError that names every setting in which a run may not differ from its
    resumption, and does."""
    old, new = dict(_leaves(to_plain(before))), dict(_leaves(to_plain(now)))
    changed = [
        name
        for name in dict.fromkeys([*new, *old])
        if name not in _FREE and old.get(name) != new.get(name)
    ]
    if changed:
        raise ConfigError(
            f"{folder} was started with other settings: "
            + "; ".join(
                f"{name} was {old.get(name)!r:.120}, now {new.get(name)!r:.120}" for name in changed
            )
            + ". Resume it without --recipe and these flags, which keeps its "
            "settings, or give another --out"
        )


def _version_note(folder: Path) -> str:
    """What to say where a run was started by another version of oncue."""
    path = folder / "env.json"
    if not path.exists():
        return ""
    version = json_object(path.read_bytes(), str(path), "the versions a run was started with").get(
        "oncue"
    )
    return (
        ""
        if version == __version__
        else f" (the run was started with oncue {version}, and this is {__version__})"
    )


def _digests(plain: dict[str, Any]) -> dict[str, FileDigest]:
    """That of every training file (`paths` in settings) that is there; who reads them reports the
    others."""
    named = [value for name, value in _leaves(plain) if name.split(".")[-2:-1] == ["paths"]]
    return {path: FileDigest.of(Path(path)) for path in named if Path(path).is_file()}


def _plain(digests: dict[str, FileDigest]) -> dict[str, Any]:
    return {path: digest.plain() for path, digest in digests.items()}


def _check_files(path: Path, now: dict[str, FileDigest], *, allow_changed: bool) -> None:
    if not (now and path.exists()):
        return
    written = dict(
        json_object(
            path.read_bytes(), str(path), "the versions a run was started with; give another --out"
        )
    )
    before = written.get("training_files")
    known = before if isinstance(before, dict) else {}  # an older version did not write them
    pairs = ((name, FileDigest.from_plain(known.get(name)), digest) for name, digest in now.items())
    edited = [
        f"{name}: {what}" for name, old, new in pairs if old and (what := changed_rows(old, new))
    ]
    if not edited:
        return
    if not allow_changed:
        raise ConfigError(
            f"training data is not what it was when the run in {path.parent} was started "
            f"({'; '.join(edited)}); resume "
            "with the same rows, or give --allow-changed-data to go on with these, or another "
            "--out (with --model "
            "CHECKPOINT, to go on from one of this run)"
        )
    said = f"the run goes on with other training data than before ({'; '.join(edited)})"
    warnings.warn(said, ChangedDataWarning, stacklevel=2)
    changes = [*written.get("changed_data", ()), *edited]
    write_json(
        path, {**written, "training_files": {**known, **_plain(now)}, "changed_data": changes}
    )


def _leaves(plain: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Every single value under its dotted name, such as `stages.0.batch_size`."""
    if isinstance(plain, dict | list) and plain:
        for key, value in plain.items() if isinstance(plain, dict) else enumerate(plain):
            yield from _leaves(value, f"{name}.{key}" if name else str(key))
    else:
        yield name, plain
