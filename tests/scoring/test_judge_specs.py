"""Judges by name."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from oncue.errors import ConfigError
from oncue.scoring.judge import ExactJudge, LexicalJudge
from oncue.scoring.judge_specs import make_judge
from oncue.scoring.server_judge import JudgeOptions, ServerJudge


@pytest.mark.parametrize("max_score", [2, 4])
def test_every_judge_has_the_scale_that_was_asked_for(max_score: int) -> None:
    judges = [
        make_judge(spec, max_score)
        for spec in ("exact", "lexical", "openai:model@http://localhost:1")
    ]
    assert [type(judge) for judge in judges] == [ExactJudge, LexicalJudge, ServerJudge]
    assert [judge.max_score for judge in judges] == [max_score] * 3
    gold = "Left: red square appears."
    assert [asyncio.run(judge.coverage("?", gold, [gold])) for judge in judges[:2]] == [
        max_score
    ] * 2


def test_the_name_of_a_server_judge_holds_its_model_and_address(tmp_path: Path) -> None:
    options = JudgeOptions(max_at_once=3, cache=tmp_path / "answers.sqlite3")
    for model in ("gpt-4.1", "Qwen/Qwen3-32B", "vendor/model@001"):
        judge = make_judge(f"openai:{model}@https://host/v1", 4, options)
        assert isinstance(judge, ServerJudge)
        assert (judge.model, judge.options) == (model, options)


@pytest.mark.parametrize(
    "spec",
    [
        "",
        "exactly",
        "openai",
        "openai:",
        "openai:model",
        "openai:@http://host",
        "openai:model@host",
        "openai:a b@http://h",
    ],
)
def test_an_unknown_judge_is_told_with_what_there_is(spec: str) -> None:
    with pytest.raises(ConfigError, match=r"exact, lexical, or openai:MODEL@URL"):
        make_judge(spec, 4)


def test_recorded_judgements_are_no_judge_of_new_rollouts() -> None:
    with pytest.raises(ConfigError, match="stored rollouts only"):
        make_judge("replay:file.jsonl", 4)


@pytest.mark.parametrize("spec", ["exact", "lexical", "openai:model@http://localhost:1"])
def test_no_judge_has_another_scale(spec: str) -> None:
    with pytest.raises(ConfigError, match="max_score 3"):
        make_judge(spec, 3)
