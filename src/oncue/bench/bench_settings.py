"""How much is measured: the whole, or a quick look."""

from __future__ import annotations

from dataclasses import dataclass

TURNS = (10, 50, 200)  # where a carried session is compared with processing the whole prompt again
SESSION_COUNTS = (1, 8, 32)
CUDA_SESSION_COUNTS = (*SESSION_COUNTS, 64)


@dataclass(frozen=True, slots=True)
class BenchSettings:
    """Numbers of turns and repeats; the figures themselves are the same."""

    num_near_turns: int = 5  # carried turns timed around each of `TURNS`
    num_reprefills: int = 3  # whole prompts timed at each of `TURNS`
    num_warm_turns: int = 10  # before the clock starts
    num_timed_turns: int = 60
    num_rounds: int = 20  # turns of every session that is timed in a batch
    num_batch_sessions: int = 16  # timed in all, at least, for each number of sessions at once
    num_logit_turns: int = 200
    num_compared_turns: int = 1000
    num_joined_sessions: int = 8  # at most, at a time; others join as these leave
    max_new_tokens: int = 8
    num_stream_turns: int = 10_000
    num_warm_stream_turns: int = 2_000
    stream_window_tokens: int = 2_048
    num_preprocessed: int = 50
    num_large_turns: int = 2_000
    num_large_rounds: int = 14
    num_large_streams: int = 64
    large_context_tokens: int = 8_192


FULL = BenchSettings()
QUICK = BenchSettings(
    num_reprefills=1,
    num_warm_turns=4,
    num_timed_turns=32,
    num_rounds=6,
    num_batch_sessions=4,
    num_logit_turns=20,
    num_compared_turns=40,
    num_stream_turns=280,
    num_warm_stream_turns=80,
    stream_window_tokens=512,
    num_preprocessed=10,
    num_large_turns=300,
    num_large_rounds=7,
)
