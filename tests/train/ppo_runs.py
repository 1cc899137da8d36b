"""What tests of PPO run: a film with questions, settings, and a reward with spread."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from oncue.data.retrieval_examples import RetrievalRows
from oncue.engine.sampling import SamplingParams
from oncue.env.retrieval import RetrievalSettings
from oncue.rewards.bootstrapping import BootstrappingSettings
from oncue.rewards.retrieval import RetrievalReward, RetrievalRewardSettings
from oncue.scoring.score import Score
from oncue.train.rl.critic_settings import CriticKind, CriticSettings, GaeSettings
from oncue.train.rl.loop import train_grpo
from oncue.train.rl.make_reward import frames_by
from oncue.train.rl.settings import PpoConfig
from oncue.types import Episode
from oncue.video.writer import write_video

LOOK = RetrievalSettings(first_frames=3, frames_per_look=2, max_turns=3, last_turns=1)
SHORT = replace(LOOK, max_turns=2, last_turns=0)
REWARD = RetrievalRewardSettings()
WARM = SamplingParams(temperature=1.3, top_k=0, max_new_tokens=4)


class Wordy(RetrievalReward):
    """Values with spread whatever a random model says: they follow from its tokens."""

    async def __call__(self, episode: Episode) -> Score:
        values = tuple(float(sum(e.acted.token_ids) % 7) for e in episode.exchanges)
        terms = {"accuracy": (*(0.0 for _ in values[1:]), values[-1])}
        return Score(values, {"accuracy": values[-1]}, exchange_terms=terms)


WORDY = Wordy(REWARD, frames_by(LOOK))


def film_rows(folder: Path) -> RetrievalRows:
    """Two questions about a film of eight pictures, which is written into `folder`."""
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 255, (64, 64, 3), np.uint8) for _ in range(8)]
    write_video(folder / "film.mp4", pictures, 1.0)
    lines = [
        {
            "problem_id": f"q{k}",
            "problem": f"What is in picture {k}?",
            "data_type": "video",
            "problem_type": "multiple choice",
            "options": ["A. red", "B. blue"],
            "solution": "<answer>B</answer>",
            "path": "film.mp4",
            "data_source": "made",
            "spans": [[2.0 * k, 2.0 * k + 2.0]],
        }
        for k in range(2)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    return RetrievalRows((path,), folder, num_frames=8, look=LOOK)


def config(model: Path, rows: RetrievalRows, kind: CriticKind = "head", **more: Any) -> PpoConfig:
    start = PpoConfig(
        model=str(model),
        examples=rows,
        reward=REWARD,
        bootstrapping=BootstrappingSettings(latch_after=2),
        critic=CriticSettings(kind, learning_rate=1e-2),
        gae=GaeSettings("bilevel_gae", 0.9, 0.95, 0.8),
        num_steps=4,
        prompts_per_step=2,
        group_size=2,
        sampling=WARM,
        learning_rate=1e-3,
        micro_batch_size=3,
        gradient_checkpointing=False,
        num_workers=0,
        save_every_steps=2,
        store_every_steps=2,
    )
    return replace(start, **more)


def run(settings: PpoConfig, out: Path, *, resume: bool = False) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    train_grpo(settings, WORDY, out, resume=resume, report=rows.append)
    return rows
