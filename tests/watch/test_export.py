"""Captions and JSON lines."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from oncue.types import Question
from oncue.watch.export import to_jsonl, to_srt, to_vtt, write_exports
from oncue.watch.record import SpokenReply, WatchSummary
from oncue.watch.report import summary_text

NASTY = "a --> b\n\n<i>x</i> & {\\an8} </script>"


def reply(time_s: float, text: str = "Hello.") -> SpokenReply:
    return SpokenReply(time_s, text, "Q", 1.0, 0, 0.1)


def srt_cues(text: str) -> list[tuple[float, float, str]]:
    """A strict reader of SubRip: number, times, text without blank lines, blank line."""
    found = []
    for expected, block in enumerate(text.strip("\n").split("\n\n") if text else [], 1):
        number, times, *lines = block.split("\n")
        assert int(number) == expected
        match = re.fullmatch(
            r"(\d\d+):(\d\d):(\d\d),(\d{3}) --> (\d\d+):(\d\d):(\d\d),(\d{3})", times
        )
        assert match
        assert lines
        h1, m1, s1, f1, h2, m2, s2, f2 = map(int, match.groups())
        start, end = h1 * 3600 + m1 * 60 + s1 + f1 / 1000, h2 * 3600 + m2 * 60 + s2 + f2 / 1000
        found.append((start, end, "\n".join(lines)))
    return found


def test_a_caption_lasts_until_the_next_reply_and_at_most_five_seconds() -> None:
    cues = srt_cues(to_srt([reply(1.0), reply(3.5), reply(3599.9996)]))
    assert [(start, end) for start, end, _ in cues] == [(1.0, 3.5), (3.5, 8.5), (3600.0, 3605.0)]


@pytest.mark.parametrize(
    ("times_s", "end_s", "expected"),
    [
        ([2.0, 10.0], 9.4, [(2.0, 7.0), (8.4, 9.4)]),  # the last turn reaches beyond the end
        ([2.0, 10.0], 10.0, [(2.0, 7.0), (9.0, 10.0)]),  # or to it
        ([9.0, 10.0], 9.4, [(9.0, 9.2), (9.2, 9.4)]),
        ([8.0, 9.0], 9.4, [(8.0, 9.0), (9.0, 9.4)]),
        ([1.0], 0.4, [(0.0, 0.4)]),  # a video shorter than a turn
        ([3.0], 9.4, [(3.0, 8.0)]),
        ([3.0, 10.0], None, [(3.0, 8.0), (10.0, 15.0)]),  # nobody knows how much there is to come
        ([], 9.4, []),
    ],
)
@pytest.mark.parametrize("second_0_s", [0.0, 2.5])
def test_no_caption_is_later_than_the_end_of_the_video(
    times_s, end_s, expected, second_0_s
) -> None:
    replies = [reply(time_s) for time_s in times_s]
    shifted = [(start_s + second_0_s, stop_s + second_0_s) for start_s, stop_s in expected]
    assert [
        (start, end) for start, end, _ in srt_cues(to_srt(replies, second_0_s, end_s))
    ] == shifted
    vtt = to_vtt(replies, second_0_s, end_s).partition("\n\n")[2]
    assert [
        (start, end) for start, end, _ in srt_cues(re.sub(r"(\d)\.(\d{3})", r"\1,\2", vtt))
    ] == shifted


def test_captions_are_in_order_and_empty_replies_have_none() -> None:
    cues = srt_cues(to_srt([reply(9.0, "c"), reply(2.0, "a"), reply(4.0, " \n ")]))
    assert [text for _, _, text in cues] == ["a", "c"]


def test_text_cannot_break_a_caption_file() -> None:
    srt = srt_cues(to_srt([reply(1.0, NASTY), reply(2.0)]))
    assert len(srt) == 2
    assert "-->" not in srt[0][2]
    assert "<i>" not in srt[0][2]
    assert srt[0][2].replace("\u2060", "") == NASTY.replace("\n\n", "\n")
    vtt = to_vtt([reply(1.0, NASTY), reply(2.0)])
    assert vtt.startswith("WEBVTT\n\n")
    assert vtt.count("-->") == 2
    assert (
        "a --&gt; b\n&lt;i&gt;x&lt;/i&gt; &amp; {\\an8} &lt;/script&gt;\n\n2\n00:00:02.000 --> "
        "00:00:07.000" in vtt
    )


def test_no_replies_give_valid_empty_files() -> None:
    assert srt_cues(to_srt([reply(1.0)], 4.2)) == srt_cues(to_srt([reply(5.2)]))
    assert to_vtt([reply(1.0)], 4.2) == to_vtt([reply(5.2)]) != to_vtt([reply(1.0)])
    assert to_srt([]) == ""
    assert to_vtt([]) == "WEBVTT\n"


def test_json_lines_end_with_the_summary(watch) -> None:
    watched = watch({3.0: "one", 7.0: "two\nlines"}, [Question("A?"), Question("B?", 5.0)])
    lines = [json.loads(line) for line in to_jsonl(watched).splitlines()]
    assert [(x["type"], x.get("time_s"), x.get("text"), x.get("question")) for x in lines[:-1]] == [
        ("reply", 3.0, "one", "A?"),
        ("reply", 7.0, "two\nlines", "B?"),
    ]
    assert all(isinstance(line["latency_ms"], float) for line in lines[:-1])
    assert lines[-1]["type"] == "summary"
    assert {
        k: lines[-1][k] for k in ("num_turns", "num_silent", "num_replies", "duration_s", "stop")
    } == {
        "num_turns": 20,
        "num_silent": 18,
        "num_replies": 2,
        "duration_s": 20.0,
        "stop": "source_ended",
    }


def test_the_files_hold_the_captions_for_the_clock_of_the_player(watch, tmp_path: Path) -> None:
    watched = watch({3.0: "  one\n\n   two <i>", 20.0: "last"})
    paths = write_exports(tmp_path, watched, "<html></html>", 2.5, 19.5)
    jsonl, srt, vtt, page = (path.read_text(encoding="utf-8") for path in paths)
    assert [path.name for path in paths] == [
        "replies.jsonl",
        "replies.srt",
        "replies.vtt",
        "index.html",
    ]
    assert jsonl == to_jsonl(watched)
    assert srt == (
        "1\n00:00:05,500 --> 00:00:10,500\none\ntwo <i>\n\n2\n00:00:21,000 --> 00:00:22,000\nlast\n"
    ).replace("<i", "<\u2060i")
    assert vtt == (
        "WEBVTT\n\n1\n00:00:05.500 --> 00:00:10.500\none\ntwo &lt;i&gt;\n\n2\n00:00:21.000 --> "
        "00:00:22.000\nlast\n"
    )
    assert page == "<html></html>"


def test_files_are_written_whole_and_leave_nothing_else(watch, tmp_path: Path) -> None:
    write_exports(tmp_path / "a" / "b", watch({3.0: "one"}), "<html></html>")
    assert sorted(os.listdir(tmp_path / "a" / "b")) == [
        "index.html",
        "replies.jsonl",
        "replies.srt",
        "replies.vtt",
    ]


def test_the_closing_line_says_what_was_watched_and_what_it_took() -> None:
    summary = WatchSummary(
        source="a.mp4",
        model="mini",
        num_turns=40,
        num_silent=33,
        num_replies=6,
        num_malformed=1,
        num_frames=40,
        duration_s=39.9,
        wall_s=2.0,
        real_time_factor=19.95,
        load_s=3.14,
        latency_ms_p50=20.0,
        latency_ms_p95=40.0,
        stop="cancelled",
        num_skipped=4,
        max_lag_s=0.25,
        num_dropped=7,
    )
    assert summary_text(summary) == (
        "watched 40 turns (39.9 s of video), silent 33 (4 skipped as unchanged), replies 6, "
        "unreadable 1, 2.0 s, "
        "19.9 x real time, at most 0.25 s behind it, 7 frames dropped to stay current, after 3.1 s "
        "of loading "
        "(stopped early)"
    )
