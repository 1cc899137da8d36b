"""Questions with options about long videos: what is shown in each mode, what is counted, and what
survives an interruption."""

from __future__ import annotations

import asyncio
import json
import threading
from pathlib import Path

import pytest
from mcq_support import (
    Seen,
    lines_of,
    look_then_answer,
    question,
    run,
    setup_of,
    untimed,
    write_clip,
)

from oncue.chat_client import RefusedError, TooLargeError
from oncue.errors import BackendError, ConfigError, ContextFullError, DataError
from oncue.eval.benchmarks.mcq import MODES
from oncue.eval.benchmarks.mcq_pools import Pools
from oncue.eval.benchmarks.mcq_videos import choose
from oncue.eval.videos import MissingVideosError, find_videos
from oncue.records.retrieval_rollouts import read_retrieval_rollouts
from oncue.types import Answer, Evidence, Malformed, Retrieve
from oncue.video.pool_reader import read_pool


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clips of 4 s, one of them in a folder below, and a file that is no video."""
    folder = tmp_path_factory.mktemp("videos")
    write_clip(folder / "one.mp4")
    (folder / "below").mkdir()
    write_clip(folder / "below" / "two.mp4", 20)
    (folder / "broken.mp4").write_bytes(b"no video" * 99)
    return folder


def test_each_mode_shows_its_frames_and_no_others(folder):
    seen = Seen()
    asked, setup = [question(1, "one")], setup_of(MODES)
    scores = run(asked, folder, look_then_answer(), setup=setup, seen=seen, num_at_once=1)
    first, second, single, blind = seen.frames("q1")
    assert (len(first), len(second)) == (16, 8)
    assert second[0] == 3
    assert second[-1] == 30
    assert len(single) == 32 == len(set(single))  # as many as the budget
    assert (single[0], single[-1]) == (0, 39)
    assert blind == ()
    texts = [turn.text for _, turn in seen.turns]
    assert "No frame" in texts[3]
    assert all("Question 1?" in text and "B. blue" in text for text in texts)
    assert [("last turn" in text) for text in texts] == [False, False, True, True]
    frames = {mode: each.effort()["mean_frames"] for mode, each in scores.modes.items()}
    assert frames == {"retrieval": 24, "single-turn": 32, "blind": 0}


def test_a_single_turn_shows_as_many_frames_as_retrieval_may(folder):
    seen, setup = Seen(), setup_of(("single-turn",), num_frames=80, max_turns=5)
    run([question(1, "one")], folder, look_then_answer(), setup=setup, seen=seen)
    assert len(seen.frames("q1")[0]) == 16 + 4 * 8
    with pytest.raises(ConfigError, match=r"--frames.* smaller than the 48 frames"):
        setup_of(num_frames=47, max_turns=5)


def test_blind_needs_no_video():
    seen = Seen()
    scores = run(
        [question(1, "nowhere")], None, look_then_answer("B"), setup=setup_of(["blind"]), seen=seen
    )
    assert seen.frames("q1") == [()]
    assert scores.headline()["modes"]["blind"]["accuracy"] == 0.0


def test_numbers_of_a_case_counted_by_hand(folder):
    """Four questions: right after a look, wrong at once, malformed twice and never answered, and
    looking to the end. Gold A A B C."""

    def say(task, turn, _shown):
        if task.task_id == "q1":
            return Answer("A") if turn == 2 else Retrieve(0, 9)
        if task.task_id == "q2":
            return Answer("B")
        if task.task_id == "q3":
            return Malformed("??", "no tags") if turn > 1 else Retrieve(1, 1)
        return Retrieve(0, 39)

    golds = {1: "A", 2: "A", 3: "B", 4: "C"}
    kinds = {1: ("count",), 2: ("count", "order"), 3: ("order",), 4: ()}
    asked = [question(n, "one", golds[n], tasks=kinds[n], duration_s=200.0 * n) for n in golds]
    scores = run(asked, folder, say)
    found = scores.numbers()["modes"]["retrieval"]
    assert (found["n"], found["n_right"], found["accuracy"]) == (4, 1, 25.0)
    assert found["interval"] == [4.56, 69.94]
    assert {k: (v["n_right"], v["n"]) for k, v in found["by_task"].items()} == {
        "count": (1, 2),
        "order": (0, 2),
    }
    assert found["mean_of_tasks"] == 25.0
    assert {k: (v["n_right"], v["n"]) for k, v in found["by_length"].items()} == {
        "3-15 min": (1, 4)
    }
    assert found["accuracy_of_answered"] == 50.0
    assert found["unanswered"] == 50.0
    assert found["no_answer"] == {"malformed": 1, "kept looking": 1}
    assert found["malformed_turns"] == round(100 * 2 / 9, 2)
    assert found["retrieved"] == 75.0
    assert found["mean_turns"] == 9 / 4
    # 16 + 8, 16, 16 + 1 + 0 (what follows an invalid turn shows nothing), 16 + 8 + 8
    assert found["mean_frames"] == (24 + 16 + 17 + 32) / 4
    assert found["mean_latency_ms"] == (300 + 100 + 600 + 600) / 4
    assert found["letters"] == {"A": 1, "B": 1}
    gold = scores.numbers()["gold"]
    assert gold == {
        "letters": {"A": 2, "B": 1, "C": 1},
        "majority_letter": "A",
        "majority_accuracy": 50.0,
        "chance_accuracy": 25.0,
    }
    remarks = "\n".join(scores.remarks())
    assert "no answer to 1 question, malformed, such as q3: no tags" in remarks


def test_modes_are_compared_question_by_question(folder):
    def say(task, _turn, shown):
        knows = bool(shown.pictures) or task.task_id == "q1"
        return Answer("A" if knows else "B")

    asked = [question(n, "one") for n in range(1, 5)]
    scores = run(asked, folder, say, setup=setup_of(MODES))
    found = scores.numbers()["differences"]
    assert found["retrieval - blind"]["difference"] == 75.0
    low, high = found["retrieval - blind"]["interval"]
    assert low < 75.0 < high <= 100.0
    assert found["retrieval - single-turn"]["difference"] == 0.0
    assert any(line.startswith("retrieval - blind: +75.00 points") for line in scores.remarks())
    table = scores.tables()[0].plain()
    assert "always A" in table
    assert "chance" in table


def test_a_malformed_turn_that_names_an_option_counts_in_the_lenient_accuracy_alone(folder):
    said = {"q1": "The answer is A.", "q2": "<answer>B. blue</answer>", "q3": "A or B"}

    def say(task, *_):
        if task.task_id == "q4":
            return Answer("A")
        return Malformed(said[task.task_id], "no single letter")

    scores = run([question(n, "one") for n in (1, 2, 3, 4)], folder, say)
    found = scores.headline()["modes"]["retrieval"]
    assert (found["accuracy"], found["lenient_accuracy"]) == (25.0, 50.0)
    assert (found["unanswered"], found["accuracy_of_answered"]) == (75.0, 100.0)
    assert [row["option"] for row in json.loads(scores.texts()["predictions.json"])] == [
        *("", "", "", "A")
    ]
    assert any("2 malformed last turns clearly named an option" in x for x in scores.remarks())


def test_right_answers_that_fit_two_options_or_none(folder):
    asked = [question(1, "one", "AC"), question(2, "one", "AC"), question(3, "one", "")]
    letters = {"q1": "C", "q2": "B", "q3": "A"}
    scores = run(asked, folder, lambda task, *_: Answer(letters[task.task_id]))
    assert scores.modes["retrieval"].accuracy.num == 1
    assert scores.headline()["n_without_right_option"] == 1
    assert any("1 question without a right option" in line for line in scores.remarks())


def test_answers_that_are_kept_secret_give_predictions_and_no_accuracy(folder):
    asked = [question(n, "one", None) for n in (1, 2)]
    scores = run(asked, folder, look_then_answer("D"))
    assert scores.headline()["modes"]["retrieval"]["accuracy"] is None
    assert scores.headline()["n_hidden"] == 2
    assert scores.numbers()["gold"] is None
    assert len(scores.tables()) == 1
    assert "there is no accuracy" in scores.remarks()[0]
    written = json.loads(scores.texts()["predictions.json"])
    assert [row["option"] for row in written] == ["D", "D"]
    half = run([question(1, "one", "D"), question(2, "one", None)], folder, look_then_answer("D"))
    assert half.modes["retrieval"].accuracy.total == 1
    assert half.modes["retrieval"].accuracy.num == 1


def test_a_video_that_cannot_be_read_is_counted_with_its_reason(folder):
    asked = [question(1, "one"), question(2, "broken"), question(3, "below/two.mp4")]
    scores = run(asked, folder, look_then_answer())
    found = scores.numbers()["modes"]["retrieval"]
    assert (found["n"], found["n_right"]) == (3, 2)
    assert found["no_answer"] == {"unreadable video": 1}
    assert found["mean_turns"] == 2.0  # of the questions that were asked
    assert any("unreadable video, such as q2:" in line for line in scores.remarks())


@pytest.mark.parametrize(
    ("error", "ending"),
    [
        (ContextFullError("no room"), "context full"),
        (TooLargeError("too much", "tokens"), "context full"),
        (RefusedError("not this one"), "refused"),
    ],
)
def test_a_question_that_cannot_be_asked_does_not_end_the_run(folder, error, ending):
    def say(task, turn, shown):
        if task.task_id == "q2":
            raise error
        return look_then_answer()(task, turn, shown)

    scores = run([question(n, "one") for n in (1, 2, 3)], folder, say)
    found = scores.numbers()["modes"]["retrieval"]
    assert (found["n"], found["n_right"], found["no_answer"]) == (3, 2, {ending: 1})


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ContextFullError("no room"), ContextFullError), (RefusedError("no"), BackendError)],
)
def test_a_run_in_which_nothing_could_be_asked_has_no_score(folder, error, kind):
    def say(*_):
        raise error

    with pytest.raises(kind, match="not one of 2 questions could be asked"):
        run([question(n, "one") for n in (1, 2)], folder, say)
    with pytest.raises(DataError, match="not one of 1 questions"):
        run([question(1, "broken")], folder, look_then_answer())


def test_a_mode_in_which_nothing_could_be_asked_has_no_accuracy(folder):
    def say(task, turn, shown):
        if len(shown.pictures) > 16:
            raise ContextFullError("no room for 32 frames")
        return look_then_answer()(task, turn, shown)

    scores = run([question(n, "one") for n in (1, 2)], folder, say, setup=setup_of(MODES))
    found = scores.numbers()["modes"]
    assert found["retrieval"]["accuracy"] == found["blind"]["accuracy"] == 100.0
    assert found["single-turn"]["accuracy"] is None
    assert found["single-turn"]["by_length"] == {}
    assert list(scores.numbers()["differences"]) == ["retrieval - blind"]
    assert any("single-turn: no answer to 2 questions, context full" in x for x in scores.remarks())


def test_an_error_of_the_server_ends_the_run(folder):
    def say(*_):
        raise BackendError("gone")

    with pytest.raises(BackendError, match="gone"):
        run([question(1, "one")], folder, say)


def failing_after(num_turns, say):
    """`say`, until that many turns were answered."""
    left = [num_turns]

    def broken(task, turn, shown):
        if not left[0]:
            raise BackendError("gone")
        left[0] -= 1
        return say(task, turn, shown)

    return broken


@pytest.mark.parametrize(
    ("num_turns", "num_done", "num_left"),
    [(0, 0, 20), (1, 0, 20), (5, 2, 16), (9, 6, 11)],  # 2 turns each in the first mode, then 1
)
def test_a_run_that_was_killed_goes_on_to_the_same_result(
    folder, tmp_path, num_turns, num_done, num_left
):
    asked = [question(n, ("one", "two")[n % 2], "ABCD"[n % 4]) for n in range(5)]
    say, setup = look_then_answer("B"), setup_of(MODES)
    whole = run(asked, folder, say, setup=setup, num_at_once=1)
    with pytest.raises(BackendError):
        run(asked, folder, failing_after(num_turns, say), setup=setup, out=tmp_path, num_at_once=1)
    files = sorted(tmp_path.glob("episodes*.jsonl"))
    done = sum(len(file.read_text().splitlines()) for file in files)
    if files:  # killed while it wrote a line
        with files[0].open("a") as file:
            file.write('{"episode_id": "q4", "ques')
    seen = Seen()
    again = run(asked, folder, say, setup=setup, out=tmp_path, resume=True, seen=seen)
    assert (done, len(seen.turns)) == (num_done, num_left)
    assert untimed(again.numbers()) == untimed(whole.numbers())
    for name, text in whole.texts().items():
        read = json.loads if name.startswith("predictions") else lines_of
        assert untimed(read(again.texts()[name])) == untimed(read(text))


def test_what_was_finished_is_not_asked_again_but_what_failed_is(tmp_path):
    asked = [question(1, "one"), question(2, "late")]
    (tmp_path / "videos").mkdir()
    write_clip(tmp_path / "videos" / "one.mp4")
    (tmp_path / "videos" / "late.mp4").write_bytes(b"half a download")
    out, first, second = tmp_path / "out", Seen(), Seen()
    out.mkdir()
    scores = run(asked, tmp_path / "videos", look_then_answer(), out=out, seen=first)
    assert scores.modes["retrieval"].accuracy.num == 1
    write_clip(tmp_path / "videos" / "late.mp4")
    scores = run(asked, tmp_path / "videos", look_then_answer(), out=out, resume=True, seen=second)
    assert scores.modes["retrieval"].accuracy.num == 2
    assert {name for name, _ in first.turns} == {"q1"}
    assert {name for name, _ in second.turns} == {"q2"}


def test_a_run_goes_on_with_the_same_settings_only(folder, tmp_path):
    asked, say = [question(1, "one")], look_then_answer()
    run(asked, folder, say, out=tmp_path)
    with pytest.raises(ConfigError, match=r"holds a run already.*--resume"):
        run(asked, folder, say, out=tmp_path)
    with pytest.raises(ConfigError, match="run with frames 40, this one has 60"):
        run(asked, folder, say, out=tmp_path, resume=True, setup=setup_of(num_frames=60))
    with pytest.raises(ConfigError, match=r"modes \['retrieval'\], this one has \['blind'\]"):
        run(asked, folder, say, out=tmp_path, resume=True, setup=setup_of(["blind"]))
    with pytest.raises(ConfigError, match="model 'script', this one has 'other'"):
        run(asked, folder, say, out=tmp_path, resume=True, name="other")
    (tmp_path / "run.json").write_text("[]")
    with pytest.raises(DataError, match="holds no settings"):
        run(asked, folder, say, out=tmp_path, resume=True)


def test_episodes_are_those_that_rewards_are_given_for(folder, tmp_path):
    scores = run([question(1, "one"), question(2, "one")], folder, look_then_answer())
    path = tmp_path / "episodes.jsonl"
    path.write_text(scores.texts()["episodes.jsonl"], "utf-8")
    first, second = read_retrieval_rollouts(path)
    assert (first.episode_id, second.episode_id) == ("q1", "q2")
    assert first.rollout.options == ("A. red", "B. blue", "C. green", "D. grey")
    assert [len(turn.indices) for turn in first.rollout.turns] == [16, 8]
    assert first.rollout.turns[0].action == Retrieve(3, 30)
    assert first.rollout.turns[1].action == Answer("A")


def test_evidence_is_kept_so_that_looks_can_be_scored(folder, tmp_path):
    known = {"evidence": Evidence(frozenset({10, 11, 12}), 40), "duration_s": 4.0}
    asked = [question(1, "one", **known), question(2, "broken", **known)]

    def say(_task, turn, _shown):
        return Retrieve(10, 12) if turn < 3 else Retrieve(0, 39)  # never answers

    scores = run(asked, folder, say, setup=setup_of(MODES))
    for name in ("episodes.jsonl", "episodes-single-turn.jsonl", "episodes-blind.jsonl"):
        path = tmp_path / name
        path.write_text(scores.texts()[name], "utf-8")
        first, broken = read_retrieval_rollouts(path)
        assert first.rollout.evidence == broken.rollout.evidence == known["evidence"]
        assert len(broken.rollout.turns) == ("blind" in name)
        assert first.rollout.turns[-1].asked
    (first, _) = read_retrieval_rollouts(tmp_path / "episodes.jsonl")
    looked = [turn.asked for turn in first.rollout.turns]
    assert looked == [(10, 11, 12), (10, 11, 12), (0, 5, 11, 16, 22, 27, 33, 39)]


def test_questions_are_asked_together_but_not_too_many(folder):
    asked = [question(n, "one") for n in range(9)]
    for num_at_once in (1, 3):
        seen = Seen()
        run(asked, folder, look_then_answer(), seen=seen, num_at_once=num_at_once)
        assert seen.most_open == num_at_once
        assert seen.num_open == 0


def test_a_pool_is_read_once_and_dropped_after_its_last_question(folder):
    read, lock = [], threading.Lock()

    def reading(path):
        with lock:
            read.append(path.name)
        return read_pool(path, 4)

    one, two = folder / "one.mp4", folder / "below" / "two.mp4"

    async def use() -> None:
        pools = Pools(reading, [one, one, two])
        first, same = await asyncio.gather(pools.take(one), pools.take(one))
        assert first is same
        pools.give_back(one)
        assert await pools.take(one) is first
        pools.give_back(one)
        await pools.take(two)
        assert read == ["one.mp4", "two.mp4"]
        assert len(pools._reading) == 1

    asyncio.run(use())


def test_videos_are_found_by_path_name_or_name_without_ending(folder):
    found = find_videos(["one.mp4", "one", "two", "x/below/two.mp4", "gone", "gone.mkv"], folder)
    assert found.paths == {
        "one.mp4": folder / "one.mp4",
        "one": folder / "one.mp4",
        "two": folder / "below" / "two.mp4",
        "x/below/two.mp4": folder / "below" / "two.mp4",
    }
    assert list(found.missing.values()) == [folder / "gone.mp4", folder / "gone.mkv"]
    with pytest.raises(DataError, match="is no folder"):
        find_videos(["one"], folder / "one.mp4")


def test_a_name_that_two_videos_have_is_not_guessed(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "v.mp4").write_bytes(b"")
    (tmp_path / "b" / "round").symlink_to(tmp_path)  # links may lead round in a circle
    with pytest.raises(DataError, match=r"v may be .*a/v\.mp4 or .*b/v\.mp4"):
        find_videos(["v"], tmp_path)


def test_missing_videos_are_all_named_and_left_out_only_when_asked(folder):
    asked = [question(1, "one"), question(2, "gone"), question(3, "lost"), question(4, "gone")]
    with pytest.raises(
        MissingVideosError, match=r"2 of 3 videos are not in .*--allow-missing"
    ) as e:
        choose(asked, folder)
    assert e.value.paths == (folder / "gone.mp4", folder / "lost.mp4")
    with pytest.raises(MissingVideosError, match="none of 1 videos"):
        choose(asked[2:3], folder, allow_missing=True)
    scores = run(asked, folder, look_then_answer(), allow_missing=True)
    assert [q.question_id for q in scores.questions] == ["q1"]
    assert scores.headline()["n_left_out_questions"] == 3
    assert scores.headline()["n_left_out_videos"] == 2
    assert "left out: 3 questions about 2 missing videos" in scores.remarks()[-1]


def test_a_trial_draws_its_questions_by_seed(folder):
    asked = [question(n, "one") for n in range(30)]
    first, same = (choose(asked, folder, limit=5, seed=1).questions for _ in range(2))
    assert first == same
    assert len(first) == 5
    assert list(first) == sorted(first, key=asked.index)
    assert choose(asked, folder, limit=5, seed=2).questions != first
    assert choose(asked, folder, limit=99).questions == tuple(asked)
