"""The speak knob: the largest bias that keeps to a rate of false replies, on a curve that may go up
and down."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stream_run_support import make_benchmark

from oncue import cli
from oncue.errors import ConfigError, DataError
from oncue.eval.streams import calibration
from oncue.eval.streams.behaviour import PREFIX, behaviour_of
from oncue.eval.streams.calibration import added, calibrate, place_for, read_calibration
from oncue.types import GoldTurn, Task, TimedReply, TimeSpan
from openai_server import Json, OpenAIServer

HOUR = 3600.0


def sums(num_false: float, num_hit: float = 1.0, quiet_s: float = HOUR) -> dict[str, float]:
    names = ("num_items", "watched_s", "num_replies", "delay_s", "num_turns", "num_silent")
    terms = dict.fromkeys(names, 0.0)
    terms |= {"num_false": num_false, "num_hit": num_hit, "num_due": 2.0, "quiet_s": quiet_s}
    return {PREFIX + name: value for name, value in terms.items()}


def test_a_dialogue_counts_as_in_a_benchmark() -> None:
    task = Task("t", gold=(GoldTurn("x", TimeSpan(2.0, 4.0)), GoldTurn("y", TimeSpan(8.0, 9.0))))
    replies = tuple(TimedReply(time_s, "x") for time_s in (3.0, 5.0, 6.0))
    terms = behaviour_of(task, replies, 10.0)
    assert terms[PREFIX + "num_false"] == 2
    assert terms[PREFIX + "num_hit"] == 1
    assert terms[PREFIX + "quiet_s"] == 7
    assert added([terms, terms])[PREFIX + "quiet_s"] == 14


def test_a_reply_of_a_last_turn_that_ends_after_the_video_counts_as_at_its_end() -> None:
    task = Task("t", gold=(GoldTurn("x", TimeSpan(8.0, 10.4)),), duration_s=10.4)
    terms = behaviour_of(task, (TimedReply(11.0, "x"),), 11.0)
    assert terms[PREFIX + "num_false"] == 0
    assert terms[PREFIX + "num_hit"] == 1
    assert terms[PREFIX + "watched_s"] == 10.4
    assert terms[PREFIX + "quiet_s"] == pytest.approx(8.0)
    early = behaviour_of(task, (TimedReply(7.0, "x"),), 11.0)
    assert early[PREFIX + "num_false"] == 1


def test_the_gap_in_which_the_rate_passes_the_limit_is_halved() -> None:
    asked: list[float] = []

    def measure(bias: float) -> dict[str, float]:
        asked.append(bias)
        return sums(10.0 + bias)  # 10 at bias 0

    found = calibrate(measure, 12.3, [-2.0, 0.0, 2.0, 6.0])
    assert asked == [-2.0, 0.0, 2.0, 6.0, 4.0, 3.0, 2.5, 2.25]
    assert found.chosen is not None
    assert found.chosen.bias == 2.25
    assert found.chosen.false_per_quiet_hour == 12.25
    assert [point.bias for point in found.curve] == sorted(asked)
    assert found.curve[0].hit_spans == 50.0
    assert found.curve[0].f1 == pytest.approx(100 * 2 / (2 + 8 + 1), abs=0.01)


def test_of_a_rate_that_falls_again_the_largest_bias_counts() -> None:
    rates = {-2.0: 1.0, 0.0: 9.0, 2.0: 3.0, 4.0: 30.0}
    found = calibrate(lambda bias: sums(rates.get(bias, 30.0)), 3.0, list(rates))
    assert found.chosen is not None
    assert found.chosen.bias == 2.0


@given(st.lists(st.integers(0, 20), min_size=5, max_size=5), st.integers(0, 20))
def test_no_measured_bias_above_the_chosen_one_keeps_to_the_limit(rates, limit) -> None:
    by_bias = dict(zip((-4.0, -1.0, 0.0, 1.0, 4.0), rates, strict=True))
    found = calibrate(
        lambda bias: sums(by_bias.get(bias, 7 * abs(bias) % 20)), limit, list(by_bias)
    )
    kept = [p.bias for p in found.curve if p.false_per_quiet_hour <= limit]
    assert (found.chosen.bias if found.chosen else None) == (max(kept) if kept else None)


def test_a_limit_that_no_bias_keeps_to_is_said() -> None:
    found = calibrate(lambda _: sums(5.0), 1.0, [-1.0, 1.0])
    assert found.chosen is None
    assert len(found.curve) == 2
    assert "no bias is chosen" in found.remarks()[-1]
    assert found.headline()["bias"] is None


def test_what_the_remarks_warn_of() -> None:
    short = calibrate(lambda _: sums(0.0, quiet_s=60.0), 10.0, [0.0])
    assert any("too short to tell" in line for line in short.remarks())
    assert any("a larger one may do" in line for line in short.remarks())
    long = calibrate(lambda bias: sums(bias), 1.0, [0.0, 2.0])
    assert not any("too short" in line or "larger one" in line for line in long.remarks())


def test_items_without_quiet_time_and_wrong_limits_are_refused() -> None:
    with pytest.raises(ConfigError, match="no quiet time"):
        calibrate(lambda _: sums(0.0, quiet_s=0.0), 1.0)
    with pytest.raises(ConfigError, match="0 or more"):
        calibrate(lambda _: sums(0.0), float("nan"))
    with pytest.raises(ConfigError, match="biases"):
        calibrate(lambda _: sums(0.0), 1.0, [])


def test_the_file_is_read_back(tmp_path) -> None:
    protocol = {"model": "some/folder/mini", "frame_interval_s": 1.0}
    found = calibrate(lambda bias: sums(bias + 1), 2.0, [0.0, 1.0], protocol)
    place = place_for(tmp_path, None)
    found.write(place)
    knob = read_calibration(place)
    assert (knob.bias, knob.frame_interval_s) == (1.0, 1.0)
    knob.check("elsewhere/mini", 1.0)
    with pytest.raises(ConfigError, match="of the model some/folder/mini, not of other"):
        knob.check("other", 1.0)
    with pytest.raises(ConfigError, match=r"every 1 s, not every 2 s.*--reply-bias 1"):
        knob.check("mini", 2.0)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nothing", "as JSON"),
        ("[]", "no calibration.json"),
        ('{"curve": []}', "no calibration.json"),
        ('{"bias": null}', "holds no bias"),
        ('{"bias": "1"}', "must be a number"),
    ],
)
def test_other_files_are_refused(tmp_path, text, message) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(DataError, match=message):
        read_calibration(tmp_path / "calibration.json")


def test_a_calibration_goes_beside_a_model_folder_unless_there_is_an_out(tmp_path) -> None:
    assert place_for(tmp_path / "out", str(tmp_path)) == tmp_path / "out" / "calibration.json"
    assert place_for(None, str(tmp_path)) == tmp_path / "calibration.json"
    for model in (None, "mini", "owner/name"):
        with pytest.raises(ConfigError, match="--out"):
            place_for(None, model)


def test_a_model_is_calibrated_and_watched_with_it(
    tiny_model_folder, tmp_path, capsys, monkeypatch
) -> None:
    monkeypatch.setattr(calibration, "NUM_HALVINGS", 1)
    annotations, videos = make_benchmark(tmp_path)
    model = ["--model", str(tiny_model_folder), "--device", "cpu", "--max-new-tokens", "2"]
    flags = ["--run", "--videos", str(videos), "--out", str(tmp_path / "out"), *model]
    limit = ["--calibrate-false-per-hour", "0", "--calibrate-biases", "-50", "50"]
    command = ["eval", "omnimmi", "--annotations", str(annotations), *flags, *limit, "--json"]
    assert cli.main(command) == 0
    found = json.loads(capsys.readouterr().out)
    place = tmp_path / "out" / "calibration.json"
    assert found == json.loads(place.read_text())
    assert found["curve"][0] | {"quiet_hours": 0} == {
        "bias": -50.0,
        "hit_spans": 0.0,
        "false_per_quiet_hour": 0.0,
        "f1": 0.0,
        "quiet_hours": 0,
    }
    assert found["curve"][-1]["false_per_quiet_hour"] > 1000
    assert found["protocol"]["frame_interval_s"] == 1.0
    assert "reply_bias" not in found["protocol"]
    assert len(list((tmp_path / "out" / "calibration").iterdir())) == 3
    assert cli.main([*command, "--resume"]) == 0  # nothing is watched again
    assert json.loads(capsys.readouterr().out) == found

    def watch(bias: float, *more: str) -> int:
        place.write_text(json.dumps(found | {"bias": bias}))
        video = str(videos / "one.mp4")
        knob = ["--calibration", str(place), "--json", *model, *more]
        return cli.main(["watch", video, "--ask", "What?", *knob])

    assert watch(50.0) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_replies"] == 4
    assert watch(-50.0) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["num_replies"] == 0
    assert watch(1.0, "--reply-bias", "2") == 2
    assert "--calibration or --reply-bias, not both" in capsys.readouterr().err
    assert watch(1.0, "--frame-interval-s", "2") == 2
    assert "frames every 1 s" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--calibrate-false-per-hour", "-1"], "must be 0 or more"),
        (["--calibrate-false-per-hour", "1", "--reply-bias", "1"], "leave --policy"),
        (["--calibrate-false-per-hour", "1", "--policy", "blind"], "leave --policy"),
        (["--calibrate-biases", "1"], "needs --calibrate-false-per-hour"),
        (["--calibrate-false-per-hour", "1", "--predictions", "x"], "leave --predictions out"),
        (["--calibrate-false-per-hour", "1"], "--out"),
    ],
)
def test_flags_that_cannot_be_are_refused(tmp_path, capsys, flags, message) -> None:
    command = ["eval", "omnimmi", "--annotations", "x.json", "--run", "--videos", str(tmp_path)]
    assert cli.main([*command, *flags]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize("verb", ["world", "clips"])
def test_the_commands_on_clips_refuse_them_too(tmp_path: Path, capsys, verb) -> None:
    gold = tmp_path / "gold.json"
    row = {
        "video": "a.mp4",
        "question_id": "a",
        "duration": 4,
        "conversation": [{"role": "user", "content": "What?", "time": 0}],
        "answer": [],
    }
    gold.write_text(json.dumps([row]))
    make_benchmark(tmp_path)
    (tmp_path / "videos" / "one.mp4").rename(tmp_path / "videos" / "a.mp4")
    clips = ["clips", str(gold), "--videos", str(tmp_path / "videos")]
    named = ["world"] if verb == "world" else clips
    limit = ["--calibrate-false-per-hour", "1"]
    assert cli.main(["eval", *named, *limit, "--reply-bias", "1"]) == 2
    assert "leave --reply-bias out" in capsys.readouterr().err
    assert cli.main(["eval", *named, *limit]) == 2
    assert "--out" in capsys.readouterr().err


def test_a_server_is_watched_with_its_calibration(tmp_path, capsys) -> None:
    make_benchmark(tmp_path)
    place = tmp_path / "calibration.json"
    place.write_text(json.dumps({"bias": 5.0, "protocol": {"model": "qwen"}}))

    def silent(_: Sequence[Json]) -> Sequence[str]:
        return "NO", " REPLY"

    for name, message in (("qwen", "does not continue a message"), ("other", "of the model qwen")):
        with OpenAIServer(silent, models=(name,), continuation="refused") as server:
            at = ["--server", server.url, "--calibration", str(place)]
            video = str(tmp_path / "videos" / "one.mp4")
            assert cli.main(["watch", video, "--ask", "What?", *at]) == 2
        assert message in capsys.readouterr().err
