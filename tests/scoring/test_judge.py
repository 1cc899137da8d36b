"""The judges that need no model."""

from __future__ import annotations

import asyncio

import pytest

from oncue.errors import ConfigError
from oncue.scoring.judge import ExactJudge, LexicalJudge, content_words
from oncue.scoring.score import Unscored

RED = "Left: red square appears."


def coverage(judge, gold, *replies):
    return asyncio.run(judge.coverage("Tell me whenever something appears.", gold, replies))


def repeats(judge, new, *previous):
    return asyncio.run(judge.repeats(previous, new))


@pytest.mark.parametrize(
    ("gold", "replies", "mark"),
    [
        (RED, [RED], 2),
        (RED, ["A red square has appeared on the left"], 2),
        (RED, ["A red square."], 1),  # 2 of 4 content words
        (RED, ["Right: green circle leaves."], 0),
        (RED, ["A red square.", "It appears on the left."], 2),  # taken together
        (RED, [""], 0),
        (RED, [], 0),
        ("Three bottles are left.", ["3 bottles left"], 2),
        ("Three bottles are left.", ["two bottles left"], 1),  # the number is wrong: at most half
        ("Now 3.", ["Now 2."], 0),
        ("Now 3.", ["Now 2.", "Now 3."], 2),
        ("1,000 people", ["1000 people"], 2),
        ("It is.", ["It is."], 2),  # nothing but stop words
        ("No.", ["Yes."], 0),
        (
            "He is there.",
            ["He is there.", "A cat comes in."],
            2,
        ),  # more was said: what was told stays told
        ("He is there.", ["Yes, he is there."], 2),
    ],
)
def test_lexical_marks_of_the_benchmark(gold, replies, mark):
    assert coverage(LexicalJudge(), gold, *replies) == mark


@pytest.mark.parametrize(
    ("reply", "mark"),
    [
        (RED, 4),
        ("red square appears", 3),
        ("red square", 2),
        ("red circle", 1),
        ("green circle leaves", 0),
    ],
)
def test_lexical_marks_of_the_rl_reward(reply, mark):
    assert coverage(LexicalJudge(4), RED, reply) == mark


def test_lexical_judge_has_no_mark_for_a_wordless_gold_reply():
    assert isinstance(coverage(LexicalJudge(), "?!", "hello"), Unscored)


def test_lexical_judge_knows_two_scales():
    with pytest.raises(ConfigError, match="max_score 3"):
        LexicalJudge(3)


@pytest.mark.parametrize(
    ("new", "previous", "expected"),
    [
        ("The red square appeared.", [RED], True),
        ("The red square on the left is big.", [RED], False),
        ("Now two.", ["Now 1."], False),
        ("Red square.", ["A square.", "Something red."], True),
        ("Red square.", [], False),
        ("He is there.", ["He is there.", "A cat comes in."], True),
    ],
)
def test_lexical_repetition(new, previous, expected):
    assert repeats(LexicalJudge(), new, *previous) is expected


def test_forms_of_a_word_are_one():
    assert len({content_words(w) for w in ("appears", "appeared", "appearing", "appear")}) == 1
    assert len({content_words(w) for w in ("comes", "coming", "come")}) == 1
    assert content_words("sits sitting") == {"sit"}
    assert content_words("red ring") == {"red", "ring"}
    assert content_words("一个人") == {"一", "个", "人"}


@pytest.mark.parametrize(
    ("word", "stem"),
    [
        *[
            ("carries", "carry"),
            ("flies", "fly"),
            ("dies", "die"),
        ],  # of four letters: no y is behind the -ies
        *[("cups", "cup"), ("gas", "gas"), ("glass", "glas")],
        *[("eating", "eat"), ("going", "going"), ("rowed", "row"), ("used", "used")],
        *[("ball", "bal"), ("egg", "egg"), ("shoe", "sho"), ("toe", "toe")],
    ],
)
def test_how_much_of_a_word_must_be_left(word: str, stem: str) -> None:
    assert content_words(word) == {stem}


def test_exact_judge_gives_gold_and_reply_in_that_order() -> None:
    judge = ExactJudge(
        lambda gold, reply: len(gold) - len(reply), repeats_of=lambda old, new: new.startswith(old)
    )
    assert coverage(judge, "a man in red", "a man") == 7
    assert repeats(judge, "a man in red", "a man") is True
    assert repeats(judge, "a man", "a man in red") is False


def test_exact_judge_asks_the_function_and_takes_the_best_reply():
    judge = ExactJudge(lambda gold, reply: 2 * (gold == reply))
    assert [coverage(judge, RED), coverage(judge, RED, "x"), coverage(judge, RED, RED, "x")] == [
        0,
        0,
        2,
    ]
    assert repeats(judge, RED, "x", f" {RED} ") is True
    assert repeats(judge, RED, "x") is False
    always = ExactJudge(lambda *_: 0, repeats_of=lambda *_: True)
    assert repeats(always, RED, "x") is True
