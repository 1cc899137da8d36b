"""Checks of an installation, each a fact about this machine: fine, worth knowing, or broken and how
to fix it."""

from __future__ import annotations

import asyncio
import importlib.metadata
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from packaging.requirements import Requirement

from oncue.errors import InputError
from oncue.extras import optional_packages, pip_install
from oncue.types import EnvTurn, FrameBatch, Malformed, reply_text

FINE, NOTED, FAILED = "ok", "warn", "FAIL"

_DISTRIBUTIONS = ("torch", "transformers", "tokenizers", "av", "numpy", "pillow", "huggingface_hub")
_CODECS = {
    "h264": "H.264",
    "hevc": "HEVC",
    "libdav1d": "AV1",
    "vp8": "VP8",
    "vp9": "VP9",
    "mpeg4": "MPEG-4",
}
_REINSTALL = "reinstall with: pip install --force-reinstall oncue"


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: its status (ok, warn, FAIL), what was found, and what to do about it."""

    name: str
    status: str
    found: str
    fix: str = ""

    def line(self) -> str:
        return f"{self.status:<5} {self.name:<15} {self.found}" + (
            f"\n{'':<21} -> {self.fix}" if self.fix else ""
        )

    def as_json(self) -> dict[str, str]:
        return {"type": "finding", **asdict(self)}


def examine(model: str = "mini", device: str | None = None) -> Iterator[Finding]:
    """The findings, one by one as they are made: the cheap ones first, the model last."""
    yield from _checked("python", _check_python)
    for distribution in _DISTRIBUTIONS:
        yield from _checked(distribution, partial(_check_installed, distribution))
    for extra, requirement in optional_packages():
        yield from _checked(requirement.name, partial(_check_optional, extra, requirement))
    yield from _checked("codecs", _check_codecs)
    yield from _checked("device", partial(_check_device, device))
    yield from _checked("video", _check_video)
    loaded: list[Any] = []
    yield from _checked("model", partial(_check_model, model, device, loaded))
    if loaded:
        yield from _checked("turn", partial(_check_turn, loaded[0]))


def _checked(name: str, check: Callable[[], Finding]) -> Iterator[Finding]:
    """The finding of `check`. Whatever it raises is a finding too: examining a broken machine is
    the point."""
    try:
        yield check()
    except InputError as error:
        yield Finding(name, FAILED, str(error))
    except Exception as error:
        lines = str(error).splitlines() or ["no reason given"]
        yield Finding(name, FAILED, f"{type(error).__name__}: {lines[0]}", _REINSTALL)


def _check_python() -> Finding:
    found = (
        f"{platform.python_version()} on {platform.system()} "
        f"{platform.machine()} ({sys.executable})"
    )
    return Finding("python", FINE, found)


def _check_installed(distribution: str) -> Finding:
    """The version that is installed, against the range that oncue asks for."""
    wanted = [Requirement(line) for line in importlib.metadata.requires("oncue") or ()]
    ranges = {requirement.name: requirement for requirement in wanted if requirement.marker is None}
    requirement = ranges.get(distribution)
    try:
        version = importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return Finding(
            distribution, FAILED, "not installed", f"pip install '{requirement or distribution}'"
        )
    if requirement is not None and not requirement.specifier.contains(version, prereleases=True):
        found = f"{version}, expected {requirement.specifier}"
        return Finding(distribution, FAILED, found, f"pip install '{requirement}'")
    return Finding(distribution, FINE, version)


def _check_optional(extra: str, requirement: Requirement) -> Finding:
    """The version that is installed, against what an extra asks for. None is fine."""
    name, advice = requirement.name, pip_install(requirement)
    try:
        version = importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return Finding(name, FINE, f"not installed; optional (extra {extra!r})", advice)
    if not requirement.specifier.contains(version, prereleases=True):
        found = f"{version}, the extra {extra!r} asks for {requirement.specifier}"
        return Finding(name, NOTED, found, advice)
    return Finding(name, FINE, f"{version} (extra {extra!r})")


def _check_codecs() -> Finding:
    import av

    missing = [title for name, title in _CODECS.items() if not _can_decode(av, name)]
    if missing:
        fix = (
            "pip install --force-reinstall --only-binary :all: av (its own wheels "
            "decode all of them)"
        )
        return Finding("codecs", NOTED, f"cannot decode {', '.join(missing)}", fix)
    return Finding("codecs", FINE, "decodes " + ", ".join(_CODECS.values()))


def _can_decode(av: Any, codec: str) -> bool:
    try:
        av.Codec(codec, "r")
    except (ValueError, av.error.FFmpegError):
        return False
    return True


def _check_device(device: str | None) -> Finding:
    import torch

    from oncue.model.loading import pick_device

    place = pick_device(device)
    if place.type == "cuda":
        memory_gib = torch.cuda.get_device_properties(place).total_memory / 2**30
        return Finding("device", FINE, f"{torch.cuda.get_device_name(place)}, {memory_gib:.0f} GiB")
    found = f"{place.type}, {torch.get_num_threads()} threads"
    if place.type == "cpu" and device is None:
        return Finding(
            "device", NOTED, f"{found}, no GPU", "fine for the mini model; a 3B model wants a GPU"
        )
    return Finding("device", FINE, found)


def _check_video() -> Finding:
    """Write a short video and read it back by time."""
    from oncue.video.source import open_source
    from oncue.video.writer import write_video

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "doctor.mp4"
        shades = (40, 120, 200)
        write_video(
            path, (np.full((64, 96, 3), shade, np.uint8) for shade in shades for _ in range(5)), 5.0
        )
        source = open_source(str(path), 1.0)
        batch = source.read()  # what is on show at 1 s: the second shade
        source.close()
    if (
        batch is None
        or batch.pixels.shape[1:] != (64, 96, 3)
        or abs(float(batch.pixels.mean()) - shades[1]) > 12
    ):
        return Finding(
            "video", FAILED, "a video written here does not read back as it was", _REINSTALL
        )
    return Finding("video", FINE, "an H.264 video was written and decoded")


def _check_model(model: str, device: str | None, loaded: list[Any]) -> Finding:
    from oncue.model.quantized import is_quantized
    from oncue.policy.open_policy import LocalModel

    started = time.perf_counter()
    loaded.append(LocalModel(model, device).load())
    took_s = time.perf_counter() - started
    network = loaded[0].model
    if is_quantized(network):  # several weights share a stored number
        size = f"quantized weights of {network.get_memory_footprint() / 2**20:.0f} MiB"
    else:
        size = (
            f"{sum(parameter.numel() for parameter in network.parameters()) / 1e6:.1f} M parameters"
        )
    return Finding("model", FINE, f"{model}, {size}, loaded in {took_s:.1f} s")


def _check_turn(loaded: Any) -> Finding:
    """Show the model one grey frame and a question."""
    from oncue.engine.sampling import SamplingParams
    from oncue.policy.open_policy import LocalModel, open_policy

    frames = FrameBatch(np.full((1, 112, 112, 3), 128, np.uint8), np.array([1.0]))
    spec = LocalModel(loaded, sampling=SamplingParams(max_new_tokens=32))
    with open_policy(spec) as policy, policy.open() as session:
        turn = asyncio.run(
            session.respond(EnvTurn(frames, 1.0, "Tell me whenever something appears."))
        )
    if isinstance(turn.action, Malformed):
        fix = (
            "the model does not follow the grammar of silence and replies; was it "
            "trained for proactive dialogues?"
        )
        return Finding("turn", NOTED, f"it said {turn.action.text!r}, which cannot be read", fix)
    text = reply_text(turn.action)
    said = "it stayed silent" if text is None else f"it said {text!r}"
    return Finding("turn", FINE, f"{said}, {turn.latency_ms:.0f} ms")
