"""The plug-in for lmms-eval: prompts, the process, and lmms-eval itself where it is installed.

LMMS_EVAL_PYTHON names the Python of an environment with lmms-eval and the plug-in.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from mcq_support import write_clip

import oncue
from openai_server import Json, OpenAIServer

PLUGIN = Path(__file__).parents[2] / "integrations" / "lmms-eval" / "src"
LMMS_EVAL = os.environ.get("LMMS_EVAL_PYTHON", "")


@pytest.fixture
def plugin(monkeypatch: pytest.MonkeyPatch) -> Any:
    """A function that imports a module of the plug-in."""
    monkeypatch.syspath_prepend(str(PLUGIN))
    return lambda name: import_module(f"oncue_lmms_eval.{name}")


def knows_all(messages: Sequence[Json]) -> Sequence[str]:
    """Answers with the letter that the question names."""
    content = messages[-1]["content"]
    shown = content if isinstance(content, str) else "".join(p.get("text", "") for p in content)
    found = re.search(r"The answer is ([A-E])", shown)
    letter = found[1] if found else "nothing"
    return ["<think>there</think>", f"<answer>{letter}</answer>"]


@pytest.mark.parametrize(
    ("context", "question", "options"),
    [
        ("Who?\nA. Ann\nB. Bea\nAnswer with the option's letter.", "Who?", ("Ann", "Bea")),
        (
            "Select the best answer.\nWho is it?\n(A) Ann\n(B) Bea C.\n(C) Cleo\nBest option: (",
            "Select the best answer.\nWho is it?",
            ("Ann", "Bea C.", "Cleo"),
        ),
        ("A. Huxley wrote what?\nA. one\nB. two\n", "A. Huxley wrote what?", ("one", "two")),
        ("Who?\nA: Ann\nB: Bea\nD: Dan", "Who?", ("Ann", "Bea")),
        (
            "Who?\nA. Ann\n\nB. Bea\n of Rome\nC. Cleo\nDo it.",
            "Who?",
            ("Ann", "Bea of Rome", "Cleo"),
        ),
        ("Question:Who?\nOption:\n(A) Ann\n(B) Bea\nBest: (", "Question:Who?", ("Ann", "Bea")),
        ("Describe it.", "Describe it.", ()),
        ("Who?\nA. Ann", "Who?\nA. Ann", ()),
        ("A. Ann\nB. Bea", "A. Ann\nB. Bea", ()),
    ],
)
def test_prompts_are_taken_apart(plugin, context, question, options) -> None:
    prompt = plugin("prompts").read_prompt(context)
    assert (prompt.question, prompt.options) == (question, options)


def test_answers_come_from_the_other_environment(plugin, tmp_path: Path) -> None:
    process = plugin("process")
    clip = str(write_clip(tmp_path / "a.mp4"))
    asked = [process.Asked(clip, f"The answer is {x}?", ("red", "blue")) for x in "ABX"]
    asked.append(process.Asked("none.mp4", "The answer is A?", ("red", "blue")))
    with (
        OpenAIServer(knows_all) as server,
        process.OncueProcess(sys.executable, ["--server", server.url, "--frames", "32"]) as running,
    ):
        answers = dict(running.ask(asked))
        again = dict(running.ask(asked[:1]))
    assert [answers[place].text for place in range(4)] == ["A", "B", "", ""]
    assert answers[2].reason.startswith("malformed")
    assert "none.mp4" in answers[3].reason
    assert again[0].text == "A"


def test_an_oncue_that_cannot_start_says_why(plugin, tmp_path: Path) -> None:
    process = plugin("process")
    with pytest.raises(process.OncueError, match="give oncue_python"):
        process.OncueProcess(str(tmp_path / "python"), [])
    with pytest.raises(process.OncueError, match=r"exit code 2: .*cannot retrieve"):
        process.OncueProcess(sys.executable, [])


TASK = """
task: made_up
dataset_path: json
dataset_kwargs: {{data_files: {{test: {data}}}}}
test_split: test
output_type: generate_until
doc_to_visual: !function utils.visual
doc_to_text: !function utils.text
doc_to_target: answer
generation_kwargs: {{max_new_tokens: 16}}
process_results: !function utils.results
metric_list:
  - metric: right
    aggregation: mean
    higher_is_better: true
"""
UTILS = """
def visual(doc):
    return [doc["video"]]

def text(doc, lmms_eval_specific_kwargs=None):
    options = "\\n".join(f"{x}. {o}" for x, o in zip("ABC", doc["options"]))
    return f"{doc['question']}\\n{options}\\nAnswer with the option's letter directly."

def results(doc, results):
    return {"right": float(results[0] == doc["answer"])}
"""


@pytest.mark.skipif(not LMMS_EVAL, reason="LMMS_EVAL_PYTHON names no Python with lmms-eval")
def test_lmms_eval_scores_oncue(tmp_path: Path) -> None:
    clip = write_clip(tmp_path / "a.mp4")
    rows = [
        {"video": str(clip), "question": f"The answer is {x}.", "options": list("xyz"), "answer": y}
        for x, y in ("AA", "BB", "CA", "XB")
    ]
    (tmp_path / "rows.json").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "made_up.yaml").write_text(TASK.format(data=tmp_path / "rows.json"))
    (tmp_path / "utils.py").write_text(UTILS)
    out = tmp_path / "out"
    with OpenAIServer(knows_all) as server:
        arguments = f"oncue_python={sys.executable},server={server.url},frames=32"
        words = ["--model", "oncue", "--model_args", arguments, "--tasks", "made_up"]
        more = ["--include_path", str(tmp_path), "--output_path", str(out), "--log_samples"]
        package = str(Path(oncue.__file__).parents[1])
        done = subprocess.run(
            [LMMS_EVAL, "-m", "lmms_eval", *words, *more, "--batch_size", "1"],
            capture_output=True,
            text=True,
            timeout=500,
            check=False,
            env={**os.environ, "PYTHONPATH": package, "HF_HUB_OFFLINE": "1"},
        )
    assert done.returncode == 0, done.stderr[-3000:]
    (path,) = out.rglob("*_results.json")
    assert json.loads(path.read_text())["results"]["made_up"]["right,none"] == 0.5
    (samples,) = out.rglob("*_samples_made_up.jsonl")
    said = [json.loads(line) for line in samples.read_text().splitlines()]
    texts = {row["doc_id"]: row["filtered_resps"] for row in said}
    assert [texts[n][0] if texts[n] else "" for n in range(4)] == ["A", "B", "C", ""]
