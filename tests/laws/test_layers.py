"""Law 13: imports point down. No cycles between rooms and none inside a room, type-only imports
included."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

import oncue

PACKAGE = Path(oncue.__file__).parent

# A room imports what is on an earlier line, or to its left on its own line.
ROOMS = """
types clock errors extras startup aio terminal thoughts stopping rollout
out_of_memory files json_files fields config setting_checks chat_limits chat_stream chat_client hub
video render env
model engine policy
dialogue world
scoring rewards records
pages
data data.formats data.quality data.sources data.pipeline
eval eval.streams eval.benchmarks
train train.sft train.rl
recipes
watch view ask study bench doctor
commands cli __main__
"""
PLACES = {room: place for place, room in enumerate(ROOMS.split())}


def room_of(module: str) -> str:
    """`oncue.video.decode` -> `video`, `oncue.train.rl.loop` -> `train.rl`; the package itself ->
    ``."""
    parts = module.split(".")[1:]
    nested = ".".join(parts[:2])
    return nested if nested in PLACES else ".".join(parts[:1])


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
    own = room_of(module)
    complaints = []
    for line, imported in imports_of(source, module, is_package=is_package):
        room = room_of(imported)
        if room in ("", "__version__", own):
            continue
        if room not in PLACES:
            complaints.append(
                f"{module}:{line} imports {imported}, which has no place; add it to ROOMS"
            )
        elif PLACES[room] > PLACES[own]:
            complaints.append(f"{module}:{line} (room {own}) imports {imported} (room {room})")
    return complaints


def modules() -> Iterator[tuple[str, Path]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        name = ".".join(["oncue", *(parts[:-1] if parts[-1] == "__init__" else parts)])
        if name != "oncue":
            yield name, path


def test_every_module_has_a_level() -> None:
    assert {room_of(name) for name, _ in modules()} <= set(PLACES)


def test_imports_point_down() -> None:
    found = [
        complaint
        for name, path in modules()
        for complaint in upward_imports(
            path.read_text("utf-8"), name, is_package=path.name == "__init__.py"
        )
    ]
    assert not found, "\n".join(found)


def circles_inside(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules of a circle of imports inside one room, empty where there is none."""
    inside = {
        name: {other for other in others if other in graph and room_of(other) == room_of(name)}
        for name, others in graph.items()
    }
    try:
        TopologicalSorter(inside).prepare()
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_room_has_a_circle_inside() -> None:
    graph = {
        name: {imported for _, imported in imports_of(path.read_text("utf-8"), name)} - {name}
        for name, path in modules()
        if path.name != "__init__.py"
    }
    assert not circles_inside(graph)


def test_a_circle_is_found() -> None:
    typed = "if TYPE_CHECKING:\n    from oncue.video.b import B"
    graph = {
        "oncue.video.a": {imported for _, imported in imports_of(typed, "oncue.video.a")},
        "oncue.video.b": {
            imported for _, imported in imports_of("import oncue.video.a", "oncue.video.b")
        },
    }
    assert set(circles_inside(graph)) == {"oncue.video.a", "oncue.video.b"}


@pytest.mark.parametrize(
    "source",
    [
        "import oncue.engine.engine",
        "from oncue.train.rl import loop",
        "from oncue import cli",
        "from ..env import streaming",
        "def later():\n    from oncue.render import actions",
        "from oncue.nowhere import thing",
    ],
)
def test_an_import_that_points_up_or_sideways_is_found(source: str) -> None:
    assert upward_imports(source, "oncue.video.decode")


@pytest.mark.parametrize(
    "source",
    ["from oncue.clock import Clock", "from .probe import probe", "from oncue import __version__"],
)
def test_an_import_that_points_down_is_fine(source: str) -> None:
    assert not upward_imports(source, "oncue.video.decode")


def test_light_modules_import_nothing_heavy() -> None:
    """`oncue --help` and the values stay free of torch, transformers, the video library, and what
    draws pages."""
    light = (
        "types",
        "clock",
        "errors",
        "startup",
        "hub",
        "files",
        "fields",
        "chat_client",
        "cli",
        "render",
        "policy",
        "scoring",
        "rewards",
        "records",
        "pages",
        "commands",
        "watch",
    )
    for name, path in modules():
        if room_of(name) not in light:
            continue
        for node in ast.parse(path.read_text("utf-8")).body:
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            heavy = {n.split(".")[0] for n in names} & {
                "torch",
                "transformers",
                "av",
                "matplotlib",
                "jinja2",
            }
            assert not heavy, f"{name}:{node.lineno} imports {heavy} at its top"
