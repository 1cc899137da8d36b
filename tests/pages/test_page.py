"""Pages from templates: texts are escaped, and what is not given is an error."""

from __future__ import annotations

from importlib.resources import files

import jinja2
import pytest

from oncue.pages.page import render


def test_texts_are_escaped() -> None:
    page = render("report.html", title="<b>&", stages="<i>", charts={})
    assert "<title>&lt;b&gt;&amp;</title>" in page
    assert "&lt;i&gt;" in page


def test_what_is_not_given_is_an_error() -> None:
    with pytest.raises(jinja2.UndefinedError, match="charts"):
        render("report.html", title="run", stages="")


def test_every_template_is_in_the_package() -> None:
    names = {path.name for path in files("oncue.pages").joinpath("templates").iterdir()}
    assert {"base.html", "style.css", "report.html"} <= names
