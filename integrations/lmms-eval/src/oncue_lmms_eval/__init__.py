"""lmms-eval asks oncue, which lives in an environment of its own: the two need different versions
of PyAV. Nothing of oncue is imported here, and nothing heavy: an entry point that fails would keep
lmms-eval from loading those after it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lmms_eval.models.registry_v2 import ModelManifest


def manifest() -> ModelManifest:
    """What lmms-eval is to know: `--model oncue`."""
    from lmms_eval.models.registry_v2 import ModelManifest

    return ModelManifest("oncue", simple_class_path="oncue_lmms_eval.model.Oncue")
