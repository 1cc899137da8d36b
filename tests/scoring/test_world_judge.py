"""The exact judge: every sentence of the worlds is its own best reply, and one wrong detail costs
one mark."""

from __future__ import annotations

import asyncio
import re

import pytest

from oncue.errors import ConfigError
from oncue.scoring.world_judge import world_judge
from oncue.world.clip import WORLDS, make_clip
from oncue.world.questions import exact_level
from oncue.world.scene import NAMELESS

OTHER_SIDE = {"Left": "Right", "Right": "Left"}


def sentences(world: str) -> set[str]:
    return {
        gold.content for index in range(200) for gold in make_clip(world, "test", index).task.gold
    }


@pytest.mark.parametrize("world", WORLDS)
def test_marks_of_every_gold_sentence(world):
    events = {text for text in sentences(world) if not text.startswith("Now")}
    assert len(events) > 4
    for text in events:
        assert exact_level(text, text) == exact_level(text, f" {text}\n") == 2
        side, rest = text.split(": ")
        name = re.split(r" (?:appears|leaves|moves|turns)\b", rest)[0]
        assert exact_level(text, f"{OTHER_SIDE[side]}: {rest}") == (0 if name == NAMELESS else 1)
        assert exact_level(text, text.replace(name, "pink hexagon")) == 1
        assert exact_level(text, f"{OTHER_SIDE[side]}: {rest.replace(name, 'pink hexagon')}") == 0
        for verb in ("appears", "leaves", "moves here", "turns red"):
            wrong = f"{side}: {name} {verb}."
            assert exact_level(text, wrong) == (2 if wrong == text else 0)
        assert (
            exact_level(text, "")
            == exact_level(text, "NO REPLY")
            == exact_level(text, "Something.")
            == 0
        )


def test_a_number_is_right_or_wrong():
    counts = {text for text in sentences("shapes") if text.startswith("Now")}
    assert len(counts) >= 3
    assert all(exact_level(a, b) == (2 if a == b else 0) for a in counts for b in counts)


def test_the_judge_takes_the_best_reply_and_only_equal_text_repeats():
    judge, gold = world_judge(), "Left: red square appears."
    said = ["Now 2.", "Right: red square appears."]
    assert (judge.name, judge.max_score) == ("exact", 2)
    assert asyncio.run(judge.coverage("?", gold, said)) == 1
    assert asyncio.run(judge.coverage("?", gold, [*said, gold])) == 2
    assert asyncio.run(judge.repeats(said, gold)) is False
    assert asyncio.run(judge.repeats([gold], gold + " ")) is True


def test_on_the_scale_of_the_reward_every_mark_is_doubled():
    gold = "Left: red square appears."
    said = [gold, "Right: red square appears.", "Left: red square leaves.", "Now 2."]
    for max_score, expected in ((2, [2, 1, 0, 0]), (4, [4, 2, 0, 0])):
        judge = world_judge(max_score)
        assert judge.max_score == max_score
        assert [asyncio.run(judge.coverage("?", gold, [reply])) for reply in said] == expected
    with pytest.raises(ConfigError, match="max_score 3"):
        world_judge(3)
