"""One forward over the new tokens of many sessions: vision, embedding, decoder, and the logits that
are asked for.

Positions are ours (M-RoPE, `render.positions`), and the decoder is called directly, so neither
`model.rope_deltas` nor a padding mask exists.

Axis letters: T tokens of all rows, L tokens of one row, R logits read, V vocabulary, P patches, N
frames, E width.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from oncue.engine.encoder_cache import CachedFrame
from oncue.engine.kv_cache import KVPool, KVSlot, Rows, StepCache, use_rows
from oncue.engine.static_shapes import StaticForward, StaticRows, StaticShapes, pad_rows
from oncue.engine.static_vision import StaticVision
from oncue.model.cuda_graphs import Graphs
from oncue.model.loading import LoadedModel
from oncue.model.quantized import is_quantized
from oncue.model.upload import upload
from oncue.model.vision import encode_frames


@dataclass(frozen=True, slots=True, eq=False)
class RowInput:
    """What one session puts into a forward: `ids_L`, their `positions_3L`, the frames among them in
    order, and `read`: after which of the tokens (indices into L) logits are wanted."""

    slot: KVSlot
    ids_L: np.ndarray
    positions_3L: np.ndarray
    frames: Sequence[CachedFrame] = ()
    read: Sequence[int] = ()

    def key(self) -> tuple[object, ...]:
        """What its result follows from: rows with the same key have the same."""
        frames = tuple(map(id, self.frames))
        tokens = self.ids_L.tobytes(), self.positions_3L.tobytes()
        return self.slot.history, self.slot.length, tokens, frames, tuple(self.read)


class ModelRunner:
    """A loaded model that runs rows of many sessions at once, and the pool their slots come from.

    `shapes`: forwards of few rows run at fixed shapes, on a GPU as CUDA graphs
    (`engine.static_shapes`). What DeepStack adds to a model's layers has no fixed shape: such
    frames go the plain way. So do models with quantized weights, whose kernels a graph may not be
    able to hold. `autocast_dtype`: products are computed in that type though the weights have
    another, as a training that does so computes them; keys are kept in it.
    """

    def __init__(
        self,
        loaded: LoadedModel,
        shapes: StaticShapes | None = None,
        autocast_dtype: torch.dtype | None = None,
    ) -> None:
        self.device, self.dtype = loaded.device, loaded.dtype
        if is_quantized(loaded.model):
            shapes = None
        self._autocast_dtype, kept_dtype = autocast_dtype, autocast_dtype or loaded.dtype
        self._model: Any = loaded.model
        self._decoder: Any = loaded.model.model.language_model
        self._embed = loaded.model.get_input_embeddings()
        self._image_pad_id = loaded.renderer.image_pad_id
        config = loaded.model.config.get_text_config()
        head_dim = (
            getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        )
        self.pool = KVPool(
            len(self._decoder.layers),
            config.num_key_value_heads,
            head_dim,
            kept_dtype,
            loaded.device,
            shapes,
        )
        self._static: StaticForward | None = None
        self._static_vision: StaticVision | None = None
        if shapes is not None and self.pool.arena is not None:
            width, graphs = config.hidden_size, Graphs(loaded.device)
            self._static = StaticForward(
                shapes, self.pool.arena, width, loaded.dtype, self._decode, graphs
            )
            self._static_vision = StaticVision(loaded.model, graphs, shapes.max_rows)
        self._num_groups = config.num_attention_heads // config.num_key_value_heads
        # Unused: rows have their own
        self._given_mask = torch.ones(1, 1, 1, 1, dtype=torch.bool, device=loaded.device)
        use_rows(self._decoder)

    @torch.inference_mode()
    def forward(self, rows: Sequence[RowInput]) -> torch.Tensor:
        """Append each row to its slot; the logits (R, V) float32 after the tokens read, row after
        row.

        Rows that put the same behind the same are computed once: members of a group of rollouts
        that have said the same so far, or spectators of one source with one question. On an error
        no slot has changed.
        """
        keys = [row.key() for row in rows]
        of_key = dict(zip(keys, rows, strict=True))
        computed = list(of_key.values())
        frames = [frame for row in computed for frame in row.frames]
        for row in rows:
            self.pool.reserve(row.slot, row.slot.length + len(row.ids_L))
        with self._arithmetic():
            self._encode(frames)
            hidden_TE, starts = self._static_hidden(computed, frames) or self._plain_hidden(
                computed, frames
            )
            read = [
                int(start) + i
                for start, row in zip(starts, computed, strict=True)
                for i in row.read
            ]
            logits_RV = self._model.lm_head(
                hidden_TE[upload(np.array(read, np.int64), self.device)]
            ).float()
        if len(computed) < len(rows):
            of_rows = dict(
                zip(of_key, logits_RV.split([len(row.read) for row in computed]), strict=True)
            )
            logits_RV = torch.cat([of_rows[key] for key in keys])
        for row in computed:
            row.slot.length += len(row.ids_L)
            row.slot.history = object()
        for row, key in zip(rows, keys, strict=True):
            if row is not of_key[key]:
                row.slot.take_over(of_key[key].slot, first=row.slot.length)
        return logits_RV

    def _arithmetic(self) -> torch.autocast:
        dtype = self._autocast_dtype
        return torch.autocast(
            self.device.type,
            dtype or torch.bfloat16,
            enabled=dtype is not None,
            cache_enabled=False,
        )

    def _plain_hidden(
        self, rows: Sequence[RowInput], frames: Sequence[CachedFrame]
    ) -> tuple[torch.Tensor, Sequence[int]]:
        """Hidden states (T, E), and where in them each row begins."""
        lengths = [len(row.ids_L) for row in rows]
        plan = Rows([row.slot for row in rows], lengths, self._num_groups, self.dtype)
        positions_3T = upload(
            np.concatenate([row.positions_3L for row in rows], axis=1), self.device
        )
        given = self._embedded(np.concatenate([row.ids_L for row in rows]), frames)
        hidden_1TE = self._decode(given.pop("inputs_embeds"), positions_3T[:, None], plan, **given)
        return hidden_1TE[0], [0, *itertools.accumulate(lengths[:-1])]

    def _static_hidden(
        self, rows: Sequence[RowInput], frames: Sequence[CachedFrame]
    ) -> tuple[torch.Tensor, Sequence[int]] | None:
        """The same at a fixed shape; None where there is none for these rows."""
        if self._static is None or any(
            frame.features is not None and len(frame.features) > 1 for frame in frames
        ):
            return None
        states, lengths = [row.slot.states for row in rows], [row.slot.length for row in rows]
        shape = self._static.shape(states, lengths, [len(row.ids_L) for row in rows])
        if shape is None:
            return None
        embedded_1TE = self._embedded(pad_rows([row.ids_L for row in rows], shape), frames)[
            "inputs_embeds"
        ]
        positions_3T = upload(pad_rows([row.positions_3L for row in rows], shape), self.device)
        hidden_TE = self._static.run(shape, states, lengths, embedded_1TE[0], positions_3T)
        return hidden_TE, range(0, shape.num_rows * shape.num_new, shape.num_new)[: len(rows)]

    def _decode(
        self,
        embedded_1TE: torch.Tensor,
        positions_31T: torch.Tensor,
        rows: Rows | StaticRows,
        **options: Any,
    ) -> torch.Tensor:
        """Hidden states (1, T, E); the new keys and values are written to the slots of `rows`."""
        hidden_1TE: torch.Tensor = self._decoder(
            inputs_embeds=embedded_1TE,
            position_ids=positions_31T,
            attention_mask=self._given_mask,
            past_key_values=StepCache(rows),
            use_cache=True,
            rows=rows,
            **options,
        ).last_hidden_state
        return hidden_1TE

    def _embedded(self, ids_T: np.ndarray, frames: Sequence[CachedFrame]) -> dict[str, Any]:
        """What the decoder takes in place of ids; with DeepStack also the vision tokens of further
        depths."""
        embedded_1TE = self._embed(upload(ids_T, self.device)[None])
        if not frames:
            return {"inputs_embeds": embedded_1TE}
        features = torch.cat(
            [frame.features for frame in frames if frame.features is not None], dim=1
        )
        is_vision_T = ids_T == self._image_pad_id
        vision_places = upload(np.flatnonzero(is_vision_T), self.device)
        embedded_1TE[0, vision_places] = features[0].to(embedded_1TE.dtype)
        given: dict[str, Any] = {"inputs_embeds": embedded_1TE}
        if len(features) > 1:
            is_vision_1T = upload(is_vision_T, self.device)[None]
            given |= {
                "visual_pos_masks": is_vision_1T,
                "deepstack_visual_embeds": list(features[1:]),
            }
        return given

    def _encode(self, frames: Sequence[CachedFrame]) -> None:
        """Give every frame its vision tokens; all that lack them go through the vision encoder
        together, each once."""
        new = list({id(frame): frame for frame in frames if frame.features is None}.values())
        if not new:
            return
        patches_PC = torch.from_numpy(
            np.concatenate([frame.patched.patches for frame in new if frame.patched is not None])
        )
        grids, encoded = [frame.grid for frame in new], None
        if self._static_vision is not None:
            encoded = self._static_vision.encode(patches_PC, grids, self.device)
        if encoded is None:
            encoded = encode_frames(self._model, upload(patches_PC, self.device), grids)
        for frame, *tokens in zip(new, *encoded, strict=True):
            frame.encoded(torch.stack(tokens))
