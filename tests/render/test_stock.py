"""Ids, pixels and grids equal those of transformers' own processor of each family on the same
dialogue."""

from __future__ import annotations

import re
import shutil
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from PIL import Image

from oncue.render.decision import Lead
from oncue.render.images import FrameProcessor
from oncue.render.qwen_vl import (
    DEFAULT_SYSTEM,
    MMDUET2_MAX_TOKENS,
    PROACTIVE_SYSTEM,
    QwenVLRenderer,
)
from oncue.types import Dialogue, DialogueTurn, EnvTurn, FrameBatch

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12).filter(
    lambda t: "<|" not in t
)
STARTS_WITH_A_BREAK = re.compile(r"\s*[\r\n]")


PROCESSORS = {
    "qwen2_vl": "Qwen2VLProcessor",
    "qwen2_5_vl": "Qwen2_5_VLProcessor",
    "qwen3_vl": "Qwen3VLProcessor",
}
DEFAULT_MESSAGE = re.compile(
    r"\{%- if not messages or .*?\{%- endif -%\}", re.DOTALL
)  # in our small chat template


@pytest.fixture(scope="session", params=list(PROCESSORS))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="session")
def family_folder(
    family: str, render_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A tokenizer, and the image processor of the family."""
    folder = shutil.copytree(render_folder, tmp_path_factory.mktemp("stock") / family)
    if family == "qwen3_vl":
        half, cell_area = (0.5,) * 3, 32 * 32
        limits = {"min_pixels": 64 * cell_area, "max_pixels": MMDUET2_MAX_TOKENS * cell_area}
        FrameProcessor(patch_size=16, mean=half, std=half, **limits).save_pretrained(folder)
        (folder / "config.json").unlink()
    return folder


@pytest.fixture(scope="session")
def renderer(family_folder: Path) -> QwenVLRenderer:
    return QwenVLRenderer.from_pretrained(family_folder)


@pytest.fixture(scope="session")
def stock_processor(family: str, family_folder: Path) -> Any:
    """The stock processor without its video part, which needs torchvision.

    Its chat template writes the marks of the released ones, and, like Qwen3-VL's, no system message
    by itself there.
    """
    from transformers import AutoTokenizer
    from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil
    from transformers.processing_utils import ProcessorMixin

    processors = import_module(f"transformers.models.{family}.processing_{family}")

    class FrameOnlyProcessor(getattr(processors, PROCESSORS[family])):  # type: ignore[misc]
        def __init__(
            self, image_processor: Any = None, tokenizer: Any = None, chat_template: Any = None
        ) -> None:
            self.image_token, self.video_token = "<|image_pad|>", "<|video_pad|>"
            self.image_token_id = tokenizer.convert_tokens_to_ids(self.image_token)
            self.video_token_id = tokenizer.convert_tokens_to_ids(self.video_token)
            ProcessorMixin.__init__(self, image_processor, tokenizer, chat_template=chat_template)

    tokenizer = AutoTokenizer.from_pretrained(str(family_folder))
    images = Qwen2VLImageProcessorPil.from_pretrained(str(family_folder))
    template, found = DEFAULT_MESSAGE.subn("", tokenizer.chat_template)
    assert found == 1
    return FrameOnlyProcessor(
        images, tokenizer, template if family == "qwen3_vl" else tokenizer.chat_template
    )


def stock_inputs(
    processor: Any, dialogue: Dialogue, frames: list[np.ndarray], **more: Any
) -> dict[str, np.ndarray]:
    images = (Image.fromarray(f) for f in frames)
    messages = []
    for turn in dialogue.turns:
        content: list[dict[str, Any]] = [
            {"type": "image", "image": next(images)} for _ in range(turn.num_frames)
        ]
        if turn.text:
            content.append({"type": "text", "text": turn.text})
        messages.append({"role": turn.role, "content": content})
    inputs = processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", **more
    )
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


def test_a_dialogue_with_frames_equals_the_stock_processor(
    stock_processor: Any, renderer: QwenVLRenderer
) -> None:
    dialogue, frames = proactive_dialogue()
    expected = stock_inputs(stock_processor, dialogue, frames)
    got = renderer.dialogue(dialogue, frames).whole
    assert got.token_ids.tolist() == expected["input_ids"][0].tolist()
    assert np.array_equal(np.concatenate([f.patches for f in got.frames]), expected["pixel_values"])
    assert np.array_equal(got.grids, expected["image_grid_thw"])


def test_a_prompt_equals_the_stock_generation_prompt(
    stock_processor: Any, renderer: QwenVLRenderer
) -> None:
    dialogue, frames = proactive_dialogue()
    shown = Dialogue("d", dialogue.turns[:4])
    expected = stock_inputs(stock_processor, shown, frames[:3], add_generation_prompt=True)
    got = [*renderer.dialogue(shown, frames[:3]).whole.token_ids.tolist(), renderer.im_start_id]
    assert [*got, *renderer.encode("assistant\n")] == expected["input_ids"][0].tolist()


def test_a_turn_of_text_and_marked_frames_equals_the_stock_prompt(
    stock_processor: Any, renderer: QwenVLRenderer
) -> None:
    """Frames of two sizes in one turn, text around and between them; each marked frame on a line of
    its own."""
    small, other, large = random_frames((224, 140), (224, 140), (640, 480))
    pair = FrameBatch(np.stack([small, other]), np.array([3.0, 4.0]), ("frame 12", "frame 15"))
    plain, marked = (FrameBatch(large[None], np.array([5.0]), marks) for marks in ((), ("01:30",)))
    turn = EnvTurn(
        ["Turn 2.", " Of 3:\n", pair, plain, "and", marked, "What is in the box?\n", ""], 5.0
    )
    texts = (
        "Turn 2. Of 3:\nframe 12: ",
        "\nframe 15: ",
        "\n",
        "and\n01:30: ",
        "\nWhat is in the box?\n",
    )
    content: list[dict[str, Any]] = [{"type": "text", "text": texts[0]}]
    for picture, text in zip((small, other, large, large), texts[1:], strict=True):
        content += [
            {"type": "image", "image": Image.fromarray(picture)},
            {"type": "text", "text": text},
        ]
    messages = [
        {"role": "system", "content": [{"type": "text", "text": "Look."}]},
        {"role": "user", "content": content},
    ]
    expected = stock_processor.apply_chat_template(
        messages, tokenize=True, return_dict=True, return_tensors="pt", add_generation_prompt=True
    )
    system, part = renderer.system_block("Look."), renderer.user_turn(turn, Lead.START)
    assert [*system.token_ids.tolist(), *part.token_ids.tolist()] == expected["input_ids"][
        0
    ].tolist()
    assert np.array_equal(part.grids, expected["image_grid_thw"].numpy())
    assert np.array_equal(
        np.concatenate([f.patches for f in part.frames]), expected["pixel_values"].numpy()
    )
    for changed in (
        [*turn.content[1:], turn.content[0]],
        [*turn.content[:-3], plain, *turn.content[-1:]],
    ):  # control
        assert (
            renderer.user_turn(EnvTurn(changed, 5.0), Lead.START).token_ids.tolist()
            != part.token_ids.tolist()
        )


def test_another_text_gives_other_ids(stock_processor: Any, renderer: QwenVLRenderer) -> None:
    dialogue, frames = proactive_dialogue()
    changed = Dialogue("d", (*dialogue.turns[:-1], DialogueTurn("assistant", "A red square")))
    expected = stock_inputs(stock_processor, dialogue, frames)
    assert (
        renderer.dialogue(changed, frames).whole.token_ids.tolist()
        != expected["input_ids"][0].tolist()
    )


def test_only_qwen3_vl_writes_no_system_message_by_itself(
    family: str, stock_processor: Any, renderer: QwenVLRenderer
) -> None:
    """Where it writes none, ours writes the default message all the same: a dialogue is the same
    for every family."""
    dialogue = Dialogue(
        "d", (DialogueTurn("user", "Hello."), DialogueTurn("assistant", "NO REPLY"))
    )
    theirs = stock_inputs(stock_processor, dialogue, [])["input_ids"][0].tolist()
    added = renderer.system_block(DEFAULT_SYSTEM).token_ids.tolist() if family == "qwen3_vl" else []
    assert renderer.dialogue(dialogue).whole.token_ids.tolist() == added + theirs


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(system=TEXT, question=TEXT, reply=TEXT, num_frames=st.integers(0, 1))
def test_any_text_equals_the_stock_processor(
    stock_processor: Any,
    renderer: QwenVLRenderer,
    system: str,
    question: str,
    reply: str,
    num_frames: int,
) -> None:
    assume(not STARTS_WITH_A_BREAK.match(reply))
    asked = DialogueTurn("user", question, num_frames)
    turns = (DialogueTurn("system", system), asked, DialogueTurn("assistant", reply))
    dialogue, frames = Dialogue("d", turns), random_frames((30, 30))[:num_frames]
    expected = stock_inputs(stock_processor, dialogue, frames)
    assert (
        renderer.dialogue(dialogue, frames).whole.token_ids.tolist()
        == expected["input_ids"][0].tolist()
    )
