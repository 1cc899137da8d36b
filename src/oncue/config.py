"""Typed settings to plain values and back: what `config.yaml` holds is what a run was given."""

from __future__ import annotations

import dataclasses
import enum
from pathlib import Path
from typing import Any, TypeVar

import yaml

from oncue.errors import ConfigError

T = TypeVar("T")


def to_plain(value: Any) -> Any:
    """Nested dataclasses as dicts, lists, strings and numbers that YAML can hold."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(k): to_plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(v) for v in value]
    if isinstance(value, enum.Enum):
        return value.value
    return str(value) if isinstance(value, Path) else value


def from_plain(kind: type[T], plain: Any) -> T:
    """The dataclass `kind` from plain values. Raises ConfigError for unknown fields and values of the wrong type."""
    import pydantic

    try:
        value = pydantic.TypeAdapter(kind).validate_python(plain)
    except pydantic.ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ConfigError(f"{where}: {first['msg']}, got {first.get('input')!r:.120}") from error
    _refuse_unknown(plain, to_plain(value), "")
    return value


def load_config(kind: type[T], path: Path, defaults: T | None = None) -> T:
    """Reads a YAML file of settings; what it leaves out comes from `defaults`."""
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML: {error}") from error
    if not isinstance(plain, dict):
        raise ConfigError(f"{path} must hold settings as `name: value`, got {type(plain).__name__}")
    known = {f.name for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(plain) - known)
    if unknown:
        raise ConfigError(f"{path}: unknown setting {unknown[0]!r}; expected some of {', '.join(sorted(known))}")
    base = to_plain(defaults) if defaults is not None else {}
    return from_plain(kind, {**base, **plain})


def _refuse_unknown(given: Any, understood: Any, where: str) -> None:
    """Raises ConfigError for a name in `given` that went nowhere: the types ignore what they do not know."""
    if isinstance(given, dict) and isinstance(understood, dict):
        for name, value in given.items():
            if name not in understood:
                known = ", ".join(sorted(understood))
                raise ConfigError(f"{where}{name}: unknown setting; expected some of {known}")
            _refuse_unknown(value, understood[name], f"{where}{name}.")
    elif isinstance(given, list | tuple) and isinstance(understood, list):
        for index, (value, other) in enumerate(zip(given, understood, strict=True)):
            _refuse_unknown(value, other, f"{where}{index}.")
