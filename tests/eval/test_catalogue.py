"""The list of benchmarks: complete, and with all that a user must know."""

from __future__ import annotations

import json

import pytest

from oncue import cli
from oncue.commands.verbs import VERBS
from oncue.errors import ConfigError
from oncue.eval.benchmarks import known
from oncue.eval.benchmarks.catalogue import entries, entry


@pytest.fixture
def tones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(known.KNOWN, "tones", ("tones", "Tones"))


def test_every_benchmark_with_a_command_is_listed() -> None:
    verbs = {v.words.split()[1] for v in VERBS if v.words.startswith("eval ")}
    assert {each.card.name for each in entries()} == verbs - {"list", "compare"}


def test_every_entry_says_what_a_number_of_it_means() -> None:
    for each in entries():
        for name in ("title", "measures", "data", "licence", "source"):
            assert getattr(each.card, name).strip(), f"{each.card.name}: {name}"
        assert each.headlines
        for row in each.card.published:
            assert row.protocol.strip(), f"{each.card.name}: {row.who}"
            assert row.source.strip(), f"{each.card.name}: {row.who}"


def test_published_rows_can_stand_in_a_table() -> None:
    """At least one figure of each is a headline."""
    for each in entries():
        for row in each.card.published:
            assert set(row.figures) & set(each.headlines), f"{each.card.name}: {row.who}"


@pytest.mark.usefixtures("tones")
def test_variants_have_choices_defaults_and_meanings() -> None:
    which, slack = entry("tones").variants
    assert (which.name, which.default, which.choices) == ("which", "any", ("first", "any"))
    assert slack.meaning == "How late a reply may be."
    assert slack.text(whole=False) == "--slack-s 0.0"
    assert which.text(whole=True) == "--which (first | any), by default any: Which reply counts."


@pytest.mark.usefixtures("tones")
def test_all_in_short_and_one_whole(capsys) -> None:
    assert cli.main(["eval", "list"]) == 0
    short = capsys.readouterr().out
    for words in ("tones: Tones", "CC0", "It is invented.", "--which any; --slack-s 0.0", "mcq: "):
        assert words in short
    assert "Somebody" not in short
    assert cli.main(["eval", "list", "tones"]) == 0
    whole = capsys.readouterr().out
    row = "Somebody: found 77.5, echoes 3.25; protocol: judge B, 4 fps, 245 of 250; from a paper"
    assert row in " ".join(whole.split())
    assert "Which reply counts." in whole
    assert "mcq" not in whole


@pytest.mark.usefixtures("tones")
def test_json_has_a_line_for_each(capsys) -> None:
    assert cli.main(["eval", "list", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["name"] for row in rows] == [*known.KNOWN, "world", "clips", "mcq"]
    (tones,) = (row for row in rows if row["name"] == "tones")
    assert tones["variants"][0]["choices"] == ["first", "any"]
    assert tones["published"][0]["protocol"] == "judge B, 4 fps, 245 of 250"
    assert tones["command"] == "oncue eval tones"


def test_an_unknown_name_is_named(capsys) -> None:
    with pytest.raises(
        ConfigError, match=r"no benchmark is called 'tone'; expected one of .*omnimmi"
    ):
        entry("tone")
    assert cli.main(["eval", "list", "tone"]) == 2
    assert "no benchmark is called 'tone'" in capsys.readouterr().err
