"""Whether the rollouts of an example fit into the longest sequence that may be trained, found out
before they begin."""

from __future__ import annotations

from oncue.data.examples import Example
from oncue.errors import DataError
from oncue.render.base import shape_of
from oncue.render.decision import Lead
from oncue.render.qwen_vl import QwenVLRenderer
from oncue.types import Action, EnvTurn, Reply


def check_token_budget(
    example: Example, renderer: QwenVLRenderer, max_new_tokens: int, max_tokens: int
) -> None:
    """Raises DataError for an example whose longest rollout has more than `max_tokens` tokens.
    Nothing is ever cut."""
    num_tokens = longest_rollout(example, renderer, max_new_tokens)
    if num_tokens > max_tokens:
        turns = [*(turn for turn, _ in example.history), *example.longest_turns]
        num_frames = sum(len(turn.pictures) for turn in turns)
        raise DataError(
            f"a rollout of example {example.task.task_id!r} may need {num_tokens:,} tokens "
            f"({num_frames} frames, {len(example.longest_turns)} turns of up to {max_new_tokens} "
            "new tokens), "
            f"more than max_tokens = {max_tokens:,}; show fewer turns or less history, smaller "
            "frames "
            "(--max-pixels) or shorter replies, or raise --max-tokens"
        )


def longest_rollout(example: Example, renderer: QwenVLRenderer, max_new_tokens: int) -> int:
    """Tokens of a rollout in which every turn is a reply of the greatest length."""
    probe = renderer.policy_turn_ids(Reply("a"))
    # What a format adds to the tokens of a reply
    marks = len(renderer.decision.kept(probe)) - len(probe)
    longest_reply = max_new_tokens + 1 + marks  # and a closing token
    system = example.opening.system or renderer.proactive_system
    total = len(renderer.system_block(system).token_ids) + 1
    total += sum(
        _shown(turn, renderer) + _said(action, renderer) for turn, action in example.history
    )
    return total + sum(_shown(turn, renderer) + longest_reply for turn in example.longest_turns)


def _shown(turn: EnvTurn, renderer: QwenVLRenderer) -> int:
    processor = renderer.frame_processor
    grids = []
    for pixels in turn.pictures:
        height_px, width_px = processor.resized_px(*pixels.shape[:2])
        grids.append((1, height_px // processor.patch_size, width_px // processor.patch_size))
    return max(len(renderer.user_turn_ids(shape_of(turn), grids, lead)) for lead in Lead)


def _said(action: Action, renderer: QwenVLRenderer) -> int:
    return len(renderer.decision.kept(renderer.policy_turn_ids(action)))
