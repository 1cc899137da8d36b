"""What a config file holds is what a run was given: there and back again, and nothing is ignored."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from oncue.config import from_plain, load_config, to_plain
from oncue.errors import ConfigError
from oncue.recipes import sft_recipe
from oncue.train.settings import SftConfig, Stage
from oncue.train.sources import RowSource, WorldSource


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
    assert load_config(SftConfig, path, base) == replace(base, learning_rate=2e-6, freeze_vision=False)


def test_each_kind_of_source_is_told_by_its_fields():
    for source in (WorldSource(num_turns=(2, 9)), RowSource((Path("a.jsonl"), Path("b.jsonl")))):
        stage = Stage("s", source, 2)
        assert from_plain(Stage, to_plain(stage)) == stage


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("learning_rat: 1", "unknown setting 'learning_rat'"),
        ("stages:\n- {name: s, batch_size: 2, source: {path: [a.jsonl]}}", r"stages\.0\.source\.path: unknown"),
        ("stages:\n- {name: s, batch_size: 2, num_step: 3, source: {paths: [a]}}", r"stages\.0\.num_step: unknown"),
        ("stages:\n- {name: s, source: {paths: [a]}}", r"stages\.0\.batch_size: Field required"),
        ("learning_rate: fast", "learning_rate: .*got 'fast'"),
        ("learning_rate: -1", "learning_rate must be a positive number"),
        ("- a\n- b", "must hold settings"),
        ("a: [", "cannot be read as YAML"),
    ],
)
def test_what_cannot_be_understood_is_refused(tmp_path, text, said):
    path = written(tmp_path / "c.yaml", text)
    with pytest.raises(ConfigError, match=said):
        load_config(SftConfig, path, sft_recipe("mmduet2-3b"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"gone\.yaml"):
        load_config(SftConfig, tmp_path / "gone.yaml")


def test_free_names_stay_free():
    source = WorldSource(worlds={"footage": 2.0})
    assert from_plain(WorldSource, to_plain(source)).worlds == {"footage": 2.0}
