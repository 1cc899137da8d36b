"""SPOT-Bench: timeliness, slots and their budget, what counts as the right meaning."""

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
    terms_of,
    write,
)

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.spot import Spot, timeliness
from oncue.eval.benchmarks.spot_items import TIMINGS, Gold, Slot
from oncue.eval.benchmarks.spot_meaning import is_detected, is_silent
from oncue.eval.streams.stream import Item, Stream
from oncue.types import Question

FREE = Spot("none")


def turn(times, texts=None, **fields):
    texts = [f"text {t}" for t in times or ()] if texts is None else texts
    return {
        "question": "Tell me.",
        "ask_time": 0,
        "response_time": times,
        "response": texts,
        **fields,
    }


def items_of(tmp_path, task, *turns, video="v1"):
    path = write(tmp_path / f"{task.lower()}.json", {video: {"turns": list(turns)}})
    return FREE.items((path,))


def found(benchmark, item, times, grader=None, text="x"):
    replies = [(t, text) for t in times]
    return figures_of(benchmark, item, *replies, grader=grader)["pooled"]


@pytest.mark.parametrize(
    ("task", "gold", "times", "occupancy_k", "num_false", "precision", "recall", "f1"),
    [
        ("ABD", [10, 20], [10, 20.9], 5, 0, 100.0, 100.0, 100.0),
        ("ABD", [10, 20], [10, 20.9], 1, 0, 100.0, 100.0, 100.0),
        ("ABD", [10], [9.5, 9.7, 10, 10.2, 10.5, 10.7], 5, 1, 50.0, 100.0, 66.67),
        ("ABD", [10], [9.5, 9.7, 10, 10.2, 10.5, 10.7], 1, 5, 16.67, 100.0, 28.57),
        ("PNR", [12], [11.1, 12.6], 5, 0, 96.41, 96.41, 96.41),
        ("PNR", [12], [11.1, 12.6], 1, 1, 43.2, 86.41, 57.61),
        ("SQA", [15, 40], [12.9, 41.7, 60], 5, 1, 46.6, 69.9, 55.92),
        ("SQA", [15, 40], [12.9, 41.7, 60], 1, 1, 46.6, 69.9, 55.92),
        ("UI", [8], [], 5, 0, 0.0, 0.0, 0.0),
        ("UI", [8], [], 1, 0, 0.0, 0.0, 0.0),
        ("SI", [30, 33], [31.4], 5, 0, 99.95, 99.95, 99.95),  # one reply fills two slots
        ("SI", [30, 33], [31.4], 1, 0, 99.95, 99.95, 99.95),
        ("SPG", [9, 25], [3, 9.5, 26.4, 26.6], 5, 0, 100.0, 100.0, 100.0),
        ("SPG", [9, 25], [3, 9.5, 26.4, 26.6], 1, 2, 28.2, 56.41, 37.61),
        ("ABD", [10], [12.0], 5, 0, 40.13, 40.13, 40.13),
        ("ABD", [10], [7.0], 5, 0, 40.13, 40.13, 40.13),
        ("ABD", [10], [7.0, 10.0], 5, 0, 100.0, 100.0, 100.0),
        ("ABD", [10], [7.0, 10.0], 1, 1, 20.06, 40.13, 26.75),
        ("ABD", [10], [9.5, 9.7, 10, 10.2, 10.5, 10.7, 10.9], 5, 2, 33.33, 100.0, 50.0),
        ("ABD", [10], [9.5, 9.7, 10, 10.2, 10.5, 10.7, 10.9], 1, 6, 14.29, 100.0, 25.0),
        ("ABD", [10, 11.5], [10.8], 5, 0, 100.0, 100.0, 100.0),
    ],
)
def test_the_known_cases(
    tmp_path, task, gold, times, occupancy_k, num_false, precision, recall, f1
):
    (item,) = items_of(tmp_path, task, turn(gold))
    figures = found(Spot("none", occupancy_k), item, times)
    assert (figures["num_false"], figures["slots"]) == (num_false, len(gold))
    assert (figures["precision"], figures["t_score"]) == pytest.approx(
        (precision, recall), abs=0.01
    )
    assert figures["t_f1"] == f1
    if occupancy_k == 1:
        assert figures["t_f1"] == figures["t_f1_at_1"] == found(FREE, item, times)["t_f1_at_1"]


@pytest.mark.parametrize(
    ("task", "early_s", "late_s"),
    [
        ("PNR", 2.31, 1.41),
        ("UI", 2.31, 1.41),
        ("ABD", 4.62, 2.81),
        ("SQA", 4.62, 2.81),
        ("SPG", 6.93, 4.22),
        ("SI", 6.93, 4.22),
    ],
)
def test_how_far_a_slot_reaches(task, early_s, late_s):
    """To 0.01 s: within, T is at least 0.05; one step further it is less."""
    timing = TIMINGS[task]
    for reach_s in (-early_s, late_s):
        step = 0.01 if reach_s > 0 else -0.01
        assert timeliness(100 + reach_s - step, 100, timing) >= 0.05
        assert timeliness(100 + reach_s + step, 100, timing) < 0.05
    assert timeliness(100 - timing.offset_s, 100, timing) == 1.0
    assert timeliness(100 + timing.offset_s, 100, timing) == 1.0


def test_meaning_is_asked_for_only_in_reach_and_each_pair_once(tmp_path):
    (item,) = items_of(tmp_path, "SQA", turn([20], ["blue"]))
    grader = KnownGrades({"yes": 3, "no way": 2})
    replies = [(5, "yes"), (19, "yes"), (20, "no way"), (20.5, "yes"), (30, "lost")]
    figures = figures_of(Spot(), item, *replies, grader=grader)["pooled"]
    assert (figures["num_false"], figures["t_f1"], figures["num_unscored"]) == (3, 40.0, 0)
    assert [(key.index, key.time_s) for _, key, _, _ in grader.asked] == [
        (0, 19),
        (0, 20),
        (0, 20.5),
    ]
    assert {rubric.highest for rubric, *_ in grader.asked} == {5}
    figures = figures_of(Spot(), item, (19, "x"), (20, "x"), grader=KnownGrades({}))
    assert (figures["pooled"]["t_f1"], figures["pooled"]["num_unscored"]) == (0.0, 2)
    assert Spot().remarks(figures) == ["2 replies could not be graded, and counted as wrong"]
    assert FREE.remarks(FREE.figures({})) == []


def test_the_known_case_with_a_wrong_meaning(tmp_path):
    (item,) = items_of(tmp_path, "SQA", turn([20], ["blue"]))
    replies = [(19, "a"), (20, "b"), (20.5, "c")]
    grader = KnownGrades({"a": 5, "b": 0, "c": 5})
    figures = figures_of(Spot(), item, *replies, grader=grader)["pooled"]
    assert (figures["num_false"], figures["precision"], figures["t_f1"]) == (1, 50.0, 66.67)


@pytest.mark.parametrize(("task", "least"), [("SQA", 3), ("SPG", 3), ("SI", 2), ("UI", 2)])
def test_the_grade_that_is_enough(tmp_path, task, least):
    (item,) = items_of(tmp_path, task, turn([20], ["blue"]))
    for grade in range(6):
        figures = found(Spot(), item, [20], KnownGrades({"x": grade}))
        assert (figures["t_f1"] == 100.0) is (grade >= least)


@pytest.mark.parametrize(
    ("task", "wanted", "said", "right"),
    [
        ("PNR", "now", "Now!", True),
        ("PNR", "now", "I know", False),
        ("ABD", "start", "It begins.", True),
        ("ABD", "end", "It begins.", False),
        ("ABD", "end", "**Done**", True),
        ("ABD", "start", "I will say when it starts and ends", False),  # both is neither
        ("ABD", "cut", "Cut!", True),
    ],
)
def test_keywords(task, wanted, said, right):
    assert is_detected(task, wanted, said) is right


def test_silent_texts():
    assert all(
        map(is_silent, ("No.", "none", "No  reply", "**Nothing**", "no answer", "No response!"))
    )
    assert not is_silent("No one")


@pytest.mark.parametrize(
    ("fields", "times", "expected"),
    [
        ({"type": "Start|end"}, [8.5, 19.0], ["start", "end"]),
        ({"question": "When does it start and end?"}, [8, 19], ["start", "end"]),
        ({"question": "When does it end?"}, [8], ["end"]),
        ({"question": "When does it start?"}, [8, 19, 30], ["start"] * 3),
        ({"type": "end"}, [8, 19], ["end", "end"]),
        ({"response": ["a", "b", "c"]}, [8, 19], ["a", "b"]),
        ({"response": ["a", "b"]}, [8, 19, 30], ["a", "b", "b"]),
    ],
)
def test_what_is_due_where_boundaries_are_not_written_out(tmp_path, fields, times, expected):
    (item,) = items_of(tmp_path, "ABD", turn(times, [], **fields))
    assert [slot.text for slot in item.gold.slots] == expected


def test_a_reply_to_a_question_without_gold_is_dropped_and_counted_beside(tmp_path):
    (item,) = items_of(tmp_path, "ABD", turn([10]), turn([], ask_time=15))
    figures = found(FREE, item, [10, 16, 20, 30])
    assert (figures["num_false"], figures["num_dropped"], figures["t_f1"]) == (0, 3, 100.0)
    assert figures["t_f1_corrected"] == 40.0


def test_a_video_may_be_its_only_turn_and_a_turn_may_have_nothing_due(tmp_path):
    rows = {"v1": turn(10, "x"), "v2": {"turns": [{"question": "?"}, turn(None, ["x"])]}}
    first, second = FREE.items((write(tmp_path / "sqa.json", rows),))
    assert [slot.text for slot in first.gold.slots] == ["x"]
    assert second.gold.has_gold == (False, False)
    assert found(FREE, second, [3])["t_f1"] is None


def test_videos_without_results_are_not_counted_but_beside(tmp_path):
    rows = {name: {"turns": [turn([10])]} for name in ("v1", "v2")}
    items = FREE.items((write(tmp_path / "abd.json", rows),))
    row = row_of(FREE, items, [said_to("ABD/v1", (10, "x"))])
    figures = row.figures["pooled"]
    assert (figures["t_f1"], figures["t_f1_corrected"], figures["n_missing"]) == (100.0, 66.67, 1)
    assert row.num_missing == 1


def test_pooled_and_mean_of_tasks_differ(tmp_path):
    items = [*items_of(tmp_path, "ABD", turn([10, 30, 50])), *items_of(tmp_path, "PNR", turn([10]))]
    said = [said_to("ABD/v1", (10, "x")), said_to("PNR/v1", (10, "x"))]
    figures = row_of(FREE, items, said).figures
    assert (figures["mean_of_tasks"]["t_f1"], figures["mean_of_tasks"]["n_tasks"]) == (75.0, 2)
    assert figures["pooled"]["t_f1"] == 66.67
    keywords = row_of(Spot("keywords"), [*items, *items_of(tmp_path, "UI", turn([10]))], said)
    assert set(keywords.figures["subsets"]) == {"ABD", "PNR"}  # no judge, no other task


def test_who_talks_at_1_hz_with_the_right_text(tmp_path):
    (item,) = items_of(tmp_path, "ABD", turn([10, 30, 50]))
    figures = found(FREE, item, range(1, 61))
    assert (figures["t_f1"], figures["t_f1_at_1"], figures["t_score"]) == (11.76, 1.22, 100.0)
    assert figures["t_score_at_1"] == 12.82
    (item,) = items_of(tmp_path, "ABD", turn([10, 30, 50], [], type="start"))
    blind = blind_figures(Spot("keywords"), [item])
    assert blind["every 1 s to the last slot, the right text"]["pooled"]["t_score"] == 100.0
    assert blind["silence"]["pooled"]["t_f1"] == 0.0


def test_terms_are_the_same_for_every_scored_item(tmp_path):
    (full,) = items_of(tmp_path, "ABD", turn([10]))
    (empty,) = (
        i for i in FREE.items((write(tmp_path / "abd.json", {"v1": turn([10]), "v2": turn([])}),))
        if not i.gold.slots
    )  # fmt: skip
    assert set(terms_of(FREE, full, (10, "x"))) == set(terms_of(FREE, empty, (10, "x")))
    assert found(FREE, empty, [10])["t_f1"] is None


def test_results_name_the_question_that_a_reply_answers(tmp_path):
    turns = (turn([10], question="First?"), turn([], question="Second?", ask_time=5))
    items = items_of(tmp_path, "ABD", *turns, video="v1.mp4")
    events = [
        {"time": 4, "type": "question", "value": "First?", "turn_id": "T1"},  # its text decides
        {"time": 5, "type": "question", "value": "second? ", "turn_id": "T2"},
        {"time": 10, "type": "response", "value": "x", "turn_id": "t1"},
        {"time": 11, "type": "response", "value": "x", "latency": 0.1},  # of the newest question
        {"time": 9.5, "type": "response", "value": "x", "turn_id": "T2"},
    ]
    folder = tmp_path / "results"
    write(folder / "abd_mmduet2.json", {"v1": events, "gone": []})
    write(folder / "mmduet2_ABD.json", {"per_task": {}})
    said = [one for _, one in FREE.official(folder)]
    row = row_of(FREE, items, said, skip_unknown=True)
    figures = row.figures["pooled"]
    assert (figures["t_f1"], figures["num_dropped"], row.num_unknown) == (100.0, 2, 1)


@pytest.mark.parametrize(
    ("events", "complaint"),
    [
        ([{"type": "response", "value": "x"}], "event 1: field 'time' is missing"),
        ([{"time": 1, "type": "reply"}], "'type' must be question or response"),
        ({"a": 1}, "expected a list of events"),
    ],
)
def test_bad_results_are_named(tmp_path, events, complaint):
    with pytest.raises(DataError, match=complaint):
        list(FREE.official(write(tmp_path / "abd_m.json", {"v1": events})))


def test_bad_annotations_are_named(tmp_path):
    with pytest.raises(DataError, match="must begin with its task"):
        FREE.items((write(tmp_path / "boundaries.json", {}),))
    with pytest.raises(DataError, match="turn 1: 2 times in 'response_time' need as many"):
        items_of(tmp_path, "SQA", turn([1, 2], ["a"]))
    with pytest.raises(DataError, match="nothing is due in it; expected annotations of SPOT"):
        items_of(tmp_path, "ABD", turn([]), {"question": "?"})
    with pytest.raises(ConfigError, match="occupancy_k must be at least 1, got 0"):
        Spot(occupancy_k=0).items(())
    write(tmp_path / "empty" / "scores.json", {})
    with pytest.raises(DataError, match="holds no result file"):
        list(FREE.official(tmp_path / "empty"))


def test_the_command(tmp_path, capsys):
    rows = {"v1": {"turns": [turn([10], [], type="start")]}}
    path = write(tmp_path / "abd.json", rows)
    said = tmp_path / "said.jsonl"
    replies = [{"time": 10, "text": "It starts."}]
    said.write_text(json.dumps({"question_id": "ABD/v1", "replies": replies}) + "\n")
    words = ["eval", "spot", "--annotations", str(path), "--predictions", str(said)]
    assert cli.main([*words, "--grading", "keywords", "--json"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert out["mean_of_tasks"]["t_f1"] == 100.0
    assert cli.main([*words, "--grading", "keywords", "--judge", "lexical"]) == 2
    assert "spot needs no judge" in capsys.readouterr().err


@settings(max_examples=60, deadline=None)
@given(
    gold=st.lists(st.integers(0, 40), min_size=1, max_size=6, unique=True),
    times=st.lists(st.integers(0, 90).map(lambda n: n / 2), max_size=25),
    budget=st.integers(1, 3),
)
def test_slots_do_not_matter_to_each_other(gold, times, budget):
    """Replies one by one over all open slots, as the scorer goes, give what slot by slot gives."""
    task = "ABD"
    slots = tuple(Slot(float(t), "x", "") for t in sorted(gold))
    item = Item(Stream("ABD/v", "v", (Question(""),), subset=task), Gold(task, slots, (True,)))
    best, taken, used = [0.0] * len(slots), [0] * len(slots), set()
    for number, time_s in enumerate(sorted(times)):
        for index, slot in enumerate(slots):
            timely = timeliness(time_s, slot.time_s, TIMINGS[task])
            if timely >= 0.05 and taken[index] < budget:
                taken[index] += 1
                best[index] = max(best[index], timely)
                used.add(number)
    terms = terms_of(Spot("none", budget), item, *((t, "x") for t in times))
    assert terms["sum_t"] == pytest.approx(sum(best))
    assert terms["num_false"] == len(times) - len(used)
    assert terms["num_filled"] == sum(t > 0 for t in best)
