"""What a name can lead to: a loaded model, or one clear line that says what is wrong."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from oncue.errors import ConfigError, InputError, ModelError, ModelWarning
from oncue.model.loading import load_model
from tiny_model import build_tiny_model


def test_a_folder_is_loaded_as_it_was_saved(tiny_model_folder: Path) -> None:
    from safetensors.torch import load_file

    loaded = load_model(str(tiny_model_folder), device="cpu")
    assert (loaded.device.type, loaded.dtype, loaded.name) == (
        "cpu",
        torch.float32,
        str(tiny_model_folder),
    )
    assert not loaded.model.training
    assert loaded.max_positions == 8192
    saved = load_file(tiny_model_folder / "model.safetensors")
    ours = loaded.model.state_dict()
    assert torch.equal(saved["lm_head.weight"], ours["lm_head.weight"])
    assert sum(tensor.numel() for tensor in saved.values()) == sum(
        p.numel() for p in loaded.model.parameters()
    )


def test_the_number_format_is_chosen_or_given(tiny_model_folder: Path, tmp_path: Path) -> None:
    stored = shutil.copytree(tiny_model_folder, tmp_path / "bf16")
    load_model(stored, dtype="bfloat16", device="cpu").model.save_pretrained(stored)
    assert json.loads((stored / "config.json").read_text())["dtype"] == "bfloat16"
    loaded = load_model(stored, device="cpu")  # stored in bfloat16, run in float32
    assert {p.dtype for p in loaded.model.parameters()} == {torch.float32}
    given = load_model(stored, device="cpu", dtype=torch.bfloat16)
    assert {p.dtype for p in given.model.parameters()} == {torch.bfloat16}
    if not torch.cuda.is_available():
        assert load_model(stored).device.type == "cpu"


def test_a_frame_can_be_capped(tiny_model_folder: Path) -> None:
    assert (
        load_model(tiny_model_folder, device="cpu").renderer.frame_processor.token_count(480, 640)
        == 12
    )
    capped = load_model(tiny_model_folder, device="cpu", max_pixels=6 * 28 * 28)
    assert capped.renderer.frame_processor.token_count(480, 640) <= 6


@pytest.mark.parametrize("settings", [{"device": "tpu9"}, {"dtype": "int3"}, {"device": "meta"}])
def test_a_device_or_format_that_cannot_be(
    tiny_model_folder: Path, settings: dict[str, str]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(settings.values()))):
        load_model(tiny_model_folder, **settings)


def _without(*names: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        for name in names:
            (folder / name).unlink()

    return spoil


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def _bert(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": "bert", "hidden_size": 64}')


def _broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"model_type": ')


def _list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def _pointer(name: str) -> Callable[[Path], None]:
    """What a clone without Git LFS leaves in place of a large file."""
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"
    return lambda folder: (folder / name).write_text(pointer) and None


def _pointer_to_index(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    _pointer("model.safetensors.index.json")(folder)


def _renamed(name: str) -> Callable[[Path], None]:
    """Weights that are there, in another format."""
    return lambda folder: (folder / "model.safetensors").rename(folder / name) and None


def _alone(name: str) -> Callable[[Path], None]:
    def spoil(folder: Path) -> None:
        _empty(folder)
        (folder / name).write_text("weights")

    return spoil


def _adapter(folder: Path) -> None:
    (folder / "config.json").unlink()
    (folder / "model.safetensors").rename(folder / "adapter_model.safetensors")
    _adapter_beside(folder)


def _adapter_beside(folder: Path) -> None:
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA"}')


def _pipeline(folder: Path) -> None:
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')


def _text_only(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config["text_config"], "model_type": "qwen2"})
    )


def _wider(folder: Path) -> None:
    """Less than three times as many weights, of which next to none are there."""
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"hidden_size": 128}
    config["vision_config"] |= {"out_hidden_size": 128}
    (folder / "config.json").write_text(json.dumps(config))


def _lost_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    shards = {"lm_head.weight": "model-00002-of-00002.safetensors"}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))


def _lost_tensor(folder: Path) -> None:
    from safetensors.torch import load_file, save_file

    path = folder / "model.safetensors"
    tensors = load_file(path)
    del tensors["lm_head.weight"]
    save_file(tensors, path, metadata={"format": "pt"})


def _other_shape(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 96
    (folder / "config.json").write_text(json.dumps(config))


def _huge(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"intermediate_size": 10**6, "vocab_size": 10**9}  # terabytes
    (folder / "config.json").write_text(json.dumps(config))


def _endless(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"num_hidden_layers": 10**5, "layer_types": None}
    (folder / "config.json").write_text(json.dumps(config))


def _sizeless(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["text_config"] |= {"num_attention_heads": 0}
    (folder / "config.json").write_text(json.dumps(config))


def _small_vocabulary(folder: Path) -> None:
    build_tiny_model(folder, vocab_size=300, pad_token_id=0, eos_token_id=1)


SPOILED = {
    "empty": (_empty, "no config.json"),
    "config only": (_without("model.safetensors"), "model.safetensors is missing"),
    "no tokenizer": (_without("tokenizer.json"), "no tokenizer"),
    "bert": (_bert, "'bert'"),
    "broken config": (_broken_config, "cannot be read as JSON"),
    "config is a list": (_list_config, "JSON object"),
    **{
        f"git-lfs pointer {name}": (_pointer(name), f"{name} is a Git LFS pointer")
        for name in (
            "model.safetensors",
            "config.json",
            "tokenizer.json",
            "preprocessor_config.json",
        )
    },
    "git-lfs pointer to the index": (_pointer_to_index, "index.json is a Git LFS pointer"),
    "older weights": (
        _renamed("pytorch_model.bin"),
        "holds pytorch_model.bin, weights in an older format",
    ),
    "older shards": (_renamed("pytorch_model-00001-of-00001.bin"), "weights in an older format"),
    "older weights alone": (_alone("pytorch_model.bin"), "weights in an older format"),
    "GGUF": (_renamed("model-q4_k_m.gguf"), "GGUF weights (model-q4_k_m.gguf)"),
    "GGUF alone": (_alone("model-q4_k_m.gguf"), "GGUF weights (model-q4_k_m.gguf)"),
    "adapter": (
        _adapter,
        "an adapter (adapter_config.json) without the model it belongs to; adapters are not loaded",
    ),
    "adapter beside weights": (
        _adapter_beside,
        "beside the weights of a model; adapters are not loaded",
    ),
    "diffusers pipeline": (_pipeline, "a diffusers pipeline"),
    "text only": (_text_only, "'qwen2'; expected one of"),
    "config of a wider model": (_wider, "lack 31 tensors"),
    "lost shard": (_lost_shard, "model-00002-of-00002.safetensors"),
    "lost tensor": (_lost_tensor, "lm_head.weight"),
    "other shape": (_other_shape, "checkpoint"),
    "config of a huge model": (_huge, "its files hold"),
    "config without heads": (_sizeless, "no model can be built"),
    "config of a hundred thousand layers": (_endless, "checkpoint"),
    "small vocabulary": (_small_vocabulary, "different models"),
}


@pytest.mark.parametrize("case", SPOILED)
def test_a_spoiled_folder_is_one_clear_line(
    tiny_model_folder: Path, tmp_path: Path, case: str
) -> None:
    spoil, expected = SPOILED[case]
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    spoil(folder)
    with pytest.raises(ModelError) as caught:
        load_model(folder, device="cpu")
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_the_errors_are_input_errors() -> None:
    assert issubclass(ModelError, InputError)


def test_importing_the_policies_without_weights_does_not_import_torch() -> None:
    names = "oncue.policy.scripted, oncue.model.loading, sys"
    code = f"import {names}; assert not {{'torch', 'transformers'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_attention_that_is_not_installed_is_not_asked_for(
    tiny_model_folder: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(
        json.dumps({**config, "_attn_implementation": "flash_attention_2"})
    )
    assert load_model(folder, "cpu").model.config._attn_implementation == "sdpa"


def _with_tensors(folder: Path, names: list[str]) -> Path:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors") | {name: torch.zeros(2) for name in names}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def test_tensors_that_nothing_takes_are_said(
    tiny_model_folder: Path, tmp_path: Path, recwarn: pytest.WarningsRecorder
) -> None:
    folder = shutil.copytree(tiny_model_folder, tmp_path / "model")
    load_model(folder, "cpu")
    frequencies = ["model.layers.0.self_attn.rotary_emb.inv_freq", "visual.rotary_pos_emb.inv_freq"]
    load_model(_with_tensors(folder, frequencies), "cpu")
    assert not [
        each for each in recwarn if each.category is ModelWarning
    ]  # computed, whoever stores them
    load_model(
        _with_tensors(
            folder, [f"model.layers.{k}.extra" for k in (7, 8, 9)] + ["value_head.weight"]
        ),
        "cpu",
    )
    (said,) = [str(each.message) for each in recwarn if each.category is ModelWarning]
    assert str(folder) in said
    assert "; 4 are left out: " in said
    assert said.endswith(
        "layers.7.extra, model.language_model.layers.8.extra, model.language_model.layers.9.extra, "
        "..."
    )
