"""What a model thinks before it answers, where a server or a tokenizer leaves that in the text.

The marks are those of Qwen3, DeepSeek-R1 and others. A chat template may write the opening mark
itself, in the prompt; then only the closing one is in the text.
"""

from __future__ import annotations

OPENING, CLOSING = "<think>", "</think>"


def behind_thoughts(text: str) -> str | None:
    """The answer in `text`, without the space between it and a thought; all of `text` where it
    holds no mark.

    None where a thought is left open: there is no answer then.
    """
    _, closing, answer = text.rpartition(CLOSING)
    if OPENING in answer:
        return None
    return answer.lstrip() if closing else text


def thought_in(text: str) -> str:
    """What is thought in `text`, without the marks and the space around it; "" where it holds no
    mark."""
    before, closing, after = text.rpartition(CLOSING)
    _, opening, open_thought = after.partition(OPENING)
    if opening:
        return open_thought.strip()
    return before.strip().removeprefix(OPENING).strip() if closing else ""
