"""OVO-Bench: the official rules and denominators, both forms of responses, policies without
frames."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ovo_files import answered, choice, crr, rec, results, ssr
from stream_runs import blind_figures, figures_of, refused, run_eval, saved

from oncue.eval.benchmarks.ovo_answers import is_official, is_strict
from oncue.eval.benchmarks.ovo_rows import TASKS
from oncue.eval.benchmarks.ovobench import OvoBench

OPTIONS = ("A. a cat", "B. a dog", "C. a cow")
FORWARD = OvoBench(part="forward")

# task, response, gold, official, strict; None is tested below
RULES = [
    ("REC", "3", "3", True, True),
    ("REC", "3 times in 10 s", "3", False, False),
    ("REC", "3 times", "3", True, True),
    ("REC", "1, 2", "12", True, False),
    ("REC", "03", "3", False, True),
    ("REC", "3.0", "3", False, False),
    ("REC", "three", "3", False, False),
    ("REC", "", "0", False, False),
    ("REC", "0", "0", True, True),
    ("SSR", "Yes", "Yes", True, True),
    ("SSR", "yes", "Yes", False, True),
    ("SSR", "Y", "Yes", True, True),
    ("SSR", "Y.", "Yes", False, True),
    ("SSR", "N", "No", True, True),
    ("SSR", "Now", "No", True, False),
    ("SSR", "Not sure", "No", True, False),
    ("SSR", "no", "No", False, True),
    ("CRR", "Yes, No", "No", True, False),
    ("CRR", "Yes, No", "Yes", True, False),
    ("CRR", "No, it does not.", "No", True, True),
    ("OCR", "B. A cat", "A", True, False),
    ("OCR", "(C)", "C", True, True),
    ("OCR", "a", "A", False, True),
    ("OCR", "The answer is B", "B", True, True),
]


@pytest.mark.parametrize(("task", "text", "gold", "official", "strict"), RULES)
def test_rules(task: str, text: str, gold: str, official: bool, strict: bool) -> None:
    assert is_official(task, text, gold) is official
    assert is_strict(task, text, gold, OPTIONS if task == "OCR" else ()) is strict


@pytest.fixture
def forward(tmp_path: Path) -> tuple[Path, Path]:
    """Annotations and results: REC 2 of 4 and a null, SSR 1 of 2, CRR 2 of 2."""
    rows = [rec(7, [1, 2, 3]), rec(8, [1]), ssr(9, [0, 1]), crr(10, [0, 1])]
    said = [
        answered(rows[0], "1", "2", None),
        answered(rows[1], "2"),
        answered(rows[2], "Yes", "Yes"),
        answered(rows[3], "No", "Yes."),
    ]
    gold = saved(tmp_path / "gold.json", rows)
    return gold, saved(tmp_path / "said.json", results(forward=said))


@pytest.mark.parametrize(("none", "share", "num"), [("wrong", 50.0, 4), ("skipped", 66.67, 3)])
def test_null_is_wrong_or_skipped(
    forward: tuple[Path, Path], none: Any, share: float, num: int
) -> None:
    figures = figures_of(OvoBench(no_response=none), *forward, form="official")
    counts = {"n": num, "n_right": 2, "n_none": 1, "official": share, "strict": share}
    assert figures["tasks"]["REC"] == counts
    assert figures["groups"]["forward"]["official"] == round((share + 50 + 100) / 3, 2)
    assert figures["mean_of_questions"]["official"] == round(100 * 5 / (num + 4), 2)
    assert figures["total"]["official"] is None  # no other group has rows
    assert OvoBench().remarks(figures) == [
        "no response to EPM, ASI, HLD, OCR, ACR, ATR, STU, FPD, OJR: a mean that needs them is "
        "left out; --part scores one group alone"
    ]


def test_lists_of_one_text_count_as_their_text(tmp_path: Path) -> None:
    row = crr(10, [0, 1, 0])
    gold = saved(tmp_path / "gold.json", [row])
    for form in (lambda text: text, lambda text: [text]):
        said = answered(row, form("No."), form("Yes"), form("Yes"))
        path = saved(tmp_path / "said.json", results(forward=[said]))
        figures = figures_of(FORWARD, gold, path, "official")
        assert figures["tasks"]["CRR"]["n_right"] == 2
    assert figures["n_unwrapped"] == 3
    assert FORWARD.remarks(figures)[0] == "3 responses were lists of one text; the text was scored"


def test_total_is_the_mean_of_the_groups(tmp_path: Path) -> None:
    rows = [choice(n, task) for n, task in enumerate(TASKS[:9])]
    rows += [choice(20, "EPM", gt=1), rec(30, [1]), ssr(31, [1]), crr(32, [1])]
    gold = saved(tmp_path / "gold.json", rows)
    backward = [answered(row, "A") for row in rows if row["task"] in TASKS[:3]]
    realtime = [answered(row, "B") for row in rows if row["task"] in TASKS[3:9]]
    forward = [answered(rows[-3], "1"), answered(rows[-2], "Yes"), answered(rows[-1], "No")]
    folder = tmp_path / "results"
    folder.mkdir()
    saved(folder / "a.json", results(backward=backward, realtime=realtime))
    saved(folder / "b.json", results(forward=forward))
    figures = figures_of(OvoBench(), gold, folder, "official")
    # backward: EPM 1 of 2, ASI 1, HLD 1; realtime 0; forward 2 of 3 tasks
    assert {g: of["official"] for g, of in figures["groups"].items()} == {
        "backward": 83.33,
        "realtime": 0.0,
        "forward": 66.67,
    }
    assert figures["total"]["official"] == 50.0
    assert figures["mean_of_tasks"]["official"] == round(100 * 4.5 / 12, 2)
    assert figures["mean_of_questions"]["official"] == round(100 * 5 / 13, 2)


def test_lists_of_rows_are_read_as_lmms_eval_writes_them(tmp_path: Path) -> None:
    rows = [choice(1, "EPM"), choice(2, "OCR")]
    gold = saved(tmp_path / "gold.json", rows)
    said = saved(tmp_path / "said.json", [answered(rows[0], "A"), answered(rows[1], "A")])
    figures = figures_of(OvoBench(part="backward"), gold, said, "official")
    assert list(figures["tasks"]) == ["EPM", "ASI", "HLD"]
    assert figures["tasks"]["EPM"]["official"] == 100.0


def test_our_lines(forward: tuple[Path, Path], tmp_path: Path) -> None:
    lines = [
        {"question_id": "7_1", "replies": [{"time": 30, "text": "2"}]},
        {"question_id": "8_0", "replies": []},
    ]
    figures = figures_of(FORWARD, forward[0], saved(tmp_path / "said.jsonl", lines))
    of_rec = figures["tasks"]["REC"]
    assert (of_rec["n"], of_rec["n_right"], of_rec["n_none"]) == (2, 1, 1)


def test_one_response_to_everything(tmp_path: Path) -> None:
    rows = [ssr(9, [0, 0, 0, 1]), crr(10, [0, 1]), rec(8, [1, 2]), choice(1, "EPM", gt=3)]
    rows += [choice(2, "EPM", 4, num_options=5)]
    gold = saved(tmp_path / "gold.json", rows)
    blind = blind_figures(OvoBench(), gold)

    def row(name: str) -> list[float | None]:
        return [blind[name]["tasks"][t]["official"] for t in ("SSR", "CRR", "REC", "EPM")]

    assert row("silence") == [0.0, 0.0, 0.0, 0.0]
    assert row('always "Yes"') == [25.0, 50.0, 0.0, 0.0]
    assert row('always "No"') == [75.0, 50.0, 0.0, 0.0]
    assert row('always "Yes No"') == [100.0, 100.0, 0.0, 0.0]
    assert row('always "1"') == [0.0, 0.0, 50.0, 0.0]
    assert row('always "A B C D E Yes No 1"') == [100.0, 100.0, 50.0, 100.0]
    strict = blind['always "A B C D E Yes No 1"']["tasks"]
    assert [strict[t]["strict"] for t in ("SSR", "CRR", "EPM")] == [0.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"task": "ABC"}, "forward, row 1: 'task' must be one of EPM, "),
        ({"test_info": []}, "forward, row 1: 'test_info' is empty"),
        (
            {"test_info": [{"realtime": 20, "response": ["1", "2"]}]},
            "forward, row 1, probe 1: 'response' must be text, a list of one text, or null",
        ),
        ({"id": 8}, "no item is called '8_0'"),
        ({"test_info": [{"realtime": 99, "response": "1"}]}, "watched only to 20 s"),
    ],
)
def test_broken_results_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], change: dict[str, Any], complaint: str
) -> None:
    gold = saved(tmp_path / "gold.json", [rec(7, [1])])
    said = answered(rec(7, [1]), "1") | change
    path = saved(tmp_path / "said.json", results(forward=[said]))
    words = ["ovobench", "--annotations", gold, "--predictions", path, "--format", "official"]
    assert complaint in refused(words, capsys)


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (choice(1, "EPM") | {"gt": 4}, "row 1: 'gt' must be a whole number, 0 to 3, got 4"),
        (choice(1, "EPM") | {"options": "ab"}, "row 1: 'options' must be a list"),
        (rec(7, [-1]), "row 1, probe 1: 'count' must be a whole number, 0 or more, got -1"),
        (ssr(7, [2]), "row 1, probe 1: 'type' must be a whole number, 0 to 1, got 2"),
    ],
)
def test_broken_annotations_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], row: dict[str, Any], complaint: str
) -> None:
    path = saved(tmp_path / "gold.json", [row])
    assert complaint in refused(["ovobench", "--annotations", path, "--predictions", path], capsys)


def test_an_empty_folder_and_a_file_without_parts(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = saved(tmp_path / "gold.json", [rec(7, [1])])
    (tmp_path / "results").mkdir()
    words = ["ovobench", "--annotations", gold, "--format", "official", "--predictions"]
    assert "holds no file of results" in refused([*words, tmp_path / "results"], capsys)
    path = saved(tmp_path / "said.json", {"backward": []})
    assert "field 'realtime' is missing" in refused([*words, path], capsys)


def test_json_names_the_variant(
    forward: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    gold, said = forward
    words = ["ovobench", "--annotations", gold, "--predictions", said, "--format", "official"]
    found = run_eval([*words, "--part", "forward", "--no-response", "skipped"], capsys)
    assert found["options"] == {"part": "forward", "no_response": "skipped"}
    assert found["tasks"]["REC"]["n"] == 3
