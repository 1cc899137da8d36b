"""Running a policy on a benchmark: what is watched, what is written, and going on after the end of
a process."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from stream_run_support import SECONDS, make_benchmark, plan, stretched

from oncue.aio import completed
from oncue.errors import BackendError, ConfigError, DataError
from oncue.eval.benchmarks.omnimmi import OmniMmi
from oncue.eval.streams.journal import PredictionJournal
from oncue.eval.streams.policies import Contender
from oncue.eval.streams.predictions import PredictionFile
from oncue.eval.streams.running import StreamRun, check_videos, predict
from oncue.eval.streams.scoring import score_predictions
from oncue.eval.streams.stream import Prediction
from oncue.policy.open_policy import Script
from oncue.types import EnvTurn, PolicyTurn, Reply, Silence, TimedReply

NOBODY = Script(lambda _: Watching())


@pytest.fixture(scope="module")
def benchmark(tmp_path_factory) -> tuple[Path, Path]:
    return make_benchmark(tmp_path_factory.mktemp("benchmark"))


class Watching:
    """Says the shade of what it sees, at every second turn; fails at the turn `fails_at` of all."""

    turns: ClassVar[list[EnvTurn]] = []

    def __init__(self, fails_at: int | None = None) -> None:
        self.num, self.fails_at = 0, fails_at

    async def respond(self, observed: EnvTurn) -> PolicyTurn:
        Watching.turns.append(observed)
        if len(Watching.turns) == self.fails_at:
            raise BackendError("gone")
        self.num += 1
        shade = round(observed.pictures[-1].mean() / 40) * 40
        return PolicyTurn(Silence() if self.num % 2 else Reply(f"shade {shade}"))

    def close(self) -> None:
        """Nothing is held."""


@pytest.fixture(autouse=True)
def forgotten() -> None:
    Watching.turns = []


def said(path: Path) -> list[list[tuple[float, str]]]:
    """The replies to each item."""
    return [[(r.time_s, r.text) for r in p.replies] for _, p in PredictionFile.open(path)]


def test_each_item_is_watched_to_its_end(benchmark, tmp_path) -> None:
    run = plan(*benchmark, Contender())
    file = predict(run, NOBODY, tmp_path / "said.jsonl", resume=False)
    found = [p for _, p in file]
    assert [p.item_id for p in found] == [i.stream.item_id for i in run.chosen.items]
    assert [p.watched_s for p in found] == [4.0, 6.0, 5.0, 6.0]
    assert [(p.num_turns, p.num_silent) for p in found] == [(4, 2), (6, 3), (5, 3), (6, 3)]
    assert said(file.path)[0] == [(2.0, "shade 80"), (4.0, "shade 120")]
    assert file.protocol["policy"] == "model"
    assert (file.protocol["model"], file.protocol["n_items"]) == ("script", 4)
    assert file.items is None  # all of the benchmark


def test_a_stretch_is_watched_on_the_clock_of_the_video(benchmark, tmp_path) -> None:
    run = stretched(plan(*benchmark, Contender()), 1.0, 1.5, 3.6)
    file = predict(run, NOBODY, tmp_path / "said.jsonl", resume=False)
    (found,) = (p for _, p in file)
    assert [(r.time_s, r.text) for r in found.replies] == [(3.5, "shade 120")]
    assert [turn.clock_s for turn in Watching.turns] == [1.0, 2.0, 3.0]
    assert [bool(turn.text) for turn in Watching.turns] == [True, False, False]
    assert found.watched_s == 3.0


def test_frames_of_a_turn_and_their_interval_are_as_asked_for(benchmark, tmp_path) -> None:
    run = plan(*benchmark, Contender(), frame_interval_s=0.5, frames_per_turn=2)
    file = predict(run, NOBODY, tmp_path / "said.jsonl", resume=False)
    assert {len(turn.frames) for turn in Watching.turns} == {2}
    assert said(file.path)[0] == [(2.0, "shade 80"), (4.0, "shade 120")]
    assert file.protocol["frame_interval_s"] == 0.5


@pytest.mark.parametrize("fails_at", [3, 12, 19])
def test_a_killed_run_goes_on_and_gives_the_same_file(benchmark, tmp_path, fails_at) -> None:
    run = plan(*benchmark, Contender())
    whole = predict(run, NOBODY, tmp_path / "whole.jsonl", resume=False).path.read_bytes()
    Watching.turns = []
    path = tmp_path / "said.jsonl"
    with pytest.raises(BackendError):
        predict(run, Script(lambda _: Watching(fails_at)), path, resume=False)
    assert path.read_bytes() != whole
    with path.open("ab") as file:
        file.write(b'{"question_id": "three.mp4", "repl')  # cut off by the end of the process
    num_before = len(path.read_bytes().splitlines()) - 2
    Watching.turns = []
    predict(run, NOBODY, path, resume=True)
    assert path.read_bytes() == whole
    num_items = sum(bool(turn.text) for turn in Watching.turns)
    assert num_items == 4 - num_before  # nothing is watched twice


def test_a_finished_run_is_not_begun_again_unless_asked_to(benchmark, tmp_path) -> None:
    run, path = plan(*benchmark, Contender()), tmp_path / "said.jsonl"
    predict(run, NOBODY, path, resume=True)
    Watching.turns = []
    predict(run, NOBODY, path, resume=True)
    assert not Watching.turns
    with pytest.raises(ConfigError, match=r"holds predictions already; .*--resume"):
        predict(run, NOBODY, path, resume=False)


def test_other_settings_are_refused_by_name(benchmark, tmp_path) -> None:
    run, path = plan(*benchmark, Contender()), tmp_path / "said.jsonl"
    predict(run, NOBODY, path, resume=False)
    other = plan(*benchmark, Contender(), frame_interval_s=2.0)
    with pytest.raises(ConfigError, match=r"a run with frame_interval_s 1\.0, this one has 2\.0"):
        predict(other, NOBODY, path, resume=True)
    with pytest.raises(ConfigError, match="a run with policy 'model', this one has 'talk'"):
        predict(plan(*benchmark, Contender("talk")), NOBODY, path, resume=True)
    named = Script(lambda _: Watching(), "another")
    with pytest.raises(ConfigError, match="a run with model 'script', this one has 'another'"):
        predict(run, named, path, resume=True)
    part = stretched(run, 0.0, 0.0, None)
    with pytest.raises(ConfigError, match="n_items 4, this one has 1"):
        predict(part, NOBODY, path, resume=True)
    lines = path.read_text().splitlines()
    lines[0] = json.dumps({"protocol": {}})
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ConfigError, match="a run with benchmark None"):
        predict(run, NOBODY, path, resume=True)


def test_an_error_names_its_item(benchmark, tmp_path) -> None:
    class Fussy(Watching):
        async def respond(self, observed: EnvTurn) -> PolicyTurn:  # noqa: ARG002
            raise DataError("no")

    run = plan(*benchmark, Contender())
    with pytest.raises(DataError, match=r"(one|two)\.mp4.* \(.*\1\.mp4\): no"):
        predict(run, Script(lambda _: Fussy()), tmp_path / "said.jsonl", resume=False)


def test_items_that_do_not_fit_their_videos_are_named_before_any_is_watched(benchmark) -> None:
    run = plan(*benchmark, Contender())
    check_videos(run.chosen.items, run.chosen.paths)
    for late, message in [
        ((9.0, 0.0, None), r"one\.mp4 .*: the question is at 9 s, but .* ends at 4 s"),
        ((3.0, 0.0, 2.0), r"the question is at 3 s, but what is watched ends at 2 s"),
        ((7.0, 6.0, 8.0), r"it is watched from 6 s on, but the video ends at 4 s"),
    ]:
        with pytest.raises(DataError, match=message):
            check_videos(stretched(run, *late).chosen.items, run.chosen.paths)
    broken = benchmark[1] / "broken.mp4"
    broken.write_bytes(b"nothing")
    with pytest.raises(DataError, match="broken"):
        check_videos(run.chosen.items, {**run.chosen.paths, "two.mp4": broken})
    broken.unlink()


def times_of(run: StreamRun, tmp_path: Path) -> list[float]:
    """When the first item is replied to."""
    file = predict(run, NOBODY, tmp_path / "said.jsonl", resume=False)
    assert file.protocol["policy"] == file.name
    assert "model" not in file.protocol
    return [time_s for time_s, _ in said(file.path)[0]]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("silence", []),
        ("talk", [1.0, 2.0, 3.0, 4.0]),
        ("delay:2.5", [3.0]),
        ("delay:0", [1.0]),
        ("delay:9", []),
        ("every:2", [2.0, 4.0]),
        ("every:1.5", [2.0, 3.0]),
    ],
)
def test_policies_without_a_model_speak_when_they_say(benchmark, tmp_path, name, expected) -> None:
    run = plan(*benchmark, Contender.named(name))
    assert times_of(run, tmp_path) == expected


def test_they_wait_for_the_question(benchmark, tmp_path) -> None:
    for number, (name, expected) in enumerate(
        {"delay:1": [3.5], "every:1": [2.5, 3.5, 4.5]}.items()
    ):
        run = stretched(plan(*benchmark, Contender.named(name)), 2.2, 0.5, None)
        (tmp_path / str(number)).mkdir()
        assert times_of(run, tmp_path / str(number)) == expected


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Model",
        "talk:1",
        "delay",
        "delay:x",
        "delay:-1",
        "every:0",
        "threshold:nan",
        "every:inf",
    ],
)
def test_other_names_are_refused(name) -> None:
    with pytest.raises(ConfigError, match=r"expected one of|must be positive"):
        Contender.named(name)


def test_a_blind_policy_is_asked_the_same_and_sees_grey(benchmark, tmp_path) -> None:
    predict(plan(*benchmark, Contender()), NOBODY, tmp_path / "a.jsonl", resume=False)
    seeing, Watching.turns = Watching.turns, []
    file = predict(plan(*benchmark, Contender("blind")), NOBODY, tmp_path / "b.jsonl", resume=False)
    assert {float(np.std(p)) for turn in Watching.turns for p in turn.pictures} == {0.0}
    assert {int(p[0, 0, 0]) for turn in Watching.turns for p in turn.pictures} == {128}
    assert {p.shape for turn in Watching.turns for p in turn.pictures} == {(64, 96, 3)}
    assert sorted(t.text for t in seeing) == sorted(t.text for t in Watching.turns)
    assert file.name == "script, blind"
    assert sum(SECONDS.values()) + SECONDS["two.mp4"] == len(seeing)


def test_a_last_turn_may_end_long_after_the_video(benchmark, tmp_path) -> None:
    run = plan(*benchmark, Contender("talk"), frame_interval_s=9.5)
    run = stretched(run, 0.0, 0.0, 4.0)
    file = predict(run, NOBODY, tmp_path / "said.jsonl", resume=False)
    score = completed(score_predictions(OmniMmi(), run.chosen.items, file, None, "x"))
    assert said(file.path) == [[(9.5, "Now.")]]
    assert score.num_missing == 0
    late = [("", Prediction(run.chosen.items[0].stream.item_id, (TimedReply(9.5, "Now."),)))]
    with pytest.raises(DataError, match=r"a reply at 9\.5 s, but"):
        completed(score_predictions(OmniMmi(), run.chosen.items, late, None, "x"))


def test_lines_end_up_in_the_order_of_the_items(tmp_path) -> None:
    path = tmp_path / "said.jsonl"
    journal = PredictionJournal(path, {"seed": 0}, ["a", "b", "c"], is_part=False, resume=False)
    journal.begin({"model": "x", "device": None})
    for item_id in "cab":
        journal.add(Prediction(item_id))
    assert [p.item_id for _, p in PredictionFile.open(path)] == ["c", "a", "b"]
    journal.finish()
    file = PredictionFile.open(path)
    assert [p.item_id for _, p in file] == ["a", "b", "c"]
    assert file.protocol == {"seed": 0, "model": "x"}  # nothing of what is not there


def test_a_file_with_items_of_another_run_is_refused(tmp_path) -> None:
    path = tmp_path / "said.jsonl"
    part = PredictionJournal(path, {}, ["a", "b"], is_part=True, resume=False)
    part.begin({})
    part.add(Prediction("a"))
    for item_ids, is_part in ((["a", "b"], False), (["a", "c"], True)):
        with pytest.raises(ConfigError, match="a run of other items"):
            PredictionJournal(path, {}, item_ids, is_part=is_part, resume=True)
    path.write_text(path.read_text().replace('"question_id": "a"', '"question_id": "z"'))
    with pytest.raises(DataError, match="line 2: this run has no item 'z'"):
        PredictionJournal(path, {}, ["a", "b"], is_part=True, resume=True)


def test_annotations_may_be_a_folder(benchmark, tmp_path) -> None:
    run = plan(*benchmark, Contender())
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "one.json").write_bytes(benchmark[0].read_bytes())

    def digests() -> list[str]:
        return replace(run, annotations=(tmp_path / "a",)).protocol(NOBODY)["annotations"]

    assert digests() == run.protocol(NOBODY)["annotations"]
    before = digests()
    (tmp_path / "a" / "two.json").write_text("[]")
    assert digests() != before
