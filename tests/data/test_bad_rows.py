"""Rows that cannot be used: found before the first step, skipped and counted where asked, and named
where they stop."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from oncue import cli
from oncue.data.bad_rows import first_usable
from oncue.data.dialogue_sources import RowSource
from oncue.data.row_checks import SAMPLE, row_checks, what_is_wrong
from oncue.data.row_examples import RowExamples
from oncue.errors import ChangedDataWarning, DataError
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft import loop as sft
from oncue.train.sft.batches import StepBatch, step_batches
from oncue.train.sft.loop import train_sft
from oncue.train.sft.settings import SftConfig, Stage
from oncue.video.writer import write_video
from train_support import metrics, same_weights, silent, small_config

NUM_ROWS = 8
BAD = {3: "there is no image", 6: "is not valid"}  # numbers of rows


def picture_row(number: int, picture: str) -> str:
    turns = [
        ("user", f"<image>{number}?"),
        ("assistant", f"It is {number}."),
        ("user", "<image>"),
        ("assistant", "x"),
    ]
    messages = [{"role": role, "content": content} for role, content in turns]
    return json.dumps(
        {
            "messages": messages,
            "images": [picture, picture],
            "metadata": {"question_id": str(number)},
        }
    )


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """Eight rows with a picture each; that of row 3 is not there, and row 6 has a role that nobody
    has."""
    lines = []
    for number in range(1, NUM_ROWS + 1):
        Image.new("RGB", (64, 48), (30 * number, 80, 90)).save(tmp_path / f"{number}.png")
        lines.append(picture_row(number, f"{number}.png"))
    (tmp_path / "3.png").unlink()
    lines[5] = lines[5].replace('"assistant"', '"robot"')
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(lines))
    return path


def config(model: Path | str, rows: Path, **changes: Any) -> SftConfig:
    stage = Stage("rows", RowSource((rows,)), 2, 6)
    return small_config(model, stages=(stage,), **{"skip_bad_rows": True, **changes})


def test_every_row_is_looked_at_and_each_bad_one_named(rows: Path) -> None:
    steps: list[int] = []
    wrong = what_is_wrong(row_checks(config("x", rows), "all"), lambda: steps.append(1))
    assert len(steps) == NUM_ROWS
    assert len(wrong) == 2
    assert wrong[0].startswith(f"row 3 of {rows}: there is no image 3.png; ")
    assert (
        wrong[1] == f"row 6 of {rows}, message 2: 'role' must be 'system', 'user' or 'assistant', "
        "got 'robot'"
    )


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        ("broken.png", "is not an image that can be read"),
        ("thin.png", "the longer side may be at most 200 times"),
        ("none.mp4#t=1", "none.mp4"),
        ("broken.png#t=1", "broken.png"),
    ],
)
def test_the_heads_of_files_are_looked_at(rows: Path, picture: str, told: str) -> None:
    (rows.parent / "broken.png").write_text("no picture")
    Image.new("RGB", (2, 900)).save(rows.parent / "thin.png")
    rows.write_text(picture_row(1, "1.png") + "\n" + picture_row(2, picture))
    (wrong,) = what_is_wrong(row_checks(config("x", rows), "all"), lambda: None)
    assert wrong.startswith(f"row 2 of {rows}: ")
    assert told in wrong


def test_moments_of_a_video_are_fine(rows: Path) -> None:
    write_video(rows.parent / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, 1.0)
    rows.write_text(picture_row(1, "clip.mp4#t=1"))
    assert what_is_wrong(row_checks(config("x", rows), "all"), lambda: None) == []


def test_a_sample_is_drawn_by_the_seed(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text("\n".join(f'{{"messages": {number}}}' for number in range(SAMPLE + 200)))
    drawn = [
        what_is_wrong(row_checks(config("x", path, seed=seed), "sample"), lambda: None)
        for seed in (0, 0, 1)
    ]
    assert [len(set(wrong)) for wrong in drawn] == [SAMPLE] * 3
    assert drawn[0] == drawn[1] != drawn[2]
    assert row_checks(config("x", path), "none") == []
    assert len(row_checks(config("x", path), "all")) == SAMPLE + 200


def flags(model: Path, rows: Path, *more: str) -> list[str]:
    out = [
        "--out",
        str(rows.parent / "run"),
        "--model",
        str(model),
        "--device",
        "cpu",
        "--num-workers",
        "0",
    ]
    steps = ["--stages.0.num-steps", "2", "--stages.0.batch-size", "4"]
    return ["train", "sft", "--recipe", "mmduet2-3b", "--data", str(rows), *out, *steps, *more]


def test_bad_rows_stop_the_start_and_are_counted_where_skipped(
    rows: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    assert cli.main(flags(tiny_model_folder, rows)) == 2
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("rows looked at: 8 of 8, ")
    assert said[1].startswith(f"oncue: row 6 of {rows}, message 2: ")
    assert said[2].startswith(
        "oncue: 2 of 8 rows cannot be used; correct them, or leave them out with --skip-bad-rows; "
        "the first: row 3 of "
    )
    assert not (rows.parent / "run").exists()
    assert cli.main(flags(tiny_model_folder, rows, "--skip-bad-rows", "--json")) == 0
    said = capsys.readouterr()
    assert (
        "oncue: warning: 2 of 8 rows cannot be used and are skipped; the first: row 3 of "
        in said.err
    )
    (step,) = [json.loads(line) for line in said.out.splitlines()]
    assert step["num_skipped_rows"] == 2  # of one epoch
    assert step["warnings"][0].startswith("2 rows were skipped, such as row ")
    assert cli.main(flags(tiny_model_folder, rows, "--skip-bad-rows", "--dry-run")) == 0
    capsys.readouterr()
    none = rows.parent / "none.jsonl"
    none.write_text("{}\n[]\n")
    assert cli.main(flags(tiny_model_folder, none, "--skip-bad-rows")) == 2
    assert (
        "2 of 2 rows cannot be used; correct them; the first: row 1 of" in capsys.readouterr().err
    )


def test_without_a_look_a_bad_row_stops_the_run_and_says_what_to_do(
    rows: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    assert cli.main(flags(tiny_model_folder, rows, "--check-data", "none")) == 2
    said = capsys.readouterr().err
    assert "looked at" not in said
    assert (
        "Correct the row and go on with --resume auto --allow-changed-data, or leave out such rows"
        in said
    )


def test_a_run_goes_on_after_a_row_was_corrected(
    rows: Path, tiny_model_folder: Path, capsys: Any
) -> None:
    fifth = int(
        np.random.default_rng((0, 0)).permutation(NUM_ROWS)[4]
    )  # in the second batch of four
    good = [picture_row(number, "1.png") for number in range(1, NUM_ROWS + 1)]
    rows.write_text(
        "\n".join("{oops" if place == fifth else line for place, line in enumerate(good))
    )
    unseen = flags(tiny_model_folder, rows, "--check-data", "none")
    assert cli.main(unseen) == 2
    assert f"row {fifth + 1} of {rows} is not JSON" in capsys.readouterr().err
    rows.write_text("\n".join(good))
    assert cli.main([*unseen, "--resume", "auto"]) == 2
    assert f"{rows}: row {fifth + 1} differs); resume with the same rows" in capsys.readouterr().err
    with pytest.warns(
        ChangedDataWarning, match=rf"other training data than before .*: row {fifth + 1} differs"
    ):
        assert cli.main([*unseen, "--resume", "auto", "--allow-changed-data"]) == 0
    assert "step_000002" in capsys.readouterr().err


def test_the_next_row_of_the_epoch_takes_the_place_of_a_bad_one() -> None:
    def make(index: int) -> int:
        if index % 5 in (1, 4):
            raise DataError(f"row {index}")
        return index

    made = [first_usable(make, index, 5, skip=True) for index in range(10)]
    assert [number for number, _ in made] == [0, 2, 2, 3, 0, 5, 7, 7, 8, 5]
    assert [wrong for _, wrong in made] == [
        "",
        "row 1",
        "",
        "",
        "row 4",
        "",
        "row 6",
        "",
        "",
        "row 9",
    ]
    with pytest.raises(DataError, match=r"row 6\. Correct the row"):
        first_usable(make, 6, 5, skip=False)
    with pytest.raises(DataError, match="none of 1 rows can be used; the first tried: row 1"):
        first_usable(make, 1, 1, skip=True)
    with pytest.raises(DataError, match=r"^row 1$"):
        first_usable(make, 1, None, skip=True)


def test_killed_and_resumed_is_never_killed_with_rows_that_are_skipped(
    rows: Path, tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.set_num_threads(1)
    told = config(
        tiny_model_folder, rows, log_every_steps=4, seed=8
    )  # row 3 or 6 is drawn in steps 1, 4 and 5
    whole = train_sft(told, tmp_path / "whole", resume=False, report=silent)
    assert [row["num_skipped_rows"] for row in metrics(tmp_path / "whole")] == [
        2,
        1,
    ]  # 12 dialogues, 8 an epoch

    class Killed(Exception):
        pass

    def killed_in_fourth(*args: Any) -> Iterator[tuple[StepBatch, int]]:
        batches = step_batches(*args)
        yield from (next(batches) for _ in range(3))
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(sft, "step_batches", killed_in_fourth)
        with pytest.raises(Killed):
            train_sft(told, tmp_path / "run", resume=False, report=silent)
    resumed = train_sft(told, tmp_path / "run", resume=True, report=silent)
    assert same_weights(resumed, whole)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")


def test_a_file_that_vanishes_stops_the_run_or_is_skipped_when_it_goes_on(
    rows: Path, tiny_model_folder: Path, tmp_path: Path
) -> None:
    lines = [
        line for number, line in enumerate(rows.read_text().splitlines(), 1) if number not in BAD
    ]
    rows.write_text("\n".join(lines))
    strict = config(tiny_model_folder, rows, skip_bad_rows=False, log_every_steps=1)

    def vanish(_: Any) -> None:
        (tmp_path / "8.png").unlink(missing_ok=True)

    with pytest.raises(
        DataError, match=r"row 6 of .*rows\.jsonl: there is no image .*8\.png.* --skip-bad-rows"
    ):
        train_sft(strict, tmp_path / "run", resume=False, report=vanish)
    assert 0 < len(metrics(tmp_path / "run")) < 6
    lenient = config(tiny_model_folder, rows, log_every_steps=1)
    train_sft(lenient, tmp_path / "run", resume=True, report=silent)
    logged = metrics(tmp_path / "run")
    assert [row["step"] for row in logged] == [1, 2, 3, 4, 5, 6]
    assert sum(row["num_skipped_rows"] for row in logged) >= 1
    assert all("row 6 of" in row["warnings"][0] for row in logged if row["num_skipped_rows"])


def test_a_row_of_which_nothing_is_trained_is_skipped(rows: Path, tiny_loaded: Any) -> None:
    message = {"role": "user", "content": "?"}
    rows.write_text(picture_row(1, "1.png") + "\n" + json.dumps({"messages": [message]}))
    batches = step_batches(config("x", rows), tiny_loaded.renderer, 0)
    skipped = [wrong for _ in range(3) for wrong in next(batches)[0].skipped]
    assert len(skipped) == 3
    assert all("row 2 of" in wrong and "no message is trained" in wrong for wrong in skipped)


LINE: dict[str, Any] = {
    "video": "clip.mp4", "segment": [1, 3], "gold": [], "questions": [{"time_s": 0, "text": "What changes?"}],
}  # fmt: skip


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Five examples: the second is no JSON, the third has no video, the fourth a video that is
    none, the fifth too many frames."""
    write_video(tmp_path / "clip.mp4", [np.zeros((64, 64, 3), np.uint8)] * 30, 1.0)
    (tmp_path / "none.mp4").write_text("no video")
    changes: list[dict[str, Any]] = [
        {},
        {},
        {"video": "gone.mp4"},
        {"video": "none.mp4"},
        {"segment": [0, 9]},
    ]
    written = [
        json.dumps({**LINE, "example_id": str(number), **change})
        for number, change in enumerate(changes)
    ]
    written[1] = "{oops"
    path = tmp_path / "examples.jsonl"
    path.write_text("\n".join(written))
    return path


def test_bad_examples_are_found_and_keep_their_places(lines: Path) -> None:
    examples = RowExamples((lines,), max_frames=5)
    told = GrpoConfig("x", examples=examples, judge="lexical", frame_interval_s=1.0)
    wrong = what_is_wrong(row_checks(told, "all"), lambda: None)
    assert [text.partition(":")[0].partition(" is ")[0] for text in wrong] == [
        f"{lines}, line {n}" for n in (2, 3, 4, 5)
    ]
    assert len(examples) == 5
    assert [row.task.task_id for row in examples.rows(skip_bad=True)] == ["0", "3", "4"]
    with pytest.raises(DataError, match="line 2 is not JSON"):
        examples.rows()


def test_bad_examples_are_skipped_and_counted(
    lines: Path, tiny_model_folder: Path, tmp_path: Path, capsys: Any
) -> None:
    out = [
        "--out",
        str(tmp_path / "run"),
        "--model",
        str(tiny_model_folder),
        "--device",
        "cpu",
        "--num-workers",
        "0",
    ]
    size = [
        "--num-steps",
        "2",
        "--prompts-per-step",
        "2",
        "--group-size",
        "2",
        "--sampling.max-new-tokens",
        "3",
    ]
    size += ["--examples.max-frames", "5", "--frame-interval-s", "1", "--judge", "lexical"]
    run = ["train", "grpo", "--recipe", "mini", "--data", str(lines), *out, *size]
    assert cli.main(run) == 2
    assert "line 2 is not JSON" in capsys.readouterr().err
    assert cli.main([*run, "--skip-bad-rows", "--json"]) == 0
    said = capsys.readouterr()
    assert "oncue: warning: 4 of 5 rows cannot be used and are skipped; the first: " in said.err
    logged = [json.loads(line) for line in said.out.splitlines()]
    assert [row["num_skipped_rows"] for row in logged] == [1, 2]
    assert logged[0]["warnings"][-1].startswith("1 row was skipped, such as ")
    assert any("2 rows were skipped, such as" in warning for warning in logged[1]["warnings"])
