"""A reader sees the old file or the new one, never half of one."""

from __future__ import annotations

import errno
import json
import os
import re
import stat

import pytest

from oncue.errors import InputError
from oncue.files import (
    append_text,
    disk_of,
    free_bytes,
    prepare_folder,
    printable,
    replacing,
    system_error,
    write_json,
    write_text,
)


def test_a_file_is_replaced_as_a_whole(tmp_path):
    path = tmp_path / "deep" / "notes.txt"
    write_text(path, "old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"
        assert temporary.parent == path.parent  # the same disk, so the exchange is one step
        assert temporary.suffix == path.suffix
    assert path.read_text() == "new"
    assert list(path.parent.iterdir()) == [path]


def test_what_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "notes.txt"
    write_text(path, "old")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half of th")
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_the_file_has_the_mode_of_any_new_file(tmp_path):
    write_text(tmp_path / "ours", "x")
    (tmp_path / "plain").write_text("x")
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ours", "plain")}
    assert len(modes) == 1


@pytest.mark.skipif(os.name != "posix", reason="file modes are those of POSIX")
def test_a_file_that_was_there_keeps_its_mode(tmp_path):
    path = tmp_path / "mine"
    write_text(path, "x")
    for mode in (0o600, 0o664, 0o755):
        path.chmod(mode)
        write_text(path, "y")
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_json_is_strict_and_readable(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"word": "Größe", "n": [1, 2.5, None]})
    assert json.loads(path.read_text("utf-8")) == {"word": "Größe", "n": [1, 2.5, None]}
    assert "Größe" in path.read_text("utf-8")
    with pytest.raises(ValueError, match="Out of range"):
        write_json(path, {"bad": float("nan")})
    assert json.loads(path.read_text("utf-8"))["word"] == "Größe"


def test_what_has_no_form_in_utf8_is_escaped_and_names_are_made_text(tmp_path):
    write_text(tmp_path / "notes.txt", "Größe \udcff")
    assert (tmp_path / "notes.txt").read_text("utf-8") == "Größe \\udcff"
    assert printable("Größe \udcff.mp4") == "Größe \ufffd.mp4"


def test_a_folder_that_cannot_be_written_to_is_told_of_first(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(InputError, match="--out"):
        prepare_folder(tmp_path / "file")


def test_a_link_stays_and_what_is_no_file_is_not_replaced(tmp_path):
    (tmp_path / "link").symlink_to(tmp_path / "notes.txt")
    write_text(tmp_path / "link", "one")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "notes.txt").read_text() == "one"
    os.mkfifo(tmp_path / "pipe")
    for other in (tmp_path / "pipe", tmp_path):
        with pytest.raises(InputError, match="no file"):
            write_text(other, "two")
    assert (tmp_path / "pipe").is_fifo()


def test_a_full_disk_names_the_file(tmp_path):
    """A write knows only its descriptor."""
    with pytest.raises(OSError, match="No space") as caught, replacing(tmp_path / "a.json"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert caught.value.filename == str(tmp_path / "a.json")
    with pytest.raises(OSError, match="odd") as other, replacing(tmp_path / "a.json"):
        raise OSError(errno.EINVAL, "odd")
    assert other.value.filename is None


def test_what_is_appended_is_there_as_a_whole_or_not_at_all(tmp_path):
    path = tmp_path / "lines"
    append_text(path, "Größe\n")
    append_text(path, "two\n")
    assert path.read_text("utf-8") == "Größe\ntwo\n"


def test_the_reason_of_a_write_that_failed_is_that_of_the_system(tmp_path):
    path = tmp_path / "model"
    hidden = RuntimeError("unexpected pos 640 vs 534")
    hidden.__context__ = OSError(errno.ENOSPC, "No space left on device")
    for error in (hidden, ValueError("I/O error: No space left on device (os error 28)")):
        found = system_error(error, path)
        assert (found.errno, found.strerror, found.filename) == (
            28,
            "No space left on device",
            str(path),
        )
    assert system_error(RuntimeError("odd"), path) is None


def test_a_disk_is_named_with_its_room(tmp_path):
    assert re.fullmatch(
        r"the disk at /.* has [\d.]+ [KMGTP]?i?B free", disk_of(tmp_path / "not" / "there")
    )
    assert free_bytes(tmp_path / "not" / "there") > 0
