"""What a config file holds is what a run was given: there and back again, and nothing is
ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from oncue.config import from_plain, load_config, to_plain
from oncue.data.dialogue_sources import RowSource, WorldSource
from oncue.errors import ConfigError
from oncue.recipes import sft_recipe
from oncue.train.sft.settings import SftConfig, Stage


def written(path: Path, text: str) -> Path:
    path.write_text(text)
    return path


@pytest.mark.parametrize("recipe", ["mini", "mmduet2-3b"])
def test_a_recipe_survives_its_file(tmp_path, recipe):
    config = sft_recipe(recipe)
    path = written(tmp_path / "config.yaml", yaml.safe_dump(to_plain(config)))
    assert load_config(SftConfig, path) == config
    assert load_config(SftConfig, path) != replace(config, seed=9)


def test_a_file_changes_only_what_it_names(tmp_path):
    base = sft_recipe("mmduet2-3b")
    path = written(tmp_path / "some.yaml", "learning_rate: 2e-6\nfreeze_vision: false\n")
    assert load_config(SftConfig, path, base) == replace(
        base, learning_rate=2e-6, freeze_vision=False
    )


def test_each_kind_of_source_is_told_by_its_fields():
    for source in (WorldSource(num_turns=(2, 9)), RowSource((Path("a.jsonl"), Path("b.jsonl")))):
        stage = Stage("s", source, 2)
        assert from_plain(Stage, to_plain(stage)) == stage


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 1", r"learning_rat: unknown setting; did you mean learning_rate\?"),
        ("qqqq: 1", "qqqq: unknown setting; expected some of autocast_dtype, "),
        ("1: 2\nlearning_rate: 1", "1: unknown setting"),
        (
            "stages:\n- {name: s, batch_size: 2, source: {path: [a]}}",
            r"source\.path: unknown setting; .* paths\?",
        ),
        (
            "stages:\n- {name: s, batch_size: 2, source: {paths: 3}}",
            r"source\.paths: expected a list, got 3",
        ),
        (
            "stages:\n- {name: s, batch_size: 2, source: x}",
            r"source: expected settings as `name: value`, got 'x'",
        ),
        (
            "stages:\n- {name: s, batch_size: 2, source: {paths: [a], worlds: {}}}",
            r"source\.\w+: unknown setting",
        ),
        (
            "stages:\n- {name: s, batch_size: 2, source: {num_turns: [2]}}",
            r"num_turns: expected tuple.*, got \[2\]",
        ),
        (
            "stages:\n- {name: s, batch_size: 2, source: {split: here}}",
            r"stages\.0\.source: unknown split 'here'",
        ),
        ("stages: 3", "stages: expected a list, got 3"),
        ("seed: null", "seed: expected a whole number, got None"),
        ("freeze_vision: maybe", "freeze_vision: expected true or false, got 'maybe'"),
        ("decision_format: word", "decision_format: expected 'text' or 'token', got 'word'"),
        (
            "stages:\n- {name: s, batch_size: 2, num_step: 3, source: {paths: [a]}}",
            r"stages\.0\.num_step: unknown",
        ),
        (
            "stages:\n- {name: s, source: {paths: [a]}}",
            r"stages\.0\.batch_size is missing; expected a whole number",
        ),
        ("learning_rate: fast", "learning_rate: expected a number, got 'fast'"),
        ("learning_rate: -1", "learning_rate must be a positive number, got -1.0$"),
        ("- a\n- b", r"must hold settings as `name: value`, got \['a', 'b'\]"),
        ("[]", r"must hold settings as `name: value`, got \[\]"),
        ("", "must hold settings as `name: value`, got nothing"),
        ("a: [", r"cannot be read as YAML \(line 1, column 5"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path, text, said):
    path = written(tmp_path / "c.yaml", text)
    with pytest.raises(ConfigError, match=said) as caught:
        load_config(SftConfig, path, sft_recipe("mmduet2-3b"))
    told = str(caught.value)
    assert told.startswith(str(path))
    assert "\n" not in told
    assert len(told) < len(str(path)) + 600


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_config(SftConfig, tmp_path / "gone.yaml")


def test_free_names_stay_free():
    source = WorldSource(worlds={"footage": 2.0})
    assert from_plain(WorldSource, to_plain(source)).worlds == {"footage": 2.0}
