"""What a folder must hold to be a model of ours, looked at before anything is loaded.

What people give instead (adapters, pipelines, weights in other formats) is named for what it is.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

from oncue.errors import ModelError
from oncue.hub import read_object, refuse_pointer, weight_files
from oncue.model.known_families import FAMILIES

_ROPE_BY_LENGTH = ("dynamic", "longrope")
_MOST_LACKING_FRAC = (
    0.5  # of what is stored; less is for the loader, which names the tensors that lack
)
_PLAIN_DTYPES = ("F64", "F32", "F16", "BF16")  # as safetensors names them
_ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin")


def check_folder(folder: Path) -> dict[str, Any]:
    """The model's config, after checking that the architecture is ours and the weight files are all
    there."""
    _refuse_other_kinds(folder)
    config = read_object(folder / "config.json")
    architecture = config.get("model_type")
    if not isinstance(architecture, str) or architecture not in FAMILIES:
        raise ModelError(
            f"{folder} holds a model of type {architecture!r}; expected one of "
            f"{', '.join(FAMILIES)}"
        )
    _check_attention(folder, config)
    _check_weight_files(folder)
    return config


def _refuse_other_kinds(folder: Path) -> None:
    if (folder / "model_index.json").is_file():
        raise ModelError(
            f"{folder} holds a diffusers pipeline; expected a Qwen-VL model in Hugging Face format"
        )
    if adapter := next((name for name in _ADAPTER_FILES if (folder / name).is_file()), None):
        beside = (folder / "config.json").is_file() and any(
            file.is_file() for file in weight_files(folder)
        )
        raise ModelError(
            f"{folder} holds an adapter ({adapter})"
            + (" beside the weights of a model" if beside else " without the model it belongs to")
            + "; adapters are not loaded; merge it into its base model first "
            "(merge_and_unload of peft)"
            + (", or remove the adapter's files to run the weights alone" if beside else "")
        )
    if not (folder / "config.json").is_file():
        _refuse_other_weights(folder)
        raise ModelError(
            f"{folder} is no model folder: it has no config.json; give a folder in Hugging Face "
            "format"
        )


def _refuse_other_weights(folder: Path) -> None:
    """For a folder that lacks what is read: raises ModelError for weights in a format that is
    not."""
    if found := sorted(folder.glob("*.gguf")):
        raise ModelError(
            f"{folder} holds GGUF weights ({found[0].name}), which are not read; get its "
            "safetensors files"
        )
    if found := sorted(folder.glob("pytorch_model*.bin*")):
        raise ModelError(
            f"{folder} holds {found[0].name}, weights in an older format that is not read; "
            "load it with transformers and save it again (save_pretrained writes safetensors)"
        )


def _check_weight_files(folder: Path) -> None:
    files = weight_files(folder)
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        _refuse_other_weights(folder)
        raise ModelError(
            f"{folder} has no weights: {missing[0]} is missing"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; complete the folder (git-lfs pull, or download it again)"
        )
    for file in files:
        refuse_pointer(file)


def _check_attention(folder: Path, config: dict[str, Any]) -> None:
    """Refuses what a carried cache would not compute as the model does: a window, positions scaled
    by the length."""
    # Older folders have no section for the language model
    text = config.get("text_config") or config
    rope = (
        text.get("rope_parameters") or text.get("rope_scaling") or {}
        if isinstance(text, dict)
        else {}
    )
    for name, section in (
        ("text_config", text),
        ("vision_config", config.get("vision_config") or {}),
        ("rope", rope),
    ):
        if not isinstance(section, dict):
            raise ModelError(
                f"{folder / 'config.json'}: {name} must be an object, got {section!r:.80}; "
                "download the folder again"
            )
    if text.get("use_sliding_window"):
        raise ModelError(
            f"{folder} uses sliding-window attention; expected a model in which every layer sees "
            "all"
        )
    kind = rope.get("rope_type", rope.get("type"))
    if kind in _ROPE_BY_LENGTH:
        raise ModelError(
            f"{folder} scales its positions by the length of the context (rope type {kind!r}), so "
            "what is in the cache "
            "would change with every turn; expected default, linear or yarn"
        )


def check_size(folder: Path, kind: Any) -> None:
    """Refuses plain weights that are stored in no format of plain weights, and a config that asks
    for much that they lack: memory would be taken for it. Quantized weights are left to the loader.

    `kind`: the model's class.
    """
    import torch

    config = kind.config_class.from_pretrained(folder)
    stored = _stored_shapes(folder)
    num_tensors, num_layers = stored.total(), config.get_text_config().num_hidden_layers
    if num_layers > num_tensors:
        raise ModelError(
            f"config.json in {folder} asks for {num_layers:,} layers, its files hold "
            f"{num_tensors:,} tensors; "
            "they must be those of one complete checkpoint"
        )
    config._attn_implementation = (
        "sdpa"  # as it is loaded; the folder may name one that is not installed
    )
    try:
        with torch.device("meta"):  # shapes alone
            asked = Counter(tuple(weight.shape) for weight in kind(config).parameters())
    except (
        ArithmeticError,
        AssertionError,
        LookupError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        raise ModelError(
            f"no model can be built from config.json in {folder} ({type(error).__name__}: "
            f"{error}); "
            "its sizes must be those of a complete checkpoint"
        ) from error
    lacking = asked - stored
    num_lacking, num_stored = _num_values(lacking), _num_values(stored)
    if num_lacking > _MOST_LACKING_FRAC * num_stored:
        shape = max(lacking, key=math.prod)
        raise ModelError(
            f"config.json in {folder} asks for a model of {_num_values(asked):,} weights, its "
            "files hold "
            f"{num_stored:,} and lack {lacking.total():,} tensors, such as {lacking[shape]} of "
            f"shape {list(shape)}; "
            "they must be those of one complete checkpoint"
        )


def _num_values(shapes: Counter[tuple[int, ...]]) -> int:
    return sum(math.prod(shape) * count for shape, count in shapes.items())


def _stored_shapes(folder: Path) -> Counter[tuple[int, ...]]:
    """How many tensors of each shape the files hold; names differ between releases of
    transformers."""
    from safetensors import safe_open

    shapes: Counter[tuple[int, ...]] = Counter()
    for path in weight_files(folder):
        with safe_open(path, "pt") as file:
            for name in file.keys():  # noqa: SIM118 - it is no dict
                stored = file.get_slice(name)
                if name.endswith("weight") and stored.get_dtype() not in _PLAIN_DTYPES:
                    raise ModelError(
                        f"{path} stores {name} as {stored.get_dtype()}, but config.json has no "
                        "quantization_config; "
                        "expected weights that are not quantized, or the config that belongs to "
                        "them"
                    )
                shapes[tuple(stored.get_shape())] += 1
    return shapes
