"""Sentences with their times, from words with theirs; and scenes from sentences.

A sentence ends with a word that ends in . ! ? … or a sign of another script for these, and in front
of a pause. A full stop ends none behind an abbreviation, an initial or the number of a list, and
none where the next word begins with a small letter in a text that has capitals. Text without such
marks is cut where its words are furthest apart.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from oncue.data.source_videos import Remark
from oncue.data.sources.segments import LONGEST_SCENE_S, SHORTEST_SCENE_S
from oncue.types import TimeSpan

PAUSE_S = 1.5  # between words of two sentences
LONGEST_SENTENCE_S = 20.0
NEAR_S = 3.0  # a shorter pause between two scenes belongs to the first

_CLOSERS = "\"'”’»)]}」』）"
_ENDS = re.compile(rf"[.!?…。！？।؟۔]+[{re.escape(_CLOSERS)}]*$")
_OPENERS = "\"'“‘«([{-–—¿¡"
_ABBREVIATION = re.compile(
    r"mr|mrs|ms|dr|prof|st|vs|etc|e\.g|i\.e|no|fig|jr|sr|inc|ltd|co|approx|cf|dept|est|gen|mt",
    re.IGNORECASE,
)
# Scripts that are written without spaces: Thai to Khmer, Japanese, Chinese, and their full widths
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\u9fff\uf900-\ufaff\uff00-\uffef]"
)


def sentences_of_words(words: Sequence[Remark]) -> tuple[Remark, ...]:
    """The sentences that these words make, in their order; no word is lost.

    Each lasts from the start of its first word to the end of its last; none begins before the one
    before it does. Words are joined as they are where they bring their spaces (as Whisper's do),
    else by one space, but not in scripts that have none.
    """
    spoken = _in_time([word for word in words if word.text.strip()])
    own_spaces = any(word.text[:1].isspace() for word in spoken)
    has_capitals = any(letter.isupper() for word in spoken for letter in word.text)
    sentences = []
    begin = 0
    for last, word in enumerate(spoken):
        following = spoken[last + 1] if last + 1 < len(spoken) else None
        if following is None or _divides(word, following, has_capitals):
            for run in _short_runs(spoken[begin : last + 1]):
                sentences.append(
                    Remark(
                        TimeSpan(run[0].span.start_s, run[-1].span.end_s),
                        joined([each.text for each in run], own_spaces=own_spaces),
                    )
                )
            begin = last + 1
    return tuple(sentences)


def scenes_of_sentences(
    sentences: Sequence[Remark],
    duration_s: float | None = None,
    *,
    shortest_s: float = SHORTEST_SCENE_S,
    longest_s: float = LONGEST_SCENE_S,
) -> tuple[Remark, ...]:
    """Scenes whose borders are those of sentences, each with what is said in it (MMDuet2 section 3:
    the scenes of web videos).

    Sentences are put together until a scene is `shortest_s` long; one that would make it longer
    than `longest_s`, or that follows a pause of `NEAR_S`, begins another. A shorter pause behind a
    scene belongs to it. A scene that stays too short lasts on, or begins earlier, where nothing is
    said. `duration_s`: of the video, which no scene passes.
    """
    groups: list[list[Remark]] = []
    for sentence in sentences:
        if groups and _joins(groups[-1], sentence, shortest_s, longest_s):
            groups[-1].append(sentence)
        else:
            groups.append([sentence])
    end_s = duration_s if duration_s is not None else float("inf")
    scenes: list[Remark] = []
    for number, group in enumerate(groups):
        next_s = groups[number + 1][0].span.start_s if number + 1 < len(groups) else end_s
        free_from_s = scenes[-1].span.end_s if scenes else 0.0
        span = _wide_enough(_span_of(group), free_from_s, min(next_s, end_s), shortest_s)
        if span.duration_s > 0:
            scenes.append(Remark(span, joined([each.text for each in group])))
    return tuple(scenes)


def joined(texts: Sequence[str], *, own_spaces: bool = False) -> str:
    """The text that these pieces make, as `sentences_of_words` says."""
    if own_spaces:
        return " ".join("".join(texts).split())
    whole = ""
    for text in (" ".join(text.split()) for text in texts):
        between = " " if whole and text and not _is_unspaced(whole[-1], text[0]) else ""
        whole += between + text
    return whole


def _is_unspaced(left: str, right: str) -> bool:
    return bool(_UNSPACED.match(left) and _UNSPACED.match(right))


def _in_time(words: Sequence[Remark]) -> list[Remark]:
    """The words, none of which begins before the one before it, or ends before it begins."""
    ordered: list[Remark] = []
    now_s = end_s = 0.0
    for word in words:
        now_s = max(now_s, word.span.start_s)
        end_s = max(now_s, word.span.end_s)
        ordered.append(Remark(TimeSpan(now_s, end_s), word.text))
    return ordered


def _divides(word: Remark, following: Remark, has_capitals: bool) -> bool:
    if following.span.start_s - word.span.end_s >= PAUSE_S:
        return True
    text = word.text.strip()
    if not _ENDS.search(text):
        return False
    bare = text.rstrip(_CLOSERS)
    if bare.endswith(".") and not bare.endswith(".."):
        stem = bare[:-1].lstrip(_OPENERS)
        is_initial = len(stem) == 1 and stem.isalpha() and stem.isupper()
        if is_initial or _ABBREVIATION.fullmatch(stem) or re.fullmatch(r"\d{1,2}", stem):
            return False
    begins = following.text.strip().lstrip(_OPENERS)[:1]
    return not (has_capitals and begins.islower())


def _short_runs(words: list[Remark]) -> Iterator[list[Remark]]:
    """The words in runs of at most `LONGEST_SENTENCE_S`, cut where they are furthest apart, and
    near the middle."""
    if len(words) < 2 or words[-1].span.end_s - words[0].span.start_s <= LONGEST_SENTENCE_S:
        yield words
        return
    middle_s = (words[0].span.start_s + words[-1].span.end_s) / 2

    def fitness(place: int) -> tuple[float, float]:
        gap_s = words[place].span.start_s - words[place - 1].span.end_s
        return round(max(0.0, gap_s), 3), -abs(words[place].span.start_s - middle_s)

    place = max(range(1, len(words)), key=fitness)
    yield from _short_runs(words[:place])
    yield from _short_runs(words[place:])


def _span_of(group: Sequence[Remark]) -> TimeSpan:
    return TimeSpan(group[0].span.start_s, max(each.span.end_s for each in group))


def _joins(group: Sequence[Remark], sentence: Remark, shortest_s: float, longest_s: float) -> bool:
    """Whether `sentence` belongs to the scene of `group`."""
    so_far = _span_of(group)
    if sentence.span.start_s - so_far.end_s >= NEAR_S:
        return False
    if sentence.span.start_s < so_far.end_s and sentence.span.end_s <= so_far.end_s:
        return True  # said at the same time
    is_short = so_far.duration_s < shortest_s
    return is_short and sentence.span.end_s - so_far.start_s <= longest_s


def _wide_enough(span: TimeSpan, free_from_s: float, end_s: float, shortest_s: float) -> TimeSpan:
    """The span of a scene between the end of the one before it and `end_s`."""
    start_s, until_s = max(span.start_s, free_from_s), min(span.end_s, end_s)
    if end_s - until_s < NEAR_S:
        until_s = end_s
    if until_s - start_s < shortest_s:
        until_s = min(end_s, start_s + shortest_s)
    if until_s - start_s < shortest_s:
        start_s = max(free_from_s, until_s - shortest_s)
    return TimeSpan(min(start_s, until_s), until_s)
