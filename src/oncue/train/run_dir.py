"""The folder of a run: `config.yaml env.json metrics.jsonl checkpoints/ report.html README.md`."""

from __future__ import annotations

import json
import platform
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from oncue import __version__
from oncue.config import to_plain
from oncue.errors import ConfigError
from oncue.files import write_json, write_text
from oncue.train.report import write_report

# What may differ between a run and its resumption: it changes neither data nor arithmetic.
_FREE = ("num_workers", "log_every_steps", "save_every_steps", "keep_checkpoints", "device")


@dataclass(frozen=True, slots=True)
class RunDirectory:
    """Paths and writing of one run."""

    folder: Path

    @classmethod
    def open(cls, folder: Path, config: Any, *, resume: bool) -> RunDirectory:
        """Starts a run directory, or checks that `config` is that of the run to be resumed.

        Raises ConfigError when the folder holds a run and `resume` is false, or when a setting differs.
        """
        run = cls(folder)
        plain = to_plain(config)
        path = folder / "config.yaml"
        if path.exists():
            if not resume:
                raise ConfigError(f"{folder} already holds a run; give --resume auto to go on, or another --out")
            _check_same(yaml.safe_load(path.read_text("utf-8")), plain, folder)
        else:
            write_text(path, yaml.safe_dump(plain, sort_keys=False, allow_unicode=True))
            write_json(folder / "env.json", environment())
        run.checkpoints.mkdir(parents=True, exist_ok=True)
        return run

    @property
    def checkpoints(self) -> Path:
        return self.folder / "checkpoints"

    def log(self, metrics: dict[str, Any]) -> None:
        """Appends one line to `metrics.jsonl`."""
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(metrics) + "\n")

    def trim(self, step: int) -> None:
        """Drops metrics of steps after `step`: a resumed run writes them again."""
        path = self.folder / "metrics.jsonl"
        if path.exists():
            kept = [line for line in path.read_text("utf-8").splitlines() if json.loads(line)["step"] <= step]
            write_text(path, "".join(line + "\n" for line in kept))

    def finish(self, config: Any, final: Path, step: int) -> None:
        """Writes the model card and the page of curves."""
        write_report(self.folder)
        rows = (self.folder / "metrics.jsonl").read_text("utf-8").splitlines()
        last = json.loads(rows[-1]) if rows else {}
        write_text(
            self.folder / "README.md",
            f"# {self.folder.name}\n\nTrained with oncue {__version__} from `{config.model}`: {step} steps, "
            f"last logged loss {last.get('loss', float('nan')):.4f}.\n\n"
            f"- model: `{final.relative_to(self.folder)}` (Hugging Face format)\n"
            "- settings: `config.yaml`; machine and versions: `env.json`; curves: `report.html`\n\n"
            f'Try it: `oncue watch VIDEO --ask "Tell me whenever something appears." --model {final}`\n',
        )


def environment() -> dict[str, Any]:
    """Versions and hardware a result may depend on."""
    import torch
    import transformers

    return {
        "oncue": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else platform.processor() or "cpu",
        "num_threads": torch.get_num_threads(),
    }


def _check_same(before: dict[str, Any], now: dict[str, Any], folder: Path) -> None:
    changed = [k for k in sorted({*before, *now} - set(_FREE)) if before.get(k) != now.get(k)]
    if changed:
        raise ConfigError(
            f"{folder} was started with other settings: "
            + "; ".join(f"{k} was {before.get(k)!r:.120}, now {now.get(k)!r:.120}" for k in changed)
            + ". Resume with the same settings, or give another --out"
        )
