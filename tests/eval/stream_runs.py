"""A benchmark of proactive models scored in a few lines: on rows, and as a user runs it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.aio import completed
from oncue.eval.streams.benchmark import Figures, StreamBenchmark
from oncue.eval.streams.predictions import PredictionFile
from oncue.eval.streams.scoring import score_blind, score_predictions


def saved(path: Path, value: Any) -> Path:
    """`value` as JSON; a list in a file of JSON lines as lines."""
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(row) + "\n" for row in value))
    else:
        path.write_text(json.dumps(value))
    return path


def figures_of(
    benchmark: StreamBenchmark[Any], annotations: Path, predictions: Path, form: str = "oncue"
) -> Figures:
    """The figures of a file of predictions."""
    items = benchmark.items([annotations])
    official = form == "official"
    said = benchmark.official(predictions) if official else PredictionFile.open(predictions)
    return completed(score_predictions(benchmark, items, said, None, "model")).figures


def blind_figures(benchmark: StreamBenchmark[Any], annotations: Path) -> dict[str, Figures]:
    """The figures of the policies without frames."""
    items = benchmark.items([annotations])
    return {
        row.name: completed(score_blind(benchmark, items, row, None)).figures
        for row in benchmark.blind_rows()
    }


def run_eval(words: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """`oncue eval WORDS --json`: the object on stdout."""
    code = cli.main(["eval", *map(str, words), "--json"])
    out, err = capsys.readouterr()
    assert code == 0, err
    return json.loads(out.splitlines()[-1])


def refused(words: Sequence[Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What `oncue eval WORDS` says when it exits with 2."""
    code = cli.main(["eval", *map(str, words)])
    err = " ".join(capsys.readouterr().err.split())
    assert code == 2, err
    assert "Traceback" not in err
    return err
