"""Laws of the token stream: it only grows, training sees what sampling saw, and text stays text."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from oncue.errors import DialogueError
from oncue.render.base import RenderedPart
from oncue.render.decision import Lead
from oncue.render.layout import chat_text
from oncue.render.markup import STRUCTURAL_MARKS
from oncue.render.qwen_vl import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, QwenVLRenderer
from oncue.types import (
    Action,
    Dialogue,
    DialogueTurn,
    EnvTurn,
    FrameBatch,
    Malformed,
    Reply,
    Silence,
)

MARKS = st.sampled_from(
    [*STRUCTURAL_MARKS, "\n", "<|im_end|>\n<|im_start|>assistant\n", "<image>", " ", "user"]
)
TEXT = st.lists(st.one_of(MARKS, st.text(max_size=8)), max_size=4).map("".join)
REPLY = TEXT.filter(lambda t: t.strip() not in ("", "NO REPLY"))
ACTION = st.one_of(st.just(Silence()), REPLY.map(Reply))
TURN = st.tuples(st.integers(0, 2), TEXT, ACTION)


def batch(num_frames: int, side_px: int = 56) -> FrameBatch:
    pixels = np.full((num_frames, side_px, side_px, 3), 90, np.uint8)
    return FrameBatch(pixels, np.arange(num_frames, dtype=np.float64))


def as_parts(
    renderer: QwenVLRenderer, system: str, turns: list[tuple[int, str, Action]]
) -> list[RenderedPart]:
    """What a rollout appends, piece by piece: system, then observation and answer of each turn."""
    parts = [renderer.system_block(system)]
    for k, (num_frames, text, action) in enumerate(turns):
        parts.append(
            renderer.user_turn(
                EnvTurn(batch(num_frames), float(k), text), Lead.CLOSED if k else Lead.START
            )
        )
        ids = renderer.policy_turn_ids(action)
        parts.append(RenderedPart(np.array(ids), np.ones(len(ids), bool)))
    return parts


def as_dialogue(
    renderer: QwenVLRenderer, system: str, turns: list[tuple[int, str, Action]]
) -> Dialogue:
    messages = [DialogueTurn("system", system)]
    for num_frames, text, action in turns:
        messages += [
            DialogueTurn("user", text, num_frames),
            DialogueTurn("assistant", renderer.format.write(action)),
        ]
    return Dialogue("d", tuple(messages))


@settings(max_examples=60, deadline=None)
@given(system=TEXT, turns=st.lists(TURN, min_size=1, max_size=4))
def test_training_tokens_are_the_rollout_tokens(
    renderer: QwenVLRenderer, system: str, turns: list[tuple[int, str, Action]]
) -> None:
    """Laws 1, 2, 3: each prompt is a prefix of the training sample; trained are the answers and
    their closing token."""
    rollout = RenderedPart.join(as_parts(renderer, system, turns))
    dialogue = as_dialogue(renderer, system, turns)
    sample = renderer.dialogue(dialogue, [f for n, _, _ in turns for f in batch(n).pixels]).whole
    newline = renderer.encode("\n")
    assert sample.token_ids.tolist() == [*rollout.token_ids.tolist(), *newline]
    assert sample.loss_mask.tolist() == [*rollout.loss_mask.tolist(), *[False] * len(newline)]
    assert len(sample.frames) == dialogue.num_frames


def test_leaving_out_the_newline_between_turns_would_break_the_law(
    renderer: QwenVLRenderer,
) -> None:
    turns: list[tuple[int, str, Action]] = [
        (1, "What now?", Silence()),
        (1, "", Reply("A red square appears.")),
    ]
    parts = as_parts(renderer, PROACTIVE_SYSTEM, turns)
    parts[3] = renderer.user_turn(EnvTurn(batch(1), 1.0), Lead.START)
    rollout = RenderedPart.join(parts)
    sample = renderer.dialogue(
        as_dialogue(renderer, PROACTIVE_SYSTEM, turns), list(batch(2).pixels)
    ).whole
    assert sample.token_ids.tolist()[: len(rollout)] != rollout.token_ids.tolist()


@settings(max_examples=60, deadline=None)
@given(system=TEXT, turns=st.lists(TURN, min_size=1, max_size=3))
def test_text_cannot_forge_structure(
    renderer: QwenVLRenderer, system: str, turns: list[tuple[int, str, Action]]
) -> None:
    """Law 5: the structural tokens of a dialogue are those of the same dialogue with harmless
    text."""
    harmless = [(n, "x", Reply("y")) for n, _, _ in turns]
    found, expected = (
        [
            i
            for i in RenderedPart.join(as_parts(renderer, s, t)).token_ids.tolist()
            if i in renderer.structural_ids
        ]
        for s, t in ((system, turns), ("z", harmless))
    )
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_written_replies_are_read_back(renderer: QwenVLRenderer, text: str) -> None:
    """Law 4 through tokens, for text that the tokenizer's own normalisation (NFC) leaves as it
    is."""
    import unicodedata

    action = renderer.format.read(unicodedata.normalize("NFC", text))
    ids = renderer.policy_turn_ids(action)
    assert ids[-1] == renderer.im_end_id
    assert renderer.read_action(ids, truncated=False) == action
    assert renderer.read_action(ids[:-1], truncated=False) == action


def test_a_tokenizer_that_parses_marks_would_forge_structure(renderer: QwenVLRenderer) -> None:
    parsing = Tokenizer.from_str(renderer.tokenizer.to_str())
    parsing.encode_special_tokens = False
    assert renderer.im_end_id in parsing.encode("hello<|im_end|>").ids
    assert renderer.im_end_id not in renderer.encode("hello<|im_end|>")


def test_silence_is_three_tokens(renderer: QwenVLRenderer) -> None:
    assert [renderer.tokenizer.id_to_token(i) for i in renderer.silence_ids] == [
        "NO",
        "ĠREPLY",
        "<|im_end|>",
    ]
    assert renderer.read_action(renderer.silence_ids, truncated=False) == Silence()
    assert renderer.read_action(renderer.silence_ids, truncated=True) == Silence()


def test_ids_that_are_no_text_make_the_turn_malformed(renderer: QwenVLRenderer) -> None:
    hello = renderer.encode("hello")
    assert renderer.read_action([*hello, renderer.im_end_id], truncated=False) == Reply("hello")
    assert renderer.read_action(hello, truncated=True) == Reply("hello", truncated=True)
    for bad in (renderer.image_pad_id, renderer.im_end_id, renderer.tokenizer.get_vocab_size() + 5):
        assert isinstance(
            renderer.read_action([bad, *hello, renderer.im_end_id], truncated=False), Malformed
        )
    assert isinstance(renderer.read_action([renderer.im_end_id], truncated=False), Malformed)


def test_one_mark_alone_ends_a_turn(renderer: QwenVLRenderer) -> None:
    """Another engine may stop at <|endoftext|>, which a checkpoint's own settings list: that turn
    is no reply."""
    for said in (renderer.encode("hello"), renderer.encode("NO REPLY")):
        ended = renderer.read_action([*said, renderer.endoftext_id], truncated=False)
        assert isinstance(ended, Malformed)
        assert ended.reason == "the turn ended with <|endoftext|>, and only <|im_end|> ends one"
        assert (
            renderer.decision.next_input([*said, renderer.endoftext_id]) is not None
        )  # nor does the decision end
        assert not isinstance(
            renderer.read_action([*said, renderer.im_end_id], truncated=False), Malformed
        )


def test_history_is_rendered_and_never_trained(renderer: QwenVLRenderer) -> None:
    turns = (DialogueTurn("user", "a"), DialogueTurn("assistant", "old"), DialogueTurn("user", "b"))
    dialogue = Dialogue(
        "d", (*turns, DialogueTurn("assistant", "new")), (False, False, False, True)
    )
    part = renderer.dialogue(dialogue).whole
    assert part.token_ids[part.loss_mask].tolist() == [*renderer.encode("new"), renderer.im_end_id]
    assert chat_text(dialogue, ("[", "]")).endswith(
        "assistant\nold<|im_end|>\n<|im_start|>user\nb<|im_end|>\n"
        "<|im_start|>assistant\n[new<|im_end|>]\n"
    )


def test_the_chat_text_is_the_papers(renderer: QwenVLRenderer) -> None:
    turns: list[tuple[int, str, Action]] = [
        (2, "What now?", Silence()),
        (2, "", Reply("A square appears.")),
    ]
    assert chat_text(as_dialogue(renderer, PROACTIVE_SYSTEM, turns)) == (
        f"<|im_start|>system\n{PROACTIVE_SYSTEM}<|im_end|>\n"
        "<|im_start|>user\n<image><image>What now?<|im_end|>\n"
        "<|im_start|>assistant\nNO REPLY<|im_end|>\n"
        "<|im_start|>user\n<image><image><|im_end|>\n"
        "<|im_start|>assistant\nA square appears.<|im_end|>\n"
    )


def test_without_a_system_message_the_default_stands_first(renderer: QwenVLRenderer) -> None:
    part = renderer.dialogue(Dialogue("d", (DialogueTurn("user", "hi"),))).whole
    system = renderer.system_block(DEFAULT_SYSTEM).token_ids.tolist()
    assert DEFAULT_SYSTEM == "You are a helpful assistant."
    assert part.token_ids.tolist()[: len(system)] == system


def test_the_proactive_system_message_is_the_published_one() -> None:
    assert PROACTIVE_SYSTEM == (
        "You are a helpful assistant. Your task is to answer questions based on continuously "
        "incoming video frames. "
        "Your responses should include information from the video since your last reply (if any). "
        "If the information in this segment of the video cannot answer the "
        'question, output "NO REPLY".'
    )


def test_a_silent_frame_costs_fourteen_tokens_beside_its_pads(renderer: QwenVLRenderer) -> None:
    turn = renderer.user_turn(EnvTurn(batch(1), 1.0), Lead.CLOSED)
    num_pads = int((turn.token_ids == renderer.image_pad_id).sum())
    assert num_pads == renderer.frame_processor.token_count(56, 56) == 4
    assert len(turn) - num_pads + len(renderer.silence_ids) == 14


def test_patched_frames_are_taken_as_they_are(renderer: QwenVLRenderer) -> None:
    dialogue = Dialogue("d", (DialogueTurn("user", "", 1), DialogueTurn("assistant", "ok")))
    frame = batch(1).pixels[0]
    patched = renderer.frame_processor(frame)
    raw, ready = (
        renderer.dialogue(dialogue, [frame]).whole,
        renderer.dialogue(dialogue, [patched]).whole,
    )
    assert ready.frames[0] is patched
    assert np.array_equal(raw.token_ids, ready.token_ids)
    assert np.array_equal(raw.grids, [[1, 4, 4]])


def test_a_wrong_number_of_frames_is_refused(renderer: QwenVLRenderer) -> None:
    dialogue = Dialogue("clip 7", (DialogueTurn("user", "", 2), DialogueTurn("assistant", "ok")))
    for frames in (None, [], list(batch(3).pixels)):
        with pytest.raises(DialogueError, match="'clip 7' shows 2 frames"):
            renderer.dialogue(dialogue, frames)
