"""Laws of the slots: capacity is reused, growing and copying keep what is held, forgetting is
free."""

from __future__ import annotations

import pytest
import torch

from oncue.engine.kv_cache import KVPool, KVSlot, Rows

LAYERS, HEADS, WIDTH = 2, 3, 4


def pool() -> KVPool:
    return KVPool(LAYERS, HEADS, WIDTH, torch.float32, torch.device("cpu"))


def states(num_tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(seed)
    keys, values = torch.randn(2, HEADS, num_tokens, WIDTH, generator=random)
    return keys, values


def append(slots: list[KVSlot], num_new: list[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Write the same random keys and values to every layer of these slots."""
    keys, values = states(sum(num_new), seed)
    rows = Rows(slots, num_new, 1, torch.float32)
    for layer in range(LAYERS):
        rows.write(layer, keys, values)
    for slot, num in zip(slots, num_new, strict=True):
        slot.length += num
    return keys, values


def test_rows_land_in_their_own_slots() -> None:
    ours = pool()
    first, second = ours.take(10), ours.take(10)
    keys_a, values_a = append([first], [3], 0)
    keys, values = append([first, second], [2, 5], 1)
    assert torch.equal(first.keys(1, 5), torch.cat([keys_a, keys[:, :2]], 1))
    assert torch.equal(first.values(0, 5), torch.cat([values_a, values[:, :2]], 1))
    assert torch.equal(second.keys(0, 5), keys[:, 2:])


def test_growing_and_copying_keep_what_is_held() -> None:
    ours = pool()
    slot = ours.take(200)
    keys, _ = append([slot], [200], 0)
    twin = ours.copy(slot)
    ours.reserve(slot, 1000)
    assert (slot.capacity, slot.length, twin.length) == (1024, 200, 200)
    append([twin], [1], 1)  # a twin is no view
    assert torch.equal(slot.keys(1, 200), keys)
    assert torch.equal(twin.keys(1, 200), keys)


def test_memory_given_back_serves_the_next_session() -> None:
    ours = pool()
    slot = ours.take(500)
    place = slot.states.data_ptr()
    ours.give_back(slot)
    assert ours.num_taken == 0
    assert ours.num_free_bytes == slot.states.nbytes
    again = ours.take(400)
    assert again.states.data_ptr() == place
    assert (again.length, ours.num_free_bytes, ours.num_taken) == (0, 0, 1)


@pytest.mark.parametrize("groups", [1, 2])
def test_attention_is_that_of_each_row_alone(groups: int) -> None:
    ours, random = pool(), torch.Generator().manual_seed(5)
    slots, past, num_new = [ours.take(9) for _ in range(3)], [4, 0, 7], [2, 3, 1]
    for slot, length in zip(slots, past, strict=True):
        append([slot], [length], length)
    rows = Rows(slots, num_new, groups, torch.float32)
    keys, values = states(6, 9)
    rows.write(0, keys, values)
    queries = torch.randn(HEADS * groups, 6, WIDTH, generator=random)
    attended = rows.attend(0, queries, 0.5)
    first = 0
    for slot, length, num in zip(slots, past, num_new, strict=True):
        for i in range(num):
            keys_seen, values_seen = expanded(slot, length + i + 1, groups)
            expected = attention(queries[:, first + i], keys_seen, values_seen)
            assert torch.allclose(attended[first + i], expected, atol=1e-6)
            if i + 1 < num:  # control: a look at the next token would give something else
                assert not torch.allclose(
                    attention(queries[:, first + i], *expanded(slot, length + i + 2, groups)),
                    expected,
                    atol=1e-3,
                )
        first += num


def expanded(slot: KVSlot, num_tokens: int, groups: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Keys and values of layer 0, once per query head."""
    keys, values = (
        s.repeat_interleave(groups, 0)
        for s in (slot.keys(0, num_tokens), slot.values(0, num_tokens))
    )
    return keys, values


def attention(query: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    return torch.einsum(
        "hk,hkd->hd", (torch.einsum("hd,hkd->hk", query, keys) * 0.5).softmax(-1), values
    )
