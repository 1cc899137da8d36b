"""OVO-Timing: matching, both variants by name, what counts as a detection, talk without frames."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ovo_files import choice, crr, rec, ssr
from stream_runs import blind_figures, figures_of, refused, run_eval, saved

from oncue.eval.benchmarks.ovo_timing import FIRST_ID, OvoTiming, matches

PORT, EM_GARDE = OvoTiming(), OvoTiming(variant="em-garde")

# gold, detections, recall, precision
MATCHING = [
    ([12, 32], [10, 33.9, 50], 1.0, 0.6667),
    ([12, 13], [12.5], 0.5, 1.0),
    ([10, 13], [12, 8.5], 0.5, 0.5),
    ([10, 13], [8.5, 12], 1.0, 1.0),
    ([12], [], 0.0, 0.0),
    ([12], [14, 14.01], 1.0, 0.5),
]


@pytest.mark.parametrize(("gold", "times", "recall", "precision"), MATCHING)
def test_each_event_takes_the_first_free_reply(
    gold: list[float], times: list[float], recall: float, precision: float
) -> None:
    hits = len(matches(gold, times))
    assert hits / len(gold) == recall
    assert round(hits / len(times), 4) == precision if times else precision == 0


halves = st.lists(st.integers(0, 30).map(lambda n: n / 2), max_size=6)


@given(halves, halves)
def test_sorted_matching_finds_as_many_as_can_be(gold: list[float], times: list[float]) -> None:
    def most(events: list[float], free: list[float]) -> int:
        if not events:
            return 0
        skipped = most(events[1:], free)
        taken = [
            1 + most(events[1:], free[:n] + free[n + 1 :])
            for n, time_s in enumerate(free)
            if abs(time_s - events[0]) <= 2
        ]
        return max(skipped, *taken) if taken else skipped

    best = len(matches(sorted(gold), sorted(times)))
    assert best == most(gold, times)
    assert len(matches(gold, times)) <= best


@pytest.fixture
def gold(tmp_path: Path) -> Path:
    """Events at 20 s (CRR, twice), 10 and 20 s (SSR), 5 and 11 s (REC)."""
    rows = [
        crr(FIRST_ID, [0, 1, 1]),
        crr(FIRST_ID + 1, [0, 1, 1]),
        ssr(FIRST_ID + 2, [0, 1]),
        rec(FIRST_ID + 3, [1, 2]),
        choice(1, "EPM"),
    ]
    return saved(tmp_path / "gold.json", rows)


def said(tmp_path: Path, *times: list[float] | None) -> Path:
    """Our lines of the items from the first on; None leaves one out."""
    lines = [
        {"question_id": str(FIRST_ID + n), "replies": [{"time": t, "text": "x"} for t in each]}
        for n, each in enumerate(times)
        if each is not None
    ]
    return saved(tmp_path / "said.jsonl", lines)


def test_f1_is_that_of_the_means(gold: Path, tmp_path: Path) -> None:
    figures = figures_of(PORT, gold, said(tmp_path, [20, 30], [], [10, 30], [5, 11]))
    crr = figures["tasks"]["CRR"]
    assert (crr["n"], crr["recall"], crr["precision"], crr["f1"]) == (2, 50.0, 25.0, 33.33)
    assert figures["tasks"]["SSR"]["f1"] == 50.0
    assert figures["tasks"]["REC"]["f1"] == 100.0
    assert figures["f1"] == 61.11
    assert figures["n"] == 4


def test_first_reply_and_number_of_replies_of_crr(tmp_path: Path) -> None:
    rows = [crr(FIRST_ID + n, [0, 1, 1]) for n in range(5)]
    gold = saved(tmp_path / "gold.json", rows)
    times = [[22], [17.9, 20], [22.1], [], [20, 21, 22]]
    figures = figures_of(PORT, gold, said(tmp_path, *times))
    assert figures["CRR_first_response"] == {
        "f1": 40.0,
        "micro_precision": 50.0,
        "early": 1,
        "hit": 2,
        "late": 1,
        "no_answer": 1,
    }
    assert figures["CRR_responses"] == {
        "micro_precision": 42.86,
        "n": 7,
        "zero": 1,
        "one": 2,
        "multiple": 2,
    }


def test_order_of_the_list_counts_and_the_best_matching_is_beside(tmp_path: Path) -> None:
    gold = saved(tmp_path / "gold.json", [rec(FIRST_ID, [1, 2], (8, 11))])
    figures = figures_of(PORT, gold, said(tmp_path, [12, 8.5]))
    assert (figures["f1"], figures["f1_best"]) == (50.0, 100.0)


def test_variants_differ_in_tasks_and_missing_items(gold: Path, tmp_path: Path) -> None:
    path = said(tmp_path, [20], None, [10, 20], None)
    port, em_garde = figures_of(PORT, gold, path), figures_of(EM_GARDE, gold, path)
    assert (port["tasks"]["CRR"]["f1"], em_garde["tasks"]["CRR"]["f1"]) == (50.0, 100.0)
    assert (port["tasks"]["REC"]["f1"], em_garde["tasks"]["REC"]["f1"]) == (0.0, None)
    assert (port["f1"], em_garde["f1"]) == (50.0, 66.67)
    only_crr = saved(tmp_path / "crr.json", [crr(FIRST_ID, [0, 1, 1])])
    path = said(tmp_path, [20])
    assert figures_of(PORT, only_crr, path)["f1"] == 100.0
    assert figures_of(EM_GARDE, only_crr, path)["f1"] == 33.33


@pytest.mark.parametrize(
    ("benchmark", "hits"),
    [
        (PORT, 1),  # an empty list falls back
        (EM_GARDE, 0),
        (OvoTiming(variant="em-garde", detections="raw"), 1),
    ],
)
def test_which_detections_count(tmp_path: Path, benchmark: OvoTiming, hits: int) -> None:
    gold = saved(tmp_path / "gold.json", [crr(FIRST_ID, [0, 1, 1])])
    row = {"id": 0, "task": "CRR", "detections": [20.0], "checked_detections": []}
    found = figures_of(benchmark, gold, saved(tmp_path / "said.jsonl", [row]), "official")
    assert found["CRR_first_response"]["hit"] == hits
    row["checked_detections"] = [{"time": 26.0, "response": "Rain."}, {"time": 20.5}]
    found = figures_of(benchmark, gold, saved(tmp_path / "said.jsonl", [row]), "official")
    assert found["CRR_first_response"]["late"] == (benchmark.detections == "checked")


def test_outputs_of_vlmevalkit(tmp_path: Path) -> None:
    gold = saved(tmp_path / "gold.json", [crr(FIRST_ID + n, [0, 1, 1]) for n in range(3)])
    inner = {"sample_id": FIRST_ID, "response_events": [{"time": 21.0, "response": "Rain."}]}
    rows = [
        {"index": 0, "sample_id": FIRST_ID, "prediction": json.dumps(inner)},
        {"index": 1, "sample_id": FIRST_ID + 1, "prediction": "Failed to obtain answer"},
        {"index": 2, "sample_id": FIRST_ID + 2, "prediction": ""},
    ]
    figures = figures_of(PORT, gold, saved(tmp_path / "said.json", rows), "official")
    assert figures["CRR_responses"]["zero"] == 2
    assert figures["CRR_first_response"]["hit"] == 1


def test_failed_samples_are_missing(tmp_path: Path) -> None:
    gold = saved(tmp_path / "gold.json", [crr(FIRST_ID + n, [0, 1, 1]) for n in range(2)])
    rows = [{"id": 0, "detections": [20]}, {"id": 1, "error": "no memory"}]
    path = saved(tmp_path / "said.jsonl", rows)
    assert figures_of(EM_GARDE, gold, path, "official")["tasks"]["CRR"]["n"] == 1
    assert figures_of(PORT, gold, path, "official")["tasks"]["CRR"]["n"] == 2


def test_talk_without_frames(gold: Path) -> None:
    blind = blind_figures(PORT, gold)
    assert list(blind)[:2] == ["silence", "once, 5 s after the question"]
    assert blind["silence"]["f1"] == 0.0
    once = blind["once, 5 s after the question"]["tasks"]
    # CRR is asked at 10 s, so 15 s; REC is due at 5 and 11 s
    assert [once[t]["f1"] for t in ("CRR", "SSR", "REC")] == [0.0, 0.0, 66.67]
    every5 = blind["every 5 s"]["tasks"]
    # CRR 15, 20, .., 40; SSR 5, 10, .., 30; REC 5, 10, .., 30
    assert [every5[t]["f1"] for t in ("CRR", "SSR", "REC")] == [28.57, 50.0, 50.0]
    assert len(blind) == 10


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"id": 0, "detections": ["x"]}, "line 1, detections 1: 'time' must be a number of"),
        ({"id": 0, "checked_detections": [{}]}, "checked_detections 1: field 'time' is missing"),
        ({"id": 0, "task": "CRR"}, "line 1 has none of checked_detections, detections,"),
        ({"id": 7, "detections": []}, "no item is called '1475'"),
        ({"sample_id": "x", "detections": []}, "'sample_id' must be a whole number"),
        ({"id": 0, "prediction": "{broken"}, "line 1, 'prediction' is not JSON"),
        ({"id": 0, "detections": [90]}, "watched only to 40 s"),
    ],
)
def test_broken_outputs_are_refused(
    gold: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    row: dict[str, Any],
    complaint: str,
) -> None:
    path = saved(tmp_path / "said.jsonl", [row])
    words = ["ovo-timing", "--annotations", gold, "--predictions", path, "--format", "official"]
    assert complaint in refused(words, capsys)


def test_an_event_without_a_start_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "gold.json", [rec(7, [1], ())])
    words = ["ovo-timing", "--annotations", path, "--predictions", path]
    assert "row 1: the row has no start of an event" in refused(words, capsys)


def test_json_names_the_variant(
    gold: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = said(tmp_path, [20], [20], [10, 20], [5, 11])
    words = ["ovo-timing", "--annotations", gold, "--predictions", path, "--variant", "em-garde"]
    found = run_eval(words, capsys)
    assert found["options"] == {"variant": "em-garde", "detections": "checked"}
    assert found["f1"] == 100.0
    assert found["intervals"]["F1"][1] == 100.0
