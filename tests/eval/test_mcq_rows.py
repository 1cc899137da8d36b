"""Questions in the forms in which public benchmarks are published. All rows are invented."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from string import ascii_uppercase

import pytest
from mcq_public_rows import (
    ABCD,
    EGO_RAW,
    EGO_SUBSET,
    LONG,
    LVBENCH,
    MLVU_DEV,
    MLVU_TEST,
    ROW,
    VIDEOMME,
)

from oncue.errors import DataError
from oncue.eval.benchmarks.mcq_predictions import predictions
from oncue.eval.benchmarks.mcq_rows import read_questions

MLVU = Path(__file__).parents[3] / "shared" / "data" / "annotations" / "MLVU"


def read(tmp_path, form, *rows, lines=False):
    path = tmp_path / "questions.json"
    path.write_text("\n".join(map(json.dumps, rows)) if lines else json.dumps(list(rows)), "utf-8")
    return read_questions([path], form)


def facts(question):
    return (
        question.question_id,
        question.video,
        question.gold,
        question.group,
        question.duration_s,
        question.tasks,
        len(question.options),
    )


@pytest.mark.parametrize("lines", [False, True])
@pytest.mark.parametrize(
    ("form", "row", "expected"),
    [
        (
            "videomme",
            VIDEOMME,
            [("001-1", "x-Y_1", "C", "medium", None, ("Counting Problem",), 4)],
        ),
        (
            "mlvu",
            MLVU_DEV,
            [("questions_1", "needle_1.mp4", "C", "", 467.98, ("findNeedle",), 4)],
        ),
        ("mlvu", MLVU_TEST, [("AR_0", "needle_1.mp4", "F", "", 467.98, ("findNeedle",), 6)]),
        ("longvideobench", LONG, [("v_0", "v.mp4", "B", "15-60 s", 20.5, ("S2E",), 2)]),
        (
            "lvbench",
            LVBENCH,
            [
                ("7", "Cm7", "B", "", 3630.0, ("reasoning", "event understanding"), 4),
                ("8", "Cm7", "A", "", 3630.0, (), 2),
            ],
        ),
        ("egoschema", EGO_RAW, [("e-1", "e-1", None, "", None, (), 5)]),
        ("egoschema", EGO_SUBSET, [("e-1", "e-1", "E", "", None, (), 5)]),
        ("rows", ROW, [("3", "./next/v.mp4", "D", "", 44.0, ("CW",), 4)]),
    ],
)
def test_a_row_of_each_format(tmp_path, form, row, expected, lines):
    assert [facts(question) for question in read(tmp_path, form, row, lines=lines)] == expected


def test_options_are_lettered_once_and_questions_hold_none(tmp_path):
    (mlvu,) = read(tmp_path, "mlvu", MLVU_DEV)
    assert mlvu.options == ("A. red", "B. blue", "C. C. Ronaldo", "D. a")
    first, second = read(tmp_path, "lvbench", LVBENCH)
    assert first.question == "Which one?"
    assert first.options == ("A. red", "B. blue (not navy)", "C. green", "D. grey")
    assert second.options == ("A. Ann", "B. Bo")
    assert read(tmp_path, "egoschema", EGO_SUBSET)[0].options[4] == "E. reason"
    assert read(tmp_path, "videomme", VIDEOMME)[0].options == tuple(ABCD)


def test_rows_with_marked_moments_have_their_evidence_in_the_pool(tmp_path):
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{**ROW, "duration": 40.0, "spans": [[10.0, 20.0]]}]))
    (question,) = read_questions([path], "rows", num_frames=8)  # a frame every 5 s, from 2.5 s on
    assert question.task().evidence.frames == {2, 3}
    assert question.task().evidence.num_frames == 8
    path.write_text(json.dumps([{**ROW, "duration": None, "spans": [[10.0, 20.0]]}]))
    assert read_questions([path], "rows", num_frames=8)[0].evidence is None


def test_numbers_of_options_as_tables_write_them(tmp_path):
    for written in ("4", 4, 4.0):
        assert read(tmp_path, "egoschema", {**EGO_SUBSET, "answer": written})[0].gold == "E"


def test_the_form_for_answers_of_videomme_and_the_table_form_of_longvideobench(tmp_path):
    video = {key: VIDEOMME[key] for key in ("video_id", "duration", "domain", "sub_category")}
    asked = ("question_id", "task_type", "question", "options", "answer")
    nested = {**video, "questions": [{key: VIDEOMME[key] for key in asked}]}
    assert facts(read(tmp_path, "videomme", nested)[0])[:4] == ("001-1", "001", "C", "medium")
    table = {key: value for key, value in LONG.items() if key != "candidates"}
    table |= {"option0": "red", "option1": "blue", "option2": "green"}
    table |= {"option3": "N/A", "option4": "N/A", "correct_choice": 2}
    question = read(tmp_path, "longvideobench", table)[0]
    assert (question.options, question.gold) == (("A. red", "B. blue", "C. green"), "C")


@pytest.mark.parametrize(
    ("form", "row", "name"),
    [
        ("videomme", VIDEOMME, "answer"),
        ("mlvu", MLVU_TEST, "answer"),
        ("longvideobench", LONG, "correct_choice"),
        ("egoschema", EGO_SUBSET, "answer"),
    ],
)
def test_a_right_answer_that_is_kept_secret(tmp_path, form, row, name):
    without = {key: value for key, value in row.items() if key != name}
    assert read(tmp_path, form, without)[0].gold is None
    assert read(tmp_path, form, {**row, name: None})[0].gold is None
    assert read(tmp_path, form, without)[0].task().answer is None


def test_answers_of_mlvu_that_fit_two_options_or_none(tmp_path):
    twice = {**MLVU_DEV, "candidates": ["red", "blue", "red", "a"], "answer": "red"}
    none = {**MLVU_DEV, "answer": "purple"}
    letter = {**MLVU_DEV, "answer": "B"}  # as lmms-eval has it
    assert [q.gold for q in read(tmp_path, "mlvu", twice, none, letter)] == ["AC", "", "B"]


def test_up_to_26_options(tmp_path):
    row = {**MLVU_DEV, "candidates": [f"no. {i}" for i in range(26)], "answer": "no. 25"}
    assert read(tmp_path, "mlvu", row)[0].gold == "Z"
    with pytest.raises(DataError, match=r"row 1: 'candidates'.*2 to 26.*got 27"):
        read(tmp_path, "mlvu", {**row, "candidates": [*row["candidates"], "more"]})


@pytest.mark.parametrize(
    ("form", "row", "message"),
    [
        ("videomme", {**VIDEOMME, "duration": "huge"}, "'duration' must be short, medium or long"),
        ("videomme", {**VIDEOMME, "answer": "E"}, "'answer' must be one of the letters A, B, C, D"),
        ("videomme", {**VIDEOMME, "options": "A. x"}, "'options' must be a list"),
        ("videomme", {**VIDEOMME, "options": []}, "has no options"),
        ("mlvu", {"question": "Why?", "video": "a.mp4"}, "'candidates' is missing"),
        ("mlvu", {**MLVU_DEV, "question": ""}, "'question' must be non-empty text"),
        ("mlvu", {**MLVU_DEV, "answer": ["red"]}, "'answer' must be the text of an option"),
        ("mlvu", {**MLVU_DEV, "duration": "long"}, "'duration' must be a number of seconds"),
        ("longvideobench", {**LONG, "correct_choice": 2}, "'correct_choice' must be the number"),
        ("longvideobench", {**LONG, "correct_choice": True}, "'correct_choice' must be the number"),
        ("longvideobench", {**LONG, "candidates": None}, "has no options"),
        ("lvbench", {**LVBENCH, "qa": [{"uid": "1"}]}, "question 1: field 'question' is missing"),
        ("lvbench", {**LVBENCH, "qa": [{"question": "Why?"}]}, r"no lines \(A\)"),
        (
            "lvbench",
            {**LVBENCH, "qa": [{"question": "Why?\n(A) x\n(C) y"}]},
            "must be .* in order, got A, C",
        ),
        ("egoschema", {**EGO_SUBSET, "answer": "5"}, "'answer' must be the number of an option"),
        ("egoschema", {**EGO_SUBSET, "answer": "B"}, "'answer' must be the number of an option"),
        ("rows", {**ROW, "options": None, "problem_type": "free-form"}, "it has no 'options'"),
        ("rows", {**ROW, "solution": "E"}, "'solution' must be one of the letters"),
    ],
)
def test_what_breaks_a_format_is_named_with_file_and_row(tmp_path, form, row, message):
    with pytest.raises(DataError, match=rf"questions\.json, row 1.*{message}"):
        read(tmp_path, form, row)


def test_files_that_are_no_rows(tmp_path):
    for text, message in [
        ("[1]", "row 1 holds 1"),
        ("[", "is not JSON"),
        ("[]", "holds no row"),
        ("", "holds no row"),
        ("{", "line 1 is not JSON"),
        ("\ufeff[", "is not JSON"),
    ]:
        path = tmp_path / "rows.json"
        path.write_text(text, "utf-8")
        with pytest.raises(DataError, match=message):
            read_questions([path], "videomme")
    with pytest.raises(DataError, match="cannot read"):
        read_questions([tmp_path / "nothing.json"], "videomme")
    with pytest.raises(DataError, match=r"read_parquet\('test-0\.parquet'\)"):
        read_questions([tmp_path / "test-0.parquet"], "videomme")


def test_a_question_is_there_once(tmp_path):
    with pytest.raises(DataError, match=r"'001-1' is in .* already"):
        read(tmp_path, "videomme", VIDEOMME, VIDEOMME)


def test_answers_in_another_form_than_expected_are_no_score_of_zero(tmp_path):
    rows = [{**MLVU_DEV, "answer": "3"} for _ in range(3)]
    with pytest.raises(DataError, match=r"3 of 3 questions have an 'answer' that is none"):
        read(tmp_path, "mlvu", *rows)


def test_predictions_are_in_the_form_of_each_scorer(tmp_path):
    (videomme,) = read(tmp_path, "videomme", VIDEOMME)
    asked = {key: VIDEOMME[key] for key in ("question_id", "task_type", "question", "options")}
    about = {key: VIDEOMME[key] for key in ("video_id", "duration", "domain", "sub_category")}
    assert predictions("videomme", [(videomme, "B")]) == [
        {**about, "questions": [{**asked, "answer": "C", "response": "B"}]}
    ]
    (mlvu,) = read(tmp_path, "mlvu", MLVU_TEST)
    assert predictions("mlvu", [(mlvu, "F"), (mlvu, None)]) == [
        {"question_id": "AR_0", "question_type": "findNeedle", "option": letter}
        for letter in ("F", "")
    ]
    (ego,) = read(tmp_path, "egoschema", EGO_RAW)
    assert predictions("egoschema", [(ego, "E")]) == {"e-1": 4}
    assert predictions("egoschema", [(ego, None)]) == {"e-1": None}
    first, second = read(tmp_path, "lvbench", LVBENCH)
    assert predictions("lvbench", [(first, "D"), (second, None)]) == {"7": "D", "8": ""}


@pytest.mark.skipif(not MLVU.is_dir(), reason="the MLVU annotations are not here")
def test_the_public_rows_of_mlvu():
    names = ("2_needle.json", "4_count.json", "6_anomaly_reco.json")
    questions = read_questions([MLVU / name for name in names], "mlvu")
    letters = Counter(question.gold for question in questions)
    assert (len(questions), letters[""], letters["AD"]) == (761, 2, 1)
    assert sum(letters[letter] for letter in ascii_uppercase[:4]) == 758
    submitted = json.loads((MLVU / "test_res.json").read_text())
    assert set(predictions("mlvu", [(questions[0], "A")])[0]) == set(submitted[0])
