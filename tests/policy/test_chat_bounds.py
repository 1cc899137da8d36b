"""Bounds of prompts and options: what is just within is taken, what is just beyond is not."""

from __future__ import annotations

import pytest

from oncue.errors import ConfigError, ContextFullError
from oncue.policy.chat_server import ServerOptions
from oncue.policy.chat_window import PromptBounds, Round, RoundWindow, Size, size_of

NOTHING = Size()


def rounds(
    count: int,
    asked: tuple[int, ...] = (),
    replied: tuple[int, ...] = (),
    size: Size = NOTHING,
) -> list[Round]:
    return [Round({"k": k}, {}, "And?" * (k in asked), k in replied, size) for k in range(count)]


def numbers(kept: tuple[Round, ...]) -> list[int]:
    return [turn.shown["k"] for turn in kept]


def test_the_smallest_window() -> None:
    """One question pinned, and room for one newer round."""
    smallest = RoundWindow(3, 2, max_questions=1, max_replies=0)
    assert numbers(smallest.cut(rounds(3, asked=(0,)))) == [0, 2]
    for max_rounds, keep_rounds in ((2, 2), (3, 1)):
        with pytest.raises(ConfigError, match="1 < keep_rounds < max_rounds"):
            RoundWindow(max_rounds, keep_rounds, max_questions=1, max_replies=0)


def test_the_default_window() -> None:
    """As documented: beyond 64 rounds 32 are left, with 4 questions and 8 replies."""
    assert len(RoundWindow().cut(rounds(63))) == 63
    full = rounds(64, asked=tuple(range(5)), replied=tuple(range(5, 14)))
    assert numbers(RoundWindow().cut(full)) == [*range(1, 5), *range(6, 14), *range(44, 64)]


def test_what_fills_a_limit_exactly_fits() -> None:
    window, fixed, one = RoundWindow(), Size(2, 20, 200), Size(1, 10, 100)
    asked = rounds(10, asked=(0,), size=one)
    for unit, most in (("images", 12), ("tokens", 120), ("bytes", 1200)):
        assert numbers(window.fitted(asked, fixed, {unit: most})) == list(range(10))
        assert numbers(window.fitted(asked, fixed, {unit: most - 1})) == [
            0,
            *range(6, 10),
        ]  # half of that, whole rounds
    large = Size(8, 80, 800)  # leaves less than half
    assert numbers(window.fitted(asked, large, {"tokens": 120})) == [0, 7, 8, 9]
    tighter = {"tokens": 110, "images": 6}
    assert numbers(window.fitted(asked, fixed, tighter)) == [0, 8, 9]


def test_the_newest_question_stays_whatever_it_takes_and_only_that_one() -> None:
    picture = {"type": "image_url", "image_url": {"url": "data:,"}}
    texts = [{"type": "text", "text": "What happens?"}, {"type": "text", "text": "And then?"}]
    shown, answered = {"role": "user", "content": [picture, *texts]}, {"content": "NO REPLY"}
    large = Round(shown, answered, "What happens?\nAnd then?", False, Size(1, 90, 900))
    (bare,) = RoundWindow().fitted([large, large], Size(0, 10, 100), {"tokens": 60})
    assert bare.shown == {"role": "user", "content": "What happens?\nAnd then?"}
    assert bare.size == size_of(bare.shown) + size_of(answered)
    assert (bare.answered, bare.asked, bare.without_images()) == (answered, True, bare)
    (still,) = RoundWindow().fitted([large], Size(0, 10, 100), {"tokens": 11})
    assert still.shown == bare.shown
    (whole,) = RoundWindow().fitted([large, large], Size(0, 10, 100), {"tokens": 180})
    assert whole is large  # half of the limit exactly


def test_the_size_of_a_message() -> None:
    for num_bytes, num_tokens in ((0, 5), (1, 6), (4, 6), (5, 7)):
        assert size_of({"content": "x" * num_bytes}) == Size(0, num_tokens, num_bytes)
    assert size_of({"content": "é"}) == Size(0, 6, 2)
    picture = {"type": "image_url", "image_url": {"url": "data:,12345"}}
    content = [picture, picture, {"type": "text", "text": "Now?"}]
    assert size_of({"content": content}, 20) == Size(2, 5 + 1 + 20 + 2 * 2, 4 + 2 * 11)


def test_a_turn_that_fills_the_context_is_taken() -> None:
    bounds, fixed = PromptBounds(RoundWindow(), context_tokens=100), Size(0, 100, 0)
    assert bounds.kept([], fixed, 1.0) == ()
    with pytest.raises(ContextFullError, match=r"at 1 s needs about 101 tokens .* 100 are allowed"):
        bounds.kept([], Size(0, 101, 0), 1.0)
    bounds.learned["tokens"] = 60  # of the server, and tighter: it only drops rounds
    one = rounds(5, size=Size(0, 10, 0))
    assert numbers(bounds.kept(one, Size(0, 10, 0), 1.0)) == [0, 1, 2, 3, 4]
    assert numbers(bounds.kept(one, Size(0, 11, 0), 1.0)) == [2, 3, 4]
    bounds.learned["tokens"] = 200
    assert numbers(bounds.kept(one, Size(0, 51, 0), 1.0)) == [1, 2, 3, 4]


def test_options_at_their_bounds_are_taken() -> None:
    for quality in (1, 100):
        taken = ServerOptions(max_new_tokens=1, jpeg_quality=quality, timeout_s=1e-3)
        assert taken.jpeg_quality == quality
    with pytest.raises(ConfigError, match="jpeg_quality from 1 to 100"):
        ServerOptions(jpeg_quality=101)
