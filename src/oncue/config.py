"""Typed settings to plain values and back: what `config.yaml` holds is what a run was given.

Whatever does not fit is a ConfigError that names the setting, what was given and what was expected.
"""

from __future__ import annotations

import dataclasses
import difflib
import enum
import types
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from oncue.errors import ConfigError

T = TypeVar("T")
_WORDS = {  # of types, as Python and pydantic call them
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "string": "text",
    "tuple": "a list",
    "dict": "settings as `name: value`",
}


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
    """The dataclass `kind` from plain values. Raises ConfigError for unknown fields and values of
    the wrong type."""
    return _read(kind, plain, "")


def load_config(kind: type[T], path: Path, defaults: T | None = None) -> T:
    """Reads a YAML file of settings; what it leaves out comes from `defaults`. Errors name the
    file."""
    try:
        plain = yaml.safe_load(path.read_text("utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ConfigError(f"{path} cannot be read as YAML ({_yaml_reason(error)})") from error
    if not isinstance(plain, dict):
        given = "nothing" if plain is None else repr(plain)
        raise ConfigError(f"{path} must hold settings as `name: value`, got {given:.80}")
    base = to_plain(defaults) if defaults is not None else {}
    try:
        return from_plain(kind, {**base, **plain})
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from error


def _yaml_reason(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return (error.strerror if isinstance(error, OSError) else None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {getattr(error, 'problem', error)}"


def _read(kind: Any, plain: Any, where: str) -> Any:
    """The value of type `kind`; `where` is the name of the setting, dotted."""
    if dataclasses.is_dataclass(kind):
        return _settings((kind,), plain, where)
    if get_origin(kind) in (Union, types.UnionType):
        options = tuple(option for option in get_args(kind) if dataclasses.is_dataclass(option))
        if options and plain is not None:
            return _settings(options, plain, where)
    if get_origin(kind) is tuple and any(
        dataclasses.is_dataclass(each) for each in (get_args(kind)[0], *get_args(get_args(kind)[0]))
    ):
        if not isinstance(plain, list | tuple):
            raise _refusal(where, "a list", plain)
        return tuple(
            _read(get_args(kind)[0], item, f"{where}.{index}") for index, item in enumerate(plain)
        )
    return _value(kind, plain, where)


def _settings(options: Sequence[Any], plain: Any, where: str) -> Any:
    """One of the dataclasses `options`, field by field: the one that knows most of the names, and
    lacks least."""
    if not isinstance(plain, dict):
        raise _refusal(where, "settings as `name: value`", plain)
    kind = min(
        options,
        key=lambda option: (len(set(plain) - _names(option)), len(_required(option) - set(plain))),
    )
    before = f"{where}." if where else ""
    for name in plain:
        if name not in _names(kind):
            known = set().union(*map(_names, options)) - {name}
            raise ConfigError(f"{before}{name}: unknown setting; {_hint(str(name), known)}")
    hints = get_type_hints(kind)
    for name in sorted(_required(kind) - set(plain)):
        raise ConfigError(f"{before}{name} is missing; expected {_worded(hints[name])}")
    values = {name: _read(hints[name], value, before + name) for name, value in plain.items()}
    try:
        return kind(**values)
    except ValueError as error:
        raise ConfigError(f"{where}: {error}" if where else str(error)) from error


def _names(kind: Any) -> set[str]:
    return {field.name for field in dataclasses.fields(kind)}


def _required(kind: Any) -> set[str]:
    absent = dataclasses.MISSING
    return {
        f.name
        for f in dataclasses.fields(kind)
        if f.default is absent and f.default_factory is absent
    }


def _value(kind: Any, plain: Any, where: str) -> Any:
    """A value that is no dataclass."""
    import pydantic

    try:
        return pydantic.TypeAdapter(kind).validate_python(plain)
    except pydantic.ValidationError as error:
        first = error.errors(include_url=False)[0]
        if first["type"] in ("missing", "too_long"):  # of a tuple
            raise _refusal(where, _worded(kind), plain) from None
        stated = first["msg"].removeprefix("Input should be ").split(", ")[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise _refusal(
            place, _WORDS.get(first["type"].split("_")[0], stated), first["input"]
        ) from None


def _refusal(where: str, expected: str, given: Any) -> ConfigError:
    return ConfigError(f"{where or 'the settings'}: expected {expected}, got {given!r:.80}")


def _hint(name: str, known: set[str]) -> str:
    close = difflib.get_close_matches(name, sorted(known), 1)
    return f"did you mean {close[0]}?" if close else f"expected some of {', '.join(sorted(known))}"


def _worded(kind: Any) -> str:
    name = (
        kind.__name__
        if isinstance(kind, type) and not get_args(kind)
        else str(kind).replace("typing.", "")
    )
    return _WORDS.get(name, name)
