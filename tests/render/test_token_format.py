"""Laws of the token format: silence adds nothing, training sees choices where a sampler makes them,
text stays text."""

from __future__ import annotations

import json
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from oncue.errors import DialogueError, InputError, ModelError
from oncue.hub import BUNDLED_NAME
from oncue.render.decision import Lead, TokenDecision
from oncue.render.folder import own_file
from oncue.render.layout import chat_text
from oncue.render.markup import DEFAULT_SYSTEM, PROACTIVE_SYSTEM, STRUCTURAL_MARKS, TOKEN_SYSTEM
from oncue.render.qwen_vl import QwenVLRenderer
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
ACTION = st.one_of(
    st.just(Silence()), TEXT.filter(lambda t: t.strip() not in ("", "NO REPLY")).map(Reply)
)
TURN = st.tuples(st.integers(0, 2), TEXT, ACTION).filter(lambda turn: turn[0] > 0 or turn[1] != "")
Turn = tuple[int, str, Action]


def batch(num_frames: int) -> FrameBatch:
    return FrameBatch(
        np.full((num_frames, 56, 56, 3), 90, np.uint8), np.arange(num_frames, dtype=np.float64)
    )


def as_dialogue(
    renderer: QwenVLRenderer, turns: list[Turn], system: str = PROACTIVE_SYSTEM
) -> Dialogue:
    messages = [DialogueTurn("system", system)]
    for num_frames, text, action in turns:
        messages += [
            DialogueTurn("user", text, num_frames),
            DialogueTurn("assistant", renderer.format.write(action)),
        ]
    return Dialogue("d", tuple(messages))


def as_chosen(
    renderer: QwenVLRenderer, turns: list[Turn]
) -> tuple[list[int], Lead, list[tuple[tuple[int, ...], int]]]:
    """The prefix that a rollout of these turns ends with, how it ends, and (ids before a choice,
    choice) for each."""
    prefix, lead = renderer.system_block(renderer.proactive_system).token_ids.tolist(), Lead.START
    choices = []
    for num_frames, text, action in turns:
        prefix += renderer.user_turn(EnvTurn(batch(num_frames), 1.0, text), lead).token_ids.tolist()
        chosen = renderer.policy_turn_ids(action)
        before = list(prefix)
        for k, choice in enumerate(chosen):
            choices.append((tuple(before), choice))
            before += renderer.decision.next_input(chosen[: k + 1]) or ()
        prefix += renderer.decision.kept(chosen)
        lead = renderer.decision.lead_after(chosen)
    return prefix, lead, choices


@settings(max_examples=80, deadline=None)
@pytest.mark.parametrize("name", ["renderer", "token_renderer"])
@given(turns=st.lists(TURN, min_size=1, max_size=4))
def test_training_sees_each_choice_where_a_sampler_makes_it(
    request: pytest.FixtureRequest, name: str, turns: list[Turn]
) -> None:
    """Laws 1, 2, 3: the trained places are the choices, each behind the very ids that the sampler
    has before it."""
    renderer: QwenVLRenderer = request.getfixturevalue(name)
    prefix, lead, choices = as_chosen(renderer, turns)
    sample = renderer.dialogue(
        as_dialogue(renderer, turns), [f for n, _, _ in turns for f in batch(n).pixels]
    ).whole
    ids = sample.token_ids.tolist()
    after = [renderer.vision_start_id] if lead is Lead.OPEN else renderer.encode("\n")
    assert ids == [*prefix, *after]
    places = np.flatnonzero(sample.loss_mask).tolist()
    assert [(tuple(ids[:place]), int(sample.target_ids[place])) for place in places] == choices
    assert set(sample.turn_of[places].tolist()) == {2 * k + 2 for k in range(len(turns))}
    elsewhere = np.flatnonzero(~sample.loss_mask)
    assert np.array_equal(sample.target_ids[elsewhere], sample.token_ids[elsewhere])


def test_the_next_token_is_not_always_the_choice(token_renderer: QwenVLRenderer) -> None:
    """Why targets are kept apart from the stream: a question may follow silence."""
    turns: list[Turn] = [(1, "What now?", Silence()), (1, "And now?", Silence())]
    sample = token_renderer.dialogue(
        as_dialogue(token_renderer, turns), list(batch(2).pixels)
    ).whole
    first, last = np.flatnonzero(sample.loss_mask)
    assert sample.target_ids[[first, last]].tolist() == [token_renderer.vision_start_id] * 2
    assert sample.token_ids[first] == token_renderer.encode("And now?\n")[0]
    assert last == len(sample) - 1


def test_a_wrong_lead_would_break_the_law(token_renderer: QwenVLRenderer) -> None:
    turns: list[Turn] = [(1, "What now?", Silence()), (1, "", Reply("A red square appears."))]
    sample = token_renderer.dialogue(
        as_dialogue(token_renderer, turns), list(batch(2).pixels)
    ).whole.token_ids.tolist()
    prefix = as_chosen(token_renderer, turns[:1])[0]
    for lead in Lead:
        shown = [
            *prefix,
            *token_renderer.user_turn(EnvTurn(batch(1), 2.0), lead).token_ids.tolist(),
        ]
        assert (sample[: len(shown)] == shown) == (lead is Lead.OPEN)


@settings(max_examples=60, deadline=None)
@given(turns=st.lists(TURN, min_size=1, max_size=3))
def test_text_cannot_forge_structure(token_renderer: QwenVLRenderer, turns: list[Turn]) -> None:
    """Law 5: the structural tokens are those of the same turns with harmless text."""
    harmless = [
        (n, "x" * bool(text), a if isinstance(a, Silence) else Reply("y")) for n, text, a in turns
    ]
    found, expected = (
        [i for i in as_chosen(token_renderer, t)[0] if i in token_renderer.structural_ids]
        for t in (turns, harmless)
    )
    assert found == expected


@settings(max_examples=100, deadline=None)
@given(text=TEXT)
def test_written_actions_are_read_back(token_renderer: QwenVLRenderer, text: str) -> None:
    """Law 4 through tokens, for text that the tokenizer's own normalisation (NFC) leaves as it
    is."""
    action = token_renderer.format.read(unicodedata.normalize("NFC", text))
    chosen = token_renderer.policy_turn_ids(action)
    assert token_renderer.read_action(chosen, truncated=False) == action


def test_what_is_chosen_decides(token_renderer: QwenVLRenderer) -> None:
    start, end = token_renderer.vision_start_id, token_renderer.im_end_id
    hello, silence = token_renderer.encode("hello"), token_renderer.encode("NO REPLY")
    assert token_renderer.silence_ids == (start,)
    assert token_renderer.read_action((start,), truncated=False) == Silence()
    assert token_renderer.read_action((end, *hello, end), truncated=False) == Reply("hello")
    assert token_renderer.read_action((end, *hello, end), truncated=True) == Reply(
        "hello", truncated=True
    )
    assert (
        token_renderer.read_action((end, *silence, end), truncated=False) == Silence()
    )  # in words: nobody is told
    with pytest.raises(ValueError, match="words of its own"):
        token_renderer.policy_turn_ids(Reply("NO REPLY"))


def test_what_no_choice_of_the_format_is_malformed(token_renderer: QwenVLRenderer) -> None:
    start, end = token_renderer.vision_start_id, token_renderer.im_end_id
    hello = token_renderer.encode("hello")
    for bad in (
        (),
        hello,
        (*hello, end),
        (end, end),
        (start, *hello),
        (end, *hello, start, end),
        (start, end),
    ):
        assert isinstance(token_renderer.read_action(bad, truncated=False), Malformed), bad


def test_what_stays_begins_with_what_was_put_before_the_model(
    token_renderer: QwenVLRenderer,
) -> None:
    decision, end = token_renderer.decision, token_renderer.im_end_id
    chosen = token_renderer.policy_turn_ids(Reply("A red square."))
    inputs = [decision.next_input(chosen[: k + 1]) for k in range(len(chosen))]
    given_ids = [i for ids in inputs[:-1] for i in ids or ()]
    header = [
        *token_renderer.encode("\n"),
        token_renderer.im_start_id,
        *token_renderer.encode("assistant\n"),
    ]
    assert inputs[-1] is None
    assert given_ids == [end, *header, *token_renderer.encode("A red square.")]
    assert list(decision.kept(chosen)) == [*given_ids, end]
    assert decision.lead_after(chosen) is Lead.CLOSED
    silent = token_renderer.silence_ids
    assert (decision.next_input(silent), decision.kept(silent)) == (None, ())
    assert decision.lead_after(silent) is Lead.OPEN
    assert decision.silence_draft == ()
    assert decision.allowed(0) == {silent[0], end}
    assert decision.allowed(1) is None


def test_a_silent_turn_adds_its_vision_tokens_and_two(
    token_renderer: QwenVLRenderer, renderer: QwenVLRenderer
) -> None:
    for num_frames in (1, 2):
        silent: list[Turn] = [(num_frames, "", Silence())]
        added = [
            len(as_chosen(r, silent * 4)[0]) - len(as_chosen(r, silent * 3)[0])
            for r in (token_renderer, renderer)
        ]
        num_vision = token_renderer.frame_processor.token_count(56, 56)
        assert added[0] == num_frames * (num_vision + 2)
        assert added[1] == num_frames * (num_vision + 2) + 12


def test_a_turn_of_text_alone_is_decided_at_its_end_and_one_of_nothing_is_refused(
    token_renderer: QwenVLRenderer,
) -> None:
    shown = token_renderer.user_turn(EnvTurn(batch(0), 1.0, "And now?"), Lead.OPEN)
    assert shown.token_ids.tolist() == token_renderer.encode("And now?\n")
    for lead in Lead:
        with pytest.raises(InputError, match="show a frame or say something"):
            token_renderer.user_turn(EnvTurn(batch(0), 1.0), lead)


def test_history_is_rendered_and_never_trained(token_renderer: QwenVLRenderer) -> None:
    turns: list[Turn] = [
        (1, "a", Reply("old")),
        (1, "", Silence()),
        (1, "", Reply("new")),
        (1, "", Silence()),
    ]
    dialogue = as_dialogue(token_renderer, turns)
    trained = tuple(
        flag and turn.text == "new"
        for flag, turn in zip(dialogue.trained, dialogue.turns, strict=True)
    )
    part = token_renderer.dialogue(
        Dialogue("d", dialogue.turns, trained), list(batch(4).pixels)
    ).whole
    end = token_renderer.im_end_id
    assert part.target_ids[part.loss_mask].tolist() == [end, *token_renderer.encode("new"), end]
    assert (
        part.token_ids[-1] == token_renderer.vision_end_id
    )  # no choice is appended that nobody trains
    assert chat_text(Dialogue("d", dialogue.turns, trained), ("[", "]"), "token").endswith(
        "old<|im_end|>\n<|im_start|>user\n<image><image>[<|im_end|>]\n<|im_start|>assistant\n[new<|im_end|>]\n"
        "<|im_start|>user\n<image>"
    )


def test_turns_out_of_order_are_refused(token_renderer: QwenVLRenderer) -> None:
    user, silent = DialogueTurn("user", "a"), DialogueTurn("assistant", "NO REPLY")
    for turns in ((silent,), (user, silent, silent), (user, DialogueTurn("system", "s"))):
        with pytest.raises(DialogueError, match="cannot be here"):
            token_renderer.dialogue(Dialogue("d", turns))
    unanswered = token_renderer.dialogue(Dialogue("d", (user, user, silent))).whole
    assert unanswered.token_ids[unanswered.loss_mask].tolist() == [token_renderer.vision_start_id]


def test_only_the_published_system_message_of_streams_is_replaced(
    token_renderer: QwenVLRenderer,
) -> None:
    turns: list[Turn] = [(1, "", Silence())]
    frames = list(batch(1).pixels)
    for written, rendered in (
        (PROACTIVE_SYSTEM, TOKEN_SYSTEM),
        (DEFAULT_SYSTEM, DEFAULT_SYSTEM),
        ("Mine.", "Mine."),
    ):
        ids = token_renderer.dialogue(
            as_dialogue(token_renderer, turns, written), frames
        ).whole.token_ids.tolist()
        system = token_renderer.system_block(rendered).token_ids.tolist()
        assert ids[: len(system)] == system
    assert "NO REPLY" not in TOKEN_SYSTEM


def test_the_ids_of_a_small_dialogue() -> None:
    """Golden, with the tokenizer of the bundled model. A frame here has four vision tokens."""
    renderer = QwenVLRenderer.from_pretrained(BUNDLED_NAME, decision_name="token")
    turns: list[Turn] = [
        (1, "Tell me whenever something appears.", Silence()),
        (2, "", Reply("Left: red square appears.")),
        (1, "", Silence()),
        (1, "How many?", Silence()),
    ]
    part = renderer.dialogue(
        as_dialogue(renderer, turns, DEFAULT_SYSTEM), list(batch(5).pixels)
    ).whole
    shown = [renderer.tokenizer.id_to_token(i) for i in part.token_ids.tolist()]
    frame = (
        "<|vision_start|> <|image_pad|> <|image_pad|> <|image_pad|> <|image_pad|> <|vision_end|>"
    )
    system = [
        renderer.tokenizer.id_to_token(i)
        for i in renderer.system_block(DEFAULT_SYSTEM).token_ids.tolist()
    ]
    assert " ".join(shown[len(system) :]) == (
        f"<|im_start|> user Ċ Tell Ġme Ġwhenever Ġsomething Ġappears . Ċ {frame} {frame} {frame} "
        "<|im_end|> Ċ "
        "<|im_start|> assistant Ċ Left : Ġred Ġsquare Ġappears . <|im_end|> Ċ "
        f"<|im_start|> user Ċ {frame} How Ġmany ? Ċ {frame} <|vision_start|>"
    )
    chosen = [renderer.tokenizer.id_to_token(i) for i in part.target_ids[part.loss_mask].tolist()]
    assert " ".join(chosen) == (
        "<|vision_start|> <|im_end|> Left : Ġred Ġsquare Ġappears . <|im_end|> <|vision_start|> "
        "<|vision_start|>"
    )


def test_the_text_of_a_small_dialogue(token_renderer: QwenVLRenderer) -> None:
    turns: list[Turn] = [
        (2, "What now?", Silence()),
        (1, "And now?", Silence()),
        (1, "", Reply("A square.")),
    ]
    dialogue = as_dialogue(token_renderer, [*turns, (1, "", Silence())])
    head = (
        f"<|im_start|>system\n{TOKEN_SYSTEM}<|im_end|>\n<|im_start|>user\nWhat now?\n<image><image>"
    )
    assert chat_text(dialogue, name="token") == (
        f"{head}And now?\n<image><image><|im_end|>\n<|im_start|>assistant\nA square.<|im_end|>\n"
        "<|im_start|>user\n<image>"
    )
    assert chat_text(dialogue, ("[", "]"), "token") == (
        f"{head}[<|vision_start|>]And now?\n<image>[<|vision_start|>]<image>[<|im_end|>]\n"
        "<|im_start|>assistant\n[A square.<|im_end|>]\n<|im_start|>user\n<image>[<|vision_start|>]"
    )


def test_a_folder_says_which_format_its_model_speaks(render_folder: Path, tmp_path: Path) -> None:
    copied = Path(shutil.copytree(render_folder, tmp_path / "model"))
    assert own_file("text") == {}
    assert QwenVLRenderer.from_pretrained(copied).decision_name == "text"
    ((name, content),) = own_file("token").items()
    (copied / name).write_bytes(content)
    renderer = QwenVLRenderer.from_pretrained(copied)
    assert (renderer.decision_name, type(renderer.decision)) == ("token", TokenDecision)
    assert renderer.proactive_system == TOKEN_SYSTEM
    assert (
        QwenVLRenderer.from_pretrained(copied, decision_name="text").proactive_system
        == PROACTIVE_SYSTEM
    )
    for content, message in (
        (json.dumps({"decision_format": "word"}), "'word'; .* text, token"),
        ("[1", "cannot be read as JSON"),
    ):
        (copied / name).write_text(content)
        with pytest.raises(ModelError, match=message):
            QwenVLRenderer.from_pretrained(copied)


def test_turns_of_another_order_and_marks_are_refused(token_renderer: QwenVLRenderer) -> None:
    shown = batch(2)
    marked = FrameBatch(shown.pixels, shown.pts_s, ("a", "b"))
    for content in (["Before", shown], [shown, "Between", shown], [shown, "a", "b"], [marked]):
        with pytest.raises(InputError, match="frames without marks, then text"):
            token_renderer.user_turn(EnvTurn(content, 1.0), Lead.OPEN)
    taken = token_renderer.user_turn(EnvTurn([batch(1), batch(1), "Now?"], 1.0), Lead.OPEN)
    assert len(taken) == len(token_renderer.user_turn(EnvTurn(shown, 1.0, "Now?"), Lead.OPEN))
