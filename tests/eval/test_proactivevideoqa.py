"""`oncue eval proactivevideoqa`: every corner case of its scoring steps, and bad files by name."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import random
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.benchmarks.proactivevideoqa import ProactiveVideoQa, subset_names
from oncue.eval.benchmarks.proactivevideoqa_card import CARD
from oncue.eval.streams.predictions import PredictionFile
from oncue.eval.streams.scoring import NUM_AT_ONCE, NUM_SHOWN, score_predictions
from oncue.scoring.graders import make_grader
from oncue.scoring.judge import LexicalJudge
from oncue.scoring.metrics import Transcript, score_proactive
from oncue.types import TimedReply
from openai_server import OpenAIServer

Row = dict[str, Any]
TV = "house=s05e24.mp4%Q1"


def answer(start_s: float, end_s: float, content: str = "A cat.", **more: Any) -> Row:
    return {
        "role": "assistant",
        "content": content,
        "reply_timespan": [start_s, end_s],
        "related_timespan": [start_s, end_s - 1],
        **more,
    }


def sample(question_id: str, *answers: Row, duration: float = 60.0, video: str = "") -> Row:
    return {
        "video": video or question_id,
        "question_id": question_id,
        "duration": duration,
        "conversation": [{"role": "user", "content": "What is there?", "time": 0}],
        "answer": list(answers),
    }


def said(question_id: str, *replies: tuple[float, str]) -> Row:
    return {
        "question_id": question_id,
        "replies": [{"time": time_s, "text": text} for time_s, text in replies],
    }


def level(question_id: str, index: int, time_s: float, value: int) -> Row:
    return {"question_id": question_id, "answer_index": index, "time": time_s, "level": value}


def repeat(question_id: str, time_s: float, repeated: bool, index: int | None = None) -> Row:
    place = {} if index is None else {"answer_index": index}
    row = {"question_id": question_id, "kind": "repetition", **place}
    return {**row, "time": time_s, "repeated": repeated}


def write_lines(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Folder:
    """Files of one run."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def annotations(self, subset: str, *samples: Row, name: str = "anno.json") -> Path:
        folder = self.path / subset
        folder.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(samples))
        return folder / name

    def run(
        self,
        annotations: Sequence[Path],
        predictions: Sequence[Row] | Path,
        judgements: Sequence[Row] | str,
        *flags: str,
    ) -> int:
        if not isinstance(predictions, Path):
            predictions = write_lines(self.path / "said.jsonl", predictions)
        judge = judgements
        if not isinstance(judge, str):
            judge = f"replay:{write_lines(self.path / 'judged.jsonl', judgements)}"
        given = ["--annotations", *map(str, annotations), "--predictions", str(predictions)]
        return cli.main(["eval", "proactivevideoqa", *given, "--judge", judge, *flags])


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


def figures(folder: Folder, capsys, *args: Any) -> Row:
    assert folder.run(*args, "--json") == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def overall(
    folder: Folder, capsys, gold: Sequence[Row], predictions: Sequence[Row], judged: Sequence[Row]
) -> tuple[float, ...]:
    """PAUC at omega 0, 0.5 and 1 of one sample called "a"."""
    annotations = [folder.annotations("WEB", sample("a", *gold))]
    pauc = figures(folder, capsys, annotations, predictions, judged)["overall"]["pauc"]
    return pauc["0"], pauc["0.5"], pauc["1"]


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ([], (25, 25, 25)),
        ([(0, 3)], (100, 100, 100)),  # at the very start of the span, which is closed
        ([(5, 3)], (62.5, 81.25, 100)),
        ([(10, 3)], (25, 62.5, 100)),  # at its very end
        ([(0, 1)], (0, 0, 0)),
        ([(10, 1)], (25, 12.5, 0)),
        ([(2, 2), (6, 3)], (65, 82.5, 100)),
    ],
)
def test_constants_of_a_span_of_ten_seconds(folder, capsys, points, expected) -> None:
    """The published constants for three levels."""
    gold = [answer(20, 30, related_timespan=[20, 30])]
    replies = [(20.0 + x, f"reply {n}") for n, (x, _) in enumerate(points)]
    judged = [level("a", 0, 20.0 + x, value) for x, value in points]
    assert overall(folder, capsys, gold, [said("a", *replies)], judged) == pytest.approx(expected)


@pytest.mark.parametrize("time_s", [19.999, 30.001])
def test_a_reply_just_outside_the_span_is_not_judged(folder, capsys, time_s) -> None:
    assert overall(folder, capsys, [answer(20, 30)], [said("a", (time_s, "A cat."))], []) == (
        25,
        25,
        25,
    )


@pytest.mark.parametrize(
    ("replies", "judged", "at_zero"),
    [
        # late and lower: goes, (2*.5 + 8*2)/20
        ([(2, "x"), (9, "y")], [3, 2], 85),
        # late and equal: stays, and changes nothing: (2*.5 + 8*1)/20
        ([(2, "x"), (9, "y")], [2, 2], 45),
        # late and higher: (2*.5 + 7*1 + 1*2)/20
        ([(2, "x"), (9, "y")], [2, 3], 50),
        # none during the event: remembered 0, nothing goes: (8.5*.5 + .5*1 + 1*0)/20
        ([(8.5, "x"), (9, "y")], [2, 1], 100 * 4.75 / 20),
        # at the end of the event is during it
        ([(2, "x"), (8, "y")], [3, 2], 100 * (1 + 12 + 2) / 20),
    ],
)
def test_late_rule(folder, capsys, replies, judged, at_zero) -> None:
    gold = [answer(0, 10, related_timespan=[0, 8])]
    lines = [level("a", 0, r[0], value) for r, value in zip(replies, judged, strict=True)]
    assert overall(folder, capsys, gold, [said("a", *replies)], lines)[0] == pytest.approx(
        at_zero, abs=1e-3
    )


def test_without_a_related_span_nothing_is_late(folder, capsys) -> None:
    gold = [answer(0, 10, related_timespan=None)]
    lines = [level("a", 0, 2, 3), level("a", 0, 9, 2)]
    pauc = overall(folder, capsys, gold, [said("a", (2, "x"), (9, "y"))], lines)
    assert pauc[0] == pytest.approx(100 * (1 + 14 + 1) / 20)


def test_two_replies_at_one_time_are_scored_by_their_shared_line(folder, capsys) -> None:
    lines = [level("a", 0, 5, 3)]
    pauc = overall(folder, capsys, [answer(0, 10)], [said("a", (5, "x"), (5, "y"))], lines)
    assert pauc == pytest.approx((62.5, 81.25, 100))


def test_replies_out_of_order_are_scored_in_time_order(folder, capsys) -> None:
    lines = [level("a", 0, 2, 2), level("a", 0, 6, 3)]
    gold = [answer(0, 10, related_timespan=[0, 10])]
    pauc = overall(folder, capsys, gold, [said("a", (6, "y"), (2, "x"))], lines)
    assert pauc == pytest.approx((65, 82.5, 100))


def test_overlapping_turns_share_a_reply_and_each_has_its_own_level(folder, capsys) -> None:
    gold = [answer(0, 10), answer(5, 15)]
    lines = [level("a", 0, 6, 3), level("a", 1, 6, 1)]
    pauc = overall(folder, capsys, gold, [said("a", (6, "x"))], lines)
    assert pauc[0] == pytest.approx(50 * ((3 + 8) / 20 + 0.5 / 20), abs=1e-3)


def test_an_exact_duplicate_is_skipped_whatever_was_recorded_of_it(folder, capsys) -> None:
    """Its second level would lift the score; a text of another turn is no duplicate."""
    gold = [answer(0, 10), answer(20, 30)]
    replies = said("a", (2, "x"), (4, " x "), (20, "x"))
    lines = [level("a", 0, 2, 2), level("a", 0, 4, 3), level("a", 1, 20, 3)]
    pauc = overall(folder, capsys, gold, [replies], lines)
    assert pauc[0] == pytest.approx(50 * ((1 + 8) / 20 + 1))


def test_unscored_replies_are_left_out_and_counted(folder, capsys) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)))]
    replies = [said("a", (2, "x"), (6, "y"))]
    found = figures(folder, capsys, annotations, replies, [level("a", 0, 6, 3)])
    assert found["overall"]["unscored"] == 50
    assert found["overall"]["pauc"]["0"] == pytest.approx(100 * (3 + 8) / 20)
    none = figures(folder, capsys, annotations, replies, [])
    assert none["overall"]["unscored"] == 100
    assert set(none["overall"]["pauc"].values()) == {25}  # as an empty turn


def test_no_headline_above_the_limit_of_unscored_replies(folder, capsys) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)))]
    args = (annotations, [said("a", (2, "x"), (6, "y"))], [level("a", 0, 6, 3)])
    assert folder.run(*args) == 0
    out = capsys.readouterr().out
    assert "WEB: no headline, since 50.0 % of the judged replies have no mark (limit 5 %)" in out
    assert figures(folder, capsys, *args)["headlines"] == {"PAUC": None, "mean": None, "WEB": None}
    allowed = figures(folder, capsys, *args, "--max-unscored-share", "0.5")
    assert allowed["headlines"]["PAUC"] == allowed["overall"]["pauc"]["0.5"]
    assert folder.run(*args, "--max-unscored-share", "1.5") == 2


def test_the_object_for_scripts(folder, capsys) -> None:
    """Gold turns weigh the same in `overall`, subsets the same in `subset_mean`; ids with = and %,
    a question without a line."""
    annotations = [
        folder.annotations("WEB", sample("a", answer(0, 10), answer(20, 30)), sample("b")),
        folder.annotations("TV", sample(TV, answer(0, 10)), sample("silent", answer(0, 10))),
    ]
    lines = [level("a", 0, 0, 3), level("a", 1, 20, 3), level(TV, 0, 0, 1)]
    replies = [said("a", (0, "x"), (20, "y")), said("b", (1, "z")), said(TV, (0, "x"))]
    found = figures(folder, capsys, annotations, replies, lines)
    pauc = {"0": 100, "0.5": 100, "1": 100}
    shares = {"duplicates": None, "unscored": 0}
    assert found["subsets"]["WEB"] == {"n_samples": 2, "n_turns": 2, "pauc": pauc, **shares}
    half = dict.fromkeys(pauc, 12.5)
    assert found["subsets"]["TV"] == {"n_samples": 2, "n_turns": 2, "pauc": half, **shares}
    mean = dict.fromkeys(pauc, 56.25)
    assert found["overall"] == {"n_samples": 4, "n_turns": 4, "pauc": mean, **shares}
    assert found["subset_mean"] == {"n_samples": 4, "n_turns": 4, "pauc": mean, **shares}
    assert (found["n_missing_predictions"], found["n_items"]) == (1, 4)
    assert found["blind"]["silence"]["overall"]["pauc"]["0.5"] == 25


def test_gold_turns_and_not_samples_weigh_the_same(folder, capsys) -> None:
    annotations = [
        folder.annotations("WEB", sample("a", *(answer(10 * k, 10 * k + 5) for k in range(3)))),
        folder.annotations("TV", sample(TV, answer(0, 10))),
    ]
    found = figures(folder, capsys, annotations, [said(TV, (0, "x"))], [level(TV, 0, 0, 3)])
    assert found["overall"]["pauc"]["0.5"] == pytest.approx((3 * 25 + 100) / 4)
    assert found["subset_mean"]["pauc"]["0.5"] == pytest.approx((25 + 100) / 2)


def test_duplicates_in_both_scopes(folder, capsys) -> None:
    """Exact ones count without a line, failed ones leave the denominator."""
    gold = [answer(0, 10), answer(20, 30)]
    annotations = [folder.annotations("WEB", sample("a", *gold))]
    replies = [said("a", (1, "x"), (2, "x"), (3, "y"), (4, "z"), (21, "x"), (40, "w"))]
    levels = [level("a", 0, t, 2) for t in (1, 3, 4)] + [level("a", 1, 21, 2)]
    within = [*levels, repeat("a", 3, True, 0)]
    found = figures(folder, capsys, annotations, replies, within)
    assert found["overall"]["duplicates"] == 100  # "x" again and "y"; "z" was not decided
    assert found["counts"]["overall"]["n_undecided"] == 1
    whole = [*levels, repeat("a", 3, True), repeat("a", 4, False), repeat("a", 40, False)]
    flags = ("--duplicate-scope", "whole_dialogue")
    found = figures(folder, capsys, annotations, replies, whole, *flags)
    assert found["overall"]["duplicates"] == pytest.approx(60)  # x, y and x of z, x, w: 3 of 5
    assert found["options"]["duplicate_scope"] == "whole_dialogue"
    # A line that names no gold turn holds for every one
    found = figures(folder, capsys, annotations, replies, whole[:-1])
    assert found["overall"]["duplicates"] == pytest.approx(200 / 3, abs=1e-3)
    # Nobody judged repetition: unknown, although one is exact
    assert folder.run(annotations, replies, levels) == 0
    assert "duplicates unknown, since nobody judged repetition" in capsys.readouterr().out
    assert figures(folder, capsys, annotations, replies, levels)["overall"]["duplicates"] is None


def test_subset_mean_of_duplicates_needs_all_of_them(folder, capsys) -> None:
    annotations = [
        folder.annotations("WEB", sample("a", answer(0, 10))),
        folder.annotations("VAD", sample("v", answer(0, 10))),
    ]
    replies = [said("a", (1, "x"), (2, "y")), said("v", (1, "x"))]
    lines = [level("a", 0, 1, 2), level("a", 0, 2, 2), level("v", 0, 1, 2), repeat("a", 2, True)]
    found = figures(folder, capsys, annotations, replies, lines)
    assert found["subsets"]["WEB"]["duplicates"] == 100
    assert found["subset_mean"]["duplicates"] is None


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ([level("a", 0, 2, 4)], "judged.jsonl, line 2: 'level' must be 1 to 3, got 4"),
        ([level("a", 0, 2, 0)], "judged.jsonl, line 2: 'level' must be 1 to 3, got 0"),
        ([level("a", 0, 3, 2)], "judged.jsonl, line 2: 'a' has no reply at 3 s"),
        ([level("a", 1, 2, 2)], "line 2: 'a' has 1 gold turns, counted from 0, and none is 1"),
        ([level("a", 0, 40, 2)], "line 2: 'a' has a reply at 40 s, but gold turn 0 is from 0"),
        ([level("nobody", 0, 2, 2)], "judged.jsonl, line 2: no item is called 'nobody'"),
        ([repeat("nobody", 2, True)], "judged.jsonl, line 2: no item is called 'nobody'"),
        ([level("a", 0, 2, 2), level("a", 0, 2, 3)], "line 3 contradicts line 2"),
        ([repeat("a", 2, True), repeat("a", 2, False)], "line 3 contradicts line 2"),
        ([{"question_id": "a", "time": 2, "level": 2}], "field 'answer_index' is missing"),
        ([{**level("a", 0, 2, 2), "level": "2"}], "'level' must be a whole number"),
        ([{**level("a", 0, 2, 2), "kind": "mood"}], "unknown kind 'mood'"),
        ([{**repeat("a", 2, True), "repeated": "yes"}], "'repeated' must be true or false"),
    ],
)
def test_wrong_judgements_are_named_with_file_and_line(folder, capsys, bad, message) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)), sample("b"))]
    replies = [said("a", (2, "x"), (40, "y"))]
    assert folder.run(annotations, replies, [{"judge": "gpt"}, *bad]) == 2
    assert message in capsys.readouterr().err
    assert folder.run(annotations, replies, [{"judge": "gpt"}, level("a", 0, 2, 2)]) == 0
    assert "judge gpt, recorded in judged.jsonl" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([said("nobody", (2, "x"))], "said.jsonl, line 1: no item is called 'nobody'"),
        ([said("a"), said("a")], "said.jsonl, line 2: 'a' has a prediction already"),
        ([said("a", (99, "x"))], "a reply at 99 s, but its video ends at 60 s"),
        ([said("a", (2, " "))], "leave silent turns out"),
        ([{"question_id": "a"}], "field 'replies' is missing"),
    ],
)
def test_wrong_predictions_are_named_with_file_and_line(folder, capsys, rows, message) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)))]
    assert folder.run(annotations, rows, "lexical") == 2
    assert message in capsys.readouterr().err


def test_a_judge_is_needed_and_one_that_exists(folder, capsys) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)))]
    assert folder.run(annotations, [], "oracle") == 2
    assert "unknown judge 'oracle'" in capsys.readouterr().err
    assert folder.run(annotations, [], "replay:nowhere.jsonl") == 2
    assert "nowhere.jsonl" in capsys.readouterr().err
    assert folder.run(annotations, [], "lexical", "--timeout-s", "3") == 2
    assert "--timeout-s is for openai:" in capsys.readouterr().err
    said_at = folder.path / "said.jsonl"
    assert folder.run(annotations, [], "lexical", "--record", str(said_at)) == 2
    assert "is a file that is read" in capsys.readouterr().err
    given = ["--annotations", str(annotations[0]), "--predictions", str(said_at)]
    assert cli.main(["eval", "proactivevideoqa", *given]) == 2
    assert "proactivevideoqa needs a judge" in capsys.readouterr().err


def test_names_of_subsets(tmp_path: Path) -> None:
    def names(*paths: str) -> tuple[str, ...]:
        return subset_names([tmp_path / path for path in paths])

    assert names("WEB/anno.json", "TV/anno.json") == ("WEB", "TV")
    assert names("d/WEB.json", "d/TV.json", "e/x.json") == ("d/WEB", "d/TV", "e")
    both = names("a/WEB/anno.json", "b/WEB/anno.json")
    assert both == (str(tmp_path / "a/WEB/anno.json"), str(tmp_path / "b/WEB/anno.json"))


def test_a_linked_annotation_file_is_named_by_the_folder_of_the_link(tmp_path: Path) -> None:
    (tmp_path / "blobs").mkdir()
    (tmp_path / "WEB").mkdir()
    (tmp_path / "blobs" / "0f3a").write_text("[]")
    (tmp_path / "WEB" / "anno.json").symlink_to(tmp_path / "blobs" / "0f3a")
    assert subset_names([tmp_path / "WEB" / "anno.json"]) == ("WEB",)


def test_a_question_id_in_two_files_is_an_error(folder) -> None:
    one = folder.annotations("WEB", sample("a", answer(0, 10)))
    other = folder.annotations("TV", sample("a", answer(0, 10)))
    with pytest.raises(DataError, match="'a' is in more than one of the annotation files"):
        ProactiveVideoQa().items([one, other])


def test_the_question_is_judged_and_not_the_subtitles_that_follow(folder) -> None:
    row = sample(TV, answer(5, 10))
    for time_s in (0, 2.5):  # the first one with the question itself
        row["conversation"].append({"role": "user", "content": "Subtitle: No.", "time": time_s})
    (item,) = ProactiveVideoQa().items([folder.annotations("TV", row)])
    assert item.gold.gold[0].question == "What is there?"
    assert [question.time_s for question in item.stream.questions] == [0, 0, 2.5]


def test_the_official_output_of_mmduet2(folder, capsys) -> None:
    annotations = [folder.annotations("WEB", sample(TV, answer(0, 10)))]
    turns = [
        {"role": "user", "content": "What is there?", "time": 0},
        {"role": "assistant", "content": "NO REPLY", "time": 1},
        {"role": "assistant", "content": "A cat.", "time": 5.0},
        {"role": "user", "content": "Subtitle: Miaow."},
    ]
    row = {"question_id": TV, "model_response_list": turns, "drop_ratio_list": []}
    path = write_lines(folder.path / "out.jsonl", [row])
    flags = ("--format", "official")
    found = figures(folder, capsys, annotations, path, [level(TV, 0, 5, 3)], *flags)
    assert found["overall"]["pauc"]["0"] == 62.5
    assert found["behaviour"]["n_replies"] == 1
    turns[2]["time"] = "5"
    write_lines(path, [row])
    assert folder.run(annotations, path, [], *flags) == 2
    assert "out.jsonl, line 1, turn 3: 'time' must be a number" in capsys.readouterr().err


def test_the_judge_is_asked_about_all_that_was_said_in_the_turn(folder, capsys, tmp_path) -> None:
    """A model on a server: its questions, what it costs, and its record, which gives the same."""
    row = sample("a", answer(0, 10, "A cat."))
    annotations = [folder.annotations("WEB", row)]
    replies = [said("a", (6, "It sits."), (2, "A cat."), (4, "A cat."), (30, "Elsewhere."))]
    record = tmp_path / "record.jsonl"

    def script(messages: Sequence[Row]) -> list[str]:
        text = messages[-1]["content"]
        return ["no" if "newest message" in text else "3" if "sits" in text else "2"]

    with OpenAIServer(script) as server:
        judge = f"openai:watcher@{server.url}"
        flags = ("--cache", str(tmp_path / "kept.sqlite3"), "--record", str(record))
        found = figures(folder, capsys, annotations, replies, judge, *flags)
        asked = [body["messages"][1]["content"] for body in server.bodies]
        assert sorted(text.splitlines()[-1] for text in asked) == [
            'newest message: "It sits."',
            'what was said: "A cat. It sits."',
            'what was said: "A cat."',
        ]
        assert all("What is there?" in text for text in asked if "due reply" in text)
        assert server.all_disconnected()
        assert folder.run(annotations, replies, judge, *flags[:2]) == 0
        assert len(server.bodies) == 3  # answers were kept
        shown = capsys.readouterr()
        assert "3 questions, 3 with a kept answer, 0 failed" in shown.err
        assert "judge watcher (prompts" in shown.out
    assert found["overall"]["pauc"]["0"] == pytest.approx(100 * (2 * 0.5 + 4 + 8) / 20)
    assert found["overall"]["duplicates"] == 50  # "A cat." again, and not "It sits."
    again = figures(folder, capsys, annotations, replies, f"replay:{record}")
    assert again["overall"] == found["overall"]
    assert again["judge"] == f"{found['judge']}, recorded in record.jsonl"


def test_a_judge_that_is_down_stops_with_1_and_leaves_no_record(folder, capsys, tmp_path) -> None:
    annotations = [folder.annotations("WEB", sample("a", answer(0, 10)))]
    record = tmp_path / "record.jsonl"
    with OpenAIServer(lambda _: ["it depends"]) as server:
        flags = ("--cache", str(tmp_path / "kept.sqlite3"), "--record", str(record))
        judge = f"openai:watcher@{server.url}"
        assert folder.run(annotations, [said("a", (2, "x"))], judge, *flags) == 1
    err = capsys.readouterr().err
    assert "the judge watcher is down" in err
    assert "1 questions, 0 with a kept answer, 1 failed" in err
    assert not record.exists()


def test_lexical_scores_equal_those_of_score_proactive(folder) -> None:
    """On drawn dialogues, in both scopes of duplicates: one way of scoring a gold turn."""
    chance = random.Random(0)
    words = ["cat", "dog", "red", "blue", "sits", "runs", "two", "3"]
    path = folder.annotations(
        "WEB",
        *(
            sample(
                str(n),
                *(
                    answer(start, start + 8, " ".join(chance.sample(words, 3)))
                    for start in chance.sample(range(50), 3)
                ),
            )
            for n in range(20)
        ),
    )
    for scope in ("within_turn", "whole_dialogue"):
        benchmark = ProactiveVideoQa(scope)
        items = benchmark.items([path])
        predictions = {
            item.stream.item_id: tuple(
                TimedReply(float(chance.randrange(60)), " ".join(chance.choices(words, k=2)))
                for _ in range(12)
            )
            for item in items
        }
        transcripts = [Transcript(i.gold, predictions[i.stream.item_id], 60.0) for i in items]
        expected = asyncio.run(score_proactive(transcripts, LexicalJudge(), duplicate_scope=scope))
        rows = [
            said(item_id, *((r.time_s, r.text) for r in replies))
            for item_id, replies in predictions.items()
        ]
        file = PredictionFile.open(write_lines(folder.path / "said.jsonl", rows))
        grader = make_grader("lexical")
        row = asyncio.run(score_predictions(benchmark, items, file, grader, "drawn"))
        for omega in (0.0, 0.5, 1.0):
            found = row.figures["overall"]["pauc"][f"{omega:g}"]
            assert found == pytest.approx(100 * expected.pauc(omega), abs=1e-4)
        share = expected.duplicates.share
        assert share is not None
        assert row.figures["overall"]["duplicates"] == pytest.approx(100 * share, abs=1e-4)
        assert row.figures["counts"]["overall"]["n_judged"] == expected.num_judged


def test_replies_are_read_as_they_are_scored(folder) -> None:
    """Those of two chunks and of the items to show are alive at once, however many there are."""
    num_items, num_each = 500, 20
    path = folder.annotations("WEB", *(sample(str(n), answer(0, 2)) for n in range(num_items)))
    replies = [(k / 2, "A cat." if k < 3 else "A dog.") for k in range(num_each)]
    rows = (said(str(n), *replies) for n in range(num_items))
    file = PredictionFile.open(write_lines(folder.path / "said.jsonl", rows))
    benchmark, most = ProactiveVideoQa(), 0

    def on_item(item: Any, *_: object) -> None:
        nonlocal most
        if int(item.stream.item_id) % 125 == 0:
            most = max(most, sum(type(one) is TimedReply for one in gc.get_objects()))

    row = asyncio.run(
        score_predictions(
            benchmark, benchmark.items([path]), file, make_grader("lexical"), "many", on_item
        )
    )
    assert row.behaviour["n_replies"] == num_items * num_each
    assert 0 < most <= (2 * NUM_AT_ONCE + NUM_SHOWN) * num_each < num_items * num_each / 2


def test_published_rows_have_the_names_of_columns() -> None:
    columns = {headline.name for headline in ProactiveVideoQa().headlines}
    for published in CARD.published:
        names = {name.removesuffix(" duplicates") for name in published.figures}
        assert names <= columns
        assert "judge" in published.protocol
    (rl,) = (p for p in CARD.published if p.who == "MMDuet2 RL" and "WEB" in p.figures)
    assert rl.figures["WEB"] == 53.3
    values = [rl.figures[name] for name in ("WEB", "EGO", "TV", "VAD")]
    assert math.isclose(sum(values) / 4, 39.8, abs_tol=0.05)


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="max_unscored_share must be from 0 to 1"):
        ProactiveVideoQa(max_unscored_share=-0.1)
