"""What a user must know of OVO-Bench and OVO-Timing."""

from __future__ import annotations

from oncue.eval.streams.benchmark import Card, Published

_RELEASED = "released outputs under the official score; none of them is null"

CARD = Card(
    name="ovobench",
    title="OVO-Bench",
    measures="answers about the past, present and future of a stream shown up to a moment",
    data="data/ovo_bench_new.json (1,640 rows) of JoeLeelyf/OVO-Bench, and its videos",
    licence="MIT (annotations)",
    source="OVO-Bench (arXiv 2501.05510), utils/OVOBenchScore.py @c34093f",
    defects=(
        "SSR and CRR look for 'Yes' or 'No' anywhere, so 'Yes No' is always right, and 'Now' says "
        "no. 'strict' asks for one of both words alone.",
        "REC joins all digits, so '3 times in 10 s' reads 310. 'strict' asks for one number.",
        "Questions with options look for the letter anywhere, so the 'A' of a sentence is option A."
        " 'strict' asks for one option.",
        "Forward tasks are probed from outside: nothing measures when a model speaks by itself "
        "(see ovo-timing).",
        "Some released outputs hold lists of one text, on which the official score fails; here they"
        " are unwrapped and counted.",
    ),
    published=(
        Published(
            "LLaVA-Video",
            {"forward": 54.82, "REC": 34.10, "SSR": 69.95, "CRR": 60.42},
            _RELEASED,
            "OVO-Bench",
        ),
        Published(
            "Qwen2-VL-7B",
            {"forward": 48.74, "REC": 31.66, "SSR": 65.82, "CRR": 48.75},
            _RELEASED,
            "OVO-Bench",
        ),
    ),
    missing="are left out, as by the official score",
)

TIMING_CARD = Card(
    name="ovo-timing",
    title="OVO-Timing",
    measures="how close replies come to the moments at which events of OVO-Bench can be seen",
    data="data/ovo_bench_new.json of JoeLeelyf/OVO-Bench (its 172 forward rows), and its videos",
    licence="MIT (annotations)",
    source="ovo_timing.py of MCG-NJU/OneStreamer @f0a610b, and eval/ovo_bench of Em-Garde @7d6922e",
    defects=(
        "Replies are matched in the order of their list, each event with the first free reply "
        "within 2 s. 'f1_best' finds the best matching.",
        "F1 is that of mean recall and mean precision, not the mean of F1.",
        "25 pairs of REC events are less than 2 s apart.",
        "Groups use different frame rates, windows and prompts; a reply at every 5 s reaches 29.41 "
        "without frames.",
        "Streamo's outputs (CRR and SSR until the first reply, REC as options) have no released "
        "scorer. StreamPro's F1 on these tasks is another score.",
    ),
)
