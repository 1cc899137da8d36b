"""Law 13: imports point down. A module imports lower levels, and its own folder."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import oncue

PACKAGE = Path(oncue.__file__).parent

LEVELS: dict[str, float] = {
    **dict.fromkeys(("types", "clock", "errors", "startup", "aio", "terminal", "thoughts", "stopping"), 0),
    **dict.fromkeys(("chat_limits", "chat_stream"), 0),
    "memory": 0.25,  # files say by it how large things are
    **dict.fromkeys(("files", "fields", "config", "chat_client", "hub"), 0.5),  # values in and out; errors of 0
    **dict.fromkeys(("video", "render", "reward"), 1),
    **dict.fromkeys(("env", "policy", "dialogue"), 2),
    **dict.fromkeys(("rollout", "world"), 3),  # the world writes its gold as dialogues
    "score": 3.5,  # names every judge, the world's too; training stores its rollouts by it
    **dict.fromkeys(("train", "eval", "serve", "watch"), 4),
    "view": 4.5,  # shows what training stored, in the manner of watch
    "bench": 4.5,  # measures the engine, and training
    **dict.fromkeys(("recipes", "doctor"), 5),
    "study": 5.5,  # runs recipes side by side
    **dict.fromkeys(("cli", "commands"), 6),
}


def unit_of(module: str) -> str:
    """`oncue.video.decode` -> `video`; the package itself -> ``."""
    return module.split(".")[1] if "." in module else ""


def imports_of(source: str, module: str, *, is_package: bool = False) -> Iterator[tuple[int, str]]:
    """(line, imported oncue module) of every import in `source`, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join([*parts[:keep], *filter(None, [base])])
            names = [f"oncue.{alias.name}" for alias in node.names] if base == "oncue" else [base]
        else:
            continue
        yield from ((node.lineno, name) for name in names if name.split(".")[0] == "oncue")


def upward_imports(source: str, module: str, *, is_package: bool = False) -> list[str]:
    """What `module` may not import, as readable complaints."""
    own = unit_of(module)
    complaints = []
    for line, imported in imports_of(source, module, is_package=is_package):
        unit = unit_of(imported)
        if unit in ("", "__version__", own):
            continue
        if unit not in LEVELS:
            complaints.append(f"{module}:{line} imports {imported}, which has no level; add it to LEVELS")
        elif LEVELS[unit] >= LEVELS[own]:
            complaints.append(f"{module}:{line} (level {LEVELS[own]}) imports {imported} (level {LEVELS[unit]})")
    return complaints


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(["oncue", *(parts[:-1] if parts[-1] == "__init__" else parts)])
        if name != "oncue":
            yield name, path


def test_every_module_has_a_level() -> None:
    assert {unit_of(name) for name, _ in modules()} <= set(LEVELS)


def test_imports_point_down() -> None:
    found = [
        complaint
        for name, path in modules()
        for complaint in upward_imports(path.read_text("utf-8"), name, is_package=path.name == "__init__.py")
    ]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "source",
    [
        "import oncue.policy.engine",
        "from oncue.rollout import run_episode",
        "from oncue import cli",
        "from ..env import streaming",
        "def later():\n    from oncue.render import actions",
        "from oncue.nowhere import thing",
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(source: str) -> None:
    assert upward_imports(source, "oncue.video.decode")


@pytest.mark.parametrize(
    "source", ["from oncue.clock import Clock", "from .probe import probe", "from oncue import __version__"]
)
def test_an_import_that_points_down_is_fine(source: str) -> None:
    assert not upward_imports(source, "oncue.video.decode")


def test_light_modules_import_nothing_heavy() -> None:
    """`oncue --help` and the values stay free of torch, transformers and the video library."""
    light = (
        "types",
        "clock",
        "errors",
        "startup",
        "hub",
        "files",
        "fields",
        "memory",
        "stopping",
        "chat_client",
        "cli",
        "render",
        "reward",
        "score",
        "commands",
        "watch",
    )
    for name, path in modules():
        if unit_of(name) not in light:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = {n.split(".")[0] for n in names} & {"torch", "transformers", "av"}
            assert not heavy, f"{name}:{node.lineno} imports {heavy} at its top"
