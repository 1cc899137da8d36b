"""Loads a model by name (see `oncue.hub`): weights, renderer, device and number format.

Everything wrong with a model is a `ModelError` of one line, found before the slow part wherever it
can be.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.errors import ConfigError, ModelError, ModelWarning
from oncue.hub import resolve_model
from oncue.model.folder_checks import check_folder, check_size
from oncue.model.known_families import family_of
from oncue.model.quantized import check_method, is_quantized, is_unpacked, quantization_method
from oncue.render.decision import DecisionName
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Reply

if TYPE_CHECKING:
    import torch

# As transformers raises them
_LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    ImportError,
    KeyError,
    TypeError,
    AttributeError,
)
# Computed from the config; older releases of transformers stored it
_HARMLESS = re.compile(r"rotary\w*\.inv_freq$")
_NUM_SHOWN = 3  # names in a warning
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to run: `model` in eval mode on `device`, and the renderer that belongs to it.

    `dtype`: the number format it computes in; what quantized weights are stored in is another.
    """

    model: Any  # of one of `model.known_families`
    renderer: QwenVLRenderer
    device: torch.device
    dtype: torch.dtype
    name: str

    @property
    def max_positions(self) -> int:
        """How many positions the model was made for; the context of a session cannot grow
        beyond."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def max_prefix_tokens(self) -> int:
        """How long a prefix may be, the turn that is shown included: behind it must fit a reply of
        one token, what a reply holds unchosen, and the closing token. No token takes more than
        one position."""
        reply_ids = self.renderer.policy_turn_ids(Reply("."))
        num_unchosen = len(self.renderer.decision.kept(reply_ids)) - len(reply_ids)
        return self.max_positions - num_unchosen - 2


def load_model(
    name: str | Path,
    device: str | torch.device | None = None,
    dtype: str | torch.dtype | None = None,
    *,
    max_pixels: int | None = None,
    decision_name: DecisionName | None = None,
) -> LoadedModel:
    """The named model. By default on CUDA in bfloat16 where there is one, else on the CPU in
    float32.

    `dtype`: "float32", "bfloat16", "float16" or None. `max_pixels` caps the area of a frame,
    `decision_name` is the decision format (defaults: see `QwenVLRenderer.from_pretrained`).
    Quantized weights stay as they are, where transformers and its packages can run them on that
    device; by default in the format that the rest is stored in. Raises ModelError where the name
    leads to no usable model, ConfigError for a device or dtype that cannot be. Warns (ModelWarning)
    of tensors that the model does not take.
    """
    from oncue.model.fast_layers import use_fast_layers

    folder = resolve_model(name)
    config = check_folder(folder)
    method = quantization_method(folder, config)
    renderer = QwenVLRenderer.from_pretrained(folder, max_pixels, decision_name)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    loaded_as: torch.dtype | str = kind
    if method is not None:
        check_method(folder, method, place.type)
        if dtype in (None, "auto") and not is_unpacked(method, place.type):
            loaded_as = "auto"  # as stored: packages may not convert what they compute with
    model = _load_weights(folder, str(config["model_type"]), loaded_as, place, method)
    _check_vocabulary(folder, renderer, model)
    use_fast_layers(model)
    if is_quantized(model):
        kind = model.get_input_embeddings().weight.dtype
    elif method is not None:  # unpacked, and what was not packed as it was stored
        for parameter in model.parameters():
            parameter.data = parameter.data.to(kind)
    if not is_quantized(model):  # those are there
        model.to(place)
    loaded = LoadedModel(model.eval(), renderer, place, kind, str(name))
    if method is not None:
        _try_out(loaded, folder, method)
    return loaded


def _check_vocabulary(folder: Path, renderer: QwenVLRenderer, model: Any) -> None:
    num_ids = renderer.tokenizer.get_vocab_size(with_added_tokens=True)
    num_embeddings = model.get_input_embeddings().num_embeddings
    if num_ids > num_embeddings:
        raise ModelError(
            f"{folder}: the tokenizer has {num_ids} ids, the model embeds {num_embeddings}; "
            "they belong to different models"
        )


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or CUDA where there is one, else the CPU. Raises ConfigError where it
    is not there."""
    import torch

    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(
            f"device {str(device)!r} cannot be used ({_first_line(error)}); try cpu"
        ) from error
    if place.type == "meta":
        raise ConfigError("device 'meta' holds no values; try cpu")
    return place


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The number format asked for, or bfloat16 on CUDA and float32 elsewhere, whatever the
    checkpoint is stored in."""
    import torch

    if dtype in (None, "auto"):
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype must be auto, {', '.join(_DTYPES)}, got {dtype!r}")
    return getattr(torch, dtype)


def _load_weights(
    folder: Path,
    architecture: str,
    dtype: torch.dtype | str,
    device: torch.device,
    method: str | None,
) -> Any:
    """The model. Raises ModelError for unreadable, missing or ill-fitting weights (never random
    ones).

    `method`: how its weights are quantized; those are put on `device`, plain ones are on the CPU.
    """
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers.utils import logging

    kind = family_of(architecture).model_class()
    options: dict[str, Any] = {}
    shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        if method is None:
            check_size(folder, kind)
        else:
            options = _quantized_options(
                kind.config_class.from_pretrained(folder), folder, device, method
            )
        model, report = kind.from_pretrained(
            folder,
            dtype=dtype,
            attn_implementation="sdpa",
            local_files_only=True,
            output_loading_info=True,
            **options,
        )
    except ModelError:
        raise
    except (*_LOADING_ERRORS, StrictDataclassError, SafetensorError) as error:
        expected = (
            "config.json and weights must be those of one complete checkpoint"
            if method is None
            else (
                f"its weights are quantized by {method}: do what this asks for, or give "
                "weights that are not quantized"
            )
        )
        raise ModelError(
            f"the model in {folder} cannot be loaded ({type(error).__name__}: "
            f"{_first_line(error)}); {expected}"
        ) from error
    finally:
        logging.set_verbosity(shown)
        if bars:
            logging.enable_progress_bar()
    _check_report(folder, report)
    return model


def _quantized_options(
    config: Any, folder: Path, device: torch.device, method: str
) -> dict[str, Any]:
    """How transformers is to load quantized weights besides: where they go, since some must be
    loaded there."""
    from transformers.utils import is_accelerate_available

    said = (
        getattr(config, "quantization_config", None) or config.get_text_config().quantization_config
    )
    if is_unpacked(method, device.type):
        said["dequantize"] = True  # its own choice only where the machine has no GPU at all
        warnings.warn(
            f"the weights in {folder} are quantized by {method}, which runs on a GPU only; "
            "they are unpacked, which takes several times the memory",
            ModelWarning,
            stacklevel=1,  # one place, so that it is said once
        )
    placed = (
        {"device_map": {"": str(device)}}
        if device.type != "cpu" or is_accelerate_available()
        else {}
    )
    return {"config": config, **placed}


def _try_out(loaded: LoadedModel, folder: Path, method: str) -> None:
    """Runs one frame and one token. Raises ModelError where what the layers compute with cannot run
    here: packages for quantized weights look for their kernels at the first product."""
    import numpy as np
    import torch

    from oncue.model.vision import encode_frames

    frame = loaded.renderer.frame_processor(np.zeros((56, 56, 3), np.uint8))
    token = torch.zeros(1, 1, dtype=torch.long, device=loaded.device)
    try:
        with torch.inference_mode():
            encode_frames(
                loaded.model, torch.from_numpy(frame.patches).to(loaded.device), [frame.grid]
            )
            loaded.model(input_ids=token, use_cache=False)
    except _LOADING_ERRORS as error:
        raise ModelError(
            f"the weights in {folder} are quantized by {method} and cannot run on {loaded.device} "
            f"({type(error).__name__}: {_first_line(error)}); "
            "do what this asks for, or give weights that are not quantized"
        ) from error


def _check_report(folder: Path, report: Mapping[str, Any]) -> None:
    """Raises ModelError for tensors that the weights lack, and warns of those that nothing
    takes."""
    missing = sorted(report["missing_keys"]) + sorted(
        str(key) for key in report.get("mismatched_keys", ())
    )
    if missing:
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors that config.json asks for, such "
            f"as {missing[0]}; "
            "config.json and weights must be those of one complete checkpoint"
        )
    unexpected = sorted(key for key in report["unexpected_keys"] if not _HARMLESS.search(key))
    if unexpected:
        shown = ", ".join(unexpected[:_NUM_SHOWN]) + (
            ", ..." if len(unexpected) > _NUM_SHOWN else ""
        )
        warnings.warn(
            f"the weights in {folder} have tensors that the model of config.json does not take; "
            f"{len(unexpected)} are left out: {shown}",
            ModelWarning,
            stacklevel=1,  # one place, so that it is said once
        )


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
