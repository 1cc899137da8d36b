"""Errors a user can fix. Each is a standard-library error that says what was given, what was
expected, what to do.

The command line prints their text alone and exits with 2, or with 1 for a `BackendError`,
`SourceLostError`, `OutOfMemoryError` or `RunStoppedError`, where the input was right. An OSError
about a place is one line, too: 2 for one that cannot be used, 1 for a full disk. Any other
exception is a defect of ours and keeps its traceback.
"""

from __future__ import annotations

import re


class InputError(ValueError):
    """What the user gave cannot be used."""


class VideoError(InputError):
    """A video cannot be opened or holds nothing that can be shown."""


class ModelError(InputError):
    """A model folder or hub id cannot be used."""


class ContextFullError(ModelError):
    """A dialogue has grown beyond the positions the model was made for."""


class DialogueError(InputError):
    """A written dialogue breaks the rules of its format."""


class DataError(InputError):
    """A data or annotation file breaks the rules of its format."""


class ConfigError(InputError):
    """A setting is unknown, out of range, or contradicts another."""


class BackendError(RuntimeError):
    """A model server did not answer, or not with something that can be used."""


class SourceLostError(RuntimeError):
    """The connection to a source without a known end was lost for good."""


class JudgeDownError(BackendError):
    """Too many of a judge's answers failed: whoever needs marks must stop, since none may become a
    zero."""


class OutOfMemoryError(RuntimeError):
    """Memory has run out; the text says what to lower."""


class RunStoppedError(RuntimeError):
    """A training run cannot go on; what it has saved is sound."""


class BudgetSpentError(RunStoppedError):
    """The next request to a model would cost more than the budget that is left."""


class StoppedElsewhereError(RunStoppedError):
    """Another process of the same run cannot go on, and says itself why."""


class CorruptStretchWarning(UserWarning):
    """A stretch of a video could not be decoded and was skipped."""


class DroppedFramesWarning(UserWarning):
    """Frames of a live source were dropped although all were asked for."""


class ConnectionLostWarning(CorruptStretchWarning):
    """The connection to a source was lost; what it sends meanwhile is not seen."""


class ModelWarning(UserWarning):
    """A model folder can be used, but not everything in it is."""


class ChangedDataWarning(UserWarning):
    """A run goes on with other training data than it was started with."""


def shown_address(address: str) -> str:
    """`address` as it may be shown: without user and password, and without what follows ? or
    #."""
    open_part = re.sub(r"(?<=://)[^/?#\s]*@", "", address)
    return re.sub(r"[?#].*", lambda found: found[0][0] + "...", open_part, flags=re.DOTALL)
