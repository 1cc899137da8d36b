"""The families of models that can be loaded. A further one is a file with its `ModelFamily`, like
`model.qwen_vl`, and a line here."""

from __future__ import annotations

from oncue.model.model_family import ModelFamily
from oncue.model.qwen_vl import QWEN2_5_VL, QWEN2_VL, QWEN3_VL

FAMILIES = {family.model_type: family for family in (QWEN2_VL, QWEN2_5_VL, QWEN3_VL)}


def family_of(model_type: str) -> ModelFamily:
    """The family that `config.json` names so. Raises KeyError for one that is not ours, which
    `folder_checks` refuses."""
    return FAMILIES[model_type]
