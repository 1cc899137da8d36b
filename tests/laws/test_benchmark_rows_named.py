"""What breaks a row of a benchmark is one line that names file, place and field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from broken_rows import Read, check_each_broken_value

from oncue.eval.benchmarks.interactionbench import InteractionBench
from oncue.eval.benchmarks.omniduplex import OmniDuplex
from oncue.eval.benchmarks.omnimmi import OmniMmi
from oncue.eval.benchmarks.omnipro import OmniPro
from oncue.eval.benchmarks.omnipro_probe import OmniProProbe
from oncue.eval.benchmarks.ovo_timing import OvoTiming
from oncue.eval.benchmarks.ovobench import OvoBench
from oncue.eval.benchmarks.proactivevideoqa import ProactiveVideoQa
from oncue.eval.benchmarks.streamingbench_po import StreamingBenchPo
from oncue.eval.benchmarks.streampro import StreamPro
from oncue.eval.streams.benchmark import StreamBenchmark
from oncue.eval.streams.predictions import PredictionFile
from oncue.scoring.recorded_grades import ReplayGrader

PREDICTION = {
    "question_id": "a",
    "replies": [{"time": 1, "text": "x"}],
    "watched_s": 9,
    "num_turns": 9,
    "num_silent": 8,
}
TRIGGER = {"trigger_time": "0:03", "response": "r", "count": 2, "state_from": "on", "state": "off"}
OMNIPRO = {
    "id": "a",
    "task": "snapshot_counting",
    "question": "q",
    "question_time": 5,
    "duration": 60,
    "states": ["on"],
    "video_id": "v",
    "ground_truth": [TRIGGER],
}
PROBE = {"gt_idx": 0, "probe_type": "pre", "time_sec": 1, "raw_response": "NO"}
STREAMPRO = {
    "id": "a",
    "video": "v",
    "task": "event",
    "question": "q",
    "question_time": 1,
    "duration": 50,
    "answers": [{"time": 3, "content": "c"}],
}
DUPLEX = {"id": "a", "question_text": "q", "reminder1": 3, "video_duration": 30}
PO = {
    "video_path": "a/v.mp4",
    "questions": [
        {
            "question": "q",
            "time_stamp": "00:00:05",
            "ground_truth_time_stamp": "00:01:10",
            "ground_truth_output": "Go",
        }
    ],
}
FORWARD = {"id": "7", "video": "v"}
REC = FORWARD | {"task": "REC", "activity": "jump"}
SSR = FORWARD | {"task": "SSR"}
STEP = {"realtime": 5, "type": 1, "step": "pour"}
REC_TIMES = REC | {"start_times": [3, 9], "test_info": [{"realtime": 5}]}
SSR_TIMES = SSR | {"tutorial": "MakeTea", "start_time": [3, 9], "test_info": [{"realtime": 5}]}
EPM = {
    "id": "4",
    "task": "EPM",
    "video": "v",
    "question": "q?",
    "options": ["a", "b", "c"],
    "gt": 1,
    "realtime": 9,
}
LEVEL = {"question_id": "a", "answer_index": 0, "time": 2, "level": 2}
REPETITION = {
    "question_id": "a",
    "kind": "repetition",
    "answer_index": 0,
    "time": 2,
    "repeated": True,
}
PVQA = {
    "question_id": "a",
    "model_response_list": [{"role": "assistant", "content": "x", "time": 2}],
}


def said_in(path: Path) -> Any:
    return list(PredictionFile.open(path))


def grades_in(path: Path) -> Any:
    return [ReplayGrader(path)]


def items_of(benchmark: StreamBenchmark[Any]) -> Read:
    return lambda path: benchmark.items((path,))


def official(benchmark: StreamBenchmark[Any]) -> Read:
    return lambda path: list(benchmark.official(path))


READERS: list[tuple[str, dict[str, Any], Read, str]] = [  # and what may be left out
    ("said.jsonl", PREDICTION, said_in, "watched_s num_turns num_silent"),
    ("levels.jsonl", LEVEL, grades_in, ""),
    ("repeated.jsonl", REPETITION, grades_in, "answer_index kind"),
    ("omnipro.json", OMNIPRO, items_of(OmniPro()), "states response count state_from state"),
    (
        "emitted.jsonl",
        {"id": "a", "predictions": [{"t_sec": 1, "raw": "x"}]},
        official(OmniPro()),
        "",
    ),
    ("probes.jsonl", {"id": "a", "predictions": [PROBE]}, official(OmniProProbe()), ""),
    ("streampro.json", STREAMPRO, items_of(StreamPro()), "question_time duration"),
    ("PR_event_reminder.jsonl", DUPLEX, items_of(OmniDuplex()), "reminder1 video_duration"),
    ("po.json", PO, items_of(StreamingBenchPo()), ""),
    ("rec.json", REC | {"test_info": [{"realtime": 5, "count": 1}]}, items_of(OvoBench()), ""),
    ("ssr.json", SSR | {"test_info": [STEP]}, items_of(OvoBench()), ""),
    ("epm.json", EPM, items_of(OvoBench()), ""),
    ("rec_times.json", REC_TIMES, items_of(OvoTiming()), ""),
    ("ssr_times.json", SSR_TIMES, items_of(OvoTiming()), ""),
    ("detected.jsonl", {"id": 5, "detections": [1, 2]}, official(OvoTiming()), ""),
    ("pa.json", {"video": "v", "question": "q", "answer": [1, 2]}, items_of(OmniMmi()), ""),
    (
        "interaction.jsonl",
        {"video_id": "v", "item_index": 2, "emissions": [{"t": 1, "content": "a"}]},
        official(InteractionBench()),
        "item_index",
    ),
    ("pvqa.jsonl", PVQA, official(ProactiveVideoQa()), ""),
]


@pytest.mark.parametrize(
    ("name", "row", "read", "optional"), READERS, ids=[name for name, *_ in READERS]
)
def test_each_broken_value_is_named(
    name: str, row: dict[str, Any], read: Read, optional: str, tmp_path: Path
) -> None:
    check_each_broken_value(tmp_path / name, row, read, optional)
