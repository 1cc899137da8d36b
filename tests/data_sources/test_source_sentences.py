"""Sentences keep every word, in order; scenes begin and end where sentences do."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from source_support import plain, remark

from oncue.data.source_videos import Remark
from oncue.data.sources.sentences import (
    joined,
    scenes_of_sentences,
    sentences_of_words,
)
from oncue.types import TimeSpan


def words_of(text: str, step_s: float = 0.5) -> list[Remark]:
    return [
        remark(number * step_s, (number + 1) * step_s, word)
        for number, word in enumerate(text.split(" "))
    ]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("Hello there. How are you? Fine!", ["Hello there.", "How are you?", "Fine!"]),
        ("Mr. Smith met J. Doe at 3. Then he left.", ["Mr. Smith met J. Doe at 3. Then he left."]),
        ("It is 3.5 metres. Yes.", ["It is 3.5 metres.", "Yes."]),
        ("Wait... what? No… really.", ["Wait... what?", "No… really."]),
        ('He said "Go." Then I went.', ['He said "Go."', "Then I went."]),
        ("hello there. how are you?", ["hello there.", "how are you?"]),
        ("Dis-moi, l'avion vole ? Oui.", ["Dis-moi, l'avion vole ?", "Oui."]),
        ("no end here", ["no end here"]),
    ],
)
def test_sentences_end_where_their_marks_are(text: str, sentences: list[str]) -> None:
    assert [each.text for each in sentences_of_words(words_of(text))] == sentences


def test_a_pause_ends_a_sentence_and_a_shorter_one_does_not() -> None:
    words = [remark(0, 1, "so"), remark(2.4, 3, "we"), remark(4.5, 5, "go")]
    assert plain(sentences_of_words(words)) == [(0, 3, "so we"), (4.5, 5, "go")]


def test_text_without_marks_is_cut_where_its_words_are_furthest_apart() -> None:
    words = [remark(k, k + (0.5 if k == 17 else 1.0), f"w{k}") for k in range(30)]
    sentences = sentences_of_words(words)
    assert [(each.span.start_s, each.span.end_s) for each in sentences] == [(0, 17.5), (18, 30)]


def test_words_are_joined_as_their_script_is_written() -> None:
    assert joined([" He", " can", "'t"], own_spaces=True) == "He can't"
    assert joined(["你好", "世界。", "OK", "go"]) == "你好世界。 OK go"


TIMES = st.floats(0, 500, allow_nan=False)
TEXTS = st.text("abcXYZ.?!… 你。", min_size=1, max_size=6)
WORDS = st.lists(
    st.tuples(TIMES, st.floats(0, 40, allow_nan=False), TEXTS).map(
        lambda each: Remark(TimeSpan(each[0], each[0] + each[1]), each[2])
    ),
    max_size=30,
)


@settings(max_examples=50, deadline=None)
@given(WORDS)
def test_no_word_is_lost_and_times_never_go_back(words: list[Remark]) -> None:
    sentences = sentences_of_words(words)
    bare = "".join("".join(each.text.split()) for each in words)
    assert "".join("".join(each.text.split()) for each in sentences) == bare
    starts_s = [each.span.start_s for each in sentences]
    assert starts_s == sorted(starts_s)


def test_scenes_are_sentences_put_together_until_they_are_long_enough() -> None:
    sentences = [
        remark(1, 3, "a."),
        remark(3.5, 5.5, "b."),
        remark(6, 14, "c."),
        remark(20, 21, "d."),
        remark(27, 45, "e."),
    ]
    assert plain(scenes_of_sentences(sentences, 50.0)) == [
        (1, 6, "a. b."),  # with the pause behind it
        (6, 14, "c."),  # a pause of 6 s belongs to none
        (20, 24, "d."),  # widened where nothing is said
        (27, 45, "e."),
    ]
    assert plain(scenes_of_sentences([remark(8, 9, "a.")], 10.0)) == [(6, 10, "a.")]
    assert scenes_of_sentences([], 10.0) == ()


def test_a_scene_does_not_become_too_long() -> None:
    sentences = [remark(0, 3, "a."), remark(3, 22, "b."), remark(22, 24, "c.")]
    assert [each.text for each in scenes_of_sentences(sentences, 24.0)] == ["a.", "b.", "c."]


@settings(max_examples=50, deadline=None)
@given(WORDS)
def test_scenes_of_sentences_never_overlap_and_lie_in_the_video(words: list[Remark]) -> None:
    sentences = sentences_of_words(words)
    length_s = max((each.span.end_s for each in sentences), default=1.0) + 1.0
    scenes = scenes_of_sentences(sentences, length_s)
    borders = [time_s for each in scenes for time_s in (each.span.start_s, each.span.end_s)]
    assert borders == sorted(borders)
    assert all(0 <= time_s <= length_s for time_s in borders)
    assert all(each.span.duration_s > 0 for each in scenes)
