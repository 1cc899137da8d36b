"""The growing cache holds what transformers' own would hold."""

from __future__ import annotations

import torch
from transformers.cache_utils import DynamicCache

from oncue.policy.cache import SessionCache

NUM_LAYERS = 2


def states(num_tokens: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, 2, num_tokens, 4, generator=generator), torch.randn(1, 2, num_tokens, 4, generator=generator)


def test_it_equals_the_stock_cache_while_it_grows() -> None:
    ours, stock = SessionCache(NUM_LAYERS), DynamicCache()
    for step, num_tokens in enumerate((1, 200, 60, 1, 700, 3)):
        for layer in range(NUM_LAYERS):
            new = states(num_tokens, 10 * step + layer)
            for got, expected in zip(ours.update(*new, layer), stock.update(*new, layer), strict=True):
                assert torch.equal(got, expected)
        assert ours.num_tokens == ours.get_seq_length() == stock.get_seq_length()


def test_appending_does_not_copy_the_past() -> None:
    cache = SessionCache(1)
    cache.update(*states(300, 0), 0)
    grown = {cache.update(*states(1, seed), 0)[0].data_ptr() for seed in range(1, 300)}
    assert len(grown) <= 2  # 599 tokens: the buffers moved at most once


def test_truncating_forgets_and_goes_on() -> None:
    ours, fresh = SessionCache(NUM_LAYERS), SessionCache(NUM_LAYERS)
    for layer in range(NUM_LAYERS):
        ours.update(*states(5, layer), layer)
        fresh.update(*states(5, layer), layer)
    ours.update(*states(3, 7), 0)  # the last layer never got there
    ours.truncate(5)
    assert ours.num_tokens == 5
    for layer in range(NUM_LAYERS):
        new = states(2, 20 + layer)
        for got, expected in zip(ours.update(*new, layer), fresh.update(*new, layer), strict=True):
            assert torch.equal(got, expected)


def test_memory_is_counted() -> None:
    cache = SessionCache(NUM_LAYERS)
    assert (cache.num_tokens, cache.num_bytes) == (0, 0)
    for layer in range(NUM_LAYERS):
        cache.update(*states(5, layer), layer)
    assert cache.num_bytes >= NUM_LAYERS * 2 * 5 * 2 * 4 * 4
