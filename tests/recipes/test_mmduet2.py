"""The published settings, pinned."""

from __future__ import annotations

import pytest

from oncue.errors import ConfigError
from oncue.recipes import sft_recipe


def test_the_published_settings():
    config = sft_recipe("mmduet2-3b")
    assert config.model == "Qwen/Qwen2.5-VL-3B-Instruct"
    assert (config.frame_interval_s, config.frames_per_turn, config.max_pixels) == (2.0, 2, 100_352)
    assert (config.learning_rate, config.warmup_frac, config.max_tokens) == (1e-5, 0.05, 10_000)
    assert [(stage.batch_size, stage.num_steps) for stage in config.stages] == [(32, None)]
    assert (config.freeze_vision, config.freeze_merger, config.silence_weight) == (True, False, 1.0)
    assert config.autocast_dtype == "bfloat16"


def test_an_unknown_recipe_is_refused():
    with pytest.raises(ConfigError, match="mini, mini-more, mini-late, mini-retrieval, mmduet2-3b"):
        sft_recipe("mmduet3")
