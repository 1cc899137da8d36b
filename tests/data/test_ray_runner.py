"""The same rows from Ray as from one machine, on two nodes of which one is killed in the middle.

These start a Ray cluster: `make test-ray` runs them, and no other run of the tests does.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.data.pipeline.build import build
from oncue.data.pipeline.outputs import REJECTED, ROWS, SUMMARY
from oncue.data.proactive_rows import read_proactive_rows
from oncue.video.writer import write_video
from openai_server import OpenAIServer
from pipeline_model import SMALL, Listed, models_on, moody, one

ray = pytest.importorskip("ray", reason="needs the extra ray")
pytestmark = [
    pytest.mark.ray,
    pytest.mark.skipif("ONCUE_TEST_RAY" not in os.environ, reason="run by make test-ray"),
]
NUM_VIDEOS = 40


@pytest.fixture
def cluster() -> Iterator[Any]:
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 2, "include_dashboard": False}
    )
    try:
        ray.init(address=cluster.address, log_to_driver=False)
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def test_a_node_that_dies_loses_nothing_and_doubles_nothing(cluster: Any, tmp_path: Path) -> None:
    pictures = (np.full((64, 96, 3), 40 * (k // 5), np.uint8) for k in range(30))
    write_video(tmp_path / "clip.mp4", pictures, 5.0)
    source = Listed((*(one(number) for number in range(NUM_VIDEOS)), one(99, "absent.mp4")))
    second = cluster.add_node(num_cpus=2)
    cluster.wait_for_nodes()
    done: list[str] = []
    num_done_when_killed: list[int] = []
    with OpenAIServer(moody) as server:

        def kill_when_busy() -> None:
            until_s = time.monotonic() + 300
            while len(done) < NUM_VIDEOS // 4 and time.monotonic() < until_s:
                time.sleep(0.05)
            num_done_when_killed.append(len(done))
            cluster.remove_node(second, allow_graceful=False)

        killer = threading.Thread(target=kill_when_busy)
        killer.start()
        made = build(
            source,
            tmp_path,
            tmp_path / "ray",
            models_on(server, tmp_path / "ray.sqlite3"),
            SMALL,
            ray_workers=4,
            on_done=lambda video, _: done.append(video.video_id),
        )
        killer.join()
        made.check()
        assert 0 < num_done_when_killed[0] < NUM_VIDEOS, "in the middle"
        assert sorted(done) == sorted(set(done)), "nothing twice"
        assert len(done) == NUM_VIDEOS + 1
        local = models_on(server, tmp_path / "local.sqlite3")
        build(source, tmp_path, tmp_path / "local", local, SMALL, num_processes=1).check()
    for name in (ROWS, REJECTED, SUMMARY):
        ours, theirs = ((tmp_path / runner / name).read_bytes() for runner in ("local", "ray"))
        assert ours == theirs, name
    rows = [row.video_id for _, row in read_proactive_rows(tmp_path / "ray" / ROWS)]
    assert rows == [f"v{k}" for k in range(NUM_VIDEOS) if f"v{k}" in rows]
    assert len(rows) > NUM_VIDEOS // 2
