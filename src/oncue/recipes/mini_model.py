"""A new mini model: a Qwen2.5-VL of about a million parameters, with a start that lets two cores
teach it to notice.

A pretrained model has circuits that compare what it sees with what it saw; a small new one would
need most of its training to find them (with a plain start, a thousand steps left it silent or
guessing). So the new model is given a rough one by hand (`recipes.mini_start`). These are ordinary
weights; the recipe says which it trains. The result is an ordinary checkpoint that nothing treats
specially.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from oncue.clock import Clock
from oncue.files import as_new_files
from oncue.recipes.mini_config import MiniSizes
from oncue.recipes.mini_start import (
    EMBEDDING_STD,
    HEAD_DIM,
    HIDDEN_SIZE,
    MROPE_SECTION,
    NUM_FEATURES,
    ROPE_THETA,
    Distances,
    Start,
)
from oncue.render.decision import DecisionName
from oncue.render.folder import own_file
from oncue.render.images import FrameProcessor
from oncue.render.layout import layout_of
from oncue.render.qwen_vl import DEFAULT_SYSTEM, QwenVLRenderer
from oncue.render.tiny_tokenizer import save_tokenizer
from oncue.train.checkpoint import no_progress_bar
from oncue.world.clip import make_clip
from oncue.world.questions import vocabulary

MAX_PIXELS = 20 * 28 * 28  # 16:9 and 4:3 frames become 3 x 5 vision tokens
VOCAB_SIZE = 768
NUM_LAYERS, MLP_SIZE = 4, 384
_SIZES = MiniSizes(
    vocab_size=VOCAB_SIZE,
    hidden_size=HIDDEN_SIZE,
    head_dim=HEAD_DIM,
    mlp_size=MLP_SIZE,
    num_layers=NUM_LAYERS,
    rope_theta=ROPE_THETA,
    mrope_section=MROPE_SECTION,
    vision_mlp_size=192,
)


def build_mini(folder: Path, seed: int = 0, decision_name: DecisionName = "text") -> Path:
    """Writes a new, untrained mini model with its tokenizer and image processor to `folder`, in
    Hugging Face format.

    `decision_name`: the decision format it is to learn.
    """
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLForConditionalGeneration,
    )

    folder.mkdir(parents=True, exist_ok=True)
    texts = [*vocabulary(), *[layout_of(decision_name).proactive_system, DEFAULT_SYSTEM] * 100]
    save_tokenizer(texts, VOCAB_SIZE, folder)
    processor = FrameProcessor(min_pixels=4 * 28 * 28, max_pixels=MAX_PIXELS)
    processor.save_pretrained(folder)
    complete_processor(folder)
    for name, content in own_file(decision_name).items():
        (folder / name).write_bytes(content)
    renderer = QwenVLRenderer.from_pretrained(folder)
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_SIZES.config(renderer)).float()
    with torch.no_grad():
        _scale_inputs(model, processor)
        Start(model.model.language_model, Distances.of(renderer)).apply()
    with no_progress_bar():
        model.save_pretrained(folder)
    as_new_files(folder)
    return folder


def _scale_inputs(model: Any, processor: FrameProcessor) -> None:
    """Brings words and places to the same size, with nothing in the channels kept for the start.

    Places are centred and scaled over frames of the `footage` world; new weights give features
    twenty times too small.
    """
    import torch

    embedding = model.get_input_embeddings().weight
    embedding.mul_(EMBEDDING_STD / embedding.std())
    embedding[:, NUM_FEATURES:] *= 0.1
    frames = [
        make_clip("footage", "train", i, duration_s=(3.0, 3.0)).grid_frames(Clock(1.0))[-1]
        for i in range(48)
    ]
    patched = [processor(frame) for frame in frames]
    patches = torch.cat([torch.from_numpy(frame.patches) for frame in patched])
    grids = torch.tensor([frame.grid for frame in patched])
    features = torch.cat(list(model.model.get_image_features(patches, grids).pooler_output))[
        :, :NUM_FEATURES
    ]
    scale = EMBEDDING_STD / features.std(0).mean()
    last = model.model.visual.merger.mlp[2]
    last.weight.mul_(scale)
    last.bias[:NUM_FEATURES] = (last.bias[:NUM_FEATURES] - features.mean(0)) * scale
    last.weight[NUM_FEATURES:] = 0
    last.bias[NUM_FEATURES:] = 0


def complete_processor(folder: Path) -> None:
    """Names the stock processor, so that transformers users with torchvision can load the folder by
    AutoProcessor."""
    image = json.loads((folder / "preprocessor_config.json").read_text("utf-8"))
    video = {**image, "video_processor_type": "Qwen2VLVideoProcessor"}
    video.pop("image_processor_type", None)
    config = {
        "processor_class": "Qwen2_5_VLProcessor",
        "image_processor": image,
        "video_processor": video,
    }
    (folder / "processor_config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    path = folder / "tokenizer_config.json"
    tokenizer = {**json.loads(path.read_text("utf-8")), "processor_class": "Qwen2_5_VLProcessor"}
    path.write_text(json.dumps(tokenizer, indent=2, ensure_ascii=False) + "\n", "utf-8")
