"""Reads the tokenizer and the config of a model folder.

The tokenizer is read with the `tokenizers` library alone: no seconds of import, and its switch that
keeps special tokens in text from being special is set once for good instead of being shared,
mutable state.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

from tokenizers import Tokenizer

from oncue.errors import ModelError
from oncue.hub import read_object, refuse_pointer
from oncue.render.decision import DecisionName

OWN_FILE = "oncue.json"  # what other libraries have no place for


def read_config(folder: Path) -> dict[str, Any]:
    """The model's `config.json`, or an empty dict where a folder holds only a tokenizer and an
    image processor."""
    path = folder / "config.json"
    return read_object(path) if path.is_file() else {}


def read_decision_name(folder: Path) -> DecisionName:
    """The decision format of the model: what its `oncue.json` says, text where it has none."""
    path = folder / OWN_FILE
    if not path.is_file():
        return "text"
    said = read_object(path).get("decision_format", "text")
    for name in get_args(DecisionName):
        if said == name:
            return name
    known = ", ".join(get_args(DecisionName))
    raise ModelError(f"{path} states decision_format {said!r}; this version of oncue knows {known}")


def own_file(decision_name: DecisionName) -> dict[str, bytes]:
    """The files, by name, that say so in a model folder: none for text, which is what a folder
    without one speaks."""
    if decision_name == "text":
        return {}
    return {OWN_FILE: (json.dumps({"decision_format": decision_name}) + "\n").encode()}


def read_tokenizer(folder: Path) -> Tokenizer:
    """A tokenizer for ordinary text: special tokens written in a text are encoded as the characters
    they consist of."""
    path = folder / "tokenizer.json"
    try:
        tokenizer = _from_file(path) if path.is_file() else _from_vocabulary(folder)
    except ModelError:
        raise
    except Exception as error:  # the library raises bare Exception for a broken file
        raise ModelError(
            f"{path} cannot be read ({error}); download the model folder again"
        ) from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    tokenizer.encode_special_tokens = True
    return tokenizer


def _from_file(path: Path) -> Tokenizer:
    refuse_pointer(path)
    return Tokenizer.from_file(str(path))


def _from_vocabulary(folder: Path) -> Tokenizer:
    if not (folder / "vocab.json").is_file() or not (folder / "merges.txt").is_file():
        raise ModelError(
            f"{folder} has no tokenizer: expected tokenizer.json, or vocab.json with merges.txt"
        )
    for name in ("vocab.json", "merges.txt"):
        refuse_pointer(folder / name)
    from transformers import AutoTokenizer

    loaded = AutoTokenizer.from_pretrained(str(folder))
    return Tokenizer.from_str(loaded.backend_tokenizer.to_str())


def mark_ids(
    folder: Path,
    tokenizer: Tokenizer,
    config: dict[str, Any],
    marks: Iterable[str],
    stated: Mapping[str, str],
    family: str,
) -> dict[str, int]:
    """The id of each of `marks`, the structural ones of a family of models.

    `stated`: the keys of `config.json` that repeat the id of one of them.
    Raises ModelError where the tokenizer lacks one, where text could be encoded as one, or where
    `config.json` states another id.
    """
    ids: dict[str, int] = {}
    for mark in marks:
        found = tokenizer.token_to_id(mark)
        if found is None:
            raise ModelError(
                f"the tokenizer of {folder} has no token {mark}; expected a {family} tokenizer"
            )
        if found in tokenizer.encode(mark, add_special_tokens=False).ids:
            raise ModelError(
                f"the tokenizer of {folder} does not mark {mark} as special, so text could forge it"
            )
        ids[mark] = found
    for key, mark in stated.items():
        if config.get(key) not in (None, ids[mark]):
            raise ModelError(
                f"{folder}: config.json states {key} = {config[key]}, but the tokenizer has {mark} "
                f"= {ids[mark]}; "
                "config and tokenizer are of different models"
            )
    return ids
