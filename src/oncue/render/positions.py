"""M-RoPE positions of a stretch of tokens, computed by us so that a carried cache and a full
forward agree.

Axis letters: L tokens, N frames. The three rows are time, height and width.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def mrope_positions(
    token_ids: np.ndarray | Sequence[int],
    grids: np.ndarray | Sequence[tuple[int, int, int]],
    image_token_id: int,
    merge_size: int,
    start: int,
) -> tuple[np.ndarray, int]:
    """Positions (3, L) int64 of tokens that follow position `start - 1`, and the start of what
    comes after them.

    Text advances all three rows by one. A frame with grid (1, h, w) in patches lies at (p, p + row,
    p + column) over its merge cells and advances by the longer side in cells. `grids` (N, 3): one
    row per frame in `token_ids` (L,). Raises ValueError where image tokens and grids do not fit
    together, or a grid is deeper than one frame. Source: Qwen2-VL (arXiv 2409.12191) section 2.1.
    """
    ids = np.asarray(token_ids, np.int64)
    is_image = ids == image_token_id
    positions = np.empty((3, len(ids)), np.int64)
    cursor, position = 0, start
    for depth, height, width in np.asarray(grids, np.int64).reshape(-1, 3).tolist():
        if depth != 1:
            raise ValueError(f"frames are shown one by one, got a grid of depth {depth}")
        rows, columns = height // merge_size, width // merge_size
        ahead = np.flatnonzero(is_image[cursor:])
        first = cursor + int(ahead[0]) if len(ahead) else len(ids)
        end = first + rows * columns
        if end > len(ids) or not is_image[first:end].all():
            raise ValueError(
                f"grid {(depth, height, width)} needs {rows * columns} image tokens in a row from "
                f"{first}"
            )
        num_text = first - cursor
        positions[:, cursor:first] = np.arange(position, position + num_text)
        position += num_text
        cell_rows, cell_columns = np.divmod(np.arange(rows * columns), columns)
        positions[0, first:end] = position
        positions[1, first:end] = position + cell_rows
        positions[2, first:end] = position + cell_columns
        position += max(rows, columns)
        cursor = end
    if is_image[cursor:].any():
        raise ValueError(
            f"{int(is_image[cursor:].sum())} image tokens from {cursor} on have no grid"
        )
    positions[:, cursor:] = np.arange(position, position + len(ids) - cursor)
    return positions, position + len(ids) - cursor
