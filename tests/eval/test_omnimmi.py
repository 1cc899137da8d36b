"""OmniMMI: the official numbers of both tasks, and what other ports add."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stream_runs import blind_figures, figures_of, refused, saved

from oncue.eval.benchmarks.omnimmi import OmniMmi

PA, PT = OmniMmi(), OmniMmi(task="pt")


def alert(pred: Any = None, answer: tuple[float, float] = (10, 20), **more: Any) -> dict[str, Any]:
    row = {"video": "v.mp4", "question": "q", "answer": list(answer), **more}
    return row if pred is None else row | {"pred": pred}


def dialogue(pred: str | None = None) -> dict[str, Any]:
    turns = [{"human": "Who?", "assistant": "Ann."}, {"human": "Oh well."}]
    row = {"video": "v.mp4", "conversation": turns}
    return row if pred is None else row | {"pred": pred}


# predictions for an event from 10 to 20 s; the accuracy, precision and IoU of evaluate.py
OFFICIAL = [
    ([[10], [9, 12, 15], [12, 25], []], 50.0, 54.17, 24.70),
    ([[15]], 100.0, 100.0, 0.0),
    ([[10, 20]], 100.0, 100.0, 100.0),
    ([[15, 9]], 100.0, 50.0, 0.0),
    ([10, 20.0, 20.5], 66.67, None, None),
]


@pytest.mark.parametrize(("preds", "accuracy", "precision", "iou"), OFFICIAL)
@pytest.mark.parametrize("ending", ["json", "jsonl"])
def test_alerts_are_scored_as_officially(
    tmp_path: Path,
    preds: list[Any],
    accuracy: float,
    precision: float | None,
    iou: float | None,
    ending: str,
) -> None:
    path = saved(tmp_path / f"pa.{ending}", [alert(pred) for pred in preds])
    figures = figures_of(PA, path, path, "official")
    assert (figures["n"], figures["accuracy"]) == (len(preds), accuracy)
    if precision is not None:
        assert (figures["precision"], figures["iou"]) == (precision, iou)


def test_figures_that_onestreamer_adds(tmp_path: Path) -> None:
    path = saved(tmp_path / "pa.json", [alert(p) for p in ([12], [9, 15], [25, 30], [])])
    figures = figures_of(PA, path, path, "official")
    assert figures["micro_precision"] == 40.0  # 2 of 5 replies
    assert figures["recall_any"] == 50.0
    assert figures["f1"] == 44.44
    assert figures["delay_s"] == 3.5  # 2 and 5
    assert figures["distance_s"] == 2.0  # 0, 1 and 5
    assert figures["accuracy"] == 25.0


def test_earliest_reply_is_the_corrected_accuracy(tmp_path: Path) -> None:
    path = saved(tmp_path / "pa.json", [alert([15, 9]), alert([25, 15])])
    figures = figures_of(PA, path, path, "official")
    assert (figures["accuracy"], figures["accuracy_earliest"]) == (50.0, 50.0)
    path = saved(tmp_path / "pa.json", [alert([15, 9])])
    assert figures_of(PA, path, path, "official")["accuracy_earliest"] == 0.0


def test_reply_at_a_span_without_length(tmp_path: Path) -> None:
    path = saved(tmp_path / "pa.json", [alert([10], answer=(10, 10))])
    figures = figures_of(PA, path, path, "official")
    assert (figures["accuracy"], figures["iou"]) == (100.0, 0.0)


def test_a_single_time_below_zero_is_no_signal(tmp_path: Path) -> None:
    path = saved(tmp_path / "pa.json", [alert(15), alert(-1)])
    figures = figures_of(PA, path, path, "official")
    assert (figures["accuracy"], figures["n_replies"]) == (50.0, 1)


def test_our_lines_are_known_by_the_video(tmp_path: Path) -> None:
    gold = saved(tmp_path / "pa.json", [alert(), alert(answer=(40, 50))])
    line = {"question_id": "v.mp4#2", "replies": [{"time": 45, "text": "Now!"}]}
    figures = figures_of(PA, gold, saved(tmp_path / "said.jsonl", [line]))
    assert (figures["n"], figures["accuracy"]) == (2, 50.0)


def test_length_of_a_clip_is_read_from_its_name() -> None:
    from oncue.eval.benchmarks.omnimmi import _clip_s

    assert _clip_s("a/x4kK_0_360.0_510.0.mp4") == 150.0
    assert _clip_s("movie101_2.mp4") is None
    assert _clip_s("x_10.0_10.0.mp4") is None


def test_alerts_without_frames(tmp_path: Path) -> None:
    rows = [alert(answer=(130, 140), video="a_0.0_150.0.mp4")]
    rows += [alert(answer=(0, 9), video="b_60.0_210.0.mp4")]
    blind = blind_figures(PA, saved(tmp_path / "pa.json", rows))
    assert [row["accuracy"] for row in blind.values()] == [0.0, 50.0, 50.0, 50.0]
    assert blind["every 1 s"]["recall_any"] == 100.0


def test_silence_is_the_right_last_turn(tmp_path: Path) -> None:
    path = saved(
        tmp_path / "pt.json", [dialogue(p) for p in ("", "<2> hm", " ", "NO REPLY", "I see.")]
    )
    figures = figures_of(PT, path, path, "official")
    assert (figures["n"], figures["accuracy"], figures["accuracy_mapped"]) == (5, 40.0, 80.0)
    assert [row["accuracy"] for row in blind_figures(PT, path).values()] == [100.0, 0.0]


def test_dialogues_without_a_prediction_are_left_out(tmp_path: Path) -> None:
    gold = saved(tmp_path / "pt.json", [dialogue(), dialogue()])
    line = {"question_id": "v.mp4", "replies": [{"time": 0, "text": "Hm."}]}
    figures = figures_of(PT, gold, saved(tmp_path / "said.jsonl", [line]))
    assert (figures["n"], figures["accuracy"]) == (1, 0.0)


@pytest.mark.parametrize(
    ("task", "row", "complaint"),
    [
        ("pa", alert(15), "row 2: 'pred' is 15, but in the first row it is a list"),
        ("pa", alert(["x"]), "row 2: 'pred' 1 must be a number of seconds"),
        ("pa", alert([-1]), "row 2: 'pred' 1 must be a number of seconds, 0 or more"),
        ("pa", alert(), "row 2: field 'pred' is missing"),
        ("pa", alert([9], answer=(20, 10)), "row 2: 'answer' ends before it starts"),
        ("pa", dialogue(""), "row 2 is of the other task; give --task pt"),
        ("pa", alert([190], video="v_0_150.mp4"), "its video ends at 150 s"),
        ("pt", alert([9]), "row 1 is of the other task; give --task pa"),
    ],
)
def test_broken_rows_are_refused(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    task: str,
    row: dict[str, Any],
    complaint: str,
) -> None:
    path = saved(tmp_path / "p.json", [alert([12]), row])
    words = ["omnimmi", "--task", task, "--annotations", path, "--predictions", path]
    assert complaint in refused([*words, "--format", "official"], capsys)
