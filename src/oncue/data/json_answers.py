"""The JSON that a model was asked for, in what it said."""

from __future__ import annotations

import json
import re
from typing import Any

from oncue.errors import DataError
from oncue.thoughts import behind_thoughts

_FENCE = re.compile(r"```\w*\s*\n(.*?)\n?\s*```", re.DOTALL)


def json_in_answer(answer: str) -> Any:
    """The JSON value that an answer holds. A code fence, and thoughts before it, are no fault.
    Raises DataError, which says what is wrong, for any other text."""
    said = (behind_thoughts(answer) or "").strip()
    if fenced := _FENCE.fullmatch(said):
        said = fenced[1].strip()
    try:
        return json.loads(said)
    except (ValueError, RecursionError) as error:
        raise DataError(f"it is not one JSON object, but {said!r:.80}") from error
