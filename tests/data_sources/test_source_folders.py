"""Folders of videos: with subtitles beside or inside them, with speech, and bare."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
from source_support import opened, parted, plain, remark, written

from oncue.data.source_videos import Remark
from oncue.data.sources.bare_videos import BareVideos
from oncue.data.sources.subtitled_videos import SubtitledVideos
from oncue.data.sources.transcribers import FasterWhisper, _loaded
from oncue.errors import ConfigError, DataError

SRT = "1\n00:00:00,200 --> 00:00:00,800\nHello there.\n\n2\n00:00:01,000 --> 00:00:09,000\nBye.\n"


def video(path: Path, num_frames: int = 20, *, subtitles: str = "", sound: bool = False) -> Path:
    """Grey pictures, 10 a second; perhaps with a track of subtitles, or of silence."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10, options={"bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        tone = container.add_stream("pcm_s16le", rate=8000) if sound else None
        source = track = None
        if subtitles:
            text = path.with_suffix(".text.srt")
            text.write_text(subtitles)
            source = av.open(str(text))
            track = container.add_stream_from_template(source.streams[0])
            track.metadata["language"] = "eng"
        for number in range(num_frames):
            picture = np.full((32, 32, 3), 100, np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = number
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if tone is not None:
            noise = av.AudioFrame.from_ndarray(np.zeros((1, 8000), np.int16), layout="mono")
            noise.rate = 8000
            container.mux(tone.encode(noise))
        if source is not None and track is not None:
            for packet in source.demux():
                if packet.pts is not None:
                    packet.stream = track
                    container.mux(packet)
            source.close()
            text.unlink()
    return path


@dataclass
class Parrot:
    """Hears the same words in every video."""

    heard: list[Path] = field(default_factory=list)

    def words(self, video: Path) -> Sequence[Remark]:
        self.heard.append(video)
        return [remark(0.5, 1.0, " Polly"), remark(1.0, 1.5, " speaks.")]


def test_subtitles_beside_their_videos(tmp_path: Path) -> None:
    for name in ("a", "b", "deep/c", "d"):
        video(tmp_path / f"{name}.mp4")
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "a.fr.srt").write_text(SRT.replace("Hello", "Bonjour"))
    (tmp_path / "b.en-US.vtt").write_text("WEBVTT\n\n00:00.000 --> 00:01.000\nOnly here.\n")
    written(tmp_path / "b.info.json", {"title": "x"})
    words = [{"word": " I", "start": 0.5, "end": 0.7}, {"word": " am.", "start": 0.7, "end": 1}]
    segments = [{"start": 0.5, "end": 1, "text": " I am.", "words": words}]
    written(tmp_path / "deep" / "c.words.json", {"segments": segments})
    (tmp_path / "z.srt").write_text(SRT)
    found, faults = opened("subtitles", tmp_path)
    assert [(each.video_id, [s.text for s in each.sentences]) for each in found] == [
        ("a", ["Hello there.", "Bye."]),
        ("b", ["Only here."]),
        ("deep_c", ["I am."]),
    ]
    assert plain(found[0].sentences)[1] == (1, 2, "Bye.")  # cut at the end of the video
    assert found[0].duration_s == 2.0
    assert found[0].video == str(tmp_path / "a.mp4")
    assert "d.mp4 has no subtitles" in faults[0]
    assert "z.srt: there is no video of this name" in faults[1]
    (french,), faults = opened("subtitles", tmp_path / "a.mp4", language="fr")
    assert french.sentences[0].text == "Bonjour there."
    assert not faults


def test_subtitles_in_a_folder_of_their_own(tmp_path: Path) -> None:
    for name in ("x/a", "y/a"):
        video(tmp_path / "videos" / f"{name}.mp4")
        (tmp_path / "texts" / name).parent.mkdir(parents=True)
        (tmp_path / "texts" / f"{name}.srt").write_text(SRT.replace("there", name[0]))
    found, faults = opened("subtitles", tmp_path / "texts", videos=tmp_path / "videos")
    assert [each.sentences[0].text for each in found] == ["Hello x.", "Hello y."]
    assert not faults


def test_no_video_gets_the_subtitles_of_another_of_its_name(tmp_path: Path) -> None:
    for name in ("a", "deep/a", "b"):
        video(tmp_path / f"{name}.mp4")
    (tmp_path / "a.srt").write_text(SRT)
    (tmp_path / "texts").mkdir()
    (tmp_path / "texts" / "b.srt").write_text(SRT)
    found, faults = opened("subtitles", tmp_path)
    assert [each.video_id for each in found] == ["a", "b"]
    assert len(faults) == 1
    assert "deep/a.mp4 has no subtitles" in faults[0]


def test_a_file_that_cannot_be_read_gives_way_to_a_track(tmp_path: Path) -> None:
    path = video(tmp_path / "a.mkv", subtitles=SRT)
    written(tmp_path / "a.json", {"no": "transcript"})
    (found,), faults = opened("subtitles", path)
    assert [each.text for each in found.sentences] == ["Hello there.", "Bye."]
    assert found.sentences[0].span.start_s == pytest.approx(0.2, abs=0.11)
    assert "a.json holds no segments" in faults[0]
    found_none, faults = opened("subtitles", path, language="fr")
    assert not found_none
    assert "no track of text in 'fr'" in faults[-1]
    assert opened("subtitles", path, language="en")[0]


def test_speech_stands_in_for_subtitles(tmp_path: Path) -> None:
    for name in ("a", "b"):
        video(tmp_path / f"{name}.mp4")
    (tmp_path / "a.srt").write_text(SRT)
    parrot = Parrot()
    found, faults = parted(SubtitledVideos((tmp_path,), transcriber=parrot))
    assert [each.sentences[0].text for each in found] == ["Hello there.", "Polly speaks."]
    assert (parrot.heard, faults) == ([tmp_path / "b.mp4"], [])


def test_bare_videos_with_and_without_speech(tmp_path: Path) -> None:
    video(tmp_path / "deep" / "a.mp4")
    (tmp_path / "b.mp4").write_bytes(b"no video")
    (tmp_path / ".hidden.mp4").touch()
    (bare,), faults = opened("videos", tmp_path)
    assert (bare.video_id, bare.duration_s, bare.sentences) == ("deep_a", 2.0, ())
    assert "b.mp4 cannot be opened as a video" in faults[0]
    (spoken, _), _ = parted(BareVideos((tmp_path / "deep" / "a.mp4", tmp_path), None, Parrot()))
    assert plain(spoken.sentences) == [(0.5, 1.5, "Polly speaks.")]
    with pytest.raises(DataError, match="no video in"):
        opened("videos", written(tmp_path / "empty" / "a.json", {}).parent)


def test_faster_whisper_is_asked_for_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[dict[str, object]] = []

    class Model:
        def __init__(self, name: str, device: str) -> None:
            if name == "none" and device == "auto":
                raise ValueError("no such size")

        def transcribe(self, path: str, **options: object) -> tuple[object, None]:
            asked.append({"path": path, **options})
            words = [SimpleNamespace(start=0.5, end=1.0, word=" Hi."), SimpleNamespace(**VARS)]
            return iter([SimpleNamespace(words=words), SimpleNamespace(words=None)]), None

    VARS = {"start": 1.0, "end": 1.5, "word": " Yes."}
    monkeypatch.setitem(sys.modules, "faster_whisper", SimpleNamespace(WhisperModel=Model))
    _loaded.cache_clear()
    silent, loud = video(tmp_path / "a.mkv"), video(tmp_path / "b.mkv", sound=True)
    found, _ = opened("videos", tmp_path, speech="small", language="en")
    assert [[s.text for s in each.sentences] for each in found] == [[], ["Hi.", "Yes."]]
    assert asked == [
        {"path": str(loud), "language": "en", "word_timestamps": True, "vad_filter": True}
    ]
    assert FasterWhisper("none").words(silent) == ()  # the model is not loaded for it
    with pytest.raises(ConfigError, match="cannot load the model 'none'"):
        FasterWhisper("none").words(loud)
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(ConfigError, match="install it with pip install 'faster-whisper"):
        FasterWhisper("large-v3").words(loud)
    _loaded.cache_clear()


def test_a_video_that_is_named_is_the_only_one(tmp_path: Path) -> None:
    """Others lie in the folder that paths count from."""
    named = video(tmp_path / "a.mp4")
    video(tmp_path / "b.mp4")
    (tmp_path / "a.srt").write_text(SRT)
    found = list(SubtitledVideos((named, tmp_path / "a.srt"), tmp_path).videos())
    assert [Path(each.video).name for each in found] == ["a.mp4"]  # type: ignore[union-attr]
    found = list(SubtitledVideos((tmp_path / "a.srt",), tmp_path).videos())
    assert len(found) == 2
    assert isinstance(found[1], DataError)


def test_a_video_in_the_folder_that_paths_count_from_is_named_from_there(tmp_path: Path) -> None:
    """As annotations name it, so that a split keeps it on one side."""
    inside = video(tmp_path / "videos" / "deep" / "a.mp4")
    outside = video(tmp_path / "b.mp4")
    found, _ = opened("videos", inside, outside, videos=tmp_path / "videos")
    assert [each.video for each in found] == ["deep/a.mp4", str(outside)]


def test_a_name_that_is_no_text_is_listed_and_the_others_are_read(tmp_path: Path) -> None:
    video(tmp_path / "good.mp4")
    video(tmp_path / "b.mp4").rename(tmp_path / "caf\udce9.mp4")
    found, faults = opened("videos", tmp_path)
    assert [Path(each.video).name for each in found] == ["good.mp4"]
    assert len(faults) == 1
    assert "is not UTF-8 text; rename it" in faults[0].encode().decode()
