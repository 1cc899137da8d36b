"""One forward over the new tokens of many sessions: vision, embedding, decoder, and the logits that are asked for.

Positions are ours (M-RoPE, `render.positions`), and the decoder is called directly, so neither `model.rope_deltas` nor
a padding mask exists.

Axis letters: T tokens of all rows, L tokens of one row, R logits read, V vocabulary, P patches, N frames, E width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from oncue.policy.cache import KVPool, KVSlot, Rows, StepCache, use_rows
from oncue.policy.model import LoadedModel
from oncue.policy.shown import ShownFrame


@dataclass(frozen=True, slots=True, eq=False)
class RowInput:
    """What one session puts into a forward: `ids_L`, their `positions_3L`, the frames among them in order, and
    `read`: after which of the tokens (indices into L) logits are wanted."""

    slot: KVSlot
    ids_L: np.ndarray
    positions_3L: np.ndarray
    frames: Sequence[ShownFrame] = ()
    read: Sequence[int] = ()


class PackedModel:
    """A loaded model that runs rows of many sessions at once, and the pool their slots come from."""

    def __init__(self, loaded: LoadedModel) -> None:
        self.device, self.dtype = loaded.device, loaded.dtype
        self._model: Any = loaded.model
        self._decoder: Any = loaded.model.model.language_model
        self._embed = loaded.model.get_input_embeddings()
        self._image_pad_id = loaded.renderer.image_pad_id
        config = loaded.model.config.get_text_config()
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        self.pool = KVPool(len(self._decoder.layers), config.num_key_value_heads, head_dim, loaded.dtype, loaded.device)
        self._num_groups = config.num_attention_heads // config.num_key_value_heads
        self._given_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=loaded.device)  # unused: rows have their own
        use_rows(self._decoder)

    @torch.inference_mode()
    def forward(self, rows: Sequence[RowInput]) -> torch.Tensor:
        """Append each row to its slot; the logits (R, V) float32 after the tokens read, row after row.

        On an error no slot has changed.
        """
        self._encode([frame for row in rows for frame in row.frames])
        for row in rows:
            self.pool.reserve(row.slot, row.slot.length + len(row.ids_L))
        lengths = [len(row.ids_L) for row in rows]
        plan = Rows([row.slot for row in rows], lengths, self._num_groups, self.dtype)
        ids_1T = torch.from_numpy(np.concatenate([row.ids_L for row in rows])).to(self.device)[None]
        positions_31T = torch.from_numpy(np.concatenate([row.positions_3L for row in rows], axis=1))[:, None]
        hidden_1TE = self._decoder(
            **self._embedded(ids_1T, [frame for row in rows for frame in row.frames]),
            position_ids=positions_31T.to(self.device),
            attention_mask=self._given_mask,
            past_key_values=StepCache(plan),
            use_cache=True,
            rows=plan,
        ).last_hidden_state
        starts = np.cumsum([0, *lengths[:-1]])
        read = [int(start) + i for start, row in zip(starts, rows, strict=True) for i in row.read]
        logits_RV = self._model.lm_head(hidden_1TE[0, read]).float()
        for row, length in zip(rows, lengths, strict=True):
            row.slot.length += length
        return logits_RV

    def _embedded(self, ids_1T: torch.Tensor, frames: Sequence[ShownFrame]) -> dict[str, Any]:
        """What the decoder takes in place of ids; with DeepStack also the vision tokens of further depths."""
        embedded_1TE = self._embed(ids_1T)
        if not frames:
            return {"inputs_embeds": embedded_1TE}
        features = torch.cat([frame.features for frame in frames if frame.features is not None], dim=1)
        is_vision_1T = ids_1T == self._image_pad_id
        embedded_1TE[is_vision_1T] = features[0].to(embedded_1TE.dtype)
        given: dict[str, Any] = {"inputs_embeds": embedded_1TE}
        if len(features) > 1:
            given |= {"visual_pos_masks": is_vision_1T, "deepstack_visual_embeds": list(features[1:])}
        return given

    def _encode(self, frames: Sequence[ShownFrame]) -> None:
        """Give every frame its vision tokens; all that lack them go through the vision encoder together, each once."""
        new = list({id(frame): frame for frame in frames if frame.features is None}.values())
        if not new:
            return
        patches_PC = torch.from_numpy(np.concatenate([frame.patches for frame in new if frame.patches is not None]))
        grids_N3 = torch.tensor([frame.grid for frame in new], device=self.device)
        output = self._model.model.get_image_features(patches_PC.to(self.device), grids_N3)
        depths = [output.pooler_output, *(getattr(output, "deepstack_features", None) or ())]
        for frame, *tokens in zip(new, *depths, strict=True):
            frame.encoded(torch.stack(tokens))
