"""Subtitle files and transcripts, as they are found."""

from __future__ import annotations

from pathlib import Path

import pytest
from source_support import plain, remark, written

from oncue.data.sources.captions import caption_words, spread, words_of_cues
from oncue.data.sources.sentences import sentences_of_words
from oncue.data.sources.speech_json import speech_words
from oncue.errors import DataError
from oncue.types import TimeSpan

SRT = """1
00:00:00,500 --> 00:00:01,500
<i>Hello</i> {\\an8}there &amp; you.

2
00:00:02,000 --> 00:00:04,000
How are
you?
"""
VTT = """WEBVTT - a title
Kind: captions

NOTE a remark
of two lines --> no caption

STYLE
::cue { color: red }

first
00:00.500 --> 00:01.500 align:start position:0%
<v Ann>Hello</v> there&nbsp;&amp; you.

00:02.000 --> 00:04.000
How are
you?
"""


def text_of(path: Path) -> list[tuple[float, float, str]]:
    words, faults = caption_words(path)
    assert not faults
    return plain(sentences_of_words(words))


EXPECTED = [(0.5, 1.5, "Hello there & you."), (2.0, 4.0, "How are you?")]


@pytest.mark.parametrize(
    "data",
    [
        SRT.encode(),
        SRT.replace("\n", "\r\n").encode("utf-8-sig"),
        SRT.encode("utf-16"),
        SRT.replace(",", ".").encode(),
        SRT.replace("00:00:0", "00:0").encode(),
        SRT.replace("00:00:02,000", "0:00:02").encode(),
        SRT.replace("you.\n\n2", "you.\n2").encode(),
        SRT.replace("\n\n", "\n \n").encode(),
        VTT.encode(),
        VTT.replace("\n", "\r\n").encode("utf-8-sig"),
    ],
    ids=["srt", "bom", "utf16", "dot", "hours", "short", "joined", "spaces", "vtt", "vtt-crlf"],
)
def test_subtitles_are_read_in_every_form(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(data)
    assert text_of(path) == EXPECTED


def test_captions_that_roll_up_are_read_once(tmp_path: Path) -> None:
    path = tmp_path / "a.vtt"
    path.write_text(
        "WEBVTT\n\n"
        "00:00:00.000 --> 00:00:02.000\n \nhello<00:00:00.900><c> there</c>\n\n"
        "00:00:02.000 --> 00:00:02.010\nhello there\n \n\n"
        "00:00:02.010 --> 00:00:04.000\nhello there\nhow<00:00:02.500><c> are</c>\n\n"
        "00:00:04.000 --> 00:00:04.010\nhow are\n \n\n"
        "00:00:04.010 --> 00:00:06.000\nhow are\nyou now\n"
    )
    words, _ = caption_words(path)
    assert [word.text for word in words] == ["hello", "there", "how", "are", "you", "now"]
    assert (words[2].span.start_s, words[4].span.start_s) == (2.01, 4.01)


def test_captions_that_grow_are_read_once_and_a_chorus_stays() -> None:
    grown = [remark(0, 1, "so"), remark(1, 2, "so we"), remark(2, 3, "so we go")]
    assert [word.text for word in words_of_cues(grown)] == ["so", "we", "go"]
    lines = ["No.", "No.", "No.", "Why?", "I", "do.", "go", "on."]
    chorus = [remark(k, k + 0.9, text) for k, text in enumerate(lines)]
    assert [word.text for word in words_of_cues(chorus)] == lines
    twice = [remark(0, 2, "Yes."), remark(0, 2, "Yes."), remark(3, 4, "Oh.")]
    assert [word.text for word in words_of_cues(twice)] == ["Yes.", "Oh."]


def test_words_share_the_time_of_a_caption_by_their_letters() -> None:
    assert plain(list(spread("ab abcd  ab", TimeSpan(1.0, 9.0)))) == [
        (1.0, 3.0, "ab"),
        (3.0, 7.0, "abcd"),
        (7.0, 9.0, "ab"),
    ]
    assert [word.text for word in spread("你好。我走。", TimeSpan(0, 1))] == ["你好。", "我走。"]


def test_broken_captions_cost_only_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a.srt"
    path.write_text(
        SRT + "\n3\n00:00:09,000 --> 00:00:08,000\nback\n\n4\n00:00:09,x --> 00:00:10\nodd\n"
        "\n5\n00:00:11,000 --> 00:00:12,000\n3 --> 4, an arrow.\n"
    )
    words, faults = caption_words(path)
    assert [each.text for each in sentences_of_words(words)][-1] == "3 --> 4, an arrow."
    assert [str(each).split(": ", 1)[1] for each in faults][:1] == [
        "the caption ends at 8 s, before 9 s"
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"no captions", "holds no caption"), (b"caf\xe9 --> ", "is not UTF-8 text"), (b"", "no cap")],
)
def test_what_is_no_subtitle_file_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / "a.srt"
    path.write_bytes(data)
    with pytest.raises(DataError, match=message):
        caption_words(path)


def segment(words: object = None) -> dict[str, object]:
    return {"start": 1.0, "end": 3.0, "text": " He said 7. Yes.", "words": words}


WHISPER = [
    {"word": " He", "start": 1.0, "end": 1.2},
    {"word": " said", "start": 1.2, "end": 1.5},
    {"word": " 7.", "start": 1.5, "end": 2.0},
    {"word": " Yes.", "start": 2.0, "end": 3.0},
]
STAMPED = [{"text": str(each["word"]).strip(), **each, "confidence": 0.9} for each in WHISPER]
WHISPERX = [{"word": str(each["word"]).strip(), **each} for each in WHISPER]


@pytest.mark.parametrize(
    "value",
    [
        {"text": "", "segments": [segment(WHISPER)], "language": "en"},
        {"segments": [segment([{k: v for k, v in w.items() if k != "word"} for w in STAMPED])]},
        {"segments": [segment(WHISPERX)], "word_segments": []},
        [segment(WHISPER)],
        {"segments": [segment()], "words": WHISPERX},
        {"segments": [segment()]},
        {"segments": [segment([])]},
        {"words": WHISPER},
    ],
    ids=["whisper", "stamped", "whisperx", "faster", "server", "none", "empty", "words"],
)
def test_transcripts_are_read_in_every_form(tmp_path: Path, value: object) -> None:
    words, faults = speech_words(written(tmp_path / "a.json", value))
    (sentence,) = sentences_of_words(words)
    assert (sentence.span, sentence.text) == (TimeSpan(1.0, 3.0), "He said 7. Yes.")
    assert not faults


def test_a_word_without_times_lies_between_its_neighbours(tmp_path: Path) -> None:
    timed = {"word": "b", "start": 1.5, "end": 2.0}
    given = [{"word": "7"}, timed, {"word": "8", "start": None}, {"word": "9", "score": 0.1}]
    words, _ = speech_words(written(tmp_path / "a.json", {"segments": [segment(given)]}))
    assert plain(words) == [(1.0, 1.5, "7"), (1.5, 2.0, "b"), (2.0, 2.5, "8"), (2.5, 3.0, "9")]


def test_a_broken_segment_costs_only_itself(tmp_path: Path) -> None:
    value = {"segments": [segment(WHISPER), {"start": 4.0, "text": "x"}, segment([{"w": "x"}])]}
    words, faults = speech_words(written(tmp_path / "a.json", value))
    assert len(words) == 4
    assert "segment 2: field 'end' is missing" in str(faults[0])
    assert "segment 3, word 1: expected an object with 'word' or 'text'" in str(faults[1])
    with pytest.raises(DataError, match="holds no segments"):
        speech_words(written(tmp_path / "b.json", {"title": "x"}))
