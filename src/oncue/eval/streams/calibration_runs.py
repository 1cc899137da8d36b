"""Calibrating a model: it watches the same items at one reply bias after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from oncue.aio import completed
from oncue.eval.runner import Benchmark, ShowProgress, show_nothing, watch_items
from oncue.eval.streams.behaviour import behaviour_terms
from oncue.eval.streams.benchmark import Terms
from oncue.eval.streams.calibration import BIASES, Calibration, added, calibrate
from oncue.eval.streams.policies import loaded_once, with_reply_bias
from oncue.eval.streams.running import StreamRun, predict
from oncue.policy.open_policy import PolicySpec, open_policy
from oncue.startup import loading

ItemT = TypeVar("ItemT")
SeenT = TypeVar("SeenT")


def calibrated(
    run: StreamRun,
    model: PolicySpec,
    folder: Path,
    limit: float,
    biases: Sequence[float],
    show: ShowProgress = show_nothing,
    *,
    resume: bool,
) -> Calibration:
    """The curve of `model` on the items of a run, whose predictions at each bias are kept in
    `folder`. Raises as `predict` and `calibrate`."""
    with loading():
        spec = loaded_once(model)
    by_id = {item.stream.item_id: item.stream for item in run.chosen.items}
    protocol: dict[str, Any] = {}

    def measure(bias: float) -> Terms:
        path = folder / f"reply_bias_{bias:g}.jsonl"
        file = predict(run, with_reply_bias(spec, bias), path, show, resume=resume)
        protocol.update(file.protocol)
        return added(behaviour_terms(by_id[said.item_id], said) for _, said in file)

    found = calibrate(measure, limit, biases)
    del protocol["reply_bias"]
    return replace(found, protocol=protocol)


def calibrated_on(
    benchmark: Benchmark[ItemT, SeenT],
    model: PolicySpec,
    behaviour: Callable[[SeenT], Terms],
    limit: float,
    show: ShowProgress = show_nothing,
) -> Calibration:
    """The curve of `model` on the items of a benchmark of clips; `behaviour` gives the terms of
    what is recorded of an item. Raises as the benchmark and `calibrate`."""
    with loading():
        spec = loaded_once(model)
    items = benchmark.items(show)
    protocol: dict[str, Any] = {}

    def measure(bias: float) -> Terms:
        with open_policy(with_reply_bias(spec, bias)) as policy:
            protocol.update(model=policy.name, **policy.provenance.as_json())
            with show(f"watching at reply bias {bias:g}", len(items)) as steps:
                seen = completed(watch_items(benchmark, items, policy, steps.step))
        return added(map(behaviour, seen))

    found = calibrate(measure, limit, BIASES)
    shown = {name: value for name, value in protocol.items() if value is not None}
    return replace(found, protocol={**shown, "n_items": len(items)})
