"""`oncue score rewards`: the worked example through the command, and what it does when judgements
cannot be had."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from oncue import cli
from openai_server import Json, OpenAIServer, Status
from score_support import A, episode, judgements, write_lines

EXPECTED = {  # spec of the reward: pauc, repetition, in_span, prefix, reward
    "paper": (0.40625, -2 / 5, -1 / 5, -1 / 5, -0.08125),
    "official": (0.703125, -0.5, -1 / 2, -1 / 8, 0.609375),
}
NAMES = ("pauc", "repetition", "in_span", "prefix", "reward")


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """The example and the same turns all silent; what was judged."""
    episodes = write_lines(tmp_path / "e.jsonl", [episode(), episode("silent", {})])
    return episodes, write_lines(tmp_path / "r.jsonl", judgements())


def scores(capsys: pytest.CaptureFixture[str], *words: object) -> list[dict[str, Any]]:
    """The lines on stdout of a call that ends well."""
    assert cli.main(["score", "rewards", *map(str, words), "--json"]) == 0
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize("profile", EXPECTED)
def test_the_worked_example(
    profile: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    spoken, silent = scores(capsys, files[0], "--profile", profile, "--judge", f"replay:{files[1]}")
    assert list(spoken) == ["episode_id", *NAMES, "unscored"]
    assert [spoken[name] for name in NAMES] == pytest.approx(EXPECTED[profile])
    assert silent == {
        "episode_id": "silent",
        "pauc": 0.125,
        "repetition": 0,
        "in_span": 0,
        "prefix": 0,
        "reward": 0.375,
        "unscored": 0,
    }


def test_nothing_is_printed_as_minus_zero(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(["score", "rewards", str(files[0]), "--judge", f"replay:{files[1]}", "--json"])
        == 0
    )
    assert "-0.0," not in capsys.readouterr().out


def test_weights_and_threshold_are_options(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    replay = f"replay:{files[1]}"
    weights = (
        "--weight-pauc",
        1,
        "--weight-repetition",
        0,
        "--weight-in-span",
        0,
        "--weight-prefix",
        1,
    )
    (spoken, _) = scores(capsys, files[0], "--judge", replay, *weights, "--prefix-characters", 61)
    assert (spoken["prefix"], spoken["reward"]) == (0, spoken["pauc"])
    (spoken, _) = scores(capsys, files[0], "--judge", replay, *weights, "--prefix-characters", 60)
    assert spoken["reward"] == spoken["pauc"] - 1 / 8


def test_without_json_there_is_a_table_of_means(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(
            [
                "score",
                "rewards",
                str(files[0]),
                "--judge",
                f"replay:{files[1]}",
                "--profile",
                "paper",
            ]
        )
        == 0
    )
    table = capsys.readouterr().out
    assert "N = 2 rollouts" in table
    row = next(line for line in table.splitlines() if line.startswith("pauc"))
    assert row.split() == ["pauc", "3", f"{(0.40625 + 0.125) / 2:.4f}", "0.1250", f"{0.40625:.4f}"]


def test_missing_judgements_are_counted_and_are_no_zeros(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    episodes = write_lines(tmp_path / "e.jsonl", [episode(), episode("e2")])
    left = [
        line for line in judgements() if line["time"] != 16
    ]  # the mark and the verdict of one reply
    zeros = [
        {**line, "level": 1} if "level" in line else {**line, "repeated": False}
        for line in judgements()
    ]
    zeros = [line for line in zeros if line["time"] == 16]
    replay = f"replay:{write_lines(tmp_path / 'r.jsonl', left)}"
    assert (
        cli.main(
            ["score", "rewards", str(episodes), "--judge", replay, "--json", "--profile", "paper"]
        )
        == 0
    )
    captured = capsys.readouterr()
    first, second = (json.loads(line) for line in captured.out.splitlines())
    assert (first["unscored"], second["unscored"]) == (2, 7)
    assert "9 judgements are missing, in 2 rollouts" in captured.err
    zeroed = scores(
        capsys,
        episodes,
        "--profile",
        "paper",
        "--judge",
        f"replay:{write_lines(tmp_path / 'z.jsonl', [*left, *zeros])}",
    )[0]
    assert (zeroed["unscored"], zeroed["pauc"] < first["pauc"]) == (0, True)
    assert zeroed["repetition"] == -2 / 5
    assert first["repetition"] == -2 / 4


@pytest.mark.parametrize("judge", ["lexical", "exact"])
def test_what_was_recorded_gives_the_same_scores_again(
    judge: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gold = [{"question": "?", "content": "Left: red square appears.", "reply_timespan": [1, 4]}]
    said = ["Right: red square appears.", "Left: red square appears.", "NO REPLY", "Now 2."]
    turns = [{"time": 1.1 * (k + 1), "text": text} for k, text in enumerate(said)]
    line = {"episode_id": "w", "gold": gold, "turns": turns, "previous_replies": ["Now 1."]}
    episodes, record = (
        write_lines(tmp_path / "e.jsonl", [line, episode()]),
        tmp_path / "new" / "r.jsonl",
    )
    scored = scores(capsys, episodes, "--judge", judge, "--record", record)
    assert scores(capsys, episodes, "--judge", f"replay:{record}") == scored
    assert scored[0]["pauc"] > 0.5
    assert scored[0]["unscored"] == 0


def test_judgements_of_other_replies_are_told(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    shifted = [{**line, "time": line["time"] + 0.5} for line in judgements()]
    replay = f"replay:{write_lines(files[1], shifted)}"
    assert cli.main(["score", "rewards", str(files[0]), "--judge", replay, "--json"]) == 0
    assert f"warning: {len(shifted)} recorded judgements" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--judge", "replay:none.jsonl"], "none.jsonl"),
        (["--judge", "best"], "unknown judge 'best'"),
        (["--judge", "lexical", "--profile", "other"], "--profile"),
        (["--judge", "lexical", "--weight-pauc", "nan"], "within 1,000,000 of 0"),
        (["--judge", "lexical", "--weight-pauc", "1e308"], "within 1,000,000 of 0"),
        (["--judge", "lexical", "--prefix-characters", "0"], "prefix_characters"),
        (["--judge", "lexical", "--max-at-once", "4"], "--max-at-once is for openai:MODEL@URL"),
        (
            ["--judge", "openai:m@http://localhost", "--request-fields", "[1]"],
            "--request-fields must be a JSON object",
        ),
        (
            ["--judge", "openai:m@http://localhost", "--request-fields", "{"],
            "--request-fields is not JSON",
        ),
        (["--judge", "openai:m@http://localhost", "--max-tokens", "0"], "max_tokens"),
        ([], "--judge"),
    ],
)
def test_bad_input_is_one_line_and_exit_2(
    words: list[str], told: str, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["score", "rewards", str(files[0]), *words]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    assert told in captured.err


@pytest.mark.parametrize("taken", [0, 1])
def test_a_record_never_takes_the_place_of_what_is_read(
    taken: int, files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    """However the file is called."""
    before = [path.read_text() for path in files]
    link = files[0].parent / "link.jsonl"
    link.symlink_to(files[taken])
    for record in (files[taken], link):
        words = ["--judge", f"replay:{files[1]}", "--record", str(record)]
        assert cli.main(["score", "rewards", str(files[0]), *words]) == 2
        assert "--record" in capsys.readouterr().err
        assert [path.read_text() for path in files] == before


def test_a_bad_line_is_told_before_anything_is_scored(
    files: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    with files[0].open("a") as file:
        file.write('{"episode_id": "e3"}\n')
    assert cli.main(["score", "rewards", str(files[0]), "--judge", "lexical", "--json"]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "e.jsonl, line 3: field 'gold' is missing" in captured.err


def judging(messages: Sequence[Json]) -> Sequence[str]:
    """A model that decides as the judge of the worked example did."""
    texts = messages[1]["content"]
    if "due reply" in texts:
        return ["5" if '"one"' in texts or "second" in texts else "1" if A in texts else "3"]
    return ["yes" if "second" in texts.splitlines()[-1] else "no"]


@pytest.mark.parametrize("profile", EXPECTED)
def test_a_model_on_a_server_as_the_judge(
    profile: str, files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(judging) as server:
        words = (
            "--judge",
            f"openai:watcher@{server.url}",
            "--cache",
            tmp_path / "answers.sqlite3",
            "--profile",
            profile,
        )
        (spoken, _) = scored = scores(capsys, files[0], *words, "--record", tmp_path / "new.jsonl")
        assert [spoken[name] for name in NAMES] == pytest.approx(EXPECTED[profile])
        num_asked = len(server.bodies)
        assert cli.main(["score", "rewards", str(files[0]), *map(str, words), "--json"]) == 0
        assert "7 questions, 7 with a kept answer" in capsys.readouterr().err
        assert len(server.bodies) == num_asked == 7  # all from the cache
    assert (
        scores(
            capsys, files[0], "--profile", profile, "--judge", f"replay:{tmp_path / 'new.jsonl'}"
        )[1:]
        == scored[1:]
    )


def test_a_judge_that_is_down_stops_the_command_and_the_rest_is_done_later(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    said = [{8: f"{number} is here.", 20: f"{number} is gone."} for number in range(20)]
    episodes = write_lines(tmp_path / "e.jsonl", [episode(f"e{k}", said[k]) for k in range(20)])
    with OpenAIServer(judging) as server:
        words = [
            "score",
            "rewards",
            str(episodes),
            "--judge",
            f"openai:watcher@{server.url}",
            "--json",
        ]
        words += ["--record", str(tmp_path / "r.jsonl"), "--max-at-once", "2"]
        server.faults.extend([None] * 10 + [Status(401)] * 1000)
        assert cli.main(words) == 1
        captured = capsys.readouterr()
        assert "is down: 11 of its last" in captured.err
        assert "judge.sqlite3" in captured.err
        assert "Traceback" not in captured.err
        assert not (tmp_path / "r.jsonl").exists()
        server.faults.clear()
        num_before = len(server.bodies)
        assert cli.main(words) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert (
            len(server.bodies) - num_before == 20 * 3 - 10
        )  # two marks and one verdict each, without those kept
    assert [line["episode_id"] for line in lines] == [f"e{k}" for k in range(20)]
    assert all(line["unscored"] == 0 for line in lines)


def test_a_server_that_answers_nothing_at_all_is_exit_1(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with OpenAIServer(judging) as server:
        server.faults.extend([Status(401)] * 1000)
        judge = [
            "--judge",
            f"openai:watcher@{server.url}",
            "--cache",
            str(tmp_path / "answers.sqlite3"),
        ]
        assert cli.main(["score", "rewards", str(files[0]), *judge, "--json"]) == 1
    captured = capsys.readouterr()
    assert "OPENAI_API_KEY" in captured.err
    assert json.loads(captured.out.splitlines()[0])["unscored"] == 7


def test_a_record_that_cannot_be_a_file_is_refused_before_anything_is_judged(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        cli.main(
            [
                "score",
                "rewards",
                str(files[0]),
                "--judge",
                "lexical",
                "--record",
                str(tmp_path),
                "--json",
            ]
        )
        == 2
    )
    said = capsys.readouterr()
    assert said.out == ""
    assert "is no file" in said.err


def test_judgements_of_other_episodes_are_told_of(
    files: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    replay = write_lines(tmp_path / "more.jsonl", [*judgements(), *judgements("elsewhere")])
    assert (
        cli.main(["score", "rewards", str(files[0]), "--judge", f"replay:{replay}", "--json"]) == 0
    )
    assert (
        "1 episodes that are not among the rollouts (the first is 'elsewhere')"
        in capsys.readouterr().err
    )


@pytest.mark.parametrize("place", ["episode_id", "question", "text", "previous"])
def test_half_a_character_is_refused(
    place: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = episode()
    if place == "episode_id":
        line["episode_id"] = "\ud800"
    elif place == "question":
        line["gold"][0]["question"] = "\ud800"
    elif place == "text":
        line["turns"][0]["text"] = "\ud800"
    else:
        line["previous_replies"] = ["\ud800"]
    assert (
        cli.main(
            [
                "score",
                "rewards",
                str(write_lines(tmp_path / "e.jsonl", [line])),
                "--judge",
                "lexical",
            ]
        )
        == 2
    )
    assert "half of a character" in capsys.readouterr().err
