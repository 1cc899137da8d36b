"""Pages from templates: texts are escaped, and what is not given is an error."""

from __future__ import annotations

import json
import math
from importlib.resources import files

import jinja2
import pytest

from oncue.pages.page import render


def test_texts_are_escaped() -> None:
    page = render("report.html", title="<b>&", stages="<i>", last_step=None, charts={})
    assert "<title>&lt;b&gt;&amp;</title>" in page
    assert "&lt;i&gt;" in page


def test_what_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="charts"):
        render("report.html", title="run", stages="", last_step=1)


def test_every_template_is_in_the_package() -> None:
    names = {path.name for path in files("oncue.pages").joinpath("templates").iterdir()}
    assert {"base.html", "style.css", "charts.css", "sections.css", "benchmark.html"} <= names
    assert {"report.html", "study.html", "watch.html", "rollouts.html", "retrieval.html"} <= names


def test_data_in_a_script_cannot_end_it() -> None:
    values = {"text": "</script><!-- &'\u2028", "b": 1, "a": [0.5]}
    page = render("retrieval.html", title="t", values=values)
    written = page.split('id="values">')[1].split("</script>")[0]
    assert json.loads(written) == values
    assert list(json.loads(written)) == list(values), "in the order given"
    assert written.isascii()
    assert not set("<>&'") & set(written)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_no_json_is_an_error(value: float) -> None:
    with pytest.raises(ValueError, match="JSON"):
        render("retrieval.html", title="t", values={"x": value})
