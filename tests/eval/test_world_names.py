"""`oncue eval world` shows the model beside policies of its own, which have names."""

from __future__ import annotations

import pytest

from oncue import cli


@pytest.mark.parametrize("name", ["silence", "talk every turn", "oracle", "truthful watcher"])
def test_a_model_named_like_a_baseline_is_refused_before_any_clip_is_made(
    name, tmp_path, capsys
) -> None:
    words = ["eval", "world", "--limit", "1", "--cache", str(tmp_path / "clips"), "--model"]
    assert cli.main([*words, name]) == 2
    assert f"a model cannot be called {name!r} here" in capsys.readouterr().err
    assert not (tmp_path / "clips").exists()
    assert cli.main([*words, "another"]) == 2
    assert "no model folder 'another'" in capsys.readouterr().err
