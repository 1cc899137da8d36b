"""What a user must know of ProactiveVideoQA, and its published rows."""

from __future__ import annotations

from oncue.eval.streams.benchmark import Card, Published

# Of each subset: samples, gold turns, and the mean length of its videos in seconds
SIZES = {
    "WEB": (500, 1328, 16.59),
    "EGO": (326, 1575, 360.17),
    "TV": (500, 500, 75.6),
    "VAD": (101, 107, 121.0),
}
SUBSETS = tuple(SIZES)

_TABLE_2 = "MMDuet2 (arXiv 2512.06810), table 2"
_GPT = "judge GPT-4.1; omega 0.5; duplicates by a coverage judge, scope not stated"
_MEANS = "mean of four subsets, omega 0.5; judge and frames of its own, not GPT-4.1"


def _of_subsets(who: str, **figures: tuple[float, float | None]) -> Published:
    """A row of MMDuet2's table 2: PAUC and share of duplicates of each subset."""
    pauc = {subset: value for subset, (value, _) in figures.items()}
    duplicates = {f"{subset} duplicates": d for subset, (_, d) in figures.items() if d is not None}
    return Published(who, {**pauc, **duplicates}, _GPT, _TABLE_2)


def _mean(who: str, value: float, source: str, protocol: str = _MEANS) -> Published:
    return Published(who, {"mean": value}, protocol, source)


_ONESTREAMER = "OneStreamer, table of ProactiveVideoQA"

CARD = Card(
    name="proactivevideoqa",
    title="ProactiveVideoQA",
    measures=(
        "whether the right thing is said while a reply is due, and how early (PAUC), and the share "
        "of replies that add nothing new"
    ),
    data=(
        "anno.json of WEB, EGO, TV and VAD, from yellow-binary-tree/ProactiveVideoQA on GitHub; "
        "videos only to run a model"
    ),
    licence="none stated for the annotations; the videos have those of their sources",
    source=(
        "ProactiveVideoQA (arXiv 2507.09313), pauc/judge_llm_scores_openai.py, with the late rule "
        "of that scorer, which the paper does not name"
    ),
    defects=(
        "A model that never replies scores 25.0 on every subset.",
        "The official scorer accepts judge answers from 0 to 5 on a scale from 1 to 3, so a 0 "
        "gives -1 and a 4 gives 3. Here only 1, 2 and 3 are marks.",
        "What becomes of a failed judge call differs: the official scorer leaves the reply out, "
        "another port gives it level 1. Here it is left out and counted.",
        "The official scorer divides by zero for a reply span without width. Here such gold is an "
        "error.",
        "The gold times of VAD are coarse: a right reply to a flash can come before its span.",
        "The scope of duplicates is not published; see duplicate_scope.",
    ),
    published=(
        _of_subsets(
            "VideoLLM-Online",
            WEB=(25.9, None),
            EGO=(25.0, None),
            TV=(18.3, 53.9),
            VAD=(25.0, None),
        ),
        _of_subsets(
            "MMDuet", WEB=(38.9, 81.3), EGO=(46.0, 99.4), TV=(21.1, 92.8), VAD=(27.4, 99.2)
        ),
        _of_subsets(
            "MMDuet2 SFT", WEB=(37.6, 1.7), EGO=(26.4, 4.4), TV=(27.6, 2.2), VAD=(26.3, 0.0)
        ),
        _of_subsets(
            "MMDuet2 RL", WEB=(53.3, 4.2), EGO=(33.6, 8.1), TV=(43.4, 1.0), VAD=(28.9, 15.2)
        ),
        _mean("MMDuet2 RL", 39.8, _TABLE_2, "judge GPT-4.1; omega 0.5; computed from the subsets"),
        _mean("Qwen3-VL-4B", 34.3, _ONESTREAMER),
        _mean("VideoChat3-4B", 37.6, _ONESTREAMER),
        _mean("JoyAI-VL", 29.6, _ONESTREAMER),
        _mean("AURA", 30.8, _ONESTREAMER),
        _mean("MOSS-VL", 47.2, _ONESTREAMER),
        _mean("OneStreamer", 48.7, _ONESTREAMER),
        _mean("TML-interaction-small", 33.5, "Thinking Machines"),
        _mean("GPT-realtime-2", 25.0, "Thinking Machines", f"{_MEANS}; equals silence"),
    ),
)
