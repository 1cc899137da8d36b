"""InteractionBench: matching, options, counts and segments as the official scorer counts them."""

from __future__ import annotations

import asyncio
import json

import pytest
from interaction_support import (
    KnownGrades,
    blind_figures,
    figures_of,
    row_of,
    said_to,
    terms_of,
    write,
    write_lines,
)

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.interactionbench import InteractionBench
from oncue.eval.benchmarks.interactionbench_text import (
    chosen_option,
    last_number,
    official_letter,
    overlap,
    strict_letter,
)
from oncue.eval.streams.result import StreamScores
from oncue.eval.streams.scoring import score_blind

FREE = InteractionBench("overlap")
OPENS = "door opens"
TEN_TWENTY = [(10, OPENS), (20, OPENS)]
TO_THIRTY = [*TEN_TWENTY, (30, OPENS)]
COUNTS = [(5, "1"), (15, "2"), (25, "3")]


def annotated(*answers, capability="PTR", time_type="B", **fields):
    return {
        "capability": capability,
        "time_type": time_type,
        "question": "Tell me when the door opens.",
        "question_time_s": 0,
        "answers": [{"time_s": t, "content": text} for t, text in answers],
        **fields,
    }


def files(tmp_path, *rows, duration_s=60.0):
    video = {"video_id": "k1", "domain": "demo", "duration_s": duration_s, "items": list(rows)}
    write(tmp_path / "annotations" / "demo" / "k1.json", video)
    return tmp_path / "annotations"


def items_of(tmp_path, *rows, keys=(), duration_s=60.0):
    paths = [files(tmp_path, *rows, duration_s=duration_s)]
    if keys:
        paths.append(write_lines(tmp_path / "key.jsonl", keys))
    return FREE.items(paths)


def overall(item, *replies, benchmark=FREE, grader=None):
    return figures_of(benchmark, item, *replies, grader=grader)["overall"]


@pytest.mark.parametrize(
    ("gold", "replies", "expected"),
    [
        # accuracy, TA, SC, timing, premature, redundant, total
        (TEN_TWENTY, [(10, OPENS), (22.5, OPENS)], (100, 75, 100, 85.7, 0, 0, 92.8)),
        (TEN_TWENTY, [(9.0, OPENS)], (100, 50, 100, 66.7, 0, 0, 83.3)),
        (TEN_TWENTY, [(8.99, OPENS)], (0, 0, 50, 0, 1, 0, 0)),
        (TEN_TWENTY, [(10, OPENS), (19.0, OPENS)], (100, 100, 100, 100, 0, 0, 100)),
        (TEN_TWENTY, [(10, OPENS), (18.9, OPENS)], (100, 50, 50, 50, 0, 1, 75)),
        (TEN_TWENTY, [], (0, 0, None, 0, 0, 0, 0)),
        (
            TEN_TWENTY,
            [(2, "x"), (10, "nothing"), (20, OPENS), (21, OPENS)],
            (50, 100, 0, 0, 1, 1, 25),
        ),
        (TO_THIRTY, [(10, OPENS), (22.5, OPENS)], (100, 50, 100, 66.7, 0, 0, 83.3)),
        (TO_THIRTY, [(9.0, OPENS)], (100, 33.3, 100, 50, 0, 0, 75)),
        (TO_THIRTY, [(8.99, OPENS)], (0, 0, 66.7, 0, 1, 0, 0)),
        (TO_THIRTY, [(10, OPENS), (19.0, OPENS)], (100, 66.7, 100, 80, 0, 0, 90)),
        (TO_THIRTY, [(10, OPENS), (18.9, OPENS)], (100, 33.3, 66.7, 44.4, 0, 1, 72.2)),
        (TO_THIRTY, [], (0, 0, None, 0, 0, 0, 0)),
        (
            TO_THIRTY,
            [(2, "x"), (10, "nothing"), (20, OPENS), (21, OPENS)],
            (50, 66.7, 33.3, 44.4, 1, 1, 47.2),
        ),
        (
            TO_THIRTY,
            [(12.5, OPENS), (20, OPENS), (30, OPENS)],
            (100, 83.3, 100, 90.9, 0, 0, 95.5),
        ),
        ([(10, OPENS)], [(10, "wrong")], (0, 100, 100, 100, 0, 0, 50)),
        ([(10, OPENS)], [(24, OPENS)], (100, 0, 100, 0, 0, 0, 50)),  # 14 s late: half of all
    ],
)
def test_the_known_cases_of_triggers(tmp_path, gold, replies, expected):
    (item,) = items_of(tmp_path, annotated(*gold))
    names = ("accuracy", "timing_accuracy", "silence_compliance", "timing")
    names += ("num_premature", "num_redundant", "total")
    found = overall(item, *replies)
    assert tuple(found[name] for name in names) == expected


@pytest.mark.parametrize(
    ("replies", "expected", "corrected"),
    [
        (COUNTS, (100, 100, 100, 100, 100), 100),
        ([(59, "3")], (100, 0, 100, 0, 50), 100),
        ([*COUNTS, (26, "in 2 seconds")], (0, 100, 66.7, 80, 40), 100),
        ([], (0, 0, None, 0, 0), 0),
        ([(5, "1"), (15, "3")], (100, 66.7, 100, 80, 90), 0),  # right by chance, too early
    ],
)
def test_the_known_cases_of_counting(tmp_path, replies, expected, corrected):
    (item,) = items_of(
        tmp_path, annotated(*COUNTS, capability="CST", time_type="C", auto_number=True)
    )
    found = overall(item, *replies)
    names = ("accuracy", "timing_accuracy", "silence_compliance", "timing", "total")
    assert tuple(found[name] for name in names) == expected
    assert found["accuracy_corrected"] == corrected


@pytest.mark.parametrize(
    ("said", "official", "strict"),
    [
        ("B", True, True),
        ("(b)", True, True),
        ("Answer: B", True, True),
        ("a blue cup", False, True),  # the article "a" is option A
        ("blue", True, True),
        ("It is a blue one", False, True),
        ("The cup is blue", True, True),
        ("A", False, False),
        ("red and blue", False, False),
        ("The answer is b.", True, True),
        ("Answer: a blue cup", False, True),
        ("B) blue", True, True),
    ],
)
def test_options_are_read_as_officially_and_strictly(said, official, strict):
    options = ["red", "blue", "green"]
    assert (chosen_option(said, options, official_letter) == 1) is official
    assert (chosen_option(said, options, strict_letter) == 1) is strict


def test_numbers_and_shared_words():
    assert last_number("count is now 1,007") == 1007
    assert last_number("none") is None
    assert overlap("The door opens", "door opens!") == 1.0
    assert overlap("JUMP 4", "DUCK 4") == pytest.approx(0.5)  # the count alone is no answer
    assert overlap("7", "I see 7 cups there now") == 1.0
    assert overlap("a blue cup", "the cup") == pytest.approx(2 / 3)
    assert overlap("", "x") == 0.0


def test_an_item_with_options_needs_no_judge(tmp_path):
    key = {"item_id": "k1#0", "correct_index": 1, "answer_text": "blue", "distractors": ["red"]}
    options = {"item_id": "k1#0", "stem": "Which cup?", "options": ["red", "blue"]}
    (item,) = items_of(
        tmp_path,
        annotated((12, "blue"), capability="IVQA", time_type="A", question_time_s=12),
        keys=[key, options],
    )
    assert item.stream.questions[0].text == "Which cup?\nA. red\nB. blue"
    grader = KnownGrades()
    judged = InteractionBench()
    found = overall(item, (13, "It is a blue one"), benchmark=judged, grader=grader)
    assert (found["accuracy"], found["accuracy_corrected"]) == (0.0, 100.0)
    assert (found["total"], found["total_corrected"]) == (44.5, 94.5)
    assert not grader.asked


def test_a_question_is_due_at_its_time_whatever_its_answer_says(tmp_path):
    (item,) = items_of(
        tmp_path, annotated((4, "blue"), capability="LVM", time_type="A", question_time_s=50)
    )
    assert overall(item, (51, "blue"))["timing_accuracy"] == 80.0
    assert overall(item, (4, "blue"))["num_premature"] == 1
    assert (item.stream.questions[0].time_s, item.stream.end_s) == (50, 60)


def test_segments_are_judged_whole_and_all_of_them_count(tmp_path):
    (item,) = items_of(
        tmp_path,
        annotated((10, "he cuts"), (20, "he stirs"), (30, "he pours"), capability="LCG",
                  time_type="C"),
    )  # fmt: skip
    found = overall(item, (9.5, "he cuts"), (12, "he"), (19.9, "cuts"), (30, "he pours"))
    assert found["accuracy"] == found["total"] == 66.7  # no tolerance: 9.5 is in no segment
    assert found["timing_accuracy"] == 100.0  # printed, but no part of the total


def test_a_negative_item_has_silence_compliance_alone(tmp_path):
    rows = [annotated((0, "SHOULD_REMAIN_SILENT")), annotated(is_negative=True)]
    for item in items_of(tmp_path, *rows):
        assert overall(item)["total"] == 100.0
        found = overall(item, (5, "now"))
        assert (found["total"], found["silence_compliance"], found["accuracy"]) == (0.0, 0.0, None)


def test_answers_at_one_time_are_one_event(tmp_path):
    (item,) = items_of(tmp_path, annotated((10, "red"), (10, "blue"), (20, "green")))
    assert item.gold.events == ((10, "red; blue"), (20, "green"))


def test_the_judge_is_asked_about_matches_and_a_failure_is_wrong_and_counted(tmp_path):
    (item,) = items_of(tmp_path, annotated(*TEN_TWENTY))
    grader = KnownGrades({"it opens": 1})
    replies = [(2, "early"), (10, "it opens"), (11, "again"), (20, "lost")]
    found = overall(item, *replies, benchmark=InteractionBench(), grader=grader)
    assert [(key.index, key.time_s, said) for _, key, _, said in grader.asked] == [
        (0, 10, "it opens"),
        (1, 20, "lost"),
    ]
    assert (found["accuracy"], found["num_unscored"]) == (50.0, 1)


def test_means_are_over_items_where_defined_and_of_rounded_values(tmp_path):
    rows = [annotated(*TO_THIRTY), annotated(is_negative=True, capability="TOA"), annotated()]
    items = items_of(tmp_path, *rows)
    assert len(items) == 2  # one without answers cannot be scored
    said = [said_to("k1#0", (9.0, OPENS))]
    row = row_of(FREE, items, said)
    found = row.figures["overall"]
    assert (found["total"], found["accuracy"], found["timing_accuracy"]) == (87.5, 100.0, 33.3)
    assert row.figures["subsets"]["TOA"]["total"] == 100.0
    left_out = row_of(InteractionBench("overlap", skip_missing=True), items, said)
    assert (left_out.figures["overall"]["n"], left_out.figures["overall"]["total"]) == (1, 75.0)


def test_the_official_form_of_predictions(tmp_path):
    items = items_of(tmp_path, annotated(*TEN_TWENTY))
    emission = {"t": 10, "content": OPENS, "latency_s": 0.1}
    path = write_lines(
        tmp_path / "said.jsonl",
        [
            {"video_id": "k1", "item_index": 0, "emissions": [{"t": 1, "content": "x"}]},
            {"video_id": "k1", "emissions": [{"t": 20, "content": OPENS}, {"t": 3, "content": " "},
                                             emission]},
            {"video_id": "other", "item_index": 4, "emissions": []},
        ],
    )  # fmt: skip
    said = [one for _, one in FREE.official(path)]
    assert FREE.card.skips_unknown
    row = row_of(FREE, items, said, skip_unknown=True)
    assert (row.figures["overall"]["total"], row.num_unknown, row.num_missing) == (100.0, 1, 0)
    with pytest.raises(DataError, match="line 2: no item is called 'other#4'"):
        row_of(FREE, items, [*said, said_to("other#4")])


@pytest.mark.parametrize(
    ("row", "complaint"),
    [
        ({"video_id": "k1", "item_index": "0", "emissions": []}, "'item_index' must be a whole"),
        ({"video_id": "k1"}, "'emissions' is missing"),
        ({"video_id": "k1", "emissions": [{"t": -1, "content": "x"}]}, "emission 1: 't' must be"),
    ],
)
def test_bad_predictions_are_named(tmp_path, row, complaint):
    with pytest.raises(DataError, match=f"line 1.*{complaint}"):
        list(FREE.official(write_lines(tmp_path / "said.jsonl", [row])))


@pytest.mark.parametrize(
    ("keys", "complaint"),
    [
        ([{"item_id": "k1#0", "correct_index": 3, "answer_text": "x", "distractors": ["y"]}],
         "'correct_index' 3 is none of 2 options"),
        ([{"item_id": "k1#0", "options": ["y"]}], "2 to 6 options, got 1"),
        ([{"item_id": "k1#0", "correct_index": 0, "answer_text": "x", "distractors": ["y"]},
          {"item_id": "k1#0", "options": ["y", "x"]}], "line 2: the options of 'k1#0' differ"),
    ],
)  # fmt: skip
def test_bad_keys_are_named(tmp_path, keys, complaint):
    with pytest.raises(DataError, match=complaint):
        items_of(tmp_path, annotated(*TEN_TWENTY), keys=keys)


def test_who_talks_every_second_with_the_right_text_has_half(tmp_path):
    items = items_of(tmp_path, annotated((10, "red"), (20, "blue"), (30, "green")))
    found = blind_figures(FREE, items)["every 1 s, the right text"]["overall"]
    names = ("accuracy", "timing_accuracy", "silence_compliance", "total")
    assert tuple(found[name] for name in names) == (100, 100, 0, 50)
    assert blind_figures(FREE, items)["silence"]["overall"]["total"] == 0.0


def test_terms_add_up_to_figures_of_all_items(tmp_path):
    first, second = items_of(tmp_path, annotated(*TEN_TWENTY), annotated(*TO_THIRTY))
    one, two = terms_of(FREE, first, (10, OPENS)), terms_of(FREE, second, (8, OPENS))
    assert set(one) == set(two)  # nothing is lost when some are undefined for an item


def test_the_command(tmp_path, capsys):
    rows = files(tmp_path, annotated(*TO_THIRTY))
    said = write_lines(
        tmp_path / "said.jsonl",
        [{"video_id": "k1", "item_index": 0, "emissions": [{"t": 9, "content": OPENS}]}],
    )
    words = ["eval", "interactionbench", "--annotations", str(rows), "--predictions", str(said)]
    words += ["--format", "official", "--json"]
    assert cli.main([*words, "--grading", "overlap"]) == 0
    out = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (out["overall"]["total"], out["judge"]) == (75.0, None)
    assert cli.main(words) == 2
    assert "interactionbench needs a judge" in capsys.readouterr().err


def test_a_policy_that_is_given_the_right_texts_is_no_bar(tmp_path):
    items = items_of(tmp_path, annotated((10, "red"), (20, "blue")))
    rows = tuple(asyncio.run(score_blind(FREE, items, one, None)) for one in FREE.blind_rows())
    model = row_of(FREE, items, [said_to("k1#0", (14, "red"))])
    scores = StreamScores(FREE, model, rows, {})
    assert [row.name for row in rows] == ["silence", "every 1 s, the right text"]
    assert scores.best_blind() is rows[0]
    assert not any("sees no frame" in line for line in scores.remarks())
    below = StreamScores(FREE, row_of(FREE, items, []), rows, {})
    assert any("sees no frame: silence" in line for line in below.remarks())
    assert any("1 of 1 items have no prediction" in line for line in below.remarks())


def test_figures_of_nothing():
    assert InteractionBench().remarks(InteractionBench().figures({})) == []


def test_numbers_out_of_range_and_no_items_are_named(tmp_path):
    with pytest.raises(ConfigError, match="delta_s must be a positive number, got 0"):
        InteractionBench(delta_s=0).items(())
    with pytest.raises(ConfigError, match="tolerance_s must be 0 or more"):
        InteractionBench(tolerance_s=-1).items(())
    with pytest.raises(DataError, match="no item that can be scored; give the folder"):
        items_of(tmp_path, annotated())
