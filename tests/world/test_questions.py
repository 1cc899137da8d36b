"""Questions: from their text back to the wish, and one answer to several events."""

from __future__ import annotations

import pytest

from oncue.errors import InputError
from oncue.world.clip import WORLDS, make_clip
from oncue.world.questions import WORDINGS, Wish, answer, first_answer, wish_of
from oncue.world.scene import Event
from oncue.world.shapes import COLOURS


def test_the_text_of_every_wish_leads_back_to_it():
    limits = {"look": tuple(COLOURS), "side": ("left", "right")}
    wishes = [
        Wish(kind, limit, wording)
        for kind, wordings in WORDINGS.items()
        for limit in limits.get(kind, ("",))
        for wording in range(len(wordings))
    ]
    assert [wish_of(wish.text) for wish in wishes] == wishes
    assert len({wish.text for wish in wishes}) == len(wishes) > 20


@pytest.mark.parametrize("world", WORLDS)
def test_every_question_of_a_clip_is_known(world):
    for clip in (make_clip(world, "test", index) for index in range(100)):
        assert [wish_of(q.text).text for q in clip.task.questions] == [
            q.text for q in clip.task.questions
        ]


@pytest.mark.parametrize(
    "text", ["", "Tell me whenever something pink appears.", "tell me everything that happens."]
)
def test_other_questions_are_refused(text):
    with pytest.raises(InputError, match="no world asks"):
        wish_of(text)


CAME = Event("appears", 3.0, "left", "red square", count=2)
LEFT = Event("leaves", 3.0, "right", "blue circle", count=2)
CUT = Event("cut", 3.0, count=2)


@pytest.mark.parametrize(
    ("wish", "events", "said"),
    [
        (Wish("all"), [CAME, LEFT], "Left: red square appears."),
        (Wish("all"), [CUT, LEFT, CAME], "Right: blue circle leaves."),
        (Wish("leaves"), [CAME, LEFT], "Right: blue circle leaves."),
        (Wish("moves"), [CAME, LEFT], None),
        (Wish("side", "right"), [CAME, LEFT], None),
        (Wish("look", "red"), [LEFT, CAME], "Left: red square appears."),
        (Wish("count"), [CAME, LEFT, CAME], "Now 2."),
        (Wish("count"), [CAME, LEFT], None),  # one came, one left: the number is no new one
        (Wish("all"), [CUT], None),
        (Wish("all"), [], None),
    ],
)
def test_of_several_events_the_first_that_has_an_answer_is_told(wish, events, said):
    assert first_answer(wish, events) == said


@pytest.mark.parametrize("kind", WORDINGS)
@pytest.mark.parametrize("event", [CAME, LEFT, CUT])
def test_one_event_alone_is_answered_as_ever(kind, event):
    assert first_answer(Wish(kind, "left"), [event]) == answer(Wish(kind, "left"), event)
