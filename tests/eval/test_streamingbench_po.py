"""StreamingBench PO: the official score on its corner cases, the first reply, the policies without
frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from stream_runs import blind_figures, figures_of, refused, run_eval, saved

from oncue.eval.benchmarks.streamingbench_po import StreamingBenchPo

PUSH, POLLING = StreamingBenchPo(), StreamingBenchPo(protocol="polling")


def entry(*questions: dict[str, Any], video: str = "./videos/v1.mp4") -> dict[str, Any]:
    return {"video_path": video, "time": "", "questions": list(questions)}


def question(asked: str, gold: str, output: str = "Start", **more: Any) -> dict[str, Any]:
    return {
        "question": f'When it happens, output "{output}".',
        "time_stamp": asked,
        "ground_truth_time_stamp": gold,
        "ground_truth_output": output,
        **more,
    }


def polls(time_s: float, text: str, *, answered: Any = True) -> dict[str, Any]:
    """A model's result whose last item is `text` at `time_s`."""
    history = [
        {"role": "user", "content": "Now?", "time": 6},
        {"role": "assistant", "content": "No.", "time": 6},
        {"role": "user", "content": "Say it.", "time": time_s},
        {"role": "assistant", "content": text, "time": time_s},
    ]
    return {"answered": time_s if answered is True else answered, "dialog_history": history}


# last item, gold output, whether the official score calls its time and its words right
OFFICIAL = [
    (polls(15, "Start"), "Start", 1, 1),
    (polls(17, "start"), "Start", 1, 0),
    (polls(17.01, "Start"), "Start", 0, 0),
    (polls(13, "Google it"), "Go", 1, 1),
    (polls(19, "no", answered=False), "Start", 0, 0),
    (None, "Start", None, None),
]


@pytest.fixture
def official(tmp_path: Path) -> Path:
    rows = [
        entry(question(f"00:00:0{n}", "00:00:15", gold, **({"M": said} if said else {})))
        for n, (said, gold, _, _) in enumerate(OFFICIAL)
    ]
    return saved(tmp_path / "po.json", rows)


def test_last_item_of_the_history_is_scored_as_officially(official: Path) -> None:
    figures = figures_of(POLLING, official, official, "official")
    assert (figures["n"], figures["n_predicted"]) == (6, 5)
    assert figures["of_predicted"]["time"]["2"] == 60.0
    assert figures["of_predicted"]["answer"]["2"] == 40.0
    assert figures["of_all"]["time"]["2"] == 50.0


def test_whole_words_are_the_corrected_answer(official: Path) -> None:
    figures = figures_of(POLLING, official, official, "official")
    assert figures["of_predicted"]["answer_words"]["2"] == 40.0  # "start" yes, "Google" no


@pytest.mark.parametrize(
    ("output", "text", "as_substring", "as_words"),
    [("3", "13", 100, 0), ("3", "It is 3.", 100, 100), ("+3", "now +3!", 100, 100)],
)
def test_substrings_and_words(
    tmp_path: Path, output: str, text: str, as_substring: float, as_words: float
) -> None:
    rows = saved(tmp_path / "a.json", [entry(question("5", "15", output, M=polls(15, text)))])
    figures = figures_of(POLLING, rows, rows, "official")["of_predicted"]
    assert (figures["answer"]["2"], figures["answer_words"]["2"]) == (as_substring, as_words)


def test_poll_cut_short_within_two_seconds_counts_as_officially(tmp_path: Path) -> None:
    said = polls(14, "no", answered=False)
    rows = saved(tmp_path / "a.json", [entry(question("5", "15", M=said))])
    assert figures_of(POLLING, rows, rows, "official")["of_predicted"]["time"]["2"] == 100.0
    assert figures_of(PUSH, rows, rows, "official")["of_all"]["time"]["2"] == 0.0


def test_first_reply_counts_and_every_window_is_closed(tmp_path: Path) -> None:
    gold = saved(tmp_path / "a.json", [entry(question("0:00:05", "00:01:15"), video="x/v.mp4")])
    line = {"question_id": "v.mp4@5", "replies": [{"time": 72, "text": "Start"}]}
    line["replies"].append({"time": 75, "text": "Start"})
    said = saved(tmp_path / "said.jsonl", [line])
    figures = figures_of(PUSH, gold, said)
    assert figures["of_all"]["time"] == {"1": 0.0, "2": 0.0, "3": 100.0, "4": 100.0}
    assert figures["of_all"]["answer"]["3"] == 100.0
    assert figures["of_all"]["any_detection_recall"] == {"1": 100.0, "2": 100.0}
    assert figures_of(POLLING, gold, said)["of_predicted"]["time"]["1"] == 100.0


def test_push_takes_the_first_filled_answer_of_a_streamed_history(tmp_path: Path) -> None:
    history = [
        {"role": "user", "content": "When?", "time": 5},
        {"role": "assistant", "content": "", "time": 6},
        {"role": "assistant", "content": "Start", "time": 14},
        {"role": "assistant", "content": "Start", "time": 18},
    ]
    rows = saved(tmp_path / "a.json", [entry(question("5", "15", M={"dialog_history": history}))])
    assert figures_of(PUSH, rows, rows, "official")["of_all"]["answer"]["1"] == 100.0
    assert figures_of(POLLING, rows, rows, "official")["of_predicted"]["time"]["2"] == 0.0


def test_push_takes_the_answer_of_a_poll_that_was_answered_after_a_second(tmp_path: Path) -> None:
    rows = saved(tmp_path / "a.json", [entry(question("0", "1", M=polls(1, "Start")))])
    assert figures_of(PUSH, rows, rows, "official")["of_all"]["answer"]["1"] == 100.0


def test_policies_without_frames(tmp_path: Path) -> None:
    pairs = [(10, 10), (10, 13), (10, 16), (10, 17), (10, 25)]
    rows = saved(
        tmp_path / "a.json",
        [
            entry(question(f"0:0:{asked}", f"0:0:{gold}"), video=f"v{n}.mp4")
            for n, (asked, gold) in enumerate(pairs)
        ],
    )
    push = blind_figures(PUSH, rows)
    assert push["silence"]["of_all"]["time"]["4"] == 0.0
    six = push["once, 6 s after the question"]["of_all"]
    assert six["time"] == {"1": 40.0, "2": 40.0, "3": 60.0, "4": 60.0}
    assert six["answer"] == six["time"]  # the question quotes the gold output
    talk = push["every 1 s"]["of_all"]
    assert talk["any_detection_recall"] == {"1": 100.0, "2": 100.0}
    assert talk["time"]["2"] == 40.0
    polling = blind_figures(POLLING, rows)
    assert polling["always yes, in the words of the question"]["of_all"]["time"]["2"] == 40.0


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"time_stamp": "now"}, "row 1, question 1: 'time_stamp' must be a time as HH:MM:SS"),
        ({"ground_truth_output": ""}, "question 1: 'ground_truth_output' must be non-empty"),
        ({"M": {"dialog_history": []}}, "question 1, 'M': 'dialog_history' is empty"),
        ({"N": polls(1, "x")}, "holds results of M, N; name one with --model-key"),
        ({"M": {"dialog_history": [{"role": "cat", "time": 1}]}}, "'role' must be user or"),
    ],
)
def test_broken_files_are_refused_with_their_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], complaint: str
) -> None:
    row = question("5", "15", M=polls(15, "Start")) | change
    path = saved(tmp_path / "a.json", [entry(row)])
    words = ["streamingbench-po", "--annotations", path, "--predictions", path]
    assert complaint in refused([*words, "--format", "official"], capsys)


def test_model_key_picks_one_of_several(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    row = question("5", "15", M=polls(15, "Start"), N=polls(19, "Start"))
    path = saved(tmp_path / "a.json", [entry(row)])
    words = ["streamingbench-po", "--annotations", path, "--predictions", path]
    words += ["--format", "official", "--protocol", "polling", "--model-key"]
    assert run_eval([*words, "M"], capsys)["of_predicted"]["answer"]["2"] == 100.0
    assert run_eval([*words, "N"], capsys)["of_predicted"]["answer"]["2"] == 0.0
    assert "holds no result of 'O'" in refused([*words, "O"], capsys)


def test_annotations_given_twice_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(tmp_path / "a.json", [entry(question("5", "15", M=polls(15, "Start")))])
    words = ["streamingbench-po", "--annotations", path, path, "--predictions", path]
    assert "two items called 'v1.mp4@5'" in refused([*words, "--format", "official"], capsys)
