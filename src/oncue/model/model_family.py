"""What the package must know of a family of models, beside what its config and renderer say."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any

from oncue.render.base import Grid

if TYPE_CHECKING:
    import torch
    from torch import Tensor


@dataclass(frozen=True, slots=True, eq=False)
class FrameLayout:
    """What the tower is given for frames of these grids. `options`: where patches and windows lie,
    worked out; empty where the tower does that itself, from grids on the device of the frames. Else
    the grids, and the borders that attention stays within, are on the CPU, where they are read."""

    grids_F3: Tensor
    options: dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class ModelFamily:
    """Models of one `model_type` in `config.json`.

    `class_name`: the model in transformers' module of that type. `rms_norms`: the names of its
    stock RMS norms, which all compute alike. `vision_prefix`: of the names of the parameters of the
    vision tower; `merger_prefixes`: of those among them that lead to the language model. `lay_out`:
    gives the layout of frames from the tower, their grids and their device; None where the tower
    works it out by itself.
    """

    model_type: str
    class_name: str
    rms_norms: tuple[str, ...]
    vision_prefix: str
    merger_prefixes: tuple[str, ...]
    lay_out: Callable[[Any, Sequence[Grid], torch.device], FrameLayout] | None = None

    def model_class(self) -> Any:
        """The class, imported from its own module: the package's automatic classes cost time and
        pull in torchvision."""
        name = self.model_type
        module = import_module(f"transformers.models.{name}.modeling_{name}")
        return getattr(module, self.class_name)
