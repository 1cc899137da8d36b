"""Files of JSON: what is read, and the line that is said of any other file."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from oncue.errors import DataError
from oncue.json_files import json_object_in, json_rows


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ('{"a": 1}\n\n{"a": 2}', ["line 1", "line 3"]),
        ('[{"a": 1}, {"a": 2}]', ["row 1", "row 2"]),
        ('\ufeff [\n{"a": 1},\n{"a": 2}]\n', ["row 1", "row 2"]),
        ('\ufeff{"a": 1}\n{"a": 2}\n', ["line 1", "line 2"]),
        ("[]", []),
        ("", []),
    ],
)
def test_rows_are_lines_or_an_array(tmp_path: Path, text: str, places: list[str]) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text, "utf-8")
    assert list(json_rows(path, "a row")) == [
        (f"{path}, {place}", {"a": number}) for number, place in enumerate(places, 1)
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b'{"a": 1}\n5', ", line 2 holds 5; expected a row"),
        (b'[{"a": 1}, []]', ", row 2 holds []; expected a row"),
        (b'{"a": 1}\n{"a"', ", line 2 is not JSON ("),
        (b'{"a": 1}\n\xff', ", line 2 is not UTF-8 text; expected a row"),
        (b'[{"a": 1},', " is not JSON ("),
        (b"[" * 100_000, " is not JSON ("),
    ],
)
def test_one_line_names_the_row(tmp_path: Path, text: bytes, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_bytes(text)
    with pytest.raises(DataError, match="^" + re.escape(f"{path}{said}")):
        list(json_rows(path, "a row"))


def test_an_object_is_the_whole_file(tmp_path: Path) -> None:
    path = tmp_path / "whole.json"
    with pytest.raises(DataError, match=r"cannot read .*whole\.json.*expected a whole"):
        json_object_in(path, "a whole")
    path.write_text("[1]")
    with pytest.raises(DataError, match=r"whole\.json holds \[1\]; expected a whole"):
        json_object_in(path, "a whole")
    path.write_text('\ufeff{"a": 1}', "utf-8")
    assert json_object_in(path, "a whole") == {"a": 1}
