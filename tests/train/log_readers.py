"""TensorBoard and W&B for tests: stand-ins that keep what they are given in files, and readers of
what the real ones wrote. Each reader returns the shown values by curve and step."""

from __future__ import annotations

import importlib.machinery
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

Shown = dict[str, list[tuple[int, float]]]

_NUMBERS = itertools.count()


class FakeSummaryWriter:
    """Hides steps of earlier files from `purge_step` on, as TensorBoard does."""

    def __init__(self, folder: str, purge_step: int, **_: float) -> None:
        number = len(list(Path(folder).glob("events*")))
        self._path = Path(folder) / f"events.out.tfevents.{number:03d}.{os.getpid()}"
        self._path.write_text(json.dumps({"purge_step": purge_step}) + "\n")
        self._kept: list[str] = []

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self._kept.append(json.dumps([name, step, value]) + "\n")

    def flush(self) -> None:
        with self._path.open("a") as file:
            file.writelines(self._kept)
        self._kept = []

    def close(self) -> None:
        self.flush()


def fake_tensorboard_shown(run: Path) -> Shown:
    shown: Shown = {}
    for path in sorted((run / "tensorboard").glob("events*")):
        head, *lines = path.read_text().splitlines()
        first = json.loads(head)["purge_step"]
        shown = {name: [p for p in curve if p[0] < first] for name, curve in shown.items()}
        for name, step, value in map(json.loads, lines):
            shown.setdefault(name, []).append((step, value))
    return shown


class FakeWandbError(Exception):
    pass


class FakeWandbRun:
    """Offline, a folder of its own from step 0; online, the run of that id on the server."""

    def __init__(self, server: dict[str, list], given: dict[str, Any]) -> None:
        self.given, self.exit_code = given, None
        place = Path(given["dir"]) / "wandb"
        if given["mode"] == "online":
            self._rows = server.setdefault(given["id"], [])
            folder = f"run-{next(_NUMBERS)}-{given['id']}"
        else:
            self._rows = []
            folder = f"offline-run-{next(_NUMBERS)}-{given['id']}"
            if given["mode"] == "disabled":
                place = place.parent / "somewhere else"
        self.dir = str(place / folder / "files")
        Path(self.dir).mkdir(parents=True)
        self.step = self._rows[-1][0] + 1 if self._rows else 0

    def log(self, numbers: dict[str, float], step: int) -> None:
        assert step >= (self._rows[-1][0] if self._rows else 0), "W&B drops such a row"
        self._rows.append((step, numbers))

    def finish(self, exit_code: int) -> None:
        self.exit_code = exit_code
        (Path(self.dir).parent / "rows.json").write_text(json.dumps(self._rows))


def curves(rows: list) -> Shown:
    shown: Shown = {}
    for step, numbers in rows:
        for name, value in numbers.items():
            shown.setdefault(name, []).append((step, value))
    return shown


def fake_wandb_shown(run: Path) -> Shown:
    (folder,) = (run / "wandb").glob("offline-run-*")
    return curves(json.loads((folder / "rows.json").read_text()))


def module(name: str, **content: Any) -> ModuleType:
    made = ModuleType(name)
    made.__spec__ = importlib.machinery.ModuleSpec(name, None)
    made.__file__ = f"{name}.py"
    made.__dict__.update(content)
    return made


def fake_tensorboard() -> ModuleType:
    return module("torch.utils.tensorboard", SummaryWriter=FakeSummaryWriter)


def install_fakes(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Puts both stand-ins in place. `runs`: what W&B was started with; `server`: what it has."""
    seen = SimpleNamespace(runs=[], server={})

    def init(**given: Any) -> FakeWandbRun:
        seen.runs.append(FakeWandbRun(seen.server, given))
        return seen.runs[-1]

    for made in (
        fake_tensorboard(),
        module("wandb", init=init, Settings=SimpleNamespace, Error=FakeWandbError),
    ):
        monkeypatch.setitem(sys.modules, made.__name__, made)
    monkeypatch.delenv("WANDB_MODE", raising=False)
    return seen


def tensorboard_shown(run: Path) -> Shown:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    return {
        name: [(event.step, event.value) for event in events.Scalars(name)]
        for name in events.Tags()["scalars"]
    }


def wandb_records(path: Path) -> list[Any]:
    """The records of a file of W&B, each after its checksum, length and kind."""
    from wandb.proto.wandb_internal_pb2 import Record

    records, data, place = [], path.read_bytes(), 7
    while place + 7 <= len(data):
        length, kind = int.from_bytes(data[place + 4 : place + 6], "little"), data[place + 6]
        assert kind == 1, "a record in parts; write fewer rows"
        records.append(Record.FromString(data[place + 7 : place + 7 + length]))
        place += 7 + length
    return records


def wandb_shown(run: Path) -> Shown:
    (path,) = (run / "wandb").glob("offline-run-*/*.wandb")
    deadline = time.monotonic() + 20  # a process of W&B writes on for a moment
    while not any(r.WhichOneof("record_type") == "exit" for r in wandb_records(path)):
        assert time.monotonic() < deadline, "the file has no end"
        time.sleep(0.05)
    rows = []
    for record in wandb_records(path):
        if record.WhichOneof("record_type") == "history":
            items = {item.key or item.nested_key[0]: item for item in record.history.item}
            values = {name: json.loads(item.value_json) for name, item in items.items()}
            step = values["_step"]
            rows.append((step, {k: v for k, v in values.items() if not k.startswith("_")}))
    return curves(rows)


READERS: dict[str, tuple[str, Callable[[Path], Shown]]] = {
    "a stand-in for TensorBoard": ("tensorboard", fake_tensorboard_shown),
    "a stand-in for W&B": ("wandb", fake_wandb_shown),
    "TensorBoard": ("tensorboard", tensorboard_shown),
    "W&B": ("wandb", wandb_shown),
}
