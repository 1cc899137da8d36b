"""Ids, pixels and grids equal those of transformers' own Qwen2.5-VL processor on the same dialogue."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from oncue.render.qwen_vl import PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.types import Dialogue, DialogueTurn

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(lambda t: "<|" not in t)
STARTS_WITH_A_BREAK = re.compile(r"\s*[\r\n]")


@pytest.fixture(scope="session")
def stock_processor(render_folder: Path) -> Any:
    """The stock processor without its video part, which needs torchvision."""
    from transformers import AutoTokenizer, Qwen2_5_VLProcessor
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.processing_utils import ProcessorMixin

    class FrameOnlyProcessor(Qwen2_5_VLProcessor):
        def __init__(self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    tokenizer = AutoTokenizer.from_pretrained(str(render_folder))
    images = Qwen2VLImageProcessorPil.from_pretrained(str(render_folder))
    return FrameOnlyProcessor(images, tokenizer, tokenizer.chat_template)


def stock_inputs(processor: Any, dialogue: Dialogue, frames: list[np.ndarray], **more: Any) -> dict[str, np.ndarray]:
    images = (Image.fromarray(f) for f in frames)
    messages = []
    for turn in dialogue.turns:
        content: list[dict[str, Any]] = [{"type": "image", "image": next(images)} for _ in range(turn.num_frames)]
        if turn.text:
            content.append({"type": "text", "text": turn.text})
        messages.append({"role": turn.role, "content": content})
    inputs = processor.apply_chat_template(messages, tokenize=True, return_dict=True, return_tensors="pt", **more)
    return {key: value.numpy() for key, value in inputs.items()}


def random_frames(*sizes_wh: tuple[int, int]) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.integers(0, 256, (h, w, 3), np.uint8) for w, h in sizes_wh]


def proactive_dialogue() -> tuple[Dialogue, list[np.ndarray]]:
    turns = (
        DialogueTurn("system", PROACTIVE_SYSTEM),
        DialogueTurn("user", "Tell me whenever something appears, 1234 times; won't you?", 2),
        DialogueTurn("assistant", "NO REPLY"),
        DialogueTurn("user", "", 1),
        DialogueTurn("assistant", "Ein Würfel – und  zwei\n\nweitere 红色."),
        DialogueTurn("user", "And now?\n"),
        DialogueTurn("assistant", "NO REPLY"),
        DialogueTurn("user", "\n leading break", 1),
        DialogueTurn("assistant", "A red square."),
    )
    return Dialogue("d", turns), random_frames((1280, 720), (640, 480), (90, 200), (57, 113))


def test_a_dialogue_with_frames_equals_the_stock_processor(stock_processor: Any, renderer: QwenVLRenderer) -> None:
    dialogue, frames = proactive_dialogue()
    expected = stock_inputs(stock_processor, dialogue, frames)
    got = renderer.dialogue(dialogue, frames)
    assert got.token_ids.tolist() == expected["input_ids"][0].tolist()
    assert np.array_equal(np.concatenate([f.patches for f in got.frames]), expected["pixel_values"])
    assert np.array_equal(got.grids, expected["image_grid_thw"])


def test_a_prompt_equals_the_stock_generation_prompt(stock_processor: Any, renderer: QwenVLRenderer) -> None:
    dialogue, frames = proactive_dialogue()
    shown = Dialogue("d", dialogue.turns[:4])
    expected = stock_inputs(stock_processor, shown, frames[:3], add_generation_prompt=True)
    got = [*renderer.dialogue(shown, frames[:3]).token_ids.tolist(), renderer.im_start_id]
    assert [*got, *renderer.encode("assistant\n")] == expected["input_ids"][0].tolist()


def test_another_text_gives_other_ids(stock_processor: Any, renderer: QwenVLRenderer) -> None:
    dialogue, frames = proactive_dialogue()
    changed = Dialogue("d", (*dialogue.turns[:-1], DialogueTurn("assistant", "A red square")))
    expected = stock_inputs(stock_processor, dialogue, frames)
    assert renderer.dialogue(changed, frames).token_ids.tolist() != expected["input_ids"][0].tolist()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(system=st.none() | TEXT, question=TEXT, reply=TEXT, num_frames=st.integers(0, 1))
def test_any_text_equals_the_stock_processor(
    stock_processor: Any, renderer: QwenVLRenderer, system: str | None, question: str, reply: str, num_frames: int
) -> None:
    assume(not STARTS_WITH_A_BREAK.match(reply))
    turns = [DialogueTurn("user", question, num_frames), DialogueTurn("assistant", reply)]
    if system is not None:
        turns.insert(0, DialogueTurn("system", system))
    dialogue, frames = Dialogue("d", tuple(turns)), random_frames((30, 30))[:num_frames]
    expected = stock_inputs(stock_processor, dialogue, frames)
    assert renderer.dialogue(dialogue, frames).token_ids.tolist() == expected["input_ids"][0].tolist()
