"""From a model's name to its folder: one owner, without torch, and without weights where none are
needed."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from oncue import hub
from oncue.errors import ModelError
from oncue.hub import resolve_model
from oncue.render.qwen_vl import QwenVLRenderer


@pytest.mark.parametrize(
    "name", ["no_such_model", "./no/such", "a/b/c", "/nowhere/model", "../mini/x"]
)
def test_an_unknown_name_is_one_clear_line(name: str) -> None:
    with pytest.raises(ModelError, match="there is no model folder"):
        resolve_model(name)


def test_a_missing_folder_beside_others_is_not_looked_up_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "runs").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_fetch", lambda *_: pytest.fail("asked the hub"))
    with pytest.raises(ModelError, match="there is no model folder 'runs/best'"):
        resolve_model("runs/best")


def test_a_file_is_no_folder(tiny_model_folder: Path) -> None:
    with pytest.raises(ModelError, match="is a file"):
        resolve_model(tiny_model_folder / "config.json")


def test_bundled_models_have_names(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve_model("mini") != resolve_model("mini-sft")
    monkeypatch.setattr(hub, "BUNDLED_FOLDERS", {"mini": tmp_path, "mini-sft": tmp_path / "lost"})
    assert resolve_model("mini") == tmp_path
    with pytest.raises(ModelError, match="reinstall"):
        resolve_model("mini-sft")


def test_a_hub_id_is_looked_up_in_the_cache_first(
    tiny_model_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[bool] = []

    def cached(_: str, *, local_files_only: bool = False, **__: object) -> str:
        asked.append(local_files_only)
        return str(tiny_model_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert resolve_model("someone/some-model") == tiny_model_folder
    assert asked == [True]


def test_an_unreachable_hub_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    timeouts: list[object] = []

    class Unreachable:
        def model_info(self, _: str, *, timeout: float) -> None:
            timeouts.append(timeout)
            raise ConnectionError("Name or service not known\nTraceback of the library")

    def not_cached(*_: object, local_files_only: bool = False, **__: object) -> str:
        assert local_files_only, "the download must not start before the bounded look"
        raise LocalEntryNotFoundError("nothing cached")

    monkeypatch.setattr(huggingface_hub, "HfApi", Unreachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", not_cached)
    with pytest.raises(ModelError) as caught:
        resolve_model("someone/some-model")
    assert "Name or service not known" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert timeouts == [hub.HUB_TIMEOUT_S]


def test_an_offline_hub_is_told_at_once() -> None:
    """The real client, switched offline (`tests/conftest.py`)."""
    from huggingface_hub import constants

    assert constants.HF_HUB_OFFLINE
    start_s = time.perf_counter()
    with pytest.raises(ModelError, match="'someone/some-model' is no folder here") as caught:
        resolve_model("someone/some-model")
    assert time.perf_counter() - start_s < 5
    assert "\n" not in str(caught.value)


@pytest.fixture
def cached(
    tiny_model_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> tuple[Path, list[str]]:
    """A snapshot in the cache without weights, and a hub that completes it; the list fills with
    what is asked of it."""
    import huggingface_hub

    snapshot = Path(shutil.copytree(tiny_model_folder, tmp_path / "snapshot"))
    (snapshot / "model.safetensors").unlink()
    asked: list[str] = []

    def download(_: str, *, allow_patterns: list[str], local_files_only: bool = False) -> str:
        asked.append("cache" if local_files_only else "network")
        if not local_files_only and "*.safetensors" in allow_patterns:
            shutil.copy(tiny_model_folder / "model.safetensors", snapshot)
        return str(snapshot)

    class Reachable:
        def model_info(self, _: str, *, timeout: float) -> None:
            del timeout

    monkeypatch.setattr(huggingface_hub, "HfApi", Reachable)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    return snapshot, asked


def test_weights_are_fetched_only_where_they_are_wanted(cached) -> None:
    snapshot, asked = cached
    assert resolve_model("someone/some-model", weights=False) == snapshot
    assert asked == ["cache"]
    assert not (snapshot / "model.safetensors").exists()
    assert resolve_model("someone/some-model") == snapshot
    assert asked == ["cache", "cache", "network"]
    assert (snapshot / "model.safetensors").exists()


def test_a_snapshot_begun_for_something_else_is_completed(cached) -> None:
    snapshot, asked = cached
    (snapshot / "tokenizer.json").unlink()
    resolve_model("someone/some-model", weights=False)
    assert asked == ["cache", "network"]


def test_a_renderer_takes_every_name_and_no_weights(cached) -> None:
    snapshot, _ = cached
    renderer = QwenVLRenderer.from_pretrained("someone/some-model")
    assert renderer.silence_ids == QwenVLRenderer.from_pretrained(snapshot).silence_ids
    assert not (snapshot / "model.safetensors").exists()
    assert QwenVLRenderer.from_pretrained("mini").format.silence_text == "NO REPLY"


def test_finding_a_model_does_not_import_torch() -> None:
    code = (
        "import sys; from oncue.hub import resolve_model; "
        "resolve_model('mini'); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
