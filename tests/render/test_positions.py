"""Our M-RoPE positions equal those of transformers' own model of each family, in one piece and
piece by piece."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from oncue.render.positions import mrope_positions

PAD, TEXT = 7, 1


def stream(
    rng: np.random.Generator, num_frames: int
) -> tuple[list[int], list[tuple[int, int, int]]]:
    ids: list[int] = [TEXT] * int(rng.integers(1, 6))
    grids: list[tuple[int, int, int]] = []
    for _ in range(num_frames):
        rows, columns = (int(n) for n in rng.integers(1, 7, 2))
        grids.append((1, 2 * rows, 2 * columns))
        ids += [PAD] * (rows * columns) + [TEXT] * int(rng.integers(1, 8))
    return ids, grids


@pytest.fixture(scope="module", params=["Qwen2VL", "Qwen2_5_VL", "Qwen3VL"])
def stock_model(request: pytest.FixtureRequest) -> Any:
    """Its layout of positions reads the config alone."""
    import torch
    import transformers

    config = getattr(transformers, f"{request.param}Config")(
        text_config={
            "hidden_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 2,
            "intermediate_size": 32, "vocab_size": 16,
            "rope_parameters": {"rope_type": "default", "rope_theta": 100.0, "mrope_section": [2, 3, 3]},
        },
        vision_config={"depth": 1, "num_heads": 2},
        image_token_id=PAD, video_token_id=8, vision_start_token_id=9, vision_end_token_id=10,
    )  # fmt: skip
    with torch.device("meta"):
        return getattr(transformers, f"{request.param}Model")(config)


def stock_positions(
    model: Any, ids: list[int], grids: list[tuple[int, int, int]]
) -> tuple[np.ndarray, int]:
    import torch

    tokens = torch.tensor([ids])
    positions, delta = model.get_rope_index(
        tokens, mm_token_type_ids=(tokens == PAD).int(), image_grid_thw=torch.tensor(grids)
    )
    return positions[:, 0].numpy(), len(ids) + int(delta)


@pytest.mark.parametrize("seed", range(12))
def test_positions_equal_the_stock_model(stock_model: Any, seed: int) -> None:
    ids, grids = stream(np.random.default_rng(seed), 1 + seed % 5)
    expected, expected_next = stock_positions(stock_model, ids, grids)
    positions, after = mrope_positions(ids, grids, PAD, 2, 0)
    assert np.array_equal(positions, expected)
    assert after == expected_next


def test_positions_that_ignore_the_grid_would_differ(stock_model: Any) -> None:
    ids, grids = [TEXT, *[PAD] * 6, TEXT], [(1, 4, 6)]
    assert not np.array_equal(
        mrope_positions(ids, [(1, 6, 4)], PAD, 2, 0)[0], stock_positions(stock_model, ids, grids)[0]
    )


@pytest.mark.parametrize("seed", range(5))
def test_piece_by_piece_equals_in_one_piece(seed: int) -> None:
    rng = np.random.default_rng(seed)
    pieces = [stream(rng, int(n)) for n in rng.integers(0, 3, 6)]
    whole, end = mrope_positions(
        [i for ids, _ in pieces for i in ids], [g for _, grids in pieces for g in grids], PAD, 2, 5
    )
    start, parts = 5, []
    for ids, grids in pieces:
        part, start = mrope_positions(ids, grids, PAD, 2, start)
        parts.append(part)
    assert np.array_equal(np.concatenate(parts, axis=1), whole)
    assert start == end


def test_frames_without_text_between_them_are_told_apart_by_their_grids() -> None:
    positions, after = mrope_positions([PAD] * 3, [(1, 2, 4), (1, 2, 2)], PAD, 2, 0)
    assert positions.tolist() == [[0, 0, 2], [0, 0, 2], [0, 1, 2]]
    assert after == 3


def test_no_tokens_take_no_position() -> None:
    positions, after = mrope_positions([], [], PAD, 2, 4)
    assert positions.shape == (3, 0)
    assert after == 4


@pytest.mark.parametrize(
    ("ids", "grids", "message"),
    [
        ([TEXT, PAD, PAD, TEXT], [(1, 4, 4)], "needs 4 image tokens in a row from 1"),
        ([TEXT, PAD, TEXT, PAD], [(1, 2, 4)], "needs 2 image tokens in a row from 1"),
        ([TEXT], [(1, 2, 2)], "needs 1 image tokens in a row from 1"),
        ([PAD, PAD], [(1, 2, 2)], "1 image tokens from 1 on have no grid"),
        ([PAD, PAD], [(2, 2, 2)], "depth 2"),
    ],
)
def test_tokens_and_grids_that_do_not_fit_are_refused(
    ids: list[int], grids: list[Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        mrope_positions(ids, grids, PAD, 2, 0)
