"""`python -m lmms_eval` with the tasks of --include_path alone. What PyPI has of lmms-eval 0.7.2
lacks files that its own tasks include, and ends while it lists them."""

from __future__ import annotations

import functools

from lmms_eval.tasks import TaskManager

TaskManager.__init__ = functools.partialmethod(TaskManager.__init__, include_defaults=False)

from lmms_eval.__main__ import cli_evaluate  # noqa: E402 - it takes its TaskManager from there

cli_evaluate()
