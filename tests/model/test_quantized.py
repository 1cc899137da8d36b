"""Quantized weights: loaded by transformers and run as it runs them, or one line that says what is
missing.

The packages that real ones need are not here, so a quantizer of int8 weights stands in, registered
with transformers like any other. FP8 is real: without a GPU transformers unpacks it by torch alone.
"""

from __future__ import annotations

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from oncue import cli
from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.static_shapes import StaticShapes
from oncue.errors import ConfigError, ModelError, ModelWarning
from oncue.model import linear, quantized
from oncue.model.linear import OneDnnLinear, multiply_in_onednn
from oncue.model.loading import LoadedModel, load_model
from oncue.model.quantized import is_quantized
from oncue.model.qwen_vl import QWEN2_5_VL
from oncue.train.trainable import freeze
from policy_support import cached_against_stock, say, shown

_METHOD = "int8_stand_in"
_BLOCK = 32
_SAMPLING = SamplingParams(max_new_tokens=4)


class Int8Linear(torch.nn.Module):
    """Weights in int8 with a scale per row, as a package for quantized models brings its own
    layers."""

    weight: Tensor
    weight_scale: Tensor

    def __init__(self, stock: torch.nn.Linear) -> None:
        super().__init__()
        self.register_buffer("weight", torch.zeros(stock.weight.shape, dtype=torch.int8))
        self.register_buffer("weight_scale", torch.zeros(stock.out_features, 1))
        self.bias = stock.bias

    def forward(self, input: Tensor) -> Tensor:
        weight = self.weight.to(input.dtype) * self.weight_scale.to(input.dtype)
        return torch.nn.functional.linear(input, weight, self.bias)


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> type:
    """A quantizer of that method in transformers' own tables; its class."""
    from transformers.quantizers import auto
    from transformers.quantizers.base import HfQuantizer
    from transformers.utils.quantization_config import QuantizationConfigMixin

    class StandInConfig(QuantizationConfigMixin):
        def __init__(self, **_: Any) -> None:
            self.quant_method = _METHOD

    class StandInQuantizer(HfQuantizer):
        requires_calibration = True
        computes_in: torch.dtype | None = None  # where it has a format of its own
        refuses_with: Exception | None = None

        def validate_environment(self, *_: Any, **__: Any) -> None:
            if self.refuses_with is not None:
                raise self.refuses_with

        def update_dtype(self, dtype: torch.dtype) -> torch.dtype:
            return self.computes_in or dtype

        def _process_model_before_weight_loading(self, model: Any, **_: Any) -> None:
            for name, layer in list(model.model.language_model.layers.named_modules()):
                if isinstance(layer, torch.nn.Linear):
                    model.model.language_model.layers.set_submodule(name, Int8Linear(layer))

        def _process_model_after_weight_loading(self, model: Any, **_: Any) -> Any:
            return model

        def is_serializable(self, *_: Any) -> bool:
            return False

        is_trainable = False

    monkeypatch.setitem(auto.AUTO_QUANTIZER_MAPPING, _METHOD, StandInQuantizer)
    monkeypatch.setitem(auto.AUTO_QUANTIZATION_CONFIG_MAPPING, _METHOD, StandInConfig)
    return StandInQuantizer


def quantization(folder: Path, settings: object) -> Path:
    """Says in `config.json` how the weights are quantized."""
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": settings}))
    return folder


@pytest.fixture
def copied(tiny_model_folder: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model_folder, tmp_path / "model"))


@pytest.fixture
def int8_folder(copied: Path) -> Path:
    """The tiny model with the layers of its language model in int8."""
    tensors = load_file(copied / "model.safetensors")
    for name in [
        name
        for name in tensors
        if name.startswith("model.layers.") and name.endswith("proj.weight")
    ]:
        scale = tensors[name].abs().amax(1, keepdim=True) / 127
        tensors[name], tensors[f"{name}_scale"] = (
            (tensors[name] / scale).round().to(torch.int8),
            scale,
        )
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    return quantization(copied, {"quant_method": _METHOD})


def plain_transformers(folder: Path, loaded: LoadedModel) -> LoadedModel:
    """The same folder as transformers alone loads it."""
    stock = QWEN2_5_VL.model_class().from_pretrained(
        folder, dtype=torch.float32, attn_implementation="sdpa"
    )
    return replace(loaded, model=stock.eval())


@pytest.mark.usefixtures("stand_in")
def test_layers_of_a_package_say_what_transformers_says(
    int8_folder: Path, tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(linear, "USES_ONEDNN", linear.HAS_ONEDNN)
    monkeypatch.setattr(linear, "MIN_PRODUCTS", 1)
    loaded = load_model(int8_folder, device="cpu", dtype="float32")
    layers = [layer for layer in loaded.model.modules() if isinstance(layer, Int8Linear)]
    assert len(layers) == 3 * 7
    assert {layer.weight.dtype for layer in layers} == {torch.int8}
    assert is_quantized(loaded.model)
    turns = shown(12)
    difference, num_other, _ = cached_against_stock(
        loaded, turns, _SAMPLING, plain_transformers(int8_folder, loaded)
    )
    assert (difference <= 1e-4, num_other) == (True, 0)
    assert (
        cached_against_stock(loaded, turns, _SAMPLING, tiny_loaded)[0] > 1e-2
    )  # control: int8 is not the same model


@pytest.mark.usefixtures("stand_in")
def test_kernels_that_are_missing_are_found_before_the_first_turn(
    int8_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_for_kernels(*_: object) -> Tensor:
        raise ImportError("this needs kernels\npip install kernels")

    monkeypatch.setattr(Int8Linear, "forward", look_for_kernels)
    with pytest.raises(ModelError, match=r"cannot run on cpu \(ImportError: this needs kernels\)"):
        load_model(int8_folder, device="cpu")


def test_the_number_format_is_that_of_what_is_not_quantized(
    int8_folder: Path, stand_in: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By default as stored, and where a method computes in one format only, in that."""
    tensors = load_file(int8_folder / "model.safetensors")
    kept = {
        n: t.bfloat16() if t.dtype == torch.float32 and "scale" not in n else t
        for n, t in tensors.items()
    }
    save_file(kept, int8_folder / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((int8_folder / "config.json").read_text())
    (int8_folder / "config.json").write_text(json.dumps(config | {"dtype": "bfloat16"}))
    stored = load_model(int8_folder, device="cpu")
    monkeypatch.setattr(stand_in, "computes_in", torch.bfloat16)
    for loaded in (stored, load_model(int8_folder, device="cpu", dtype="float32")):
        assert loaded.dtype == loaded.model.lm_head.weight.dtype == torch.bfloat16
        with Engine(loaded, _SAMPLING) as engine:
            assert len(say(engine, shown(3))[0]) == 3


@pytest.mark.usefixtures("stand_in")
def test_fixed_shapes_and_training_are_for_plain_weights(
    int8_folder: Path, tiny_loaded: LoadedModel
) -> None:
    loaded = load_model(int8_folder, device="cpu", dtype="float32")
    shapes = StaticShapes(num_slots=1, num_slot_tokens=512)
    with Engine(loaded, shapes=shapes) as engine, Engine(tiny_loaded, shapes=shapes) as plain:
        assert plain._pool.arena is not None  # control
        assert engine._pool.arena is None
    with pytest.raises(ConfigError, match="quantized and cannot be trained"):
        freeze(loaded.model, freeze_vision=True, freeze_merger=True)


class _Packed(Tensor):
    """A weight of a type of its own in a stock layer, as torchao has it."""


def test_a_stock_layer_with_a_weight_of_another_type_is_left_alone() -> None:
    layers = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.Linear(4, 4))
    packed = torch.zeros(4, 4).as_subclass(_Packed)
    layers[1].weight = torch.nn.Parameter(packed, requires_grad=False)
    assert layers[1].weight.dtype == torch.float32  # what it says of itself
    multiply_in_onednn(layers)
    assert [type(layer) for layer in layers] == [OneDnnLinear, torch.nn.Linear]


def test_fp8_is_unpacked_where_there_is_no_gpu(
    copied: Path, tiny_loaded: LoadedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.quantizers import quantizer_finegrained_fp8

    monkeypatch.setattr(quantizer_finegrained_fp8, "is_accelerate_available", lambda *_: True)
    monkeypatch.setitem(quantized._PACKAGES, "fp8", ())
    tensors = load_file(copied / "model.safetensors")
    expected = {}
    for name in [
        name
        for name in tensors
        if name.startswith("model.layers.") and name.endswith("proj.weight")
    ]:
        blocks = tensors[name].unflatten(0, (-1, _BLOCK)).unflatten(2, (-1, _BLOCK))
        scale = blocks.abs().amax((1, 3)) / 448
        packed = (blocks / scale[:, None, :, None]).to(torch.float8_e4m3fn)
        expected[name] = (packed.float() * scale[:, None, :, None]).reshape(tensors[name].shape)
        tensors[name], tensors[f"{name}_scale_inv"] = packed.reshape(tensors[name].shape), scale
    tensors["model.norm.weight"] = tensors[
        "model.norm.weight"
    ].bfloat16()  # as released ones store what is not packed
    save_file(tensors, copied / "model.safetensors", metadata={"format": "pt"})
    settings = {
        "quant_method": "fp8",
        "activation_scheme": "dynamic",
        "weight_block_size": [_BLOCK, _BLOCK],
    }
    quantization(copied, settings | {"modules_to_not_convert": ["lm_head", "model.visual"]})
    with pytest.warns(ModelWarning, match="fp8, which runs on a GPU only; they are unpacked"):
        loaded = load_model(copied, device="cpu", dtype="float32")
    ours, plain = loaded.model.state_dict(), tiny_loaded.model.state_dict()
    assert not is_quantized(loaded.model)
    assert loaded.dtype == torch.float32
    assert {tensor.dtype for tensor in ours.values()} == {torch.float32}
    assert loaded.model.model.language_model.rotary_emb.inv_freq.dtype == torch.float32
    for name, weight in expected.items():
        ours_name = name.replace("model.", "model.language_model.", 1)
        assert torch.allclose(ours[ours_name], weight, rtol=1e-6)
        assert not torch.allclose(ours[ours_name], plain[ours_name], rtol=1e-6)  # control


METHODS = {
    "awq": (
        {"quant_method": "awq", "bits": 4, "group_size": 128},
        "pip install gptqmodel accelerate",
    ),
    "gptq": (
        {"quant_method": "gptq", "bits": 4, "group_size": 128},
        "pip install gptqmodel optimum accelerate",
    ),
    "bitsandbytes, 4 bits": (
        {"quant_method": "bitsandbytes", "load_in_4bit": True},
        "pip install bitsandbytes acc",
    ),
    "bitsandbytes, 8 bits": (
        {"load_in_8bit": True},
        "quantized by bitsandbytes, which needs packages",
    ),
    "compressed": (
        {"quant_method": "compressed-tensors", "config_groups": {}},
        "pip install compressed-tensors acc",
    ),
    "fp8": ({"quant_method": "fp8", "activation_scheme": "dynamic"}, "pip install accelerate"),
    "a GPU": ({"quant_method": "eetq"}, "eetq, which runs on a GPU only"),
    "unknown": ({"quant_method": "modelopt"}, "'modelopt', which transformers"),
    "no method": ({"bits": 4}, "must name its quant_method, got None"),
    "no object": ([4], "quantization_config must be an object"),
}


@pytest.mark.parametrize("case", METHODS)
def test_what_a_method_needs_is_said_in_one_line(
    copied: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, expected = METHODS[case]
    monkeypatch.setattr(quantized, "_is_installed", lambda _: False)
    with pytest.raises(ModelError) as caught:
        load_model(quantization(copied, settings), device="cpu")
    assert expected in str(caught.value)
    assert str(copied) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_only_what_is_missing_is_to_be_installed(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(quantized, "_is_installed", "accelerate".__eq__)
    with pytest.raises(ModelError, match=r"pip install gptqmodel$"):
        load_model(quantization(copied, {"quant_method": "awq", "bits": 4}), device="cpu")


@pytest.mark.parametrize(
    "error", [ImportError("pip install it\nfrom there"), NotImplementedError("a GPU is needed")]
)
def test_what_transformers_asks_for_besides_is_bad_input(
    int8_folder: Path, stand_in: Any, error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.setattr(stand_in, "refuses_with", error)
    with pytest.raises(
        ModelError,
        match=rf"{type(error).__name__}: {str(error).splitlines()[0]}\); its weights are",
    ):
        load_model(int8_folder, device="cpu")
    assert cli.main(["doctor", "--model", str(int8_folder), "--device", "cpu"]) == 1
    assert "Traceback" not in capsys.readouterr().out


@pytest.mark.usefixtures("stand_in")
def test_doctor_says_how_large_quantized_weights_are(
    int8_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["doctor", "--model", str(int8_folder), "--device", "cpu", "--json"]) == 0
    findings = {f["name"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert "quantized weights of 1 MiB" in findings["model"]["found"]


def test_packed_weights_without_a_method_are_refused(int8_folder: Path) -> None:
    """Read as plain weights they would be noise."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(
            ModelError,
            match=r"stores .*proj.weight as I8, but config.json has no quantization_config",
        ):
            load_model(quantization(int8_folder, None), device="cpu")
