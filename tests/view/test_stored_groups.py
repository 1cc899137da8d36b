"""Groups read back: one per example of a step, and those of older runs too."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from oncue.records.rollouts import read_rollouts
from oncue.train.rl.step_metrics import rollout_lines
from oncue.view.stored import read_run
from view_run import group_of, read_lines, write_lines, write_run


def test_an_example_that_a_step_uses_twice_is_two_groups(tmp_path: Path) -> None:
    """As where a file has fewer examples than a step takes: they have the same task and different
    numbers."""
    folder = write_run(tmp_path / "run", (5,))
    first = group_of(15)
    write_lines(
        folder,
        5,
        rollout_lines([first, replace(first, example=replace(first.example, index=18))], 5),
    )
    assert len(read_rollouts(folder / "rollouts" / "step_000005.jsonl")) == 6
    one, two = read_run(folder).steps[0].groups
    assert (one.example, two.example) == (15, 18)
    assert one.task_id == two.task_id == first.example.task.task_id
    assert one.members == two.members
    assert len(one.members) == len(first.episodes)


def test_rollouts_of_an_older_run_still_open(tmp_path: Path) -> None:
    """Their names hold no example, and their task stands in the name only."""
    folder = write_run(tmp_path / "run", (5,))
    now = read_run(folder).steps[0].groups
    lines = read_lines(folder, 5)
    for line in lines:
        name = f"5/{line.pop('task')}/{line['episode_id'].rsplit('/', 1)[1]}"
        line["episode_id"] = name
        line["judgements"] = [{**judged, "episode_id": name} for judged in line["judgements"]]
    write_lines(folder, 5, lines)
    assert read_run(folder).steps[0].groups == now
