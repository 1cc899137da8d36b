"""One video through the steps, with a model on a local server: what is asked, what becomes of every
kind of answer, what it costs."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from oncue.chat_client import Retries
from oncue.data.chat_writer import ChatWriter, WriterOptions
from oncue.data.pipeline.answers import UnusableError, read_caption, read_merged, read_questions
from oncue.data.pipeline.prompt_files import Prompts, write_prompts
from oncue.data.pipeline.rules import dialogue_kind
from oncue.data.pipeline.steps import Models, make_dialogue
from oncue.data.pipeline.values import BuildSettings, Outcome, SeenScene, SeenVideo
from oncue.data.proactive_rows import DialogueKind, read_proactive_row
from oncue.data.request_limits import Prices, Spending
from oncue.data.source_videos import SourceVideo
from oncue.errors import BackendError, BudgetSpentError, DataError
from oncue.types import TimeSpan
from openai_server import Fault, Json, OpenAIServer, Script
from pipeline_model import model, text_of
from server_faults import Cut, Event, Hang, Status, Unfinished

FAST = Retries(max_retries=1, first_wait_s=0.001, longest_wait_s=0.002)
MANY, ONE = (
    next(f"v{i}" for i in range(99) if dialogue_kind(f"v{i}", 0) is kind)
    for kind in (DialogueKind.MANY_QUESTIONS, DialogueKind.ONE_QUESTION)
)
SEEN = SeenVideo(
    100.0,
    tuple(
        SeenScene(TimeSpan(k * 20.0, k * 20.0 + 18), f"said <|im_end|> {k}", "", (b"jpeg%d" % k,))
        for k in range(5)
    ),
    "sentences",
)


def video(video_id: str = MANY) -> SourceVideo:
    return SourceVideo(video_id, f"{video_id}.mp4", "made up", "list.json, row 1")


def models_on(server: OpenAIServer, **more: Any) -> Models:
    spending = more.pop("spending", None) or Spending(Prices.read(("1,10",)))
    options = WriterOptions(**{"retries": FAST, "timeout_s": 5.0, "max_tokens": 500, **more})
    writer = ChatWriter(server.url, "watcher", options, spending=spending, keep_cut=True)
    return Models(writer, writer, Prompts.read())


def made(models: Models, seen: SeenVideo = SEEN, video_id: str = MANY, **more: Any) -> Outcome:
    async def run() -> Outcome:
        try:
            return await make_dialogue(video(video_id), seen, models, BuildSettings(**more))
        finally:
            await models.writer.aclose()

    return asyncio.run(run())


def asks_for(name: str, body: Json) -> bool:
    return f'{{"{name}"' in text_of(body["messages"][0])


def changed(name: str, answer: Callable[[Sequence[Json]], str]) -> Script:
    """The model, but for one kind of request."""

    def script(messages: Sequence[Json]) -> Sequence[str]:
        if asks_for(name, {"messages": messages}):
            return [answer(messages)]
        return model(messages)

    return script


@pytest.mark.parametrize("video_id", [ONE, MANY])
def test_a_dialogue_with_all_that_it_took(video_id: str) -> None:
    with OpenAIServer(model) as server:
        models = models_on(server)
        outcome = made(models, video_id=video_id)
        bodies = server.bodies
    row = outcome.row
    assert row is not None
    assert not outcome.rejected
    assert row.row_id == f"made up:{video_id}"
    assert len(row.scenes) == 5
    assert row.scenes[1].subtitle == "said <|im_end|> 1"
    assert len(row.task.questions) == (1 if video_id == ONE else 3)
    steps = {step.step: step for step in row.provenance.steps}
    assert steps["scenes"].prompt_version == "sentences"
    assert steps["caption"].num_requests == 5
    assert steps["questions"].prompt_version == models.prompts.questions.version
    num_sent = sum(step.num_requests for step in row.provenance.steps)
    assert num_sent == len(bodies) == models.writer.spending.num_requests
    assert ("merge" in steps) == (video_id == MANY)
    spent = models.writer.spending
    assert sum(step.tokens_in for step in row.provenance.steps) == spent.tokens_in > 0
    assert sum(s.cost for s in row.provenance.steps) == pytest.approx(spent.cost)
    assert read_proactive_row(row.plain(), "row") == row
    assert Outcome.from_plain(json.loads(json.dumps(outcome.plain()))) == outcome


def test_frames_are_jpeg_parts_and_texts_of_users_are_quoted() -> None:
    with OpenAIServer(model) as server:
        made(models_on(server))
        captions = [body for body in server.bodies if asks_for("caption", body)]
    parts = captions[0]["messages"][1]["content"]
    url = parts[0]["image_url"]["url"]
    assert url.startswith("data:image/jpeg;base64,")
    assert base64.b64decode(url.partition(",")[2]).startswith(b"jpeg")
    assert "<|im_end|>" not in json.dumps(captions[0])
    assert "\\u003c|im_end|>" in parts[-1]["text"]


def test_no_answer_is_paid_for_twice_and_costs_stay_the_same(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    script = changed("caption", lambda m: "{" if len(m) == 2 else model(m)[0])
    with OpenAIServer(script) as server:
        first = made(models_on(server, cache=cache))
        num_sent = len(server.bodies)
        again = models_on(server, cache=cache)
        assert made(again) == first
        assert len(server.bodies) == num_sent
        assert again.writer.spending.num_requests == 0
    assert {s.step: s.num_requests for s in first.steps}["caption"] == 10  # each repaired


def test_a_repair_names_the_fault() -> None:
    with OpenAIServer(changed("caption", lambda _: '{"text": 1}')) as server:
        outcome = made(models_on(server))
        second = next(b for b in server.bodies if len(b["messages"]) == 4)["messages"]
    assert "field 'caption' is missing" in second[3]["content"]
    assert second[2] == {"role": "assistant", "content": '{"text": 1}'}
    assert outcome.row is None
    *scenes, whole = outcome.rejected
    assert {(r.step, r.kind) for r in scenes} == {("caption", "malformed")}
    assert [r.scene for r in scenes] == [scene.span for scene in SEEN.scenes]
    assert "none of its 5 scenes has a caption" in whole.reason


def test_a_scene_without_caption_is_left_out() -> None:
    def refuse(body: Json) -> Status | None:
        is_one = "said \\u003c|im_end|> 2" in json.dumps(body).replace("\\\\", "\\")
        return Status(400, message="not this") if is_one and asks_for("caption", body) else None

    with OpenAIServer(model, refuse=refuse) as server:
        outcome = made(models_on(server))
    assert outcome.row is not None
    assert [scene.span.start_s for scene in outcome.row.scenes] == [0, 20, 60, 80]
    (rejected,) = outcome.rejected
    assert (rejected.kind, rejected.scene) == ("refused", TimeSpan(40, 58))
    assert "not this" in rejected.reason


@pytest.mark.parametrize(
    ("answer", "kind", "reason"),
    [
        ("I'm sorry, I can't help with that.", "malformed", "not one JSON object"),
        ('{"unusable": "nothing  happens"}', "unusable", "nothing happens"),
        ('{"questions": []}', "malformed", "not empty"),
        ("<think>so", "malformed", "not one JSON object"),
    ],
)
def test_questions_that_cannot_be_used(answer: str, kind: str, reason: str) -> None:
    with OpenAIServer(changed("questions", lambda _: answer)) as server:
        outcome = made(models_on(server))
    assert outcome.row is None
    assert [(r.step, r.kind) for r in outcome.rejected] == [("questions", kind)]
    assert reason in outcome.rejected[0].reason


def test_an_answer_that_is_cut_twice_is_rejected_and_kept(tmp_path: Path) -> None:
    def script(messages: Sequence[Json]) -> Sequence[str]:
        return ["{", "x", "y"] if asks_for("questions", {"messages": messages}) else model(messages)

    cache = tmp_path / "answers.sqlite3"
    with OpenAIServer(script) as server:
        outcome = made(models_on(server, cache=cache, max_tokens=3))
        assert [(r.step, r.kind) for r in outcome.rejected] == [("questions", "truncated")]
        num_sent = len(server.bodies)
        assert made(models_on(server, cache=cache, max_tokens=3)) == outcome
        assert len(server.bodies) == num_sent
        more = made(models_on(server, cache=cache, max_tokens=4))
        assert len(server.bodies) == num_sent + 2  # cut by another limit: asked again
    assert more.rejected[0].kind == "malformed"


@pytest.mark.parametrize(
    "fault",
    [
        Status(429, {"retry-after": "0"}),
        Status(500),
        Hang(),
        Cut(1),
        Unfinished(),
        Event("{no json"),
    ],
)
def test_failures_that_pass_leave_no_trace(fault: Fault) -> None:
    with OpenAIServer(model) as server:
        clean = made(models_on(server))
        server.faults.extend([None, fault, fault, None, None, None, None])
        assert made(models_on(server, timeout_s=0.5 if fault == Hang() else 5.0)) == clean


def test_a_server_that_stays_down_is_an_error_and_what_was_answered_is_kept(tmp_path: Path) -> None:
    cache = tmp_path / "answers.sqlite3"
    with OpenAIServer(
        model, refuse=lambda b: Status(500) if asks_for("questions", b) else None
    ) as server:
        with pytest.raises(BackendError, match="HTTP 500"):
            made(models_on(server, cache=cache))
        num_sent = len(server.bodies)
        server.refuse = lambda _: None
        assert made(models_on(server, cache=cache)).row is not None
        assert not any(asks_for("caption", body) for body in server.bodies[num_sent:])


def test_a_budget_stops_before_it_is_exceeded() -> None:
    with OpenAIServer(model) as server:
        spending = Spending(max_tokens=2500)
        with pytest.raises(BudgetSpentError, match="2,500 tokens"):
            made(models_on(server, spending=spending))
        assert 0 < spending.tokens_in + spending.tokens_out <= 2500


def test_annotated_texts_are_captions_as_they_are() -> None:
    seen = SeenVideo(
        100.0, tuple(SeenScene(s.span, "", f"note {i}") for i, s in enumerate(SEEN.scenes)), "x"
    )
    with OpenAIServer(model) as server:
        outcome = made(models_on(server), seen, captions="annotated")
        assert not any(asks_for("caption", body) for body in server.bodies)
    assert outcome.row is not None
    assert [s.caption for s in outcome.row.scenes] == [f"note {i}" for i in range(5)]


def questions(*answers: Json, text: str = "What?") -> str:
    return json.dumps({"questions": [{"question": text, "answers": list(answers)}]})


def test_answers_are_read_with_silence_in_every_form() -> None:
    said = questions(
        {"scene": 3, "answer": " Two\ncups. "},
        {"scene": 1, "answer": "no reply."},
        {"scene": 2, "answer": " "},
    )
    (only,) = read_questions(f"<think>x</think>```json\n{said}\n```", 1, 3)
    assert only.answers == {2: "Two cups."}
    assert read_merged('{"answer": "NO REPLY"}') == ""
    assert read_caption('{"caption": "a\\n b"}') == "a b"
    with pytest.raises(UnusableError, match="dark"):
        read_caption('{"unusable": "dark"}')


@pytest.mark.parametrize(
    ("said", "fault"),
    [
        (questions({"scene": 4, "answer": "a"}), "question 1: there is no scene 4"),
        (questions({"scene": 0, "answer": "a"}), "whole number, 1 or more"),
        (questions({"scene": "1", "answer": "a"}), "whole number"),
        (questions(*[{"scene": 1, "answer": "a"}] * 2), "answered twice"),
        (questions({"scene": 1, "answer": "NO REPLY"}), "no scene has an answer"),
        (questions({"scene": 1, "answer": "a"}, text=" "), "non-empty text"),
        ("[1]", "expected an object"),
    ],
)
def test_answers_that_break_the_schema(said: str, fault: str) -> None:
    with pytest.raises(DataError, match=fault):
        read_questions(said, 1, 3)


def test_too_few_questions_and_doubles() -> None:
    one = {"question": "What?", "answers": [{"scene": 1, "answer": "a"}]}
    with pytest.raises(DataError, match="must hold 2 questions, got 1"):
        read_questions(json.dumps({"questions": [one]}), 2, 3)
    with pytest.raises(DataError, match="same question"):
        read_questions(json.dumps({"questions": [one, one]}), 2, 3)


def test_prompts_can_be_edited_and_their_versions_follow(tmp_path: Path) -> None:
    folder = tmp_path / "prompts"
    write_prompts(folder)
    assert Prompts.read(folder) == Prompts.read()
    with (folder / "merge.txt").open("a") as file:
        file.write("Be brief.\n")
    edited, ours = Prompts.read(folder).versions(), Prompts.read().versions()
    assert [name for name in ours if edited[name] != ours[name]] == ["merge"]
    assert edited["merge"].startswith("merge-")
    with pytest.raises(DataError, match="is there already"):
        write_prompts(folder)
    (folder / "caption.txt").write_text(" ")
    with pytest.raises(DataError, match="is empty"):
        Prompts.read(folder)
    (folder / "caption.txt").unlink()
    with pytest.raises(DataError, match="--write-prompts"):
        Prompts.read(folder)
