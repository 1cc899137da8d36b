"""The page of a run: what it says, what it keeps apart, and that texts stay texts."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from oncue import cli
from oncue.errors import DataError
from oncue.eval.streams.benchmark import Headline, Published
from oncue.eval.streams.curve import CurvePoint, read_curve
from oncue.eval.streams.stream_page import to_page
from oncue.eval.streams.timeline import clock_text, timeline
from tones import CARD, ITEMS, item, said, scored

NASTY = "</script><img src=x onerror=alert(1)> \"'&{{ 7 * 7 }}\u2028"
HITS = said([[6.0], [1.0, 12.0], [], [6.0, 15.0], [7.5], [5.0], [8.0]])


class _Texts(HTMLParser):
    """What is shown, by the id of the section around it, and every tag."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: dict[str, str] = {}
        self._section = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag == "section":
            self._section = dict(attrs)["id"] or ""

    def handle_endtag(self, tag: str) -> None:
        self._section = "" if tag == "section" else self._section

    def handle_data(self, data: str) -> None:
        self.texts[self._section] = self.texts.get(self._section, "") + data


def test_scores_blind_rows_and_intervals_are_in_one_table() -> None:
    scores = scored(HITS)
    words = _Texts(to_page(scores)).texts["scores"]
    assert re.search(r"tuner\s*41\.67", words)
    assert re.search(r"silence\s*0\.00", words)
    assert re.search(r"every 4 s\s*100\.00", words)
    low, high = scores.intervals()["found"]
    assert f"{low:.2f} to {high:.2f}" in words


def test_a_blind_policy_that_knows_the_right_texts_is_marked() -> None:
    scores = scored(HITS)
    knowing = replace(scores.blind[1], knows_texts=True)
    scores = replace(scores, blind=(scores.blind[0], knowing))
    texts = _Texts(to_page(scores)).texts
    for section in ("scores", "behaviour"):
        assert "every 4 s (knows the right texts)" in texts[section]
        assert "silence (knows" not in texts[section]
    assert all(table.rows[2][0].endswith("(knows the right texts)") for table in scores.tables())


def test_a_model_called_like_a_blind_policy_keeps_its_interval() -> None:
    scores = scored(HITS, name="silence")
    low, high = scores.intervals()["found"]
    assert f"{low:.2f} to {high:.2f}" in to_page(scores)


def test_published_rows_are_apart_with_their_own_protocol() -> None:
    texts = _Texts(to_page(scored(HITS))).texts
    assert "Somebody" not in texts["scores"]
    assert "77.50" not in texts["scores"]
    for words in (
        "Somebody",
        "77.50",
        "echoes",
        "3.25",
        "judge B, 4 fps, 245 of 250",
        "Not to be ranked",
    ):
        assert words in texts["published"]
    assert "tuner" not in texts["published"]


def test_published_rows_of_other_protocols_are_other_tables(monkeypatch) -> None:
    rows = [
        Published("Ann", {"right": 1.5}, "judge C", "paper 1"),
        Published("Bea", {"found": 2.5, "right": 3.5}, "judge C", "paper 1"),
        Published("Cleo", {"found": 4.5}, "judge D", "paper 1"),
    ]
    card = replace(CARD, published=tuple(rows))
    monkeypatch.setattr("tones.CARD", card)
    section = to_page(scored(HITS)).split('<section id="published"')[1].split("</section>")[0]
    first, second = re.findall(r"<table>(.*?)</table>", section, re.DOTALL)
    assert [name in first for name in ("Ann", "Bea", "Cleo")] == [True, True, False]
    assert re.findall(r"<h3>(judge .)", section) == ["judge C", "judge D"]
    assert re.findall(r"<td>(.*?)</td>", first) == ["-", "1.50", "2.50", "3.50"]
    assert re.findall(r"<td>(.*?)</td>", second) == ["4.50"]


def test_protocol_variants_and_defects_are_said() -> None:
    texts = _Texts(to_page(scored(HITS, judge="lexical", protocol={"fps": 2, "x": [1]}))).texts
    for words in ("fps", "[1]", "lexical", "which", "any", "slack_s"):
        assert words in texts["protocol"]
    assert "It is invented." in texts["about"]
    assert (
        "Unknown: the predictions do not say."
        in _Texts(to_page(scored(HITS, protocol={}))).texts["protocol"]
    )


def test_a_headline_that_a_blind_policy_reaches_says_so() -> None:
    words = " ".join(_Texts(to_page(scored(HITS))).texts[""].split())
    assert (
        "found 41.67 is not above that of a policy that sees no frame (every 4 s, 100.00)" in words
    )


def test_a_headline_above_all_blind_policies_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tones.Tones.blind_rows", lambda _: ())
    assert "is not above" not in to_page(scored(HITS))


def test_texts_of_models_and_annotations_stay_text() -> None:
    items = (item(0, NASTY), *ITEMS[1:])
    plain = _Texts(to_page(scored(HITS)))
    nasty = _Texts(
        to_page(
            scored(
                said([[6.0], [1.0, 12.0], [], [6.0, 15.0], [7.5], [5.0], [8.0]], NASTY),
                items=items,
                name=NASTY,
                protocol={NASTY: NASTY},
                judge=NASTY,
            )
        )
    )
    assert sorted(set(nasty.tags)) == sorted(set(plain.tags))
    assert nasty.tags.count("script") == 1
    assert "img" not in nasty.tags
    assert nasty.texts["items"].count(NASTY) == 9
    assert NASTY in nasty.texts["protocol"]


def test_the_page_loads_nothing() -> None:
    page = to_page(scored(HITS), CURVE)
    assert not re.search(r"https?://|url\(|<link|src=|@import", page)
    assert "default-src 'none'" in page
    assert page == to_page(scored(HITS), CURVE)


def test_items_are_there_worst_first_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    page = to_page(scored(HITS))
    names = re.findall(r"<h3>(t\d+)</h3>", page)
    assert names == [f"t{n}" for n in (1, 2, 7, 8, 9, 10, 11, 0, 3, 4, 5, 6)]
    monkeypatch.setattr("oncue.eval.streams.scoring.NUM_SHOWN", 3)
    page = to_page(scored(HITS))
    assert re.findall(r"<h3>(t\d+)</h3>", page) == ["t1", "t2", "t7"]
    assert "3 of 12 items" in page


def test_a_timeline_is_drawn_to_scale() -> None:
    line = timeline(next(s for s in scored(HITS).model.shown if s.stream.item_id == "t3"))
    assert line.spans == ((250.0, 150.0),)
    assert {lane.verdict: lane.path for lane in line.lanes} == {
        "right": "M300 2V18",
        "in no span": "M750 2V18",
    }
    assert line.ticks == (
        (0.0, "0:00"),
        (25.0, "0:05"),
        (50.0, "0:10"),
        (75.0, "0:15"),
        (100.0, "0:20"),
    )
    assert [(e.clock, e.verdict) for e in line.replies] == [
        ("0:06", "right"),
        ("0:15", "in no span"),
    ]


def test_very_many_replies_stay_a_small_page() -> None:
    times = [[k * 0.001 for k in range(20_000)]] * 3
    page = to_page(scored(said(times, "x" * 5000)))
    assert len(page) < 400_000
    assert "and 19960 more, in items.jsonl" in page


@pytest.mark.parametrize(
    ("time_s", "text"), [(0, "0:00"), (59.96, "1:00"), (124, "2:04"), (35.72, "0:35.7")]
)
def test_clocks(time_s: float, text: str) -> None:
    assert clock_text(time_s) == text


CURVE = (
    CurvePoint(-1.0, 20.0, 0.5),
    CurvePoint(0.0, 60.0, 30.0),
    CurvePoint(1.0, None, 9.0),
)


def test_the_curve_is_shown_where_it_is_given() -> None:
    assert "by reply bias" not in to_page(scored(HITS))
    page = to_page(scored(HITS), CURVE)
    assert "reply bias 0: 60 % of due spans, 30 false replies per quiet hour" in page
    assert "reply bias 1:" not in page


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("{", "cannot read"),
        ("[]", "expected a calibration"),
        ('{"curve": {}}', "'curve' must be a list"),
        ('{"curve": [{}]}', "point 1: expected a calibration"),
        ('{"curve": [{"bias": "1"}]}', "point 1: 'bias' must be a number"),
        ('{"curve": [{"bias": 0, "hit_spans": 101}]}', "'hit_spans' must be 0 to 100"),
        ('{"curve": [{"bias": 0, "false_per_quiet_hour": -1}]}', "a number, 0 or more, got -1"),
        ('{"curve": [{"bias": 0, "hit_spans": NaN}]}', "a number, 0 or more, got nan"),
    ],
)
def test_odd_curves_are_named(tmp_path, text, told) -> None:
    (tmp_path / "calibration.json").write_text(text)
    with pytest.raises(DataError, match=told):
        read_curve(tmp_path / "calibration.json")


def test_curves_are_read_by_bias(tmp_path) -> None:
    path = tmp_path / "calibration.json"
    path.write_text(
        '{"curve": [{"bias": 1, "hit_spans": 60, "false_per_quiet_hour": 30, "more": 1}, '
        '{"bias": -1, "hit_spans": null, "false_per_quiet_hour": 0}]}'
    )
    assert read_curve(path) == (CurvePoint(-1.0, None, 0.0), CurvePoint(1.0, 60.0, 30.0))


def test_the_command_writes_scores_items_and_page(tmp_path, capsys) -> None:
    rows = tmp_path / "proactive_alerting.json"
    rows.write_text('[{"video": "a.mp4", "question": "Signal.", "answer": [3, 6]}]')
    said_rows = tmp_path / "said.json"
    said_rows.write_text(rows.read_text().replace("}", ', "pred": [4]}'))
    words = ["eval", "omnimmi", "--annotations", str(rows), "--predictions", str(said_rows)]
    words += ["--format", "official"]
    curve = tmp_path / "calibration.json"
    curve.write_text('{"curve": [{"bias": 0, "hit_spans": 60, "false_per_quiet_hour": 30}]}')
    assert cli.main([*words, "--curve", str(curve)]) == 2
    assert "give --out, too" in capsys.readouterr().err
    out = tmp_path / "run"
    assert cli.main([*words, "--curve", str(curve), "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == {"scores.json", "items.jsonl", "index.html"}
    page = (out / "index.html").read_text("utf-8")
    assert "said on OmniMMI proactive alerting" in page
    assert "by reply bias" in page


def test_where_the_first_headline_is_undefined_the_next_is_compared(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names = (Headline("unknown", ("none",)), Headline("found", ("found",)))
    monkeypatch.setattr("tones.Tones.headlines", names)
    scores = scored(HITS)
    assert scores.main.name == "found"
    assert "found 41.67 is not above" in to_page(scores)
    assert any("found is not above" in line for line in scores.remarks())
