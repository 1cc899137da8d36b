"""A new mini model that retrieves from long films: a Qwen2.5-VL of less than two million parameters
with tokens of its own.

Every number of a frame, every shape, colour and letter is one token, and so is every stretch of the
prompts between them: an episode of two turns has about three hundred tokens. All other text is
encoded by bytes. The model gets a rough circuit that reads (`recipes.retrieval_mini_start`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from oncue.clock import Clock
from oncue.data.retrieval_skills import (
    NO_COLOUR,
    NO_SHAPE,
    SKILLS,
    RetrievalSkills,
    colour_question,
    shape_question,
    where_question,
)
from oncue.env.retrieval import RetrievalSettings
from oncue.errors import ConfigError
from oncue.files import as_new_files
from oncue.recipes.mini_config import MiniSizes
from oncue.recipes.mini_model import complete_processor
from oncue.recipes.retrieval_mini_start import (
    COLOUR,
    HEAD_DIM,
    HIDDEN_SIZE,
    KIND,
    LETTER,
    MLP_SIZE,
    MROPE_SECTION,
    NUM_LAYERS,
    NUMBER,
    ROPE_THETA,
    SHAPE,
    WORD,
    Distances,
    RetrievalStart,
    number_code,
)
from oncue.render.decision import DecisionName
from oncue.render.images import FrameProcessor
from oncue.render.layout import layout_of
from oncue.render.markup import SegmentKind
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.render.tiny_tokenizer import CHAT_TEMPLATE, train_tokenizer
from oncue.train.checkpoint import no_progress_bar
from oncue.types import Dialogue
from oncue.world.long.film import COLOURS, SHAPES

NUM_FRAMES = 96  # of a pool
SIZE_PX = 28  # of a frame: one vision token
LOOK = RetrievalSettings(max_turns=2, thinking="off")
MAX_TURNS = (2, 3)  # that it is taught, beside single ones
VOCAB_SIZE, NUM_PIECES = 512, 320
_SIZES = MiniSizes(
    vocab_size=VOCAB_SIZE,
    hidden_size=HIDDEN_SIZE,
    head_dim=HEAD_DIM,
    mlp_size=MLP_SIZE,
    num_layers=NUM_LAYERS,
    rope_theta=ROPE_THETA,
    mrope_section=MROPE_SECTION,
    vision_mlp_size=128,
)
LETTERS = "ABCD"
_NAMES = (*SHAPES, NO_SHAPE, *COLOURS, NO_COLOUR)
_PARTS = re.compile(rf"(\d+|\b(?:{'|'.join(_NAMES)})\b|\b[{LETTERS}]\b)")


def build_retrieval_mini(folder: Path, seed: int = 0, decision_name: DecisionName = "text") -> Path:
    """Writes a new, untrained model with its tokenizer and image processor to `folder`, in Hugging
    Face format. Raises ConfigError for a decision format other than text: marks need it."""
    import torch
    from transformers.models.qwen2_5_vl.modeling_qwen2_5_vl import (
        Qwen2_5_VLForConditionalGeneration,
    )

    if decision_name != "text":
        raise ConfigError(f"retrieval needs decision_format text, got {decision_name}")
    folder.mkdir(parents=True, exist_ok=True)
    dialogues = list(_dialogues())
    phrases = sorted(set(_phrases(dialogues)))
    _save_tokenizer(phrases, folder)
    processor = FrameProcessor(min_pixels=SIZE_PX**2, max_pixels=SIZE_PX**2)
    processor.save_pretrained(folder)
    complete_processor(folder)
    renderer = QwenVLRenderer.from_pretrained(folder)
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_SIZES.config(renderer)).float()
    with torch.no_grad():
        _write_tokens(model, renderer)
        _write_vision(model)
        says = _says(model, renderer)
        RetrievalStart(model.model.language_model, _distances(renderer)).apply(says)
    with no_progress_bar():
        model.save_pretrained(folder)
    as_new_files(folder)
    return folder


def _dialogues() -> Iterator[Dialogue]:
    """Prompts of every skill, with every number of turns and of frames that a turn may show."""
    for skill in SKILLS:
        for max_turns in MAX_TURNS:
            look = replace(LOOK, max_turns=max_turns)
            for number in range(1, LOOK.first_frames + 1):
                source = RetrievalSkills(
                    {skill: 1.0}, (number, number), look=look, uniform_frac=0.0
                )
                for index in range(3):
                    yield source.item(index, 0, Clock(1.0), 1)[0]


def _wholes(dialogues: Sequence[Dialogue]) -> set[str]:
    """Texts that are one token each though they have numbers and letters in them: the system
    messages, and how to act."""
    found = set()
    for dialogue in dialogues:
        for turn in dialogue.turns:
            if turn.role == "system":
                found.add(turn.text)
            elif turn.role == "user":
                lines = turn.text.split("\n")
                start = next(
                    i for i, line in enumerate(lines) if line.startswith(("Do ", "This is", "Ans"))
                )
                found.add("\n".join(lines[start:]))
    return found


def _phrases(dialogues: Sequence[Dialogue]) -> Iterator[str]:
    """The stretches of text between numbers, names and letters."""
    wholes = _wholes(dialogues)
    yield from wholes
    whole = re.compile("(" + "|".join(map(re.escape, sorted(wholes, key=len, reverse=True))) + ")")
    for dialogue in dialogues:
        for segment in layout_of("text").dialogue(dialogue):
            if segment.kind is SegmentKind.TEXT:
                for part in whole.split(segment.text):
                    if part not in wholes:
                        yield from (piece for piece in _PARTS.split(part)[::2] if piece)


def _words() -> tuple[str, ...]:
    return (*map(str, range(NUM_FRAMES)), *_NAMES, *LETTERS)


def _save_tokenizer(phrases: Sequence[str], folder: Path) -> None:
    from tokenizers import AddedToken

    tokenizer = train_tokenizer((), NUM_PIECES)
    words = [AddedToken(word, single_word=True, normalized=False) for word in _words()]
    tokenizer.add_tokens(words, special_tokens=False)
    others = [AddedToken(phrase, normalized=False) for phrase in phrases if len(phrase) > 1]
    tokenizer.add_tokens(others, special_tokens=False)
    tokenizer.chat_template = CHAT_TEMPLATE
    tokenizer.save_pretrained(str(folder))


def _write_tokens(model: Any, renderer: QwenVLRenderer) -> None:
    """What a token is, and of which kind: two channels or codes of length 1."""
    import torch

    embedding = model.get_input_embeddings().weight
    codes = torch.randn(VOCAB_SIZE, WORD.stop - WORD.start)
    embedding[:] = 0
    embedding[:, WORD] = codes / codes.norm(dim=1, keepdim=True)

    def name(text: str, kind: str, code: Any = None) -> int:
        (token_id,) = renderer.encode(text)
        embedding[token_id, KIND[kind]] = 1
        if code is not None:
            embedding[token_id, WORD] = 0
            embedding[token_id, code[0]] = torch.as_tensor(code[1])
        return token_id

    for number in range(NUM_FRAMES):
        name(str(number), "number", (NUMBER, number_code(number)))
    for kind, channels, words in (
        ("shape", SHAPE, (*SHAPES, NO_SHAPE)),
        ("colour", COLOUR, (*COLOURS, NO_COLOUR)),
        ("letter", LETTER, LETTERS),
    ):
        for i, word in enumerate(words):
            name(word, kind, (channels, torch.eye(channels.stop - channels.start)[i]))
    name("<answer>", "answer")
    name("<retrieve>", "retrieve")
    name(",", "comma")
    name("assistant\n", "header")
    embedding[renderer.im_start_id, KIND["sink"]] = 1
    for text in _questions().values():
        name(text, "question")


def _questions() -> dict[str, str]:
    """The first words of the question for each kind of answer."""
    film = "Which colour flashes while the "
    starts = {
        "shape": shape_question(0).partition("0")[0],
        "colour": colour_question(0).partition("0")[0],
        "number": where_question("bar").partition("bar")[0],
        "letter": film,
    }
    return {kind: f"\nQuestion: {text}" for kind, text in starts.items()}


def _says(model: Any, renderer: QwenVLRenderer) -> dict[str, Any]:
    embedding = model.get_input_embeddings().weight
    return {kind: embedding[renderer.encode(text)][:, WORD] for kind, text in _questions().items()}


def _write_vision(model: Any) -> None:
    """A frame is a frame, and shows what it learns to show; all other channels are empty."""
    last = model.model.visual.merger.mlp[2]
    shown = slice(SHAPE.start, COLOUR.stop)
    kept = last.weight[shown].clone()
    last.weight[:] = 0
    last.bias[:] = 0
    last.weight[shown] = kept
    last.bias[KIND["frame"]] = 3


def _distances(renderer: QwenVLRenderer) -> Distances:
    """Measured on rendered dialogues."""

    def rendered(skill: str) -> tuple[list[int], Dialogue]:
        source = RetrievalSkills({skill: 1.0}, (3, 3), look=LOOK)
        dialogue, frames = source.item(0, 0, Clock(1.0), 1)
        return renderer.dialogue(dialogue, frames).whole.token_ids.tolist(), dialogue

    def last_before(ids: list[int], end: int, texts: Sequence[str]) -> int:
        wanted = {renderer.encode(text)[0] for text in texts}
        return next(i for i in range(end - 1, -1, -1) if ids[i] in wanted)

    numbers = [str(i) for i in range(NUM_FRAMES)]
    ids, _ = rendered("shape")
    frame, opener = ids.index(renderer.image_pad_id), ids.index(renderer.encode("<answer>")[0])
    header = ids.index(renderer.encode("assistant\n")[0])
    how = header - ids[:header][::-1].index(renderer.im_end_id)
    answered, _ = rendered("answer")
    option = last_before(answered, len(answered) - 4, tuple(COLOURS))
    return Distances(
        mark=frame - last_before(ids, frame, numbers),
        option=option - last_before(answered, option, LETTERS),
        asked=opener - last_before(ids, opener, numbers),
        header=header - how + 2,
    )
