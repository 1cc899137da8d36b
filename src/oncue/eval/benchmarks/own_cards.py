"""The cards of what `oncue eval` scores beside the benchmarks in `known.py`."""

from __future__ import annotations

from oncue.eval.streams.benchmark import Card

WORLD = Card(
    name="world",
    title="Held-out clips of a world",
    measures="when a model speaks and whether it says what is due, on made-up clips with exact "
    "gold; two controls show whether it looks at the frames",
    data="none: the clips are made as needed, and kept in the user's cache folder",
    licence="that of oncue (Apache-2.0)",
    source="oncue; PAUC as in MMDuet2 (arXiv 2512.06810) and ProactiveVideoQA (arXiv 2507.09313)",
    defects=("The clips are simple drawings or cut-outs: a score says nothing of real video.",),
)

CLIPS = Card(
    name="clips",
    title="Timing on clips with hand-made gold",
    measures="whether something is said when it is due, and nothing when not; what is said does "
    "not count",
    data="a gold file in the format of ProactiveVideoQA, and its videos: your own",
    licence="that of your clips",
    source="oncue",
    defects=("A few clips give wide intervals; nothing here says how wide.",),
)

MCQ = Card(
    name="mcq",
    title="Questions with options about long videos",
    measures="the accuracy of answers by retrieval, beside one turn on evenly spread frames and "
    "beside no frame at all",
    data="question files as published: Video-MME (lmms-eval/Video-MME), MLVU (JUNJIE99/MLVU), "
    "LongVideoBench (longvideobench/LongVideoBench), LVBench (THUDM/LVBench), EgoSchema "
    "(egoschema/EgoSchema), or rows of oncue data curate; and their videos",
    licence="Video-MME: research only, no copies; MLVU, LongVideoBench and LVBench: CC BY-NC-SA "
    "4.0; EgoSchema: see its repository",
    source="Video-MTR (arXiv 2508.20478), section 4",
    defects=(
        "Two questions of MLVU's needle task have an answer that is none of their options.",
        "Answers of MLVU-Test, all of EgoSchema and LongVideoBench's test set are secret.",
        "Video-MTR has trained on NExT-GQA's val and test questions.",
    ),
)
