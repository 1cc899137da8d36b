"""Weights stored in fewer bits (AWQ, GPTQ, FP8, bitsandbytes, ...): transformers loads them, by
packages of their own.

What is missing for them is found before anything is loaded. The tables are what
`validate_environment` in transformers.quantizers asks for, in 5.10.4 and in 5.23.0; a method that
is not in them is left to its own words.
"""

from __future__ import annotations

from importlib import metadata
from pathlib import Path
from typing import Any

from oncue.errors import ModelError

_PACKAGES = {  # by quant_method, as pip names them
    "awq": ("gptqmodel", "accelerate"),
    "gptq": ("gptqmodel", "optimum", "accelerate"),
    "bitsandbytes": ("bitsandbytes", "accelerate"),
    "compressed-tensors": ("compressed-tensors", "accelerate"),
    **dict.fromkeys(("fp8", "mxfp8", "mxfp4", "bitnet", "metal"), ("accelerate",)),
    **{name: (name, "accelerate") for name in ("aqlm", "auto-round", "hqq", "sinq", "torchao")},
    "quanto": ("optimum-quanto", "accelerate"),
}
_NEED_GPU = frozenset(("eetq", "fbgemm_fp8", "fp_quant", "higgs", "nvfp4", "spqr", "vptq"))
# Compute on a GPU only; elsewhere the loader unpacks the weights, once
_UNPACKED_WITHOUT_GPU = ("fp8", "mxfp8")


def quantization_method(folder: Path, config: dict[str, Any]) -> str | None:
    """How the weights of a model are quantized, as its `config.json` says; None for plain weights.

    Raises ModelError where `config.json` says it in no known way.
    """
    text = config.get("text_config")
    said = config.get("quantization_config") or (
        text.get("quantization_config") if isinstance(text, dict) else None
    )
    if not said:
        return None
    if not isinstance(said, dict):
        raise ModelError(
            f"{folder / 'config.json'}: quantization_config must be an object, got {said!r:.80}; "
            "download the folder again"
        )
    older = said.get("load_in_4bit") or said.get("load_in_8bit")  # folders that name no method
    method = "bitsandbytes" if older else said.get("quant_method")
    if not isinstance(method, str):
        raise ModelError(
            f"{folder / 'config.json'}: quantization_config must name its quant_method, got "
            f"{method!r:.80}; "
            "download the folder again"
        )
    return method


def check_method(folder: Path, method: str, device: str) -> None:
    """Raises ModelError where weights quantized by `method` cannot be loaded here, for a `device`
    such as "cpu"."""
    import transformers
    from transformers.quantizers.auto import AUTO_QUANTIZER_MAPPING

    known = {name.removesuffix("_4bit").removesuffix("_8bit") for name in AUTO_QUANTIZER_MAPPING}
    if method not in known:
        raise ModelError(
            f"the weights in {folder} are quantized by {method!r}, which transformers "
            f"{transformers.__version__} does "
            "not load; give weights that are not quantized"
        )
    if method in _NEED_GPU and device == "cpu":
        raise ModelError(
            f"the weights in {folder} are quantized by {method}, which runs on a GPU only; "
            "give weights that are not quantized"
        )
    needed = (
        *_PACKAGES.get(method, ()),
        *(("kernels",) if method in _UNPACKED_WITHOUT_GPU and device != "cpu" else ()),
    )
    if missing := [package for package in needed if not _is_installed(package)]:
        raise ModelError(
            f"the weights in {folder} are quantized by {method}, which needs packages that are not "
            "installed: "
            f"pip install {' '.join(missing)}"
        )


def is_unpacked(method: str, device: str) -> bool:
    """Whether weights quantized by `method` are plain ones on a `device` such as "cpu", once they
    are loaded."""
    return method in _UNPACKED_WITHOUT_GPU and device == "cpu"


def is_quantized(model: Any) -> bool:
    """Whether a model computes with quantized weights; not where they were unpacked when they were
    loaded."""
    return getattr(model, "hf_quantizer", None) is not None


def _is_installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True
