"""Training from proactive dialogues: from videos or a store the same, each row once in an epoch,
segments with their history, mixtures by ratios; wrong rows are named."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from oncue.clock import Clock
from oncue.config import from_plain, to_plain
from oncue.data.dialogue_sources import RowSource, WorldSource
from oncue.data.frame_build import build_store
from oncue.data.frame_index import StoreSettings
from oncue.data.frame_plan import plan_store
from oncue.data.indexed_rows import forget_indexed_rows, indexed_rows
from oncue.data.mixed_source import MixedSource, forget_files
from oncue.data.offline_source import OfflineSource
from oncue.data.proactive_examples import ProactiveExamples
from oncue.data.proactive_sources import ProactiveSource, clips_of
from oncue.data.row_examples import check_held_out
from oncue.data.training_source import training_source
from oncue.errors import ConfigError, DataError
from oncue.render.qwen_vl import PROACTIVE_SYSTEM
from oncue.train.rl.settings import GrpoConfig
from oncue.train.sft.settings import SftConfig, Stage, stage_steps
from oncue.types import Reply, Silence
from row_videos import number_of, numbered_video

CLOCK = Clock(0.5)
ROW: dict[str, Any] = {
    "row_id": "one", "video": "a.mp4", "video_id": "a", "part": None, "duration": 4.0,
    "source": "x", "kind": "web", "dialogue": "nQnA",
    "questions": [{"text": "What changes?", "time_s": 0.0}, {"text": "And now?", "time_s": 2.0}],
    "gold": [
        {"question": "What changes?", "content": "It began.", "reply_timespan": [0.4, 1.2]},
        {"question": "And now?", "content": "It ended.", "reply_timespan": [2.6, 3.4]},
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of 4 s."""
    folder = tmp_path_factory.mktemp("clips")
    numbered_video(folder / "a.mp4", 40)
    return folder


def written(folder: Path, rows: Iterable[Any], name: str = "rows.jsonl") -> Path:
    forget_files()
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def made_store(videos: Path, rows: Path, folder: Path) -> Path:
    folder.mkdir()
    settings = StoreSettings(frame_interval_s=0.25, quality=95)
    plan = plan_store(folder, settings, clips_of([rows]), clips_per_shard=4)
    build_store(plan, videos, on_shard=lambda: None)
    return folder


def test_replies_are_at_the_end_of_their_spans(videos: Path, tmp_path: Path) -> None:
    source = ProactiveSource((written(tmp_path, [ROW]),), videos)
    dialogue, frames = source.item(0, 0, CLOCK, 2)
    assert [number_of(pixels) for pixels in frames] == [5, 10, 15, 20, 25, 30, 35, 39]
    assert [(t.text, t.num_frames) for t in dialogue.turns] == [
        (PROACTIVE_SYSTEM, 0), ("What changes?", 2), ("It began.", 0), ("And now?", 2),
        ("NO REPLY", 0), ("", 2), ("It ended.", 0), ("", 2), ("NO REPLY", 0),
    ]  # fmt: skip


def test_a_store_and_the_videos_give_the_same_dialogue(videos: Path, tmp_path: Path) -> None:
    part = {**ROW, "row_id": "two", "part": [1.0, 3.0], "duration": 2.0, "gold": ROW["gold"][:1]}
    rows = written(tmp_path, [ROW, part])
    from_videos = ProactiveSource((rows,), videos)
    from_store = ProactiveSource((rows,), store=made_store(videos, rows, tmp_path / "store"))
    seen = set()
    for index in range(2):
        dialogue, frames = from_videos.item(index, 3, CLOCK, 1)
        again, stored = from_store.item(index, 3, CLOCK, 1)
        assert dialogue == again
        assert [number_of(p) for p in frames] == [number_of(p) for p in stored]
        seen.add((dialogue.dialogue_id, number_of(frames[0])))
    assert seen == {("one", 5), ("two", 15)}


def test_rows_are_read_by_number_whatever_the_file(tmp_path: Path) -> None:
    odd = [{"n": n, "text": 'a [quoted "brace}'} for n in range(7)]
    lines = tmp_path / "a.jsonl"
    lines.write_bytes(b"\xef\xbb\xbf" + b"\n\n".join(json.dumps(row).encode() for row in odd))
    array = tmp_path / "a.json"
    array.write_text(json.dumps(odd, indent=1))
    files = [lines, array]
    pq = pytest.importorskip("pyarrow.parquet")
    import pyarrow as pa

    files.append(tmp_path / "a.parquet")
    pq.write_table(pa.Table.from_pylist(odd), files[2], row_group_size=3)
    for path in files:
        forget_indexed_rows()
        rows = indexed_rows(path)
        assert [rows.read(n, "x") for n in (6, 0, 3)] == [odd[6], odd[0], odd[3]]
    assert [indexed_rows(path).where(1) for path in files] == [
        f"{lines}, line 3", f"{array}, row 2", f"{files[2]}, row 2",
    ]  # fmt: skip
    forget_indexed_rows()
    array.write_text(json.dumps(odd)[:-5])
    with pytest.raises(DataError, match="is cut off"):
        indexed_rows(array)
    files[2].write_bytes(b"PAR1")
    with pytest.raises(DataError, match="is no Parquet file"):
        indexed_rows(files[2])


def test_every_epoch_holds_every_row_once_in_another_order(tmp_path: Path) -> None:
    from oncue.data.row_files import RowFiles

    names = [written(tmp_path, [{"n": n} for n in some], f"{some[0]}.jsonl") for some in
             (range(3), range(3, 9))]  # fmt: skip
    files = RowFiles(tuple(names))
    epochs = [[files.shuffled(9 * e + i, 5).read("x")["n"] for i in range(9)] for e in range(3)]
    assert all(sorted(epoch) == list(range(9)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 3
    assert [files.shuffled(i, 6).read("x")["n"] for i in range(9)] != epochs[0]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"video": "gone.mp4"}, "the video gone.mp4 is not in"),
        ({"questions": []}, "'questions' must be a list that is not empty"),
        ({"gold": [{"content": "x", "reply_timespan": [9, 10]}]}, "due at 9 s, but the video ends"),
        ({"part": [7, 9]}, "a.mp4 ends at 4 s"),
    ],
)
def test_a_wrong_row_is_named_and_found_before_the_run(
    videos: Path, tmp_path: Path, change: dict[str, Any], said: str
) -> None:
    rows = written(tmp_path, [{**ROW, **change}])
    for attempt in (
        lambda: ProactiveSource((rows,), videos).item(0, 0, CLOCK, 1),
        lambda: [check() for check in ProactiveSource((rows,), videos).checks(CLOCK)],
    ):
        with pytest.raises(DataError, match=said) as caught:
            attempt()
        assert str(caught.value).startswith(f"{rows}, line 1")


def test_segments_have_their_history_answered(videos: Path, tmp_path: Path) -> None:
    rows = written(tmp_path, [ROW])
    store = made_store(videos, rows, tmp_path / "store")
    examples = ProactiveExamples((rows,), videos, segment_s=2.0, order_seed=None)
    assert len(examples) == 2
    first, second = (examples.item(n, 0, CLOCK, 2) for n in range(2))
    assert first.history == ()
    assert [turn.clock_s for turn in first.turns] == [1, 2]
    assert [turn.clock_s for turn in second.turns] == [3, 4]
    assert [action for _, action in second.history] == [Reply("It began."), Silence()]
    assert [gold.content for gold in first.task.gold] == ["It began."]
    assert [gold.content for gold in second.task.gold] == ["It ended."]
    assert (first.task.task_id, second.task.task_id) == ("one@0-2s", "one@2-4s")
    few = replace(examples, max_frames=6, store=store).item(1, 0, CLOCK, 2)
    assert [turn.clock_s for turn, _ in few.history] == [2]
    assert few.history[0][0].text == "What changes?\nAnd now?"
    assert [number_of(p) for p in few.frames] == [15, 20, 25, 30, 35, 39]


def test_what_ends_before_the_first_question_is_no_example(videos: Path, tmp_path: Path) -> None:
    late = {**ROW, "questions": [{"text": "And?", "time_s": 2.5}], "gold": []}
    short = {**ROW, "row_id": "short", "duration": None, "gold": ROW["gold"][:1]}
    rows = written(tmp_path, [late, short])
    examples = ProactiveExamples((rows,), videos, segment_s=1.0, order_seed=None)
    assert [row.task.task_id for row in examples.examples()] == [
        "one@2-3s", "one@3-4s", "short@0-1s", "short@1-2s",
    ]  # fmt: skip
    shuffled = [replace(examples, order_seed=1).item(n, 0, CLOCK, 1) for n in range(4)]
    assert {each.task.task_id for each in shuffled} == {r.task.task_id for r in examples.examples()}
    with pytest.raises(DataError, match=r"line 1: example 'one@2-3s' shows the video 'a', which"):
        check_held_out(examples.examples(), [written(tmp_path, [ROW], "sft.jsonl")])
    with pytest.raises(DataError, match=r"rows.jsonl, line 1: its segment has 2 frames, more than"):
        [check() for check in replace(examples, max_frames=1).checks(CLOCK, 1)]


@pytest.mark.parametrize("odds", [(2.0, 1.0, 1.0), (0.5, 0.0, 0.5), (3.0, 5.0, 0.1)])
def test_a_mixture_keeps_its_ratios_in_every_stretch(tmp_path: Path, odds: Any) -> None:
    parts = tuple(RowSource((tmp_path / name,)) for name in "abc")
    mixed = MixedSource(parts, odds)
    drawn = [mixed._drawn(index, 0) for index in range(400)]
    for start in (0, 100, 333):
        counts = Counter(part.paths[0].name for part, _ in drawn[start : start + 60])  # type: ignore[union-attr]
        for name, share in zip("abc", odds, strict=True):
            assert abs(counts[name] - 60 * share / sum(odds)) <= 2
    for part in parts:  # each is read from its first row on, in order
        numbers = [number for each, number in drawn if each == part]
        assert numbers == list(range(len(numbers)))


def test_without_odds_every_row_comes_once_in_an_epoch(tmp_path: Path) -> None:
    sizes = {"a": 5, "b": 2, "c": 4}
    parts = [written(tmp_path, [{"n": n} for n in range(size)], name) for name, size in
             sizes.items()]  # fmt: skip
    mixed = MixedSource(tuple(RowSource((path,)) for path in parts))
    assert len(mixed) == 11
    drawn = Counter(mixed._drawn(index, 0)[0] for index in range(11))
    assert sorted(drawn.values()) == [2, 4, 5]
    assert stage_steps(Stage("s", mixed, 4)) == 3
    with pytest.raises(ConfigError, match="where a part is endless"):
        MixedSource((WorldSource(), *mixed.parts))
    endless = MixedSource((WorldSource(), *mixed.parts), (1, 1, 1, 1))
    with pytest.raises(ConfigError, match="give it num_steps"):
        stage_steps(Stage("s", endless, 4))


def test_settings_are_written_and_read_back() -> None:
    own = ProactiveSource((Path("a"),), Path("v"), Path("s"))
    offline = OfflineSource((Path("b"),), 64, videos=Path("v"))
    for source in (own, offline, MixedSource((own, offline, RowSource((Path("c"),))), (1, 2, 3))):
        stage = Stage("s", source, 2)
        assert from_plain(Stage, to_plain(stage)) == stage
    config = GrpoConfig("m", ProactiveExamples((Path("a"),), Path("v")), judge="lexical")
    assert from_plain(GrpoConfig, to_plain(config)) == config


def test_the_files_of_a_run_say_what_they_are(videos: Path, tmp_path: Path) -> None:
    own = written(tmp_path, [ROW])
    chat = written(tmp_path, [{"messages": []}], "chat.jsonl")
    assert training_source([chat], offline_frames=4) == RowSource((chat,))
    assert training_source([own], videos=videos, offline_frames=4) == ProactiveSource(
        (own,), videos
    )
    mixed = training_source([own], [chat], ratios=[2, 1], videos=videos, offline_frames=4)
    assert isinstance(mixed, MixedSource)
    assert [type(part) for part in mixed.parts] == [ProactiveSource, OfflineSource]
    for arguments, said in (
        ({"data": [own, chat]}, "files of one kind"),
        ({"data": [chat], "store": videos}, "--frames is for proactive dialogues"),
        ({"data": [chat], "videos": videos}, "--videos is for proactive dialogues"),
        ({"data": [own], "ratios": [1, 2]}, "--ratios needs 1 numbers"),
    ):
        with pytest.raises(ConfigError, match=said):
            training_source(**arguments, offline_frames=4)  # type: ignore[arg-type]


def test_bad_rows_of_a_mixture_are_skipped_as_those_of_one_file(
    videos: Path, tmp_path: Path, tiny_loaded: Any
) -> None:
    from oncue.train.sft.batches import draw_dialogue

    own = written(tmp_path, [ROW])
    offline = written(tmp_path, [{"id": "x", "video": "gone.mp4", "conversations": [
        {"from": "human", "value": "Q"}, {"from": "gpt", "value": "A"}]}], "off.jsonl")  # fmt: skip
    mixed = MixedSource(
        (ProactiveSource((own,), videos), OfflineSource((offline,), 4, videos=videos))
    )
    config = SftConfig("x", (Stage("s", mixed, 1),), frame_interval_s=0.5, skip_bad_rows=True)
    drawn = [draw_dialogue(config, 0, index, tiny_loaded.renderer) for index in range(2)]
    assert [each.dialogue.dialogue_id for each in drawn] == ["one", "one"]
    assert sorted(f"{offline}, line 1: the video gone.mp4" in each.skipped for each in drawn) == [
        False, True,
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"off.jsonl, line 1.* leave out such rows with --skip-bad"):
        [draw_dialogue(replace(config, skip_bad_rows=False), 0, n, tiny_loaded.renderer)
         for n in range(2)]  # fmt: skip
    assert all(isinstance(p.patches, np.ndarray) for p in drawn[0].frames)


def test_a_dialogue_that_ends_before_its_video_is_shown_to_its_end(
    videos: Path, tmp_path: Path
) -> None:
    """What comes later is not written as silence."""
    row = {**ROW, "duration": 2.0, "questions": ROW["questions"][:1], "gold": ROW["gold"][:1]}
    source = ProactiveSource((written(tmp_path, [row]),), videos)
    _, frames = source.item(0, 0, CLOCK, 2)
    assert [number_of(pixels) for pixels in frames] == [5, 10, 15, 20]
