"""`oncue eval world`: real clips, the one loop, baselines beside the model, and controls."""

from __future__ import annotations

import asyncio
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.env.streaming import StreamingEnv
from oncue.errors import ConfigError, InputError
from oncue.eval.benchmarks.baselines import (
    FrameDifferencePolicy,
    Trigger,
    oracle_replies,
    truthful_replies,
)
from oncue.eval.benchmarks.shuffled import ShuffledSource
from oncue.eval.benchmarks.world import (
    TALK_TEXTS,
    World,
    baselines,
    clip_lines,
    score_world,
)
from oncue.eval.benchmarks.world_clips import (
    ClipFile,
    ClipSet,
    cache_folder,
    open_clip,
    prepare,
    shown_times,
)
from oncue.eval.runner import watch_items
from oncue.policy.open_policy import Script, open_policy
from oncue.policy.scripted import ScriptedPolicy, SilentPolicy, TalkPolicy
from oncue.rollout import run_episode
from oncue.scoring.metrics import Transcript
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, TimedReply
from oncue.video.source import FileSource, frames_of
from oncue.world.make import drawn_by
from oncue.world.questions import exact_level

KEYS = """world n_clips pauc silence_pauc talk_pauc oracle_pauc duplicates first_reply_delay_s false_replies_per_min"""
CLIPS = ClipSet("shapes", limit=4, seed=1)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def files(cache: Path) -> list[ClipFile]:
    return prepare(cache, CLIPS)


def said_about(files, open_session, clips=CLIPS):
    """What sessions say about the clips, in the benchmark's own runner."""

    class Opened(World):
        def session(self, policy, item):  # noqa: ARG002
            return open_session(item.clip)

    with open_policy(Script(lambda _: SilentPolicy())) as policy:
        return asyncio.run(watch_items(Opened(clips, Path("unused")), files, policy))


def scores_of(files, open_session, clips=CLIPS):
    said = said_about(files, open_session, clips)
    return asyncio.run(score_world(clips, files, "model", said))


def test_a_model_that_knows_the_gold_scores_as_the_oracle(files):
    scores = scores_of(files, lambda clip: ScriptedPolicy(oracle_replies(clip.task, 1.0)))
    shown = scores.headline()
    assert list(shown) == KEYS.split()
    assert shown["pauc"] == shown["oracle_pauc"] > 90
    assert (shown["silence_pauc"], shown["duplicates"], shown["false_replies_per_min"]) == (
        25.0,
        0.0,
        0.0,
    )
    assert shown["talk_pauc"] < shown["silence_pauc"]  # mostly wrong, and worse than saying nothing
    assert 0 <= shown["first_reply_delay_s"] < 1
    assert scores.results["model"].pauc(1.0) == 1
    assert scores.results["model"].pauc(0.0) < scores.results["model"].pauc(0.5)


def test_late_replies_earn_less_and_wrong_ones_less_than_silence(files):
    def late(clip):
        return ScriptedPolicy(
            {time_s + 1: text for time_s, text in oracle_replies(clip.task, 1.0).items()}
        )

    shown = scores_of(files, late).headline()
    assert 25 < shown["pauc"] < shown["oracle_pauc"]
    wrong = scores_of(
        files, lambda clip: ScriptedPolicy(dict.fromkeys(oracle_replies(clip.task, 1.0), "Hm."))
    )
    assert wrong.headline()["pauc"] < 25


@pytest.mark.parametrize("world", TALK_TEXTS)
def test_what_talk_says_is_a_sentence_of_its_world(world):
    assert exact_level("Left: red square appears.", TALK_TEXTS[world]) >= 1


class BlankSource:
    """Black frames, one per second."""

    frame_interval_s = 1.0

    def __init__(self, num_frames: int) -> None:
        self.num_left, self.num_frames = num_frames, num_frames

    def read(self) -> FrameBatch | None:
        self.num_left -= 1
        if self.num_left < 0:
            return None
        return FrameBatch(
            np.zeros((1, 2, 2, 3), np.uint8), np.array([float(self.num_frames - self.num_left)])
        )

    def close(self) -> None:
        pass


def test_baselines_equal_their_policies_in_the_loop(files):
    clips = [file.clip for file in files]
    policies = {
        "silence": lambda _: SilentPolicy(),
        "talk every turn": lambda clip: TalkPolicy(TALK_TEXTS[clip.world]),
        "oracle": lambda clip: ScriptedPolicy(oracle_replies(clip.task, 1.0)),
        "truthful watcher": lambda clip: ScriptedPolicy(
            truthful_replies(clip, shown_times(clip, "shuffled"), 1.0)
        ),
    }
    assert list(baselines(clips)) == list(baselines(clips, "frozen")) == list(policies)[:3]
    said = baselines(clips, "shuffled")
    assert list(said) == list(policies)
    for name, open_session in policies.items():
        for clip, transcript in zip(clips, said[name], strict=True):
            env = StreamingEnv(BlankSource(int(clip.scene.duration_s)), clip.task.questions)
            assert transcript == Transcript.of(
                asyncio.run(run_episode(env, open_session(clip), clip.task))
            )


def test_a_model_may_be_shown_fewer_frames(files):
    def oracle_at(interval_s: float):
        clips = ClipSet("shapes", limit=4, seed=1, frame_interval_s=interval_s)
        oracle = lambda clip: ScriptedPolicy(oracle_replies(clip.task, interval_s))  # noqa: E731
        return scores_of(files, oracle, clips)

    often, seldom = oracle_at(1.0), oracle_at(2.0)
    assert seldom.results["model"].dialogues == seldom.results["oracle"].dialogues
    assert seldom.headline()["pauc"] < often.headline()["pauc"]
    turns = [
        sum(d.transcript.num_turns for d in s.results["model"].dialogues) for s in (often, seldom)
    ]
    assert turns[1] == pytest.approx(turns[0] / 2, abs=len(files))
    with pytest.raises(ConfigError, match="frame interval"):
        ClipSet("shapes", frame_interval_s=0.0)


def test_every_question_is_asked_and_every_turn_shown(files):
    heard: dict[str, list[EnvTurn]] = {}

    class Listener(SilentPolicy):
        def __init__(self, clip_id: str) -> None:
            self.turns = heard.setdefault(clip_id, [])

        async def respond(self, observed: EnvTurn) -> PolicyTurn:
            self.turns.append(observed)
            return await super().respond(observed)

    said = said_about(files, lambda clip: Listener(clip.clip_id))
    for file, transcript in zip(files, said, strict=True):
        turns = heard[file.clip.clip_id]
        assert [t.text for t in turns if t.text] == [q.text for q in file.clip.task.questions]
        assert (
            len(turns) == transcript.num_turns == transcript.watched_s == file.clip.scene.duration_s
        )


def test_clips_are_kept_and_a_changed_world_gets_a_new_folder(cache, files, monkeypatch):
    before = [os.stat(file.path).st_mtime_ns for file in files]
    told = []
    assert [f.path for f in prepare(cache, CLIPS, lambda: told.append(1))] == [
        f.path for f in files
    ]
    assert [os.stat(file.path).st_mtime_ns for file in files] == before
    assert len(told) == len(files)
    folder = cache_folder(cache, CLIPS)
    assert folder != cache_folder(cache, ClipSet("shapes", seed=2))
    monkeypatch.setattr(Path, "read_bytes", lambda _: b"changed")
    monkeypatch.setattr(
        "oncue.eval.benchmarks.world_clips.drawn_by", drawn_by.__wrapped__
    )  # not the one it found before
    assert cache_folder(cache, CLIPS) != folder


def test_frozen_clips_stand_still_in_real_files_and_any_reply_is_false(cache):
    clips = ClipSet("shapes", limit=2, seed=1, control="frozen")
    frozen = prepare(cache, clips)
    for file in frozen:
        frames = [batch.pixels[0].astype(int) for batch in frames_of(FileSource(file.path, 1.0))]
        assert len(frames) == file.clip.scene.duration_s
        assert max(np.abs(frame - frames[0]).mean() for frame in frames) < 1
    scores = scores_of(frozen, lambda _: TalkPolicy("Left: red square appears."), clips)
    shown = scores.headline()
    assert (shown["control"], shown["pauc"]) == ("frozen", None)
    assert shown["false_replies_per_min"] == shown["replies_per_min"] == 60
    quiet = scores_of(frozen, lambda _: FrameDifferencePolicy(Trigger(2.0)), clips).headline()
    assert quiet["false_replies_per_min"] == 0
    assert "control frozen" in scores.table().title


def test_shuffled_clips_hold_the_same_frames_in_another_order(files):
    inner = [b.pixels.tobytes() for b in frames_of(open_clip(files[0]))]
    outer = [b.pixels.tobytes() for b in frames_of(open_clip(files[0], "shuffled"))]
    again = [b.pixels.tobytes() for b in frames_of(open_clip(files[0], "shuffled"))]
    assert sorted(outer) == sorted(inner)
    assert outer == again != inner
    other = ShuffledSource(FileSource(files[0].path, 1.0), (1, 999))
    assert other.duration_s == files[0].clip.scene.duration_s
    assert [b.pixels.tobytes() for b in frames_of(other)] != outer


@pytest.mark.parametrize("control", ["none", "shuffled"])
def test_shown_times_are_those_of_the_pictures_shown(files, control):
    for file in files:
        at_s = {b.pts_s[0]: b.pixels.tobytes() for b in frames_of(FileSource(file.path, 1.0))}
        shown = [b.pixels.tobytes() for b in frames_of(open_clip(file, control))]
        assert [at_s[time_s] for time_s in shown_times(file.clip, control)] == shown
        assert [
            at_s[time_s] for time_s in shown_times(file.clip, control)[::-1]
        ] != shown  # the pictures tell the order


def test_shuffled_frames_go_through_the_loop_and_mislead_who_looks(files):
    clips = ClipSet("shapes", limit=4, seed=1, control="shuffled")
    times = {
        control: [
            t.replies
            for t in said_about(files, lambda _: watcher(), replace(CLIPS, control=control))
        ]
        for control in ("none", "shuffled")
    }
    assert times["none"] != times["shuffled"]
    shown = scores_of(files, lambda _: watcher(), clips).headline()
    assert shown["control"] == "shuffled"


def test_beside_shuffled_frames_stands_who_tells_what_differs(files):
    clips = ClipSet("shapes", limit=4, seed=1, control="shuffled")

    def truth(clip):
        return ScriptedPolicy(truthful_replies(clip, shown_times(clip, "shuffled"), 1.0))

    scores = scores_of(files, truth, clips)
    shown = scores.headline()
    assert shown["pauc"] == shown["truthful_pauc"] < shown["oracle_pauc"]
    assert [row[0] for row in scores.table().rows][-1] == "truthful watcher"
    assert scores.numbers()["policies"]["truthful watcher"] == scores.numbers()["policies"]["model"]
    with pytest.raises(ConfigError, match="name of a baseline"):
        asyncio.run(score_world(clips, files, "truthful watcher", []))


def watcher() -> FrameDifferencePolicy:
    return FrameDifferencePolicy(Trigger(2.0))


def test_what_is_written_per_clip(files):
    scores = scores_of(
        files, lambda clip: ScriptedPolicy({1.0: "Hm.", **oracle_replies(clip.task, 1.0)})
    )
    lines = clip_lines(scores.results["model"])
    assert [line["clip"] for line in lines] == [file.clip.clip_id for file in files]
    gold = [turn for line in lines for turn in line["gold"]]
    assert [turn["replies"][0]["mark"] for turn in gold] == [2] * len(gold)
    assert all({"time_s": 1.0, "text": "Hm."} in line["false_replies"] for line in lines)
    json.dumps([lines, scores.numbers()], allow_nan=False)


def test_what_is_said_again_in_a_span_is_written_without_a_mark(files):
    said = [
        Transcript(
            file.clip.task,
            tuple(
                TimedReply(gold.span.start_s + later_s, text)
                for gold in file.clip.task.gold
                for later_s, text in ((0.0, gold.content), (0.1, "Hm."), (0.2, gold.content))
            ),
            60.0,
        )
        for file in files
    ]
    lines = clip_lines(asyncio.run(score_world(CLIPS, files, "model", said)).results["model"])
    first, *_ = (turn for line in lines for turn in line["gold"])
    start_s = first["span"][0]
    told = {"time_s": start_s, "text": first["text"], "mark": 2}
    other = {"time_s": start_s + 0.1, "text": "Hm.", "mark": 2}  # of all that was said so far
    again = {"time_s": start_s + 0.2, "text": first["text"], "repeats": True}
    assert first["replies"][:3] == [told, other, again]


def test_bad_settings_say_what_to_do(tmp_path):
    with pytest.raises(ConfigError, match="at least 1"):
        ClipSet("shapes", limit=0)
    with pytest.raises(ConfigError, match="negative"):
        ClipSet("shapes", seed=-1)
    with pytest.raises(ConfigError, match="frozen"):
        ClipSet("shapes", control="upside down")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="--cache"):
        prepare(tmp_path / "file", CLIPS)


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """The command with a policy that knows the gold, instead of a model."""

    def perfect(task):
        return ScriptedPolicy(oracle_replies(task, 1.0))

    script = Script(perfect, "mini")
    monkeypatch.setattr("oncue.commands.evaluating.policy_spec", lambda *_: script)


WORDS = ["eval", "world", "--world", "shapes", "--limit", "4", "--seed", "1"]


@pytest.mark.usefixtures("oracle", "files")
def test_json_is_one_object_alone_on_stdout(cache, capsys):
    assert cli.main([*WORDS, "--cache", str(cache), "--json"]) == 0
    captured = capsys.readouterr()
    shown = json.loads(captured.out)
    assert captured.out.count("\n") == 1
    assert list(shown) == KEYS.split()
    assert (shown["world"], shown["n_clips"]) == ("shapes", 4)
    assert "watching clips: 4 of 4" in captured.err
    assert "PAUC w=0.5" in captured.err


@pytest.mark.usefixtures("oracle", "files")
def test_for_people_a_table_and_files(cache, tmp_path, capsys):
    assert (
        cli.main([*WORDS, "--cache", str(cache), "--out", str(tmp_path), "--reply-bias", "0.5"])
        == 0
    )
    printed = capsys.readouterr().out
    for told in (
        "4 samples",
        "judge exact",
        "PAUC w=0 ",
        "PAUC w=1",
        "silence",
        "talk every turn",
        "oracle",
        "mini",
    ):
        assert told in printed
    assert (tmp_path / "table.txt").read_text() == printed
    scores = json.loads((tmp_path / "scores.json").read_text())
    assert scores["headline"]["silence_pauc"] == 25
    assert scores["sampling"] == {"temperature": 0.0, "reply_bias": 0.5, "max_new_tokens": 32}
    assert scores["ran"] == dict.fromkeys(
        ("server", "device", "dtype", "max_pixels", "context_tokens")
    )
    assert len((tmp_path / "clips.jsonl").read_text().splitlines()) == 4


def test_the_context_may_be_bounded(cache, tmp_path, capsys):
    few = [*WORDS, "--cache", str(cache), "--limit", "1"]
    assert cli.main([*few, "--context-tokens", "100000"]) == 2
    assert "100000 tokens is too long for mini" in capsys.readouterr().err
    assert cli.main([*few, "--context-tokens", "-5", "--out", str(tmp_path / "none")]) == 2
    assert "--context-tokens must be at least 1, got -5" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()
    assert cli.main([*few, "--context-tokens", "300", "--out", str(tmp_path)]) == 0
    ran = json.loads((tmp_path / "scores.json").read_text())["ran"]
    assert ran == {
        "server": None,
        "device": "cpu",
        "dtype": "float32",
        "max_pixels": 15680,
        "context_tokens": 300,
    }
    assert (
        cli.main([*few, "--max-pixels", "3136", "--dtype", "bfloat16", "--out", str(tmp_path)]) == 0
    )
    shown = json.loads((tmp_path / "scores.json").read_text())["ran"]
    assert (shown["max_pixels"], shown["dtype"]) == (3136, "bfloat16")


def test_a_place_that_cannot_be_written_is_told_before_the_clips_are_watched(
    cache, tmp_path, capsys
):
    (tmp_path / "clips.jsonl").mkdir()
    assert cli.main([*WORDS, "--cache", str(cache), "--out", str(tmp_path)]) == 2
    assert "clips.jsonl is there and is no file" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["clips.jsonl"]


@pytest.mark.usefixtures("oracle")
def test_clips_go_to_the_users_cache(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cli.main(["eval", "world", "--limit", "1", "--split", "val", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["n_clips"] == 1
    assert len(list(tmp_path.glob("oncue/world/*-shapes-val-0/videos/*.mp4"))) == 1


def test_a_missing_model_is_told_before_any_clip_is_made(tmp_path, capsys):
    assert (
        cli.main([*WORDS, "--cache", str(tmp_path / "cache"), "--model", str(tmp_path / "none")])
        == 2
    )
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "cache").exists()


def test_a_real_model_runs_through(tiny_model_folder, cache, files, capsys):
    words = [
        *WORDS,
        "--limit",
        "1",
        "--cache",
        str(cache),
        "--model",
        str(tiny_model_folder),
        "--device",
        "cpu",
    ]
    assert files[0].clip.task.duration_s is not None
    assert cli.main([*words, "--json"]) == 0
    first = capsys.readouterr().out
    assert cli.main([*words, "--json"]) == 0
    assert capsys.readouterr().out == first
