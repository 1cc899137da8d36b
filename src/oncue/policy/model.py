"""Loads a model by name (see `oncue.hub`): weights, renderer, device and number format.

Everything wrong with a model is a `ModelError` of one line, found before the slow part wherever it can be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.errors import ConfigError, ModelError
from oncue.hub import read_object, resolve_model, weight_files
from oncue.render.decision import DecisionName
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Reply

if TYPE_CHECKING:
    import torch

_MODEL_CLASSES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
_LOADING_ERRORS = (
    OSError,
    ValueError,
    RuntimeError,
    KeyError,
    TypeError,
    AttributeError,
)  # as transformers raises them
_MOST_LACKING = 3  # times what is stored; less is for the loader, which names the tensors that lack
_ROPE_BY_LENGTH = ("dynamic", "longrope")
_DTYPES = ("float32", "bfloat16", "float16")


@dataclass(frozen=True, slots=True, eq=False)
class LoadedModel:
    """A model ready to run: `model` in eval mode on `device` in `dtype`, and the renderer that belongs to it."""

    model: Any  # one of _MODEL_CLASSES
    renderer: QwenVLRenderer
    device: torch.device
    dtype: torch.dtype
    name: str

    @property
    def max_positions(self) -> int:
        """How many positions the model was made for; the context of a session cannot grow beyond."""
        return int(self.model.config.get_text_config().max_position_embeddings)

    @property
    def max_prefix_tokens(self) -> int:
        """How long a prefix may be, the turn that is shown included: behind it must fit a reply of one token, what
        stands in a reply unchosen, and the closing token. No token takes more than one position."""
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
    """The named model. By default on CUDA in bfloat16 where there is one, else on the CPU in float32.

    `dtype`: "float32", "bfloat16", "float16" or None. `max_pixels` caps the area of a frame, `decision_name` is the
    decision format (defaults: see `QwenVLRenderer.from_pretrained`).
    Raises ModelError where the name leads to no usable model, ConfigError for a device or dtype that cannot be.
    """
    from oncue.policy.fast_layers import use_fast_layers

    folder = resolve_model(name)
    config = check_folder(folder)
    renderer = QwenVLRenderer.from_pretrained(folder, max_pixels, decision_name)
    place = pick_device(device)
    kind = pick_dtype(dtype, place)
    model = _load_weights(folder, str(config["model_type"]), kind)
    num_ids = renderer.tokenizer.get_vocab_size(with_added_tokens=True)
    num_embeddings = model.get_input_embeddings().num_embeddings
    if num_ids > num_embeddings:
        raise ModelError(
            f"{folder}: the tokenizer has {num_ids} ids, the model embeds {num_embeddings}; "
            "they belong to different models"
        )
    use_fast_layers(model)
    return LoadedModel(model.to(place).eval(), renderer, place, kind, str(name))


def check_folder(folder: Path) -> dict[str, Any]:
    """The model's config, after checking that the architecture is ours and the weight files are all there."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} is no model folder: it has no config.json; give a folder in Hugging Face format")
    config = read_object(path)
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or architecture not in _MODEL_CLASSES:
        raise ModelError(
            f"{folder} holds a model of type {architecture!r}; expected one of {', '.join(_MODEL_CLASSES)}"
        )
    _check_attention(folder, config)
    missing = [file.name for file in weight_files(folder) if not file.is_file()]
    if missing:
        raise ModelError(
            f"{folder} has no weights: {missing[0]} is missing"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; complete the folder (git-lfs pull, or download it again)"
        )
    return config


def _check_attention(folder: Path, config: dict[str, Any]) -> None:
    """Refuses what a carried cache would not compute as the model does: a window, positions scaled by the length."""
    text = config.get("text_config") or config  # older folders have no section for the language model
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {} if isinstance(text, dict) else {}
    for name, section in (("text_config", text), ("vision_config", config.get("vision_config") or {}), ("rope", rope)):
        if not isinstance(section, dict):
            raise ModelError(
                f"{folder / 'config.json'}: {name} must be an object, got {section!r:.80}; download the folder again"
            )
    if text.get("use_sliding_window"):
        raise ModelError(f"{folder} uses sliding-window attention; expected a model in which every layer sees all")
    kind = rope.get("rope_type", rope.get("type"))
    if kind in _ROPE_BY_LENGTH:
        raise ModelError(
            f"{folder} scales its positions by the length of the context (rope type {kind!r}), so what is in the cache "
            "would change with every turn; expected default, linear or yarn"
        )


def pick_device(device: str | torch.device | None) -> torch.device:
    """The device asked for, or CUDA where there is one, else the CPU. Raises ConfigError where it is not there."""
    import torch

    if device in (None, "auto"):
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        raise ConfigError(f"device {str(device)!r} cannot be used ({_first_line(error)}); try cpu") from error
    if place.type == "meta":
        raise ConfigError("device 'meta' holds no values; try cpu")
    return place


def pick_dtype(dtype: str | torch.dtype | None, device: torch.device) -> torch.dtype:
    """The number format asked for, or bfloat16 on CUDA and float32 elsewhere, whatever the checkpoint is stored in."""
    import torch

    if dtype in (None, "auto"):
        return torch.bfloat16 if device.type == "cuda" else torch.float32
    if isinstance(dtype, torch.dtype):
        return dtype
    if dtype not in _DTYPES:
        raise ConfigError(f"dtype must be auto, {', '.join(_DTYPES)}, got {dtype!r}")
    return getattr(torch, dtype)


def _load_weights(folder: Path, architecture: str, dtype: torch.dtype) -> Any:
    """The model on the CPU. Raises ModelError for unreadable, missing or ill-fitting weights (never random ones)."""
    from huggingface_hub.errors import StrictDataclassError
    from safetensors import SafetensorError
    from transformers.utils import logging

    kind = model_class(architecture)
    shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        _check_size(folder, kind)
        model, report = kind.from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, output_loading_info=True
        )
    except ModelError:
        raise
    except (*_LOADING_ERRORS, StrictDataclassError, SafetensorError) as error:
        raise ModelError(
            f"the model in {folder} cannot be loaded ({type(error).__name__}: {_first_line(error)}); "
            "config.json and weights must be those of one complete checkpoint"
        ) from error
    finally:
        logging.set_verbosity(shown)
        if bars:
            logging.enable_progress_bar()
    missing = sorted(report["missing_keys"]) + sorted(str(key) for key in report.get("mismatched_keys", ()))
    if missing:
        raise ModelError(
            f"the weights in {folder} lack {len(missing)} tensors that config.json asks for, such as {missing[0]}; "
            "config.json and weights must be those of one complete checkpoint"
        )
    return model


def _check_size(folder: Path, kind: Any) -> None:
    """Refuses a config that asks for much larger tensors, or far more layers, than the weights hold: memory would be
    taken for what they lack. Packed weights cannot be counted so, and are left to the loader."""
    import torch
    from safetensors import safe_open

    config = kind.config_class.from_pretrained(folder)
    if getattr(config, "quantization_config", None):
        return
    num_stored = num_tensors = 0
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            names = list(file.keys())
            num_tensors += len(names)
            num_stored += sum(math.prod(file.get_slice(name).get_shape()) for name in names)
    num_layers = config.get_text_config().num_hidden_layers
    if num_layers > num_tensors:
        raise ModelError(
            f"config.json in {folder} asks for {num_layers:,} layers, its files hold {num_tensors:,} tensors; "
            "they must be those of one complete checkpoint"
        )
    config._attn_implementation = "sdpa"  # as it is loaded; the folder may name one that is not installed
    try:
        with torch.device("meta"):  # shapes alone
            num_asked = sum(weight.numel() for weight in kind(config).parameters())
    except (ArithmeticError, AssertionError, LookupError, RuntimeError, TypeError, ValueError) as error:
        raise ModelError(
            f"no model can be built from config.json in {folder} ({type(error).__name__}: {error}); "
            "its sizes must be those of a complete checkpoint"
        ) from error
    if num_asked > _MOST_LACKING * num_stored:
        raise ModelError(
            f"config.json in {folder} asks for a model of {num_asked:,} weights, its files hold {num_stored:,}; "
            "they must be those of one complete checkpoint"
        )


def model_class(architecture: str) -> Any:
    """The class, imported from its own module: the package's automatic classes cost time and pull in torchvision."""
    module = import_module(f"transformers.models.{architecture}.modeling_{architecture}")
    return getattr(module, _MODEL_CLASSES[architecture])


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
