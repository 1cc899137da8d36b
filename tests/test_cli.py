"""The command line: verbs, exit codes, one-line errors, and the contract of --json."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.commands.annotated import annotated_task
from oncue.commands.watch import Watch
from oncue.errors import DataError, VideoError
from oncue.policy.scripted import ScriptedPolicy
from oncue.types import EnvTurn, FrameBatch, PolicyTurn
from oncue.video.opening import open_video, source_name
from oncue.video.source import PushSource
from oncue.video.writer import write_video


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six seconds of video, one shade a second."""
    path = tmp_path_factory.mktemp("clip") / "six seconds.mp4"
    write_video(path, (np.full((64, 96, 3), 30 * (k // 5), np.uint8) for k in range(30)), 5.0)
    return path


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> None:
    """`oncue watch` with a policy that speaks at 2 s and 5 s and needs no weights."""
    monkeypatch.setattr(
        Watch,
        "_session",
        lambda _, **__: ScriptedPolicy({2.0: "It got lighter.", 5.0: "Again [bold]."}),
    )


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("oncue: ")
    assert captured.err.count("\n") == 1
    return captured.err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["bogus"], "unknown command 'bogus'"),
        (["world"], "must be followed by one of: make"),
        (["data"], "'data' must be followed by one of: build, check, stats, filter, view, "),
        (["data", "curate"], "'data curate' must be followed by one of: nextgqa, qvhighlights;"),
        (["data", "curate", "bogus"], "; got 'bogus'"),
        (["watch"], "SOURCE"),
        (["watch", "x.mp4", "--bogus", "1"], "--bogus"),
        (["watch", "x.mp4", "--ask", "hi", "--frame-interval-s", "soon"], "--frame-interval-s"),
        (["watch", "x.mp4", "--ask", "hi", "--frame-interval-s", "0"], "--frame-interval-s"),
        (["watch", "x.mp4", "--ask", "hi", "--frames-per-turn", "0"], "--frames-per-turn"),
        (["watch", "x.mp4", "--ask", "hi", "--skip-unchanged", "0"], "--skip-unchanged"),
        (["watch", "x.mp4", "--ask", "hi", "--skip-unchanged", "nan"], "--skip-unchanged"),
        (["watch", "x.mp4", "--ask", "hi", "--skip-unchanged", "a lot"], "--skip-unchanged"),
        (["watch", "x.mp4"], "--ask"),
        (["watch", "no such file.mp4", "--ask", "hi"], "no such file.mp4"),
        (["render", "no-such-row.json"], "no-such-row.json"),
        (["world", "make", "clips", "--frame-interval-s", "0"], "frame_interval_s"),
        (["world", "make", "clips", "--seed", "-1"], "--seed"),
    ],
)
def test_what_a_user_can_fix_is_one_line_and_exit_2(words, told, capsys) -> None:
    assert cli.main(words) == 2
    assert told in complaint(capsys)


@pytest.mark.parametrize("group", ["data", "data curate", "eval"])
def test_help_for_a_group_names_its_verbs(group, capsys) -> None:
    assert cli.main([*group.split(), "--help"]) == 0
    usage, _, *lines = capsys.readouterr().out.splitlines()
    assert usage.startswith(f"usage: oncue {group} VERB")
    members = [verb.words for verb in cli.VERBS if verb.words.startswith(group + " ")]
    assert [line.split("   ")[0].strip() for line in map(str.strip, lines)] == members


def test_bad_input_is_told_before_a_model_is_loaded(clip, tmp_path, capsys) -> None:
    (tmp_path / "text.mp4").write_text("not a video")
    (tmp_path / "empty.mp4").touch()
    no_model = ["--model", str(tmp_path / "no-model")]
    for source in (tmp_path / "text.mp4", tmp_path / "empty.mp4", tmp_path):
        assert cli.main(["watch", str(source), "--ask", "hi", *no_model]) == 2
        assert "no-model" not in complaint(capsys)
    assert cli.main(["watch", str(clip), "--ask", "7: too late", *no_model]) == 2
    assert "too late" in complaint(capsys)
    assert cli.main(["watch", str(clip), "--ask", "hi", *no_model]) == 2
    assert "no-model" in complaint(capsys)
    assert cli.main(["watch", str(clip), "--ask", "hi", "--out", str(clip)]) == 2
    assert "--out" in complaint(capsys)


@pytest.mark.parametrize(
    "words",
    [
        ["eval", "world", "--limit", "1", "--model", "nothing", "--out"],
        ["train", "sft", "--recipe", "mini", "--out"],
        ["world", "make", "--count", "1"],
    ],
)
@pytest.mark.parametrize("below", ["", "sub"])
def test_an_out_folder_that_cannot_be_is_told_of_before_the_work(
    words, below, clip, capsys
) -> None:
    assert cli.main([*words, str(clip / below)]) == 2
    assert f"cannot write to the folder {clip}" in complaint(capsys)


@pytest.mark.usefixtures("scripted")
def test_a_question_after_an_unforeseen_end_is_told_of_once_all_is_written(
    clip, tmp_path, capsys, monkeypatch
) -> None:
    source = PushSource(1.0)  # its length is not known
    for second in range(3):
        source.push(np.zeros((64, 96, 3), np.uint8), float(second))
    source.end(3.0)
    monkeypatch.setattr("oncue.video.source.open_source", lambda *_: source)
    words = [
        "watch",
        str(clip),
        "--ask",
        "A?",
        "--ask",
        "5: late",
        "--json",
        "--out",
        str(tmp_path),
    ]
    assert cli.main(words) == 2
    captured = capsys.readouterr()
    assert json.loads(captured.out.splitlines()[-1])["stop"] == "source_ended"
    assert "'late' is at 5 s and was never asked" in captured.err.splitlines()[-1]
    assert (tmp_path / "replies.jsonl").read_text() == captured.out


def test_a_defect_of_ours_keeps_its_traceback(clip, monkeypatch) -> None:
    def broken(_: Watch, **__: bool) -> ScriptedPolicy:
        raise ValueError("a bug")

    monkeypatch.setattr(Watch, "_session", broken)
    with pytest.raises(ValueError, match="a bug"):
        cli.main(["watch", str(clip), "--ask", "hi"])


@pytest.mark.usefixtures("scripted")
def test_json_lines_on_stdout_and_all_else_on_stderr(clip, tmp_path, capsys) -> None:
    words = [
        "watch",
        str(clip),
        "--ask",
        "A?",
        "--ask",
        "4: B?",
        "--json",
        "--out",
        str(tmp_path / "seen"),
    ]
    assert cli.main(words) == 0
    captured = capsys.readouterr()
    lines = [json.loads(line) for line in captured.out.splitlines()]
    assert [(x["type"], x["time_s"], x["text"], x["question"]) for x in lines[:-1]] == [
        ("reply", 2.0, "It got lighter.", "A?"),
        ("reply", 5.0, "Again [bold].", "B?"),
    ]
    summary = lines[-1]
    assert summary["type"] == "summary"
    assert (summary["num_turns"], summary["num_silent"], summary["num_replies"]) == (6, 4, 2)
    assert summary["duration_s"] == pytest.approx(6.0, abs=0.1)
    assert "watched 6 turns" in captured.err
    assert (tmp_path / "seen" / "replies.jsonl").read_text() == captured.out
    assert sorted(os.listdir(tmp_path / "seen")) == [
        "index.html",
        "replies.jsonl",
        "replies.srt",
        "replies.vtt",
    ]


@pytest.mark.usefixtures("scripted")
def test_unchanged_frames_are_skipped_only_when_asked_for(clip, capsys) -> None:
    for flags, num_skipped, num_replies in (([], 0, 2), (["--skip-unchanged", "255"], 5, 0)):
        assert cli.main(["watch", str(clip), "--ask", "A?", "--json", *flags]) == 0
        captured = capsys.readouterr()
        summary = json.loads(captured.out.splitlines()[-1])
        assert (summary["num_skipped"], summary["num_replies"]) == (num_skipped, num_replies)
        assert summary["num_silent"] == 6 - num_replies
        assert ("5 skipped as unchanged" in captured.err) == bool(num_skipped)


@pytest.mark.usefixtures("scripted")
def test_only_in_real_time_is_there_a_lag(tmp_path, capsys) -> None:
    path = tmp_path / "one second.mp4"
    write_video(path, (np.full((64, 96, 3), 9 * k, np.uint8) for k in range(5)), 5.0)
    for flags in ([], ["--realtime"]):
        assert cli.main(["watch", str(path), "--ask", "A?", "--json", *flags]) == 0
        captured = capsys.readouterr()
        lag_s = json.loads(captured.out.splitlines()[-1])["max_lag_s"]
        assert (lag_s is not None) == ("s behind it" in captured.err) == bool(flags)


class LiveShades(PushSource):
    """A live source of six seconds that says it dropped frames."""

    is_live = True
    num_dropped, max_lag_s = 0, 1.25

    def __init__(self) -> None:
        super().__init__(1.0)
        for second in range(6):
            self.push(np.full((64, 96, 3), 30 * second, np.uint8), float(second))
        self.end(6.0)
        self.num_read = 0

    def read(self) -> FrameBatch | None:
        self.num_read += 1
        self.num_dropped = 3 if self.num_read > 2 else 0
        return super().read()


@pytest.mark.parametrize("flags", [[], ["--every-frame"], ["--realtime"]])
def test_the_summary_of_a_live_source_says_what_was_dropped_and_how_late_it_was(
    flags, capsys, monkeypatch
) -> None:
    source, opened, read_ahead = LiveShades(), [], []
    monkeypatch.setattr("oncue.video.source.open_source", lambda *how: opened.append(how) or source)

    class Policy(ScriptedPolicy):
        async def respond(self, observed: EnvTurn) -> PolicyTurn:
            await asyncio.sleep(0.02)  # time to read ahead in, which only makes a live frame older
            read_ahead.append(source.num_read - len(read_ahead) - 1)
            return await super().respond(observed)

    monkeypatch.setattr(Watch, "_session", lambda _, **__: Policy({7.0: "Here."}))
    assert cli.main(["watch", "rtsp://camera/1", "--ask", "A?", "--json", *flags]) == 0
    captured = capsys.readouterr()
    *replies, summary = [json.loads(line) for line in captured.out.splitlines()]
    assert opened == [("rtsp://camera/1", 1.0, "--every-frame" in flags)]
    assert [(reply["time_s"], reply["turn"]) for reply in replies] == [(7.0, 3)], (
        "the clock counts what was dropped"
    )
    assert (summary["num_turns"], summary["num_dropped"], summary["max_lag_s"]) == (6, 3, 1.25)
    assert summary["duration_s"] == 9.0
    assert "at most 1.25 s behind it, 3 frames dropped to stay current" in captured.err
    assert read_ahead == [0] * 6


@pytest.mark.usefixtures("scripted")
def test_the_last_caption_begins_before_the_video_ends(tmp_path, capsys) -> None:
    path = tmp_path / "clip.mp4"
    write_video(path, (np.full((64, 96, 3), 10 * k, np.uint8) for k in range(23)), 5.0)
    assert (
        cli.main(["watch", str(path), "--ask", "A?", "--out", str(tmp_path / "seen"), "--json"])
        == 0
    )
    assert [json.loads(line).get("time_s") for line in capsys.readouterr().out.splitlines()] == [
        2.0,
        5.0,
        None,
    ]
    for name, point in (("replies.srt", ","), ("replies.vtt", ".")):
        cues = re.findall("(.+) --> (.+)", (tmp_path / "seen" / name).read_text(encoding="utf-8"))
        assert cues[-1] == (f"00:00:03{point}600", f"00:00:04{point}600")


@pytest.mark.usefixtures("scripted")
def test_a_system_message_must_be_text(clip, capsys) -> None:
    assert cli.main(["watch", str(clip), "--ask", "A?", "--system", "a\udcff"]) == 2
    assert "the system message 'a\\udcff' is no text" in capsys.readouterr().err


@pytest.mark.usefixtures("scripted")
def test_nobody_need_read_stdout(clip, monkeypatch) -> None:
    monkeypatch.setattr(sys, "stdout", None)
    assert cli.main(["watch", str(clip), "--ask", "A?", "--json"]) == 0


@pytest.mark.usefixtures("scripted")
def test_plain_lines_where_there_is_no_terminal(clip, capsys) -> None:
    assert cli.main(["watch", str(clip), "--ask", "A?"]) == 0
    captured = capsys.readouterr()
    assert captured.err == ""
    assert "\x1b" not in captured.out
    asked, first, second, closing = captured.out.splitlines()
    assert asked.split() == ["0:00.0", "ask", "A?"]
    assert first.split()[:5] == ["0:02.0", "reply", "It", "got", "lighter."]
    assert "Again [bold]." in second
    assert closing.startswith("watched 6 turns (6.0 s of video), silent 4, replies 2")


@pytest.mark.usefixtures("scripted")
def test_what_was_seen_before_an_error_is_kept(clip, tmp_path, monkeypatch, capsys) -> None:
    def fail_at_four(self: ScriptedPolicy, observed):
        if observed.clock_s >= 4:
            raise VideoError("the cable was cut")
        return respond(self, observed)

    respond = ScriptedPolicy.respond
    monkeypatch.setattr(ScriptedPolicy, "respond", fail_at_four)
    assert cli.main(["watch", str(clip), "--ask", "A?", "--out", str(tmp_path)]) == 2
    assert "cable" in capsys.readouterr().err
    lines = [json.loads(line) for line in (tmp_path / "replies.jsonl").read_text().splitlines()]
    assert (lines[0]["time_s"], lines[-1]["stop"], lines[-1]["num_turns"]) == (2.0, "failed", 3)


def test_help_is_light() -> None:
    code = (
        "import sys; from oncue.cli import main; main(['--help']); "
        "print(sorted({'torch', 'transformers', 'av', 'numpy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "watch a video" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_the_package_can_be_run_as_a_module() -> None:
    """As where its scripts are not on the path."""
    words = [sys.executable, "-m", "oncue"]
    shown = subprocess.run([*words, "--help"], capture_output=True, text=True, check=True)
    assert shown.stdout.startswith("usage: oncue VERB")
    refused = subprocess.run([*words, "bogus"], capture_output=True, text=True, check=False)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.startswith("oncue: unknown command 'bogus'")


def test_output_is_utf8_whatever_the_environment_says(tmp_path) -> None:
    row = {
        "messages": [
            {"role": "user", "content": "Größe →?"},
            {"role": "assistant", "content": "NO REPLY"},
        ]
    }
    (tmp_path / "row.json").write_text(json.dumps(row))
    words = [sys.executable, "-m", "oncue.cli", "render", str(tmp_path / "row.json"), "--mask"]
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Größe →?" in done.stdout.decode("utf-8")
    assert "⟦NO REPLY" in done.stdout.decode("utf-8")


SCRIPTED_COMMAND = """
import sys
from oncue import cli
from oncue.commands.watch import Watch
from oncue.policy.scripted import TalkPolicy
Watch._session = lambda self, **_: TalkPolicy("x" * 200)
sys.exit(cli.main(sys.argv[1:]))
"""


def start(clip: Path, *flags: str) -> subprocess.Popen[str]:
    words = ["watch", str(clip), "--ask", "A?", "--json", *flags]
    command = [sys.executable, "-c", SCRIPTED_COMMAND, *words]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_a_live_watching_streams_its_lines_and_ends_well_on_sigterm(clip, tmp_path) -> None:
    running = start(clip, "--realtime", "--out", str(tmp_path))
    assert running.stdout is not None
    first = json.loads(running.stdout.readline())  # arrives while the video still runs
    assert first["type"] == "reply"
    running.send_signal(signal.SIGTERM)
    rest, told = running.communicate(timeout=10)
    assert running.returncode == 130, told
    assert "Traceback" not in told
    summary = json.loads(rest.splitlines()[-1])
    assert (summary["type"], summary["stop"]) == ("summary", "cancelled")
    assert summary["num_turns"] < 6
    assert (tmp_path / "index.html").is_file()


def test_a_reader_that_leaves_early_is_no_error(clip) -> None:
    running = start(clip, "--frame-interval-s", "0.2")
    assert running.stdout is not None
    assert running.stderr is not None
    running.stdout.close()
    told = running.stderr.read()
    assert running.wait(timeout=10) == 141, told
    assert "Traceback" not in told
    assert "Exception ignored" not in told


def test_passwords_and_keys_in_an_address_are_not_shown(tmp_path, capsys) -> None:
    assert source_name("rtsp://me:secret@cam.local/live?a=b@c") == "rtsp://cam.local/live?..."
    assert (
        source_name("https://host.example/clip.mp4?key=secret\nmore")
        == "https://host.example/clip.mp4?..."
    )
    assert source_name("rtsp://me:s@cret@cam.local/live#t=secret") == "rtsp://cam.local/live#..."
    assert source_name("some/file@home.mp4") == "some/file@home.mp4"
    assert source_name("what?.mp4") == "what?.mp4"
    with pytest.raises(VideoError) as told:
        open_video("rtsp://me:secret@127.0.0.1:1/live")
    assert "rtsp://127.0.0.1:1/live" in str(told.value)
    assert "secret" not in str(told.value)
    row = {"video": "another.mp4", "question_id": "1", "duration": 6.0, "answer": []}
    asked = {"role": "user", "content": "Lighter?", "time": 0}
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps([{**row, "conversation": [asked]}]))
    addresses = {
        "rtsp://me:secret@127.0.0.1:1": "127.0.0.1:1",
        "https://h/b.mp4?key=secret#t=secret": "b.mp4",
    }
    for address, name in addresses.items():
        assert cli.main(["watch", address, "--gold", str(notes)]) == 2
        said = capsys.readouterr().err
        assert f"says nothing about {name};" in said
        assert "secret" not in said


@pytest.mark.usefixtures("scripted")
def test_an_annotation_file_gives_the_questions_and_what_is_due(clip, tmp_path, capsys) -> None:
    row = {
        "video": clip.name,
        "question_id": "1",
        "duration": 6.0,
        "conversation": [{"role": "user", "content": "Lighter?", "time": 0}],
        "answer": [{"role": "assistant", "content": "Now.", "reply_timespan": [1.0, 3.0]}],
    }
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps([row]))
    assert (
        cli.main(["watch", str(clip), "--gold", str(notes), "--out", str(tmp_path / "seen")]) == 0
    )
    assert "Lighter?" in capsys.readouterr().out
    assert '"text":"Now."' in (tmp_path / "seen" / "index.html").read_text()
    notes.write_text(json.dumps([{**row, "video": "another.mp4"}]))
    assert cli.main(["watch", str(clip), "--gold", str(notes)]) == 2
    assert "says nothing about" in complaint(capsys)


def test_rows_about_another_video_of_the_same_name_are_left_out(tmp_path, monkeypatch) -> None:
    def row(number: int, video: str) -> dict[str, object]:
        asked = {"role": "user", "content": f"about {video}", "time": 0}
        return {
            "video": video,
            "question_id": f"{number}",
            "duration": 6.0,
            "conversation": [asked],
            "answer": [],
        }

    notes = tmp_path / "notes.json"

    def asked(source: str, *videos: str) -> str:
        notes.write_text(json.dumps([row(number, video) for number, video in enumerate(videos)]))
        (question,) = annotated_task(notes, source).questions
        return question.text

    monkeypatch.chdir(tmp_path)
    assert asked("b/clip.mp4", "a/clip.mp4", "b/clip.mp4") == "about b/clip.mp4"
    assert asked("https://host/b/clip.mp4?key=1", "a/clip.mp4", "b/clip.mp4") == "about b/clip.mp4"
    assert asked("elsewhere/clip.mp4", "b/clip.mp4") == "about b/clip.mp4"  # moved
    assert asked("clip.mp4", "1.mp4", "clip.mp4") == "about clip.mp4"
    assert (
        asked("1.mp4", "0.mp4", "another.mp4") == "about another.mp4"
    )  # only its question_id is 1
    assert asked("1.mp4", "1.mp4", "another.mp4") == "about 1.mp4"
    for source in ("clip.mp4", "c/clip.mp4"):
        with pytest.raises(
            DataError, match=r"a/clip\.mp4 and b/clip\.mp4 are both called clip\.mp4"
        ):
            asked(source, "a/clip.mp4", "b/clip.mp4")


@pytest.mark.usefixtures("scripted")
def test_all_rows_about_a_video_are_one_task(clip, tmp_path, capsys) -> None:
    def row(
        question_id: str, question: str, time_s: float, due_s: float, video: str = clip.name
    ) -> dict:
        due = {
            "role": "assistant",
            "content": f"Due at {due_s:g}.",
            "reply_timespan": [due_s, due_s + 1],
        }
        asked = {"role": "user", "content": question, "time": time_s}
        return {
            "video": video,
            "question_id": question_id,
            "duration": 6.0,
            "conversation": [asked],
            "answer": [due],
        }

    rows = [
        row("1", "Late?", 3, 4),
        row("2", "Early?", 0, 1),
        row("3", "Late?", 3, 5),
        row("4", "Not?", 0, 1, "b.mp4"),
    ]
    notes = tmp_path / "notes.json"
    notes.write_text(json.dumps(rows))
    page = tmp_path / "seen" / "index.html"
    for ask, asked in (([], ["Early?", "Late?"]), (["--ask", "Mine?"], ["Mine?"])):
        assert (
            cli.main(["watch", str(clip), "--gold", str(notes), "--out", str(page.parent), *ask])
            == 0
        )
        lines = [line.split() for line in capsys.readouterr().out.splitlines()]
        assert [words[2] for words in lines if words[1] == "ask"] == asked
        assert re.findall(r"Due at \d\.", page.read_text()) == [
            "Due at 1.",
            "Due at 4.",
            "Due at 5.",
        ]
