"""OmniPro in probe mode: reading answers, pairs of probes, means over tasks."""

from __future__ import annotations

import json

import pytest
from interaction_support import blind_figures, row_of, said_to, write, write_lines

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.omnipro_probe import OmniProProbe
from oncue.eval.benchmarks.omnipro_probe_text import (
    choice_said,
    count_said,
    position_said,
    says_yes,
    state_said,
)

ALERT, STATE, NARRATION = "instant_event_alert", "realtime_state_monitor", "event_narration"
PROBE = OmniProProbe()


def sample(task, *triggers, item_id="a", **fields):
    truth = [{"trigger_time_sec": t, **more} for t, more in triggers]
    return {"id": item_id, "task": task, "video_id": "v", "duration": 60, "question": "Report it.",
            "question_time": 0, "ground_truth": truth, **fields}  # fmt: skip


def probed(*answers, item_id="a"):
    """Answers are (number of the trigger, pre or post, text, letter expected)."""
    probes = [
        {
            "gt_idx": n,
            "probe_type": kind,
            "time_sec": 5,
            "raw_response": text,
            "gt_expected": letter,
        }
        for n, kind, text, letter in answers
    ]
    return {"id": item_id, "predictions": probes}


def figures(tmp_path, rows, results):
    items = PROBE.items((write(tmp_path / "benchmark.json", rows),))
    said = [one for _, one in PROBE.official(write_lines(tmp_path / "r.jsonl", results))]
    return row_of(PROBE, items, said).figures


@pytest.mark.parametrize(
    ("task", "trigger", "before", "after", "right"),
    [
        (ALERT, {}, "NO", "YES: it fell", (True, True)),
        (ALERT, {}, "Yes", "It did happen", (False, False)),
        (ALERT, {}, "No, yes", "The answer is YES, no doubt", (True, True)),
        ("snapshot_counting", {"count": 5}, "NO", "YES: at 01:23 there are 5", (True, True)),
        ("snapshot_counting", {"count": 5}, "NO", "YES", (True, False)),
        ("cumulative_counting", {"count": 1}, "0", "1.", (True, True)),
        ("dedup_counting", {"count": 1}, "1", "a total of 2", (False, False)),
        ("explicit_target_grounding", {"position": "Center-Left"}, "NO",
         "YES: a cup. Position: center-left", (True, True)),
        ("explicit_target_grounding", {"position": "center"}, "", "YES, top-left", (True, False)),
        (STATE, {"state_from": "red", "state_to": "green"}, "Red.", "it is green", (True, True)),
        (STATE, {"state_from": "red", "state_to": "green"}, "green", "blue", (False, False)),
    ],
)  # fmt: skip
def test_probes_of_each_task(tmp_path, task, trigger, before, after, right):
    rows = [sample(task, (10, trigger), states=["red", "green"])]
    found = figures(tmp_path, rows, [probed((0, "pre", before, ""), (0, "post", after, ""))])
    numbers = found["subsets"][task]
    assert (numbers["pre_accuracy"], numbers["post_accuracy"]) == tuple(100.0 * x for x in right)
    assert numbers["paired_accuracy"] == 100.0 * all(right)


def test_a_choice_of_letters_has_no_probe_before(tmp_path):
    rows = [sample(NARRATION, (10, {"response": "x"}), (20, {"response": "y"}))]
    answers = [(0, "post", "(B)", "B"), (1, "post", "The answer is c.", "A")]
    numbers = figures(tmp_path, rows, [probed(*answers)])["subsets"][NARRATION]
    assert (numbers["paired_accuracy"], numbers["pre_accuracy"]) == (50.0, None)


def test_only_pairs_count_where_some_probes_are_missing(tmp_path):
    rows = [sample(ALERT, (10, {}), (20, {}))]
    answers = [(0, "pre", "NO", ""), (0, "post", "NO", ""), (1, "post", "YES", "")]
    numbers = figures(tmp_path, rows, [probed(*answers)])["subsets"][ALERT]
    assert (numbers["paired_accuracy"], numbers["num_pairs"]) == (0.0, 1)
    assert (numbers["pre_accuracy"], numbers["post_accuracy"], numbers["f1"]) == (100, 50, 66.67)


def test_the_mean_is_over_tasks_and_absent_samples_stand_beside(tmp_path):
    rows = [sample(ALERT, (10, {}), item_id="a"), sample(ALERT, (10, {}), item_id="b"),
            sample(STATE, (10, {"state_from": "red", "state_to": "green"}), item_id="c",
                   states=["red", "green"])]  # fmt: skip
    results = [
        probed((0, "pre", "NO", ""), (0, "post", "YES", "")),
        probed((0, "pre", "red", ""), (0, "post", "red", ""), item_id="c"),
        {"id": "b", "error": "out of memory"},
    ]
    overall = figures(tmp_path, rows, results)["overall"]
    assert (overall["paired_accuracy"], overall["with_missing"]) == (50.0, 25.0)


def test_reading_of_answers():
    assert not says_yes("")
    assert count_said("I saw it 3 times by 01:20") == 3
    assert count_said("0:21 then 4 and 5") == 5
    assert count_said("none") is None
    assert state_said("it is not playing", ["playing", "not playing"]) == "not playing"
    assert [choice_said(t) for t in ("B", "(C)", "I pick D", "A man", "b) x", "Best. A")] == [
        "B", "C", "D", None, "B", "A",
    ]  # fmt: skip
    assert position_said("position - bottom-right") == "bottom-right"


def test_constant_answers_pair_nothing(tmp_path):
    items = PROBE.items((write(tmp_path / "b.json", [sample(ALERT, (10, {}), (20, {}))]),))
    blind = blind_figures(PROBE, items)
    assert blind["always NO"]["overall"]["paired_accuracy"] == 0.0
    assert blind["always NO"]["overall"]["pre_accuracy"] == 100.0
    assert blind["always YES"]["overall"]["post_accuracy"] == 100.0


@pytest.mark.parametrize(
    ("probe", "complaint"),
    [
        ({"gt_idx": 0, "probe_type": "now"}, "prediction 1: 'probe_type' must be pre or post"),
        ({"gt_idx": "0", "probe_type": "pre"}, "'gt_idx' must be a whole number"),
        ({"gt_idx": 0, "probe_type": "pre", "time_sec": 3}, "'raw_response' is missing"),
    ],
)
def test_bad_probes_are_named(tmp_path, probe, complaint):
    path = write_lines(tmp_path / "r.jsonl", [{"id": "a", "predictions": [probe]}])
    with pytest.raises(DataError, match=complaint):
        list(PROBE.official(path))


def test_a_probe_needs_its_trigger(tmp_path):
    with pytest.raises(DataError, match="a probe of trigger 4, but 1 triggers"):
        figures(tmp_path, [sample(ALERT, (10, {}))], [probed((4, "pre", "NO", ""))])
    items = PROBE.items((write(tmp_path / "b.json", [sample(ALERT, (10, {}))]),))
    with pytest.raises(ConfigError, match="add --format official"):
        row_of(PROBE, items, [said_to("a", (3, "x"))])


def test_the_command(tmp_path, capsys):
    rows = write(tmp_path / "benchmark.json", [sample(ALERT, (10, {}))])
    said = write_lines(tmp_path / "r.jsonl", [probed((0, "pre", "NO", ""), (0, "post", "YES", ""))])
    words = ["eval", "omnipro-probe", "--annotations", str(rows), "--predictions", str(said)]
    assert cli.main([*words, "--format", "official", "--json"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert out["overall"]["paired_accuracy"] == 100.0
