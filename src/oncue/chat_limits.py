"""Which refusals of a chat server say that a request is too large, and what there is too much of.

Every server has words of its own. What is known here are those of vLLM, SGLang, llama.cpp, TGI,
OpenAI and others with its API, as their sources and documentation have them.
"""

from __future__ import annotations

import re
from typing import Literal

Unit = Literal["images", "tokens", "bytes"]

_STATUSES = frozenset((400, 413, 422))
_IMAGES = re.compile(r"\b(at most|too many|exceed\w*|limit\w*|up to|maximum|fewer)\b")
_TOKENS = re.compile(
    r"context.?(length|size|window)|max\w*.model.len|too many (input )?tokens|reduce the length"
    r"|\b(prompt|inputs?|request|messages?)\b.*\b(too (long|large)|longer than)\b"
    r"|\btokens?\b.*\b(exceed|must be <=)|\bexceed.*\btokens?\b"
)


def exceeded(status: int, said: str) -> Unit | None:
    """What an error of HTTP status `status` and the text `said`, its code included, has too much
    of; None: nothing.

    A content filter's refusal is none of them, whatever it says.
    """
    words = said.lower()
    if status not in _STATUSES or "content_filter" in words or "content management" in words:
        return None
    if re.search(r"\bimages?\b", words) and _IMAGES.search(words):
        return "images"
    if _TOKENS.search(words):
        return "tokens"
    return "bytes" if status == 413 else None
