"""The figures as rows of words: what, how much, and what it means."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

Figures = Mapping[str, Any]


class Row(NamedTuple):
    """One figure: its key, its value as shown, and what it means."""

    name: str
    value: str
    meaning: str


def title_of(figures: Figures) -> str:
    """What was measured, and on what."""
    return (
        f"{figures['model']}: {figures['num_params'] / 1e6:.1f} M parameters, "
        f"{figures['num_vision_tokens']} vision "
        f"tokens per frame, {figures['dtype']} on {figures['device']}, {figures['num_threads']} "
        "threads"
    )


def rows_of(figures: Figures) -> list[Row]:
    """One row per figure. The GPU's are left out where there are none."""
    rows = [*_speed_rows(figures), *_exactness_rows(figures)]
    return [*rows, *_large_rows(figures["cuda"])] if "cuda" in figures else rows


def _speed_rows(figures: Figures) -> Iterator[Row]:
    for turn, took_ms in figures["reprefill_ms"].items():
        yield Row(
            f"reprefill_ms, turn {turn}",
            f"{took_ms:.1f}",
            "the whole prompt with all its frames processed again",
        )
        carried_ms = figures["incremental_ms"][turn]
        yield Row(
            f"incremental_ms, turn {turn}",
            f"{carried_ms:.1f}",
            "the same turn of a carried session",
        )
    yield Row(
        "reprefill_ratio_200",
        f"{figures['reprefill_ratio_200']:.1f}",
        "again / carried, at turn 200",
    )
    yield Row(
        "silent_turn_plain_ms",
        f"{figures['silent_turn_plain_ms']:.1f}",
        "silence, decoded token by token",
    )
    yield Row(
        "silent_turn_ms", f"{figures['silent_turn_ms']:.1f}", "the same turns, silence drafted"
    )
    yield Row("silent_ratio", f"{figures['silent_ratio']:.2f}", "plain / drafted")
    yield Row(
        "silent_turn_ahead_ms",
        f"{figures['silent_turn_ahead_ms']:.1f}",
        "the same, turns known to come ahead",
    )
    yield Row("ahead_ratio", f"{figures['ahead_ratio']:.2f}", "drafted / ahead")
    yield Row(
        "silent_turn_tokens",
        str(figures["silent_turn_tokens"]),
        "context tokens of a silent turn of one small frame",
    )
    yield Row(
        "silent_share", f"{figures['silent_share']:.2f}", "of the turns timed so far were silent"
    )
    for num_sessions, rate in figures["decisions_per_s"].items():
        yield Row(
            f"decisions_per_s, {num_sessions}", f"{rate:.1f}", f"sessions at once: {num_sessions}"
        )
    yield Row(
        "batch_ratio_32",
        f"{figures['batch_ratio_32']:.2f}",
        "decisions per second, 32 sessions / 1",
    )
    for size, took_ms in figures["preprocess_ms_per_frame"].items():
        yield Row(
            f"preprocess_ms_per_frame, {size}", f"{took_ms:.2f}", "pixels to patches, one frame"
        )


def _exactness_rows(figures: Figures) -> Iterator[Row]:
    turns = figures["num_logit_turns"]
    yield Row(
        "max_logit_diff",
        f"{figures['max_logit_diff']:.1e}",
        f"carried against one full forward, {turns} turns",
    )
    yield Row(
        "mismatched_tokens",
        str(figures["mismatched_tokens"]),
        f"of {figures['num_compared_tokens']} in {figures['num_compared_turns']} turns: "
        "drafted in a batch against plain alone",
    )
    yield Row(
        "rss_growth_pct",
        f"{figures['rss_growth_pct']:.2f}",
        f"memory, from warm-up to turn {figures['num_stream_turns']} of a bounded stream "
        f"({figures['stream_model']})",
    )


def _large_rows(large: Figures) -> Iterator[Row]:
    if "left_out" in large:
        yield Row("cuda", "-", large["left_out"])
        return
    one, static, many = large["one_stream"], large["one_stream_static"], large["many_streams"]
    about = (
        f"{large['num_params'] / 1e9:.2f} G parameters, {large['dtype']}, "
        f"{large['num_vision_tokens']} vision tokens"
    )
    yield Row(
        "cuda",
        large["chip"],
        f"{large['model']}: {about}; peaks of the chip are {large['chip_figures']}",
    )
    yield Row(
        "one stream, p50_ms",
        f"{one['p50_ms']:.1f}",
        f"per decision, {one['num_context_tokens']} tokens of context",
    )
    yield Row(
        "one stream, p95_ms",
        f"{one['p95_ms']:.1f}",
        f"at most {one['max_ms']:.1f}, where the prefix is cut",
    )
    yield Row(
        "one stream, static, p50_ms",
        f"{static['p50_ms']:.1f}",
        "the same at fixed shapes, as CUDA graphs",
    )
    yield Row(
        "one stream, roofline_ms",
        f"{one['roofline_ms']:.2f}",
        "the chip's limit for such a decision",
    )
    yield Row("one stream, roofline_share", f"{one['roofline_share']:.2f}", "limit / p50")
    yield Row(
        "one stream, flatness_pct",
        f"{one['flatness_pct']:.1f}",
        f"slower at the end of {one['num_turns']} turns",
    )
    yield Row(
        "streams, decisions_per_s",
        f"{many['decisions_per_s']:.1f}",
        f"{many['num_streams']} streams at once",
    )
    yield Row(
        "streams, roofline",
        f"{many['roofline_decisions_per_s']:.1f}",
        "decisions per second at the chip's limit",
    )
    yield Row("streams, roofline_share", f"{many['roofline_share']:.2f}", "reached / limit")
    yield Row(
        "kv_bytes_per_stream",
        f"{many['kv_bytes_per_stream']}",
        f"{large['kv_bytes_per_token']} per token",
    )
    yield Row("peak_memory_bytes", f"{large['peak_memory_bytes']}", "at most in use")
