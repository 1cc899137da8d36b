"""OmniPro online: the chain rule, nearest pairs, what each task asks for, means over tasks."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.omnipro import OmniPro, chained, paired
from oncue.eval.benchmarks.omnipro_items import TASKS, first_integer, region_in
from oncue.types import TimedReply

ALERT, CUMULATIVE = "instant_event_alert", "cumulative_counting"
GROUNDING, STATE, NARRATION = (
    "explicit_target_grounding",
    "realtime_state_monitor",
    "event_narration",
)
APART = OmniPro(chain=False)


def sample(task, *triggers, item_id="a", **fields):
    return {
        "id": item_id,
        "task": task,
        "video_id": "v1",
        "video_path": "v1.mp4",
        "duration": 60.0,
        "question": "Report it.",
        "question_time": "00:00",
        "ground_truth": [
            {"trigger_time_sec": t[0], **t[1]} if isinstance(t, tuple) else {"trigger_time_sec": t}
            for t in triggers
        ],
        **fields,
    }


def items_of(tmp_path, *rows):
    return OmniPro().items((write(tmp_path / "benchmark.json", list(rows)),))


GREEN = (10, {"state_from": "red", "state_to": "Green"})
COUNTS = [(10, {"count": 1}), (20, {"count": 2})]
NARRATED = [(t, {"response": "it pours"}) for t in (10, 20, 30)]
SAID = [(10.0, "p1"), (24.0, "p2"), (31.0, "p3")]


@pytest.mark.parametrize(
    ("task", "triggers", "emissions", "counts", "scores"),
    [
        # pairs, right, false, missed; time F1, content, joint F1
        (ALERT, [10, 14], [(12.0, "x")], (1, 1, 0, 1), (66.67, 100.0, 66.67)),
        (ALERT, [10], [(9.0, "x"), (10.0, "x"), (11.0, "x")], (1, 1, 2, 0), (50.0, 100.0, 50.0)),
        (ALERT, [10], [(13.0, "x")], (1, 1, 0, 0), (100.0, 100.0, 100.0)),
        (ALERT, [10], [(13.01, "x")], (0, 0, 1, 1), (0.0, None, 0.0)),
        (CUMULATIVE, COUNTS, [(9.0, "1"), (20.0, "2")], (2, 1, 0, 0), (100.0, 50.0, 50.0)),
        (STATE, [GREEN], [(10.0, "Green.")], (1, 0, 0, 0), (100.0, 0.0, 0.0)),
        (STATE, [GREEN], [(10.0, "GREEN ")], (1, 1, 0, 0), (100.0, 100.0, 100.0)),
        (STATE, [GREEN], [(10.0, "The light is green")], (1, 0, 0, 0), (100.0, 0.0, 0.0)),
        (
            GROUNDING,
            [(10, {"position": "top-left"})],
            [(10.0, "cup. Position: Top-Left.")],
            (1, 1, 0, 0),
            (100.0, 100.0, 100.0),
        ),
        (NARRATION, NARRATED, SAID, (2, 1, 1, 1), (66.67, 50.0, 33.33)),
    ],
)
def test_the_known_cases(tmp_path, task, triggers, emissions, counts, scores):
    (item,) = items_of(tmp_path, sample(task, *triggers))
    grader = KnownGrades({"p1": 4, "p2": 3, "p3": 2})
    found = figures_of(APART, item, *emissions, grader=grader)["subsets"][task]
    names = ("num_pairs", "num_right", "num_false", "num_missed")
    assert tuple(found[name] for name in names) == counts
    assert (found["time_f1"], found["content_accuracy"], found["joint_f1"]) == scores


def test_a_wider_tolerance(tmp_path):
    (item,) = items_of(tmp_path, sample(NARRATION, *NARRATED))
    grader = KnownGrades({"p1": 4, "p2": 3, "p3": 2})
    wide = OmniPro(tolerance_s=5.0, chain=False)
    found = figures_of(wide, item, *SAID, grader=grader)["subsets"][NARRATION]
    assert (found["num_pairs"], found["num_right"], found["time_f1"]) == (3, 2, 100.0)
    assert (found["content_accuracy"], found["joint_f1"]) == (66.67, 66.67)


def test_tasks_are_pooled_over_samples(tmp_path):
    items = items_of(tmp_path, sample(ALERT, 10, 20, item_id="a"), sample(ALERT, 5, item_id="b"))
    said = [said_to("a", (10, "x")), said_to("b", (5, "x"), (30, "x"), (40, "x"))]
    assert row_of(APART, items, said, KnownGrades()).figures["overall"]["joint_f1"] == 57.14


@pytest.mark.parametrize(("step_s", "num"), [(1, 1), (2, 1), (3, 21)])
def test_emissions_close_to_each_other_are_one(step_s, num):
    emissions = [TimedReply(float(t), "now") for t in range(0, 61, step_s)]
    chains = chained(emissions)
    assert (len(chains), chains[0].time_s) == (num, 0.0)
    assert chains[0].text == " ".join(["now"] * (len(emissions) if num == 1 else 1))


def test_a_gap_is_counted_from_the_emission_before_not_the_first():
    times = [0.0, 2.0, 4.0, 6.1]
    assert [c.time_s for c in chained([TimedReply(t, "x") for t in times])] == [0.0, 6.1]


def test_who_speaks_in_every_tick_has_one_emission_at_the_question(tmp_path):
    items = items_of(tmp_path, sample(ALERT, 12, question_time="00:10"))
    blind = blind_figures(OmniPro("none"), items)
    assert blind["every tick"]["subsets"][ALERT]["num_pairs"] == 1
    assert blind["every tick"]["overall"]["time_f1"] == 100.0
    assert blind["every 3 s"]["subsets"][ALERT]["num_false"] == 15
    assert blind["silence"]["overall"]["time_f1"] == 0.0


def test_without_a_judge_joint_f1_is_undefined_where_one_is_needed(tmp_path):
    items = items_of(
        tmp_path, sample(NARRATION, *NARRATED, item_id="a"), sample(ALERT, 10, item_id="b")
    )
    said = [said_to("a", *SAID), said_to("b", (10, "x"))]
    found = row_of(OmniPro("none"), items, said).figures
    assert found["subsets"][NARRATION]["joint_f1"] is None
    assert (found["subsets"][NARRATION]["time_f1"], found["overall"]["time_f1"]) == (66.67, 83.34)
    assert found["overall"]["joint_f1"] == 100.0  # of the alerts alone


def test_a_failed_judgement_is_wrong_and_counted(tmp_path):
    (item,) = items_of(tmp_path, sample(NARRATION, *NARRATED))
    found = figures_of(OmniPro(), item, (10, "lost"), grader=KnownGrades({}))
    assert found["subsets"][NARRATION]["content_accuracy"] == 0.0
    assert OmniPro().remarks(found) == ["1 reply could not be graded, and counted as wrong"]


def test_absent_samples_are_not_counted_and_stand_beside(tmp_path):
    items = items_of(tmp_path, *(sample(ALERT, 10, item_id=name) for name in "ab"))
    row = row_of(OmniPro("none"), items, [said_to("a", (10, "x"))])
    overall = row.figures["overall"]
    assert (overall["time_f1"], overall["with_missing"]["time_f1"]) == (100.0, 66.67)
    assert (overall["n"], overall["n_missing"], row.num_missing) == (1, 1, 1)
    silent = row_of(OmniPro("none"), items, [said_to("a", (10, "x")), said_to("b")])
    assert silent.figures["overall"]["time_f1"] == 66.67


def test_alerts_raise_the_mean_content(tmp_path):
    items = items_of(tmp_path, sample(ALERT, 10, item_id="a"), sample(STATE, GREEN, item_id="b"))
    said = [said_to("a", (10, "x")), said_to("b", (10, "red"))]
    overall = row_of(OmniPro("none"), items, said).figures["overall"]
    assert (overall["content_accuracy"], overall["content_accuracy_without_alerts"]) == (50.0, 0.0)


def test_numbers_and_regions_in_replies():
    assert first_integer("at 01:23 I see 4 cups, 5 plates") == 4
    assert first_integer("no") is None
    assert region_in("in the top-left corner") == "top-left"
    assert region_in("Position: middle, near the center") == "center"
    assert region_in("to the left") is None
    assert len(TASKS) == 9


def test_clocks_and_ticks(tmp_path):
    row = sample(ALERT, question_time="1:01:04", duration=3700.6)
    row["ground_truth"] = [{"trigger_time": "1:01:10"}]
    (item,) = items_of(tmp_path, row)
    assert (item.stream.start_s, item.stream.end_s) == (3664.0, 3701.0)
    assert item.gold.triggers[0].time_s == 3670.0


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        (sample("other_task"), "row 1: unknown task 'other_task'"),
        (sample(ALERT, question_time="soon"), "'question_time' must be MM:SS"),
        (sample(CUMULATIVE, (3, {"count": "two"})), "trigger 1: 'count' must be a whole number"),
        ({"id": "a"}, "'task' is missing"),
    ],
)
def test_bad_samples_are_named(tmp_path, row, complaint):
    with pytest.raises(DataError, match=complaint):
        items_of(tmp_path, row)


def test_a_tolerance_below_zero_is_named():
    with pytest.raises(ConfigError, match="tolerance_s must be 0 or more"):
        OmniPro(tolerance_s=-1).items(())


def test_the_official_form_of_predictions(tmp_path, capsys):
    rows = write(
        tmp_path / "benchmark.json", [sample(ALERT, 10), sample(STATE, GREEN, item_id="b")]
    )
    folder = tmp_path / "results"
    folder.mkdir()
    write_lines(
        folder / f"{ALERT}.jsonl",
        [{"id": "a", "predictions": [{"t_sec": 10.0, "raw": "x"}, {"t_sec": 30.0, "raw": " "}]}],
    )
    write_lines(folder / f"{STATE}.jsonl", [{"id": "b", "predictions": []}])
    write_lines(folder / f"{STATE}.scored.jsonl", [{"id": "b", "predictions": []}])
    words = ["eval", "omnipro", "--annotations", str(rows), "--predictions", str(folder)]
    assert cli.main([*words, "--format", "official", "--grading", "none", "--json"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (out["overall"]["joint_f1"], out["n_missing_predictions"]) == (50.0, 0)
    write_lines(folder / f"{STATE}.jsonl", [{"id": "b", "predictions": [{"raw": "x"}]}])
    assert cli.main([*words, "--format", "official", "--grading", "none"]) == 2
    assert "line 1, prediction 1: field 't_sec' is missing" in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(
    emissions=st.lists(st.integers(0, 30), max_size=8),
    triggers=st.lists(st.integers(0, 30), max_size=8),
)
def test_the_nearest_pair_goes_first(emissions, triggers):
    free, due, expected = set(range(len(emissions))), set(range(len(triggers))), {}
    while True:
        near = [(abs(emissions[e] - triggers[t]), e, t) for e in free for t in due]
        distance, emission, trigger = min(near, default=(99, 0, 0))
        if distance > 3:
            break
        expected[emission] = trigger
        free.remove(emission)
        due.remove(trigger)
    assert paired(emissions, triggers, 3.0) == expected
