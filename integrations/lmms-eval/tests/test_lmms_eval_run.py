"""A made-up task, asked by the installed lmms-eval from end to end: `make test-lmms-eval`.

lmms-eval runs in .venv-lmms, oncue in the environment of these tests. The model on the server looks
at the colour of what it is shown.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from oncue.video.writer import write_video
from openai_server import Json, OpenAIServer

LMMS_PYTHON = Path(__file__).parents[3] / ".venv-lmms" / "bin" / "python"
RUNNER = Path(__file__).with_name("made_up_only.py")
pytestmark = pytest.mark.skipif(
    not LMMS_PYTHON.exists(), reason="there is no .venv-lmms; make test-lmms-eval makes it"
)
COLOURS = {"red": (200, 20, 20), "green": (20, 200, 20), "blue": (20, 20, 200)}
TASK = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files: {{test: {questions}}}
test_split: test
output_type: {output_type}
doc_to_visual: !function made_up_task.doc_to_visual
doc_to_text: !function made_up_task.doc_to_text
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 16}}
process_results: !function made_up_task.process_results
metric_list:
  - {{metric: right, aggregation: mean, higher_is_better: true}}
"""
TASK_CODE = """\
from PIL import Image

LETTERS = "ABC"


def doc_to_visual(doc):
    if doc["video"].endswith(".png"):
        return [Image.open(doc["video"])] * 2
    return [doc["video"]]


def doc_to_text(doc):
    lines = [f"{letter}. {text}" for letter, text in zip(LETTERS, doc["options"])]
    form = ["Answer with the option's letter."] if lines else []
    return "\\n".join([doc["question"], *lines, *form])


def process_results(doc, results):
    return {"right": float(results[0] == doc["answer"])}
"""


def looks(messages: Sequence[Json]) -> Sequence[str]:
    """Names the colour of the first picture: its letter where there are options, in the form that
    is asked for."""
    contents = [message["content"] for message in messages[1:]]
    shown = [part for content in contents if isinstance(content, list) for part in content]
    url = next(part["image_url"]["url"] for part in shown if "image_url" in part)
    text = "".join(part.get("text", "") for part in shown)
    picture = Image.open(io.BytesIO(base64.b64decode(url.partition(",")[2])))
    mean = np.asarray(picture).reshape(-1, 3).mean(0)
    colour = min(COLOURS, key=lambda name: float(np.abs(mean - COLOURS[name]).sum()))
    found = re.search(rf"^([ABC])\. {colour}$", text, re.MULTILINE)
    said = found[1] if found else colour
    return [f"<think>I see.</think><answer>{said}</answer>" if "<answer>" in text else f"({said})"]


@pytest.fixture
def task(tmp_path: Path) -> Path:
    """A folder with three tasks: colours of clips and of pictures, one gold answer of five wrong; a
    video that is missing; likelihoods."""
    for name, rgb in COLOURS.items():
        frames = (np.full((64, 64, 3), rgb, np.uint8) for _ in range(10))
        write_video(tmp_path / f"{name}.mp4", frames, 10.0)
    Image.new("RGB", (64, 64), COLOURS["blue"]).save(tmp_path / "blue.png")
    asked = {"question": "Which colour is it?"}
    rows = [
        {**asked, "video": "red.mp4", "options": ["blue", "red", "green"], "answer": "B"},
        {**asked, "video": "green.mp4", "options": ["green", "blue"], "answer": "A"},
        {**asked, "video": "blue.mp4", "options": ["red", "green"], "answer": "A"},
        {**asked, "video": "blue.mp4", "options": ["red", "green", "blue"], "answer": "C"},
        {**asked, "video": "blue.png", "options": ["blue", "red"], "answer": "A"},
    ]
    missing = [*rows[:1], {**rows[1], "video": "lost.mp4"}]
    (tmp_path / "made_up_task.py").write_text(TASK_CODE)
    for name, questions, output_type in (
        ("colours", rows, "generate_until"),
        ("missing", missing, "generate_until"),
        ("likelihood", rows, "loglikelihood"),
    ):
        lines = [json.dumps({**row, "video": str(tmp_path / row["video"])}) for row in questions]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        text = TASK.format(name=name, questions=tmp_path / f"{name}.jsonl", output_type=output_type)
        (tmp_path / f"{name}.yaml").write_text(text)
    return tmp_path


def evaluate(
    folder: Path, task: str, server: OpenAIServer, *model_args: str
) -> subprocess.CompletedProcess[str]:
    args = ",".join((f"python={sys.executable}", f"server={server.url}", *model_args))
    command = [str(LMMS_PYTHON), str(RUNNER), "--model", "oncue", "--model_args", args]
    command += ["--tasks", task, "--include_path", str(folder), "--log_samples"]
    command += ["--output_path", str(folder / "out"), "--batch_size", "1"]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def samples(folder: Path) -> list[str]:
    """What the model said, in the order of the documents."""
    path = next((folder / "out").rglob("*_samples_*.jsonl"))
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row["filtered_resps"] for row in sorted(rows, key=lambda row: row["doc_id"])]


def score(folder: Path, task: str) -> float:
    path = next((folder / "out").rglob("*_results.json"))
    return json.loads(path.read_text())["results"][task]["right,none"]


@pytest.mark.parametrize("mode", ["retrieval", "single_turn"])
def test_a_task_is_scored_with_bare_letters(task: Path, mode: str) -> None:
    args = ("mode=single_turn", "frames=3") if mode == "single_turn" else ("mode=retrieval",)
    with OpenAIServer(looks) as server:
        ran = evaluate(task, "colours", server, *args)
        assert ran.returncode == 0, ran.stderr
        systems = {body["messages"][0]["content"] for body in server.bodies}
    # The third names a colour that is no option: words in a single turn, no answer in retrieval
    no_option = "(blue)" if mode == "single_turn" else ""
    assert samples(task) == ["B", "A", no_option, "C", "A"]
    assert score(task, "colours") == pytest.approx(4 / 5)
    assert "1 of 5 questions have no clear answer" in ran.stderr
    assert "watcher waits for questions" in ran.stderr  # what oncue says is passed on
    is_default = systems == {"You are a helpful assistant."}
    assert is_default == (mode == "single_turn")


def test_a_missing_video_ends_the_run_or_counts_as_wrong(task: Path) -> None:
    with OpenAIServer(looks) as server:
        ran = evaluate(task, "missing", server)
        assert "task missing, document 1" in ran.stderr
        assert "lost.mp4" in ran.stderr
        assert not list((task / "out").rglob("*_results.json"))
        ran = evaluate(task, "missing", server, "on_error=empty")
    assert ran.returncode == 0, ran.stderr
    assert samples(task) == ["B", ""]
    assert score(task, "missing") == pytest.approx(1 / 2)
    assert "1 of 2 questions could not be asked" in ran.stderr


def test_a_task_that_wants_likelihoods_is_refused(task: Path) -> None:
    with OpenAIServer(looks) as server:
        ran = evaluate(task, "likelihood", server)
    assert "oncue gives answers, not their likelihood; task likelihood" in ran.stderr
    assert not list((task / "out").rglob("*_results.json"))
