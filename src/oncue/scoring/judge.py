"""Who decides how much of the due reply was said, and whether a reply says anything new.

A judge is asked through coroutines, so that one that calls a server can have many questions on the
way; it limits its own rate. A call that fails is an Unscored with its reason, never a mark.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from oncue.errors import ConfigError
from oncue.scoring.score import Unscored


class Judge(Protocol):
    """Gives marks from 0 to `max_score` (2 in the benchmark, 4 in the RL reward). `name` is
    printed beside every number."""

    @property
    def name(self) -> str: ...

    @property
    def max_score(self) -> int: ...

    async def coverage(
        self, question: str, gold: str, replies_so_far: Sequence[str]
    ) -> int | Unscored:
        """How much of `gold` the replies, taken together in order, have said: 0 nothing or wrong,
        `max_score` all."""
        ...

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        """Whether all that `new` tells is already in the `previous` replies."""
        ...


@dataclass(frozen=True, slots=True)
class ExactJudge:
    """Marks by a function `level_of(gold, reply)`, for worlds whose grammar is known. The best of
    the replies counts.

    `repeats_of(previous, new)` decides on repetition for one earlier reply; by default equal text
    does.
    """

    level_of: Callable[[str, str], int]
    max_score: int = 2
    name: str = "exact"
    repeats_of: Callable[[str, str], bool] = lambda previous, new: previous.strip() == new.strip()

    async def coverage(
        self,
        question: str,  # noqa: ARG002 - what was said is compared with what was due alone
        gold: str,
        replies_so_far: Sequence[str],
    ) -> int | Unscored:
        return max((self.level_of(gold, reply) for reply in replies_so_far), default=0)

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        return any(self.repeats_of(earlier, new) for earlier in previous)


# Share of the gold reply's content words that must have been said, for each mark above 0.
THRESHOLDS: dict[int, tuple[float, ...]] = {2: (0.4, 0.75), 4: (0.2, 0.4, 0.6, 0.85)}


@dataclass(frozen=True, slots=True)
class LexicalJudge:
    """Marks by shared content words: deterministic, free, and blind to meaning. For tests and first
    looks.

    The mark grows with the share of the gold reply's content words that were said (`THRESHOLDS`);
    where the gold reply holds a number that was not said, it is at most half of `max_score`. A
    reply repeats when it has no content word that was not said before. Paraphrases are underrated
    and denials ("the cup is not red") overrated: do not compare its numbers with those of a
    language model. Raises ConfigError for a `max_score` other than 2 or 4.
    """

    max_score: int = 2

    def __post_init__(self) -> None:
        if self.max_score not in THRESHOLDS:
            raise ConfigError(
                f"the lexical judge gives marks up to 2 or up to 4, got max_score {self.max_score}"
            )

    @property
    def name(self) -> str:
        return "lexical"

    async def coverage(
        self,
        question: str,  # noqa: ARG002 - what was said is compared with what was due alone
        gold: str,
        replies_so_far: Sequence[str],
    ) -> int | Unscored:
        wanted, said = content_words(gold), all_words(" ".join(replies_so_far))
        if not wanted:
            return Unscored("the gold reply has no words")
        share = len(wanted & said) / len(wanted)
        mark = sum(share >= threshold for threshold in THRESHOLDS[self.max_score])
        numbers = {word for word in wanted if word[0].isdigit()}
        return mark if numbers <= said else min(mark, self.max_score // 2)

    async def repeats(self, previous: Sequence[str], new: str) -> bool | Unscored:
        return bool(previous) and content_words(new) <= all_words(" ".join(previous))


_TOKEN = re.compile(
    r"\d+(?:[.,]\d+)*|[\u3040-\u30ff\u4e00-\u9fff]|[^\W\d_\u3040-\u30ff\u4e00-\u9fff]+"
)
_STOP_TEXT = """
a an the this that these those there here it its he she they them his her their him i you we us
our your my me is are was were be been being am do does did has have had will would can could may
might must shall should of to in on at by for from with into onto as and or but so if then than
now also just very s t re ve ll who which what when where while
"""
_NUMBER_TEXT = """
zero one two three four five six seven eight nine ten
eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty
"""
_STOP_WORDS = frozenset(_STOP_TEXT.split())
_NUMBER_WORDS = {word: str(number) for number, word in enumerate(_NUMBER_TEXT.split())}


def content_words(text: str) -> frozenset[str]:
    """The stems of the words that carry meaning, numbers as digits; of all words where none
    does."""
    words = _words(text)
    return frozenset(_stem(word) for word in words if word not in _STOP_WORDS) or frozenset(words)


def all_words(text: str) -> frozenset[str]:
    """All words and their stems: whatever `content_words` of another text may hold, it is here if
    it was said."""
    words = _words(text)
    return frozenset(words) | frozenset(_stem(word) for word in words)


def _words(text: str) -> list[str]:
    return [_NUMBER_WORDS.get(word, word) for word in _TOKEN.findall(text.lower())]


def _stem(word: str) -> str:
    """A rough stem: `appears`, `appeared`, `appearing` become one; `sitting` and `sits` too."""
    if word[0].isdigit():
        return word.replace(",", "")
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith("s") and not word.endswith("ss") and len(word) > 3:
        word = word[:-1]
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) > len(ending) + 2:
            word = word[: -len(ending)]
            break
    if len(word) > 3 and word[-1] == word[-2]:
        word = word[:-1]
    return word[:-1] if word.endswith("e") and len(word) > 3 else word
