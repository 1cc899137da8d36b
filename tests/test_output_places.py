"""A place that cannot be written is one message and exit 2; a full disk is one message and exit 1.
Names that are not text are shown all the same."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from oncue import cli
from oncue.commands.watch import Watch
from oncue.files import prepare_folder
from oncue.policy.scripted import TalkPolicy
from oncue.video.writer import write_video

TALKING_COMMAND = """
import sys
from oncue import cli
from oncue.commands.watch import Watch
from oncue.policy.scripted import TalkPolicy
Watch._session = lambda self, **_: TalkPolicy("Hm.")
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of video."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    write_video(path, np.zeros((2, 64, 96, 3), np.uint8), 1.0)
    return path


def complaint(capsys: pytest.CaptureFixture[str]) -> str:
    """The one line on stderr."""
    told = capsys.readouterr().err
    assert told.startswith("oncue: ")
    assert told.count("\n") == 1
    return told


def test_a_folder_where_a_page_should_be(clip, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(Watch, "_session", lambda _, **__: TalkPolicy("Hm."))
    """Told before anything is watched; made while it is, what can be kept is."""
    page = tmp_path / "index.html"
    page.mkdir()
    words = ["watch", str(clip), "--ask", "hi", "--out", str(tmp_path)]
    assert cli.main(words) == 2
    assert f"{page} is there and is no file" in complaint(capsys)
    assert list(tmp_path.iterdir()) == [page]
    monkeypatch.setattr("oncue.commands.watch.FILES", ())
    assert cli.main(words) == 2
    assert f"{page} is there and is no file" in complaint(capsys)
    assert (tmp_path / "replies.jsonl").is_file()


def test_a_world_whose_places_are_taken(tmp_path, capsys) -> None:
    words = ["world", "make", str(tmp_path), "--count", "1"]
    (tmp_path / "videos").touch()
    assert cli.main(words) == 2
    assert str(tmp_path / "videos") in complaint(capsys)
    (tmp_path / "world.json").mkdir()
    assert cli.main(words) == 2
    assert str(tmp_path / "world.json") in complaint(capsys)


@pytest.mark.skipif(
    not Path("/dev/full").exists(), reason="the system has no file that is always full"
)
@pytest.mark.parametrize("flags", [["--json"], []])
def test_a_full_disk_behind_stdout(flags, clip, tmp_path) -> None:
    words = ["watch", str(clip), "--ask", "hi", "--out", str(tmp_path), *flags]
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", TALKING_COMMAND, *words]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        shown = subprocess.run(
            [*command[:3], "--version"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.splitlines()[-1].split(";")[0]) == (
        1,
        f"oncue: cannot write the output ({os.strerror(errno.ENOSPC)})",
    )
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert (tmp_path / "replies.jsonl").is_file()
    assert (shown.returncode, shown.stderr.count("\n")) == (1, 1)


@pytest.mark.skipif(
    sys.platform != "linux", reason="other systems have no file names that are not text"
)
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_a_file_name_that_is_not_text(locale, clip, tmp_path) -> None:
    source = os.fsencode(tmp_path) + b"/bad\xffname.mp4"
    os.link(clip, source)
    words = ["watch", source, "--ask", "hi", "--json", "--out", str(tmp_path)]
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-c", TALKING_COMMAND, *words],
        capture_output=True,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.decode("utf-8") == (tmp_path / "replies.jsonl").read_text("utf-8")
    assert json.loads(done.stdout.splitlines()[-1])["source"] == f"{tmp_path}/bad\ufffdname.mp4"
    assert "<title>bad\ufffdname.mp4" in (tmp_path / "index.html").read_text("utf-8")


def fail_with(number: int, *places: str):
    """A stand-in for a call of the system that fails."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number), *places)

    return fail


def test_a_full_disk_below_a_file(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.setattr("os.replace", fail_with(errno.ENOSPC, "half"))
    assert cli.main(["world", "make", str(tmp_path), "--count", "1"]) == 1
    assert "make room" in complaint(capsys)


def test_a_full_disk_is_no_bad_out(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr("tempfile.TemporaryFile", fail_with(errno.ENOSPC))
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        prepare_folder(tmp_path)


def test_an_error_of_the_system_that_is_about_no_place_keeps_its_traceback(
    tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("os.replace", fail_with(errno.EINVAL))
    with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
        cli.main(["world", "make", str(tmp_path), "--count", "1"])
