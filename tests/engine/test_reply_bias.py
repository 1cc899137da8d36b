"""Laws of `reply_bias`: it moves the one choice between silence and reply by so many log-odds, and
nothing else."""

from __future__ import annotations

import functools
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pytest
import torch

from oncue import cli
from oncue.clock import Clock
from oncue.engine.engine import Engine, SamplingParams
from oncue.engine.sampler import Sampler, banned_tokens
from oncue.engine.sampling import token_logprobs
from oncue.errors import ConfigError
from oncue.model.loading import LoadedModel, load_model
from oncue.recipes.mini_rl import mini_grpo
from oncue.types import EnvTurn, FrameBatch, PolicyTurn, Reply, Silence
from oncue.video.writer import write_video
from oncue.world.clip import make_clip
from policy_support import RecordingEngine, say

if TYPE_CHECKING:
    from oncue.engine.request import Request

LIMIT = 8


@pytest.fixture(scope="module", params=["text", "token"])
def loaded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadedModel:
    """The bundled model; and a new one of the token format, which has learned nothing."""
    if request.param == "text":
        return load_model("mini", device="cpu")
    from oncue.recipes.mini_model import build_mini

    return load_model(
        build_mini(tmp_path_factory.mktemp("token"), decision_name="token"), device="cpu"
    )


@functools.cache
def turns() -> list[EnvTurn]:
    frames = make_clip("shapes", "val", 4, duration_s=(12.0, 12.0), mean_gap_s=1.5).grid_frames(
        Clock(1.0)
    )
    asked = ["Tell me everything that happens.", *[""] * 99]
    return [
        EnvTurn(FrameBatch(pixels[None], np.array([k + 1.0])), k + 1.0, asked[k])
        for k, pixels in enumerate(frames)
    ]


def said(loaded: LoadedModel, *, draft: bool = True, **how: Any) -> list[PolicyTurn]:
    return say(
        Engine(loaded, SamplingParams(max_new_tokens=LIMIT, **how), draft=draft), turns(), 5
    )[0]


def replies(answers: list[PolicyTurn]) -> int:
    return sum(isinstance(answer.action, Reply) for answer in answers)


def test_more_is_said_the_higher_it_is_and_at_the_ends_always_or_never(loaded: LoadedModel) -> None:
    counts = [replies(said(loaded, reply_bias=bias)) for bias in (-1e3, -3.0, 0.0, 3.0, 1e3)]
    assert counts == sorted(counts)
    assert (counts[0], counts[-1]) == (0, len(turns()))


@pytest.mark.parametrize("temperature", [0.0, 1.3])
def test_the_draft_changes_no_token(loaded: LoadedModel, temperature: float) -> None:
    how: dict[str, Any] = {"reply_bias": 1.0, "temperature": temperature, "seed": 3}
    plain, drafted = said(loaded, draft=False, **how), said(loaded, **how)
    assert [a.token_ids for a in drafted] == [a.token_ids for a in plain]
    assert [p for a in drafted for p in a.logprobs] == pytest.approx(
        [p for a in plain for p in a.logprobs], abs=1e-4
    )


@pytest.mark.parametrize("bias", [-2.0, -0.5, 1.5])
def test_it_is_taken_from_silence_where_an_answer_begins_and_nowhere_else(
    loaded: LoadedModel, bias: float
) -> None:
    """Below 0, also where it goes on."""
    silence_ids = list(loaded.renderer.policy_turn_ids(Silence()))
    sampling = SamplingParams(temperature=1.3, max_new_tokens=LIMIT, seed=5, reply_bias=bias)
    engine = RecordingEngine(loaded, sampling)
    answers, _ = say(engine, turns(), 5)
    logits = iter(engine.logits)
    others = 0.0
    for answer in answers:
        for i, token in enumerate(answer.token_ids[: len(answer.token_ids) - answer.forced_close]):
            as_trained_V = next(logits).clone()
            allowed = loaded.renderer.decision.allowed(i)
            banned_V = banned_tokens(loaded)
            if allowed is not None:
                banned_V = torch.ones_like(banned_V).index_fill(
                    0, torch.tensor(sorted(allowed)), False
                )
            if i == 0 or (
                bias < 0 and i < len(silence_ids) and list(answer.token_ids[:i]) == silence_ids[:i]
            ):
                unmoved = token_logprobs(as_trained_V, sampling, banned_V)[token]
                as_trained_V[silence_ids[i]] -= bias * sampling.temperature
                others = max(others, abs(float(unmoved) - answer.logprobs[i]))
            expected = token_logprobs(as_trained_V, sampling, banned_V)[token]
            assert answer.logprobs[i] == pytest.approx(float(expected), abs=1e-5)
    assert others > 0.1  # control: without the bias the figures would be others


def test_a_row_that_asks_nothing_leaves_those_of_others_alone(loaded: LoadedModel) -> None:
    chooser = Sampler(loaded, SamplingParams(reply_bias=2.0))
    silence_id = loaded.renderer.policy_turn_ids(Silence())[0]
    filled, speaking, beginning = (
        cast("Request", SimpleNamespace(chosen=chosen)) for chosen in ([], [7], [])
    )
    logits_RV = torch.zeros(3, 500)
    biased_RV = chooser._biased([filled, speaking, beginning], [0, 1, 2], logits_RV)
    assert biased_RV.nonzero().tolist() == [[1, silence_id]]
    assert biased_RV[1, silence_id] == -2
    assert not logits_RV.any()


@pytest.mark.parametrize("bias", ["-1000", "1000"])
def test_the_flag_reaches_the_model(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], bias: str
) -> None:
    talks = bias == "1000"
    video = tmp_path / "grey.mp4"
    write_video(video, (np.full((64, 96, 3), 90, np.uint8) for _ in range(20)), 5.0)
    flags = ["--reply-bias", bias, "--json"]
    assert cli.main(["watch", str(video), "--ask", "Tell me everything that happens.", *flags]) == 0
    summary = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert summary["num_replies"] == (4 if talks else 0)

    assert cli.main(["eval", "world", "--limit", "1", "--cache", str(tmp_path), *flags]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert (scores["false_replies_per_min"] > 30) is talks

    due = [{"role": "assistant", "content": "It happens.", "reply_timespan": [1, 3]}]
    asked = [{"role": "user", "content": "Tell me everything that happens.", "time": 0.0}]
    row = {
        "video": video.name,
        "question_id": "a",
        "duration": 4,
        "conversation": asked,
        "answer": due,
    }
    (tmp_path / "gold.json").write_text(json.dumps([row]))
    words = [
        "eval",
        "clips",
        str(tmp_path / "gold.json"),
        "--videos",
        str(tmp_path),
        "--tune-clips",
        "2",
        *flags,
    ]
    assert cli.main(words) == 0
    assert json.loads(capsys.readouterr().out)["policies"]["model"]["n_hit"] == int(talks)


def test_what_makes_no_sense_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ConfigError, match="reply_bias"):
        SamplingParams(reply_bias=math.nan)
    with pytest.raises(ConfigError, match="reply_bias"):
        replace(mini_grpo(), sampling=SamplingParams(temperature=1.0, reply_bias=0.5))
    words = ["eval", "world", "--limit", "1", "--cache", str(tmp_path), "--reply-bias", "inf"]
    assert cli.main(words) == 2
    assert "reply_bias must lie between" in capsys.readouterr().err
