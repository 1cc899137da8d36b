"""The page of stored rollouts: its values are those of the run, texts stay text, and bad input is
told in one line."""

from __future__ import annotations

import asyncio
import json
import re
from functools import partial
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.records.judgements import read_judgements
from oncue.records.rescoring import score_rollouts
from oncue.records.rollouts import read_rollouts
from oncue.rewards.proactive import RewardSettings
from oncue.view import rollout_page as page
from oncue.view.film import MAX_STILLS, Film, film_of
from oncue.view.rollout_page import page_values, to_page
from oncue.view.stored import StoredRun, read_run
from view_run import CONFIG, read_lines, write_lines, write_run

NASTY = "</script><script>alert(1)</script><!-- <b>&amp;\u2028 {{slot}}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def values_of(run: StoredRun) -> dict[str, Any]:
    return page_values(run, partial(film_of, config=run.config))


def members(values: dict[str, Any]) -> list[tuple[dict[str, Any], dict[str, Any]]]:
    return [
        (group, member)
        for step in values["steps"]
        for group in step["groups"]
        for member in group["members"]
    ]


def test_it_shows_what_was_stored(folder: Path) -> None:
    values = values_of(read_run(folder))
    assert [step["step"] for step in values["steps"]] == [5, 10]
    assert [len(step["groups"]) for step in values["steps"]] == [3, 3]
    lines = [line for step in (5, 10) for line in read_lines(folder, step)]
    shown = members(values)
    assert [m["reward"] for _, m in shown] == [line["reward"] for line in lines]
    assert [m["advantage"] for _, m in shown] == [line["advantage"] for line in lines]
    for (group, member), line in zip(shown, lines, strict=True):
        said = [(t["time"], t["text"]) for t in line["turns"] if t["text"] != "NO REPLY"]
        assert [(r["time_s"], r["text"]) for r in member["replies"]] == said
        assert len(member["silent_s"]) + len(said) == 8
        assert [q["text"] for q in group["questions"]] == [q["text"] for q in line["questions"]]
        assert (group["start_s"], group["end_s"]) == (
            2.0,
            max([10.0, *(g["end_s"] for g in group["gold"])]),
        )
    assert values["steps"][1]["metrics"]["reward"] == pytest.approx(
        sum(m["reward"] for _, m in shown[9:]) / 9
    )


def test_advantages_of_turns_are_shown_where_they_differ(folder: Path) -> None:
    assert all(
        member["turn_advantages"] == [] for _, member in members(values_of(read_run(folder)))
    )
    lines = read_lines(folder, 5)
    lines[0]["turn_advantages"] = [0.0, 0.5, -1.0, 0.0, 0.0, 0.0, 0.0, 0.25]
    del lines[1]["turn_advantages"]  # as of a run that stored none
    write_lines(folder, 5, lines)
    shown = members(values_of(read_run(folder)))
    assert shown[0][1]["turn_advantages"] == [
        [turn["time"], gained]
        for turn, gained in zip(lines[0]["turns"], lines[0]["turn_advantages"], strict=True)
    ]
    assert shown[1][1]["turn_advantages"] == []


@pytest.mark.parametrize("wrong", [[1.0], [0.0] * 7 + [None], [0.0] * 7 + [True], 3])
def test_advantages_that_are_not_one_number_per_turn_are_refused(
    folder: Path, wrong: object
) -> None:
    lines = read_lines(folder, 5)
    lines[0]["turn_advantages"] = wrong
    write_lines(folder, 5, lines)
    with pytest.raises(DataError, match="turn_advantages"):
        read_run(folder)


def test_marks_are_those_of_the_judge(folder: Path) -> None:
    shown = members(values_of(read_run(folder)))
    right = [r for _, m in shown[1::3] for r in m["replies"]]
    assert right
    assert all(r["mark"] == 4 and r["inside"] for r in right if not r["repeated"])
    wrong = [r for _, m in shown[2::3] for r in m["replies"]]
    assert {r["mark"] for r in wrong} <= {0, None}
    assert [r["same_words"] for r in wrong] == [False, True] * 6
    assert any(not r["inside"] for r in wrong)


def area_of(stairs: dict[str, Any], end_s: float) -> float:
    steps = [*stairs["steps"], [end_s, 0.0]]
    return sum(mark * (until_s - time_s) for (time_s, mark), (until_s, _) in pairwise(steps))


def test_the_area_of_the_stairs_is_pauc_and_its_mean_the_term(folder: Path) -> None:
    num = 0
    for group, member in members(values_of(read_run(folder))):
        stairs = member["stairs"]
        for one in stairs:
            gold = group["gold"][one["gold"]]
            best = 4 * (gold["end_s"] - gold["start_s"])
            assert area_of(one, gold["end_s"]) / best == pytest.approx(one["pauc"], abs=1e-3)
            if len(one["steps"]) > 1:
                num += 1
                assert area_of(
                    one | {"steps": one["steps"][:1]}, gold["end_s"]
                ) / best != pytest.approx(one["pauc"])
        mean = sum(one["pauc"] for one in stairs) / len(stairs) if stairs else 0.0
        assert mean == pytest.approx(member["terms"]["pauc"])
    assert num > 3


def test_stored_judgements_replay_to_the_stored_reward(folder: Path, tmp_path: Path) -> None:
    path, lines = folder / "rollouts" / "step_000005.jsonl", read_lines(folder, 5)
    replay = tmp_path / "judged.jsonl"
    replay.write_text(
        "".join(json.dumps(judged) + "\n" for line in lines for judged in line["judgements"])
    )

    async def rewards() -> list[float]:
        scored = score_rollouts(read_rollouts(path), read_judgements(replay), RewardSettings())
        return [one.terms.reward async for one in scored]

    assert asyncio.run(rewards()) == [line["reward"] for line in lines]


def test_the_film_is_what_the_members_were_shown(folder: Path) -> None:
    group = read_run(folder).steps[0].groups[0]
    film = film_of(group, CONFIG)
    assert [still.time_s for still in film.stills] == [float(t) for t in range(3, 11)]
    assert all(still.jpeg.startswith(b"\xff\xd8") for still in film.stills)
    assert len(film.stills) <= MAX_STILLS


@pytest.mark.parametrize(("example", "reason"), [(None, "did not store"), (7, "another clip")])
def test_a_film_that_cannot_be_made_says_why(
    folder: Path, example: int | None, reason: str
) -> None:
    lines = read_lines(folder, 5)
    for line in lines:
        line["example"] = example
    write_lines(folder, 5, lines)
    group = values_of(read_run(folder, [5]))["steps"][0]["groups"][0]
    assert group["film"] == []
    assert reason in group["no_film"]


def test_films_are_bounded_and_the_newest_step_has_them(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "MAX_FILM_BYTES", 1)
    first, second = values_of(read_run(folder))["steps"]
    assert second["groups"][0]["film"]
    assert not second["groups"][1]["film"]
    assert "--step" in first["groups"][0]["no_film"]


def test_a_run_without_judgements_has_no_marks_and_no_stairs(folder: Path) -> None:
    lines = read_lines(folder, 5)
    for line in lines:
        del line["judgements"]
    write_lines(folder, 5, lines)
    shown = members(values_of(read_run(folder, [5])))
    assert not any(m["stairs"] or m["judged"] for _, m in shown)
    assert {r["mark"] for _, m in shown for r in m["replies"]} == {None}


def of_another_reward(folder: Path) -> dict[str, float]:
    """Makes the rollouts of step 5 those of a reward with other terms and no judge."""
    terms = {"format": 0.5, "accuracy": 1.0}
    lines = read_lines(folder, 5)
    for line in lines:
        for name in ("pauc", "repetition", "in_span", "prefix", "judgements"):
            del line[name]
        line.update(terms)
    write_lines(folder, 5, lines)
    row = {"step": 5, "reward": 1.5, "group_spread": 0.25, "reply_share": 0.1}
    row |= {f"reward_{name}": value for name, value in terms.items()}
    (folder / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    return terms


def test_a_page_has_the_terms_that_the_run_logged_in_their_order(folder: Path) -> None:
    of_pauc = values_of(read_run(folder))
    assert [(t["words"], t["weight"]) for t in of_pauc["terms"]] == [
        ("PAUC", 3.0),
        ("Repeats", 2.0),
        ("Out of span", 0.5),
        ("Openings", 2.0),
    ]
    terms = of_another_reward(folder)
    values = values_of(read_run(folder, [5]))
    assert [(t["name"], t["words"], t["weight"]) for t in values["terms"]] == [
        ("format", "format", None),
        ("accuracy", "accuracy", None),
    ]
    assert {tuple(m["terms"].items()) for _, m in members(values)} == {tuple(terms.items())}
    assert values["steps"][0]["metrics"] == {
        "reward": 1.5,
        "reward_format": 0.5,
        "reward_accuracy": 1.0,
        "group_spread": 0.25,
    }
    assert not any("profile" in fact for fact in values["facts"])
    assert not values["has_marks"]


def test_a_rollout_without_a_term_that_was_logged_is_refused(folder: Path) -> None:
    of_another_reward(folder)
    lines = read_lines(folder, 5)
    del lines[1]["accuracy"]
    write_lines(folder, 5, lines)
    with pytest.raises(DataError, match=r"line 2.*'accuracy'"):
        read_run(folder, [5])


def test_a_run_whose_log_is_lost_is_one_of_the_proactive_reward(folder: Path) -> None:
    (folder / "metrics.jsonl").unlink()
    assert read_run(folder).terms == ("pauc", "repetition", "in_span", "prefix")


def test_turns_that_could_not_be_read_are_shown_and_no_reply(folder: Path) -> None:
    lines = read_lines(folder, 5)
    lines[0]["malformed"] = [{"time": 4.0, "text": "NO\n", "reason": "a turn of white space"}]
    write_lines(folder, 5, lines)
    (_, first), (_, second), *_ = members(values_of(read_run(folder, [5])))
    assert first["malformed"] == [{"time_s": 4.0, "why": "a turn of white space: 'NO\\n'"}]
    assert 4.0 in first["silent_s"]
    assert (first["replies"], second["malformed"]) == ([], [])


def test_the_newest_steps_are_shown_and_others_on_request(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", (5,))
    lines = read_lines(folder, 5)
    for step in range(6, 31):
        write_lines(folder, step, lines)
    newest = read_run(folder)
    assert [s.step for s in newest.steps] == list(range(11, 31))
    assert newest.num_left_out == 6
    assert [s.step for s in read_run(folder, [7, 5]).steps] == [5, 7]
    with pytest.raises(ConfigError, match="step 99 of"):
        read_run(folder, [99])


class Scripts(HTMLParser):
    """The text of each script, and what elements load."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.loads: list[str] = []
        self._inside = False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self._inside = tag == "script"
        if self._inside:
            self.found.append("")
        self.loads += [
            value or ""
            for name, value in attrs
            if name in ("src", "href", "srcset", "action", "data")
        ]

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002
        self._inside = False

    def handle_data(self, data: str) -> None:
        if self._inside:
            self.found[-1] += data


def test_texts_stay_text_and_nothing_is_loaded(folder: Path) -> None:
    lines = read_lines(folder, 5)[:3]
    for line in lines:
        line["episode_id"] = f"5/{NASTY}/15/{line['episode_id'].rsplit('/', 1)[1]}"
        line["task"] = NASTY
        line["questions"] = [{"time": 0.0, "text": NASTY}]
        line["gold"] = [{"question": NASTY, "content": NASTY, "reply_timespan": [3, 9]}]
        line["turns"][0]["text"] = NASTY
        line["judgements"] = []
    write_lines(folder, 5, lines)
    text = to_page(read_run(folder, [5]), lambda _: Film(missing=NASTY))
    scripts = Scripts(text)
    assert len(scripts.found) == 2
    assert scripts.loads == []
    group = json.loads(scripts.found[0])["steps"][0]["groups"][0]
    assert group["members"][0]["replies"][0]["text"] == NASTY.strip()
    assert {group["name"], group["no_film"], group["gold"][0]["text"]} == {NASTY}
    assert not re.search(
        r"innerHTML|insertAdjacentHTML|document\.write|eval\(|https?://(?!www\.w3\.org)", text
    )
    assert "default-src 'none'" in text
    assert (
        len(Scripts(f"<script>x = {json.dumps(NASTY)}</script>").found) > 1
    )  # control: a careless page


def test_half_a_character_is_refused_with_its_place(folder: Path) -> None:
    lines = read_lines(folder, 5)
    lines[1]["turns"][0]["text"] = "Half \ud800"
    write_lines(folder, 5, lines)
    with pytest.raises(DataError, match="line 2, turn 1: 'text' holds half of a character"):
        read_run(folder, [5])


def test_only_what_the_reward_calls_repeated_is_marked_so(tmp_path: Path) -> None:
    """The same words in two spans: a repetition in the whole dialogue, and none within a span."""
    marked = {}
    for scope in ("dialogue", "span"):
        folder = write_run(tmp_path / scope, (5,))
        config = yaml.safe_load((folder / "config.yaml").read_text())
        config["reward"]["repetition_scope"] = scope
        (folder / "config.yaml").write_text(yaml.safe_dump(config))
        lines = read_lines(folder, 5)[:1]
        lines[0]["gold"] = [
            {"question": "?", "content": "It.", "reply_timespan": [0, 1.5]},
            {"question": "?", "content": "It.", "reply_timespan": [2.5, 9]},
        ]
        lines[0]["turns"] = [{"time": time_s, "text": "It."} for time_s in (1.0, 3.0)]
        lines[0] |= {"judgements": [], "previous_replies": [], "turn_advantages": [0.0, 0.0]}
        write_lines(folder, 5, lines)
        replies = values_of(read_run(folder, [5]))["steps"][0]["groups"][0]["members"][0]["replies"]
        marked[scope] = [reply["repeated"] for reply in replies]
    assert marked == {"dialogue": [False, True], "span": [False, False]}


def test_the_command_writes_the_page(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["view", str(folder)]) == 0
    assert (folder / "rollouts.html").read_text().startswith("<!doctype html>")
    assert "2 steps, 18 rollouts" in capsys.readouterr().out
    out = tmp_path / "new" / "page.html"
    assert cli.main(["view", str(folder), "--step", "10", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert "1 steps" not in said.out
    assert "1 more stored" in said.err
    assert out.exists()


def broken(folder: Path, how: str) -> None:
    path = folder / "rollouts" / "step_000005.jsonl"
    lines = read_lines(folder, 5)
    changes: dict[str, dict[str, Any]] = {
        "a reward that is no number": {"reward": "high"},
        "a reward that is not finite": {"reward": float("nan")},
        "a name without step and member": {"episode_id": "x"},
        "an example that is no number": {"example": "one"},
        "a judgement of an unknown kind": {"judgements": [{"kind": "taste", "time": 1.0}]},
        "a level out of range": {
            "judgements": [{"kind": "coverage", "gold_index": 0, "time": 3.0, "level": 9}]
        },
        "another gold": {"gold": [{"question": "", "content": "x", "reply_timespan": [1, 2]}]},
        "no turns": {"turns": []},
        "a malformed turn without a time": {"malformed": [{"text": "x", "reason": "y"}]},
    }
    if how in changes:
        lines[0] |= changes[how]
        write_lines(folder, 5, lines)
    elif how == "a cut line":
        path.write_text(path.read_text()[:-40])
    elif how == "no config":
        (folder / "config.yaml").unlink()
    elif how == "settings of another kind":
        (folder / "config.yaml").write_text("stages: []\n")
    elif how == "metrics that are none":
        (folder / "metrics.jsonl").write_text("[1]\n")
    else:
        for stored in (folder / "rollouts").iterdir():
            stored.unlink()


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ("a cut line", "step_000005.jsonl, line 9 is not JSON"),
        ("a reward that is no number", "line 1: 'reward' must be a finite number"),
        ("a reward that is not finite", "line 1: 'reward' must be a finite number"),
        ("a name without step and member", "STEP/TASK/EXAMPLE/MEMBER"),
        ("an example that is no number", "'example' must be a whole number"),
        (
            "a judgement of an unknown kind",
            "'kind' must be 'coverage' or 'repetition', got 'taste'",
        ),
        ("a level out of range", "'level' must be a whole number from 1 to 5"),
        ("another gold", "gold turns are not those of"),
        ("no turns", "at least one turn"),
        ("a malformed turn without a time", "field 'time' is missing"),
        ("no config", "holds no run"),
        ("settings of another kind", "stages: unknown setting"),
        ("metrics that are none", "metrics.jsonl, line 1"),
        ("no rollouts", "has no stored rollouts"),
    ],
)
def test_bad_input_is_told_in_one_line(
    folder: Path, how: str, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    broken(folder, how)
    assert cli.main(["view", str(folder)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
    assert not (folder / "rollouts.html").exists()


def test_places_that_cannot_be_read_or_written(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["view", str(folder / "nowhere")]) == 2
    assert "holds no run" in capsys.readouterr().err
    assert cli.main(["view", str(folder), "--out", str(folder)]) == 2
    assert "is a folder" in capsys.readouterr().err
