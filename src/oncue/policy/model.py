"""Finds a model by name and loads it: weights, renderer, device and number format.

A name is "mini" (the model that ships with the package), a folder in Hugging Face format, or a hub id (owner/name).
Everything wrong with a model is a `ModelError` of one line, found before the slow part wherever it can be.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.errors import ConfigError, ModelError
from oncue.render.decision import DecisionName
from oncue.render.qwen_vl import QwenVLRenderer

if TYPE_CHECKING:
    import torch

BUNDLED_NAME = "mini"
BUNDLED_FOLDER = Path(__file__).parent.parent / "assets" / "mini"
HUB_TIMEOUT_S = 10.0

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ("*.json", "*.safetensors", "merges.txt")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MODEL_CLASSES = {
    "qwen2_vl": "Qwen2VLForConditionalGeneration",
    "qwen2_5_vl": "Qwen2_5_VLForConditionalGeneration",
    "qwen3_vl": "Qwen3VLForConditionalGeneration",
}
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
    from oncue.policy.vision_attention import batch_vision_windows

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
    batch_vision_windows(model)
    return LoadedModel(model.to(place).eval(), renderer, place, kind, str(name))


def resolve_model(name: str | Path) -> Path:
    """The folder of a model; a hub id is taken from the local cache, else fetched. Raises ModelError where none is."""
    if str(name) == BUNDLED_NAME:
        if not BUNDLED_FOLDER.is_dir():
            raise ModelError(f"the model that ships with oncue is missing from {BUNDLED_FOLDER}; reinstall the package")
        return BUNDLED_FOLDER
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(f"{name} is a file; expected a model folder, a hub id (owner/name) or {BUNDLED_NAME!r}")
    if isinstance(name, Path) or not _HUB_ID.fullmatch(name) or folder.parent.is_dir():
        raise ModelError(
            f"there is no model folder {str(name)!r}; "
            f"give a folder in Hugging Face format, a hub id (owner/name) or {BUNDLED_NAME!r}"
        )
    return _fetch(name)


def check_folder(folder: Path) -> dict[str, Any]:
    """The model's config, after checking that the architecture is ours and the weight files are all there."""
    path = folder / "config.json"
    if not path.is_file():
        raise ModelError(f"{folder} is no model folder: it has no config.json; give a folder in Hugging Face format")
    config = _read_object(path)
    architecture = config.get("model_type")
    if architecture not in _MODEL_CLASSES:
        raise ModelError(
            f"{folder} holds a model of type {architecture!r}; expected one of {', '.join(_MODEL_CLASSES)}"
        )
    _check_attention(folder, config)
    missing = [file.name for file in _weight_files(folder) if not file.is_file()]
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
    if text.get("use_sliding_window"):
        raise ModelError(f"{folder} uses sliding-window attention; expected a model in which every layer sees all")
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
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
    from safetensors import SafetensorError
    from transformers.utils import logging

    shown, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model, report = model_class(architecture).from_pretrained(
            folder, dtype=dtype, attn_implementation="sdpa", local_files_only=True, output_loading_info=True
        )
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, AttributeError, SafetensorError) as error:
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


def model_class(architecture: str) -> Any:
    """The class, imported from its own module: the package's automatic classes cost time and pull in torchvision."""
    module = import_module(f"transformers.models.{architecture}.modeling_{architecture}")
    return getattr(module, _MODEL_CLASSES[architecture])


def _weight_files(folder: Path) -> list[Path]:
    """The weight files the folder must hold."""
    index = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not index.is_file():
        return [folder / _WEIGHTS]
    shards = _read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{index} names no weight files; download the model folder again")
    return [folder / name for name in sorted({str(shard) for shard in shards.values()})]


def _read_object(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path} cannot be read as JSON ({error}); download the model folder again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path} must hold a JSON object, got a {type(value).__name__}; download it again")
    return value


def _fetch(hub_id: str) -> Path:
    """The local snapshot of a hub model, complete. The network is asked only for what the cache lacks."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    try:
        cached = Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES), local_files_only=True))
        check_folder(cached)
        return cached
    except (LocalEntryNotFoundError, ModelError):
        pass  # not in the cache, or only in part
    unreachable: tuple[type[Exception], ...] = (OSError, ValueError, HfHubHTTPError, *_network_errors())
    try:
        HfApi().model_info(hub_id, timeout=HUB_TIMEOUT_S)  # a bounded look before the download
        return Path(snapshot_download(hub_id, allow_patterns=list(_HUB_FILES)))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{hub_id!r} is no folder here, and the Hugging Face hub has no model of that name that you may read; "
            "check the name, or log in for a private or gated one"
        ) from error
    except unreachable as error:
        raise ModelError(
            f"{hub_id!r} is no folder here, and it could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {_first_line(error)}); connect to the network, or give a folder"
        ) from error


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub client's network library raises: it changed its name between releases of the client."""
    from huggingface_hub.utils import get_session

    library = type(get_session()).__module__.split(".")[0]
    module = sys.modules[library]
    return tuple(getattr(module, name) for name in ("HTTPError", "RequestException") if hasattr(module, name))


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else "no reason given"
