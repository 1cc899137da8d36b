"""Omni-DuplexEval: windows of reminders, corrections, and what talking all the time costs."""

from __future__ import annotations

import json

import pytest
from interaction_support import (
    KnownGrades,
    blind_figures,
    figures_of,
    row_of,
    said_to,
    write,
    write_lines,
)

from oncue import cli
from oncue.errors import DataError
from oncue.eval.benchmarks.omniduplex import CORRECTED, REMINDER, OmniDuplex

DUPLEX = OmniDuplex()
GRADES = {"it opened": 1, "it opened again": 1, "it opened nice day": 0}


def row(item_id="a", **fields):
    return {"id": item_id, "question_text": "Tell me when the door opens.", "video_duration": 60,
            **fields}  # fmt: skip


def items_of(tmp_path, *rows, split="PR_event_reminder"):
    return DUPLEX.items((write_lines(tmp_path / f"{split}.jsonl", rows),))


@pytest.mark.parametrize(
    ("replies", "success", "num_right", "quiet"),
    [
        ([(10, "it opened"), (40, "it opened")], 100.0, 2, 100.0),
        ([(20, "it opened"), (50, "it opened")], 100.0, 2, 100.0),  # closed at both ends
        ([(9.9, "it opened"), (40, "it opened")], 0.0, 1, 0.0),
        ([(20.1, "it opened"), (40, "it opened")], 0.0, 1, 0.0),
        ([(10, "it opened"), (11, "again"), (40, "it opened")], 100.0, 2, 100.0),
        ([(10, "it opened"), (11, "nice day"), (40, "it opened")], 0.0, 1, 0.0),
        ([(5, "blah"), (10, "it opened"), (40, "it opened")], 100.0, 2, 0.0),
        ([], 0.0, 0, 0.0),
    ],
)
def test_all_reminders_must_be_right(tmp_path, replies, success, num_right, quiet):
    (item,) = items_of(tmp_path, row(reminder1=10, reminder2="40.0"))
    found = figures_of(DUPLEX, item, *replies, grader=KnownGrades(GRADES, 0))["overall"]
    assert (found["success"], found["num_right"]) == (success, num_right)
    assert (found["quiet_success"], found["num_due"]) == (quiet, 2)


def test_a_correction_is_judged_whole(tmp_path):
    (item,) = items_of(tmp_path, row(answer1="It is white.", reminder1=None), split="PR_correction")
    grader = KnownGrades({"No. it is white": 1})
    found = figures_of(DUPLEX, item, (3, "No."), (50, " it is white"), grader=grader)["overall"]
    assert (found["success"], found["quiet_success"]) == (100.0, 100.0)
    ((rubric, key, gold, _),) = grader.asked
    assert (rubric, key.time_s, gold) == (CORRECTED, 3, "It is white.")


def test_a_failed_judgement_fails_and_is_counted(tmp_path):
    (item,) = items_of(tmp_path, row(reminder1=10, reminder2=""))
    grader = KnownGrades({})
    found = figures_of(DUPLEX, item, (10, "lost"), grader=grader)
    assert (found["overall"]["success"], found["overall"]["num_unscored"]) == (0.0, 1)
    assert DUPLEX.remarks(found) == ["1 reply could not be graded, and counted as wrong"]
    assert grader.asked[0][0] is REMINDER


def test_samples_without_a_response_are_not_counted_and_stand_beside(tmp_path):
    items = items_of(tmp_path, row("a", reminder1=10), row("b", reminder1=10))
    said = [said_to("event_reminder/a", (10, "it opened"))]
    found = row_of(DUPLEX, items, said, KnownGrades(GRADES)).figures
    assert (found["overall"]["success"], found["overall"]["with_missing"]) == (100.0, 50.0)
    assert found["subsets"]["event_reminder"]["n_missing"] == 1


def test_who_always_claims_it_loses_nothing(tmp_path):
    items = items_of(tmp_path, row(reminder1=10, reminder2=40))
    blind = blind_figures(DUPLEX, items, KnownGrades({}, default=1))
    always = blind["every 1 s, that what was asked for has happened"]["overall"]
    assert (always["success"], always["quiet_success"]) == (100.0, 0.0)
    assert blind["silence"]["overall"]["success"] == 0.0


def test_the_official_form_of_responses(tmp_path, capsys):
    rows = write_lines(tmp_path / "PR_event_reminder.jsonl", [row("7", reminder1=10)])
    folder = tmp_path / "responses"
    segments = [
        {"sentence": "The door opens.", "start": 12.2, "end": 13},
        {"text": " ", "current_time": 1},
    ]
    write(folder / "PR_event_reminder" / "7.json", {"chunks": segments})
    ((_, said),) = DUPLEX.official(folder)
    assert (said.item_id, [(r.time_s, r.text) for r in said.replies]) == (
        "event_reminder/7",
        [(12.2, "The door opens.")],
    )
    words = ["eval", "omniduplex", "--annotations", str(rows), "--predictions", str(folder)]
    assert cli.main([*words, "--format", "official", "--judge", "lexical", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["overall"]["n"] == 1


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ({"text": "x"}, "expected a response of Omni-DuplexEval"),
        ([{"text": "x", "start": -1}], "segment 1: 'start' must be a number of seconds"),
        ([{"text": 3}], "segment 1: 'text' must be text"),
    ],
)
def test_bad_responses_are_named(tmp_path, value, complaint):
    write(tmp_path / "PR_correction" / "7.json", value)
    with pytest.raises(DataError, match=complaint):
        list(DUPLEX.official(tmp_path))


def test_bad_rows_are_named(tmp_path):
    with pytest.raises(DataError, match="'rows' is no split; expected one of PR_correction"):
        items_of(tmp_path, row(), split="rows")
    with pytest.raises(DataError, match="'reminder1' must be a number of seconds"):
        items_of(tmp_path, row(reminder1="soon"))
