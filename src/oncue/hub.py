"""From the name of a model to its folder: the one place that knows what a name may be.

A name is "mini", "mini-sft" or "mini-retrieval" (the models that ship with the package), a folder
in Hugging Face format, or a hub id (owner/name).
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

from oncue.errors import ModelError

BUNDLED_NAME = "mini"
SUPERVISED_NAME = "mini-sft"  # what mini was before reinforcement learning, which begins with it
RETRIEVAL_NAME = "mini-retrieval"  # looks into generated long films, and does not watch
BUNDLED_FOLDERS = {
    name: Path(__file__).parent / "assets" / name
    for name in (BUNDLED_NAME, SUPERVISED_NAME, RETRIEVAL_NAME)
}
HUB_TIMEOUT_S = 10.0

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_SMALL_FILES = ("*.json", "merges.txt")
_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_LFS_POINTER = b"version https://git-lfs.github.com/spec/"


def name_or_bundled(model: str | None) -> str:
    """The name a command was given, or that of the bundled model where it was given none; an empty
    one is a name."""
    return BUNDLED_NAME if model is None else model


def resolve_model(name: str | Path, *, weights: bool = True) -> Path:
    """The folder of a model; a hub id is taken from the local cache, else fetched: without its
    weights if not wanted.

    Raises ModelError where the name leads nowhere. A folder is not looked into.
    """
    if bundled := BUNDLED_FOLDERS.get(str(name)):
        if not bundled.is_dir():
            raise ModelError(
                f"a model that ships with oncue is missing from {bundled}; reinstall the package"
            )
        return bundled
    if name == "":
        raise ModelError(
            "the name of the model is empty; give a folder, a hub id (owner/name) or "
            f"{BUNDLED_NAME!r}"
        )
    folder = Path(name).expanduser()
    if folder.is_dir():
        return folder
    if folder.exists():
        raise ModelError(
            f"{name} is a file; expected a model folder, a hub id (owner/name) or {BUNDLED_NAME!r}"
        )
    if isinstance(name, Path) or not _HUB_ID.fullmatch(name) or folder.parent.is_dir():
        raise ModelError(
            f"there is no model folder {str(name)!r}; "
            f"give a folder in Hugging Face format, a hub id (owner/name) or {BUNDLED_NAME!r}"
        )
    return _fetch(name, weights)


def read_object(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder. Raises ModelError for a file that holds none."""
    refuse_pointer(path)
    try:
        value = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(
            f"{path} cannot be read as JSON ({error}); download the model folder again"
        ) from error
    if not isinstance(value, dict):
        raise ModelError(
            f"{path} must hold a JSON object, got a {type(value).__name__}; download it again"
        )
    return value


def refuse_pointer(path: Path) -> None:
    """Raises ModelError for a file of which only the Git LFS pointer was downloaded, or that cannot
    be opened."""
    try:
        with path.open("rb") as file:
            head = file.read(len(_LFS_POINTER))
    except OSError as error:
        raise ModelError(
            f"{path} cannot be read ({error.strerror}); download the model folder again"
        ) from error
    if head == _LFS_POINTER:
        raise ModelError(
            f"{path} is a Git LFS pointer, not the file itself; run git lfs pull in its folder, or "
            "download it again"
        )


def weight_files(folder: Path) -> list[Path]:
    """The weight files that the folder must hold, there or not. Raises ModelError for an index that
    names none."""
    index = folder / _INDEX
    if (folder / _WEIGHTS).is_file() or not index.is_file():
        return [folder / _WEIGHTS]
    shards = read_object(index).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise ModelError(f"{index} names no weight files; download the model folder again")
    return [folder / name for name in sorted({str(shard) for shard in shards.values()})]


def _fetch(hub_id: str, weights: bool) -> Path:
    """The local snapshot of a hub model, complete. The network is asked only for what the cache
    lacks."""
    from huggingface_hub import HfApi, snapshot_download
    from huggingface_hub.errors import (
        HfHubHTTPError,
        LocalEntryNotFoundError,
        RepositoryNotFoundError,
    )

    wanted = [*_SMALL_FILES, "*.safetensors"] if weights else list(_SMALL_FILES)
    try:
        cached = Path(snapshot_download(hub_id, allow_patterns=wanted, local_files_only=True))
        if _is_complete(cached, weights):
            return cached
    except (LocalEntryNotFoundError, ModelError):
        pass  # not in the cache, or broken
    unreachable: tuple[type[Exception], ...] = (
        OSError,
        ValueError,
        HfHubHTTPError,
        *_network_errors(),
    )
    try:
        HfApi().model_info(hub_id, timeout=HUB_TIMEOUT_S)  # a bounded look before the download
        return Path(snapshot_download(hub_id, allow_patterns=wanted))
    except RepositoryNotFoundError as error:
        raise ModelError(
            f"{hub_id!r} is no folder here, and the Hugging Face hub has no model of that name "
            "that you may read; "
            "check the name, or log in for a private or gated one"
        ) from error
    except unreachable as error:
        reason = next(iter(str(error).strip().splitlines()), "no reason given")
        raise ModelError(
            f"{hub_id!r} is no folder here, and it could not be fetched from the Hugging Face hub "
            f"({type(error).__name__}: {reason}); connect to the network, or give a folder"
        ) from error


def _is_complete(folder: Path, weights: bool) -> bool:
    """Whether a snapshot in the cache, which may have been begun for other files, holds what is
    wanted."""
    has_tokenizer = (folder / "tokenizer.json").is_file() or (folder / "vocab.json").is_file()
    has_weights = not weights or all(file.is_file() for file in weight_files(folder))
    return (folder / "config.json").is_file() and has_tokenizer and has_weights


def _network_errors() -> tuple[type[Exception], ...]:
    """What the hub client's network library raises: it changed its name between releases of the
    client."""
    from huggingface_hub.utils import get_session

    library = type(get_session()).__module__.split(".")[0]
    module = sys.modules[library]
    return tuple(
        getattr(module, name) for name in ("HTTPError", "RequestException") if hasattr(module, name)
    )
