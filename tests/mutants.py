"""Which changes of a module its tests notice: one operator, comparison, constant or condition is
changed at a time.

    python tests/mutants.py src/oncue/train/rl/advantage.py tests/train/test_advantage.py

The package is copied to a temporary folder, and the tests import the copy. Each change is printed
as killed (a test failed, or took far longer than before) or as survived. A survivor is a hole in
the tests, or a change that makes no difference: that is for a person to judge. `--most` changes are
drawn by `--seed` where there are more.

This is a tool to run by hand: pytest does not collect it, and `make test` does not run it.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import copy
import importlib
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).resolve().parents[1]
_SHARED = ("numpy", "torch", "transformers", "PIL", "av")  # imported once, for all changes
_OPERATORS: dict[type[ast.operator], type[ast.operator]] = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.Div,
    ast.Div: ast.Mult,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Mult,
}
_COMPARISONS: dict[
    type[ast.cmpop], tuple[type[ast.cmpop], ...]
] = {  # the bound moved, and the opposite
    ast.Lt: (ast.LtE, ast.GtE),
    ast.LtE: (ast.Lt, ast.Gt),
    ast.Gt: (ast.GtE, ast.LtE),
    ast.GtE: (ast.Gt, ast.Lt),
    ast.Eq: (ast.NotEq,),
    ast.NotEq: (ast.Eq,),
    ast.Is: (ast.IsNot,),
    ast.IsNot: (ast.Is,),
    ast.In: (ast.NotIn,),
    ast.NotIn: (ast.In,),
}


def mutants(source: str) -> Iterator[tuple[int, str, str]]:
    """Every change of a module: its line, what it is, and the module with it."""
    tree = ast.parse(source)
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        for outer in _left_alone(node)
        for inner in ast.walk(outer)
    }
    for number, node in enumerate(ast.walk(tree)):
        if id(node) in skipped:
            continue
        for field, value in _changes(node):
            changed = copy.deepcopy(tree)
            place = next(other for i, other in enumerate(ast.walk(changed)) if i == number)
            setattr(place, field, value)
            ast.fix_missing_locations(changed)
            yield (
                getattr(node, "lineno", 0),
                f"{_short(node)}  ->  {_short(place)}",
                ast.unparse(changed),
            )


def _left_alone(node: ast.AST) -> list[ast.AST]:
    """What says nothing about values: decorators, annotations, texts of errors, and whether two
    sequences must be equally long."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return list(node.decorator_list)
    if isinstance(node, ast.AnnAssign):
        return [node.annotation]
    if isinstance(node, ast.Raise):
        return [node]
    if isinstance(node, ast.keyword) and node.arg == "strict":
        return [node]
    if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
        return [node]
    return []


def _changes(node: ast.AST) -> list[tuple[str, object]]:
    """The fields of a node that can be changed, each with its new value."""
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATORS:
        return [("op", _OPERATORS[type(node.op)]())]
    if isinstance(node, ast.Compare):
        return [
            ("ops", [*node.ops[:i], other(), *node.ops[i + 1 :]])
            for i, op in enumerate(node.ops)
            for other in _COMPARISONS[type(op)]
        ]
    if isinstance(node, ast.BoolOp):
        return [("op", ast.Or() if isinstance(node.op, ast.And) else ast.And())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return [("op", ast.UAdd())]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return [("operand", ast.UnaryOp(ast.Not(), node.operand))]
    if isinstance(node, ast.If | ast.IfExp | ast.While) and not isinstance(
        node.test, ast.Compare | ast.UnaryOp
    ):
        return [("test", ast.UnaryOp(ast.Not(), node.test))]
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return [("value", not node.value)]
    if isinstance(node, ast.Constant) and isinstance(node.value, int | float):
        halved = isinstance(node.value, float) and node.value != 0
        return [("value", node.value + 1), *([("value", node.value / 2)] if halved else [])]
    return []


def _short(node: ast.AST) -> str:
    return ast.unparse(node).splitlines()[0][:100]


def failed(package: Path, tests: Sequence[str], limit_s: float | None = None) -> str:
    """The end of what pytest printed where the tests do not pass with the package in `package`,
    else nothing.

    pytest runs in a fork of this process: what is imported here is not imported for each change.
    """
    log = package / "printed"
    child = os.fork()
    if not child:
        _run_and_exit(package, tests, log)
    deadline_s = math.inf if limit_s is None else time.monotonic() + limit_s
    while True:
        ended, status = os.waitpid(child, os.WNOHANG)
        if ended:
            return log.read_text("utf-8", "replace")[-2000:] or "no output" if status else ""
        if time.monotonic() > deadline_s:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return "too slow"
        time.sleep(0.05)


def _run_and_exit(package: Path, tests: Sequence[str], log: Path) -> NoReturn:
    os.setsid()
    to = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    os.dup2(to, 1)
    os.dup2(to, 2)
    os.chdir(ROOT)
    os.environ["PYTHONPATH"], os.environ["PYTHONDONTWRITEBYTECODE"] = str(package), "1"
    os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(package / "hypothesis")
    sys.path.insert(0, str(package))
    sys.dont_write_bytecode = True
    code = 1
    try:
        code = int(pytest.main(["-q", "-x", "-p", "no:cacheprovider", *tests]))
        names = [name for name in sys.modules if name.split(".")[0] in _SHARED]
        (package / "imported").write_text("\n".join(names), "utf-8")
    finally:
        sys.stdout.flush()
        os._exit(code)


def import_shared(package: Path) -> None:
    """Import what the tests imported of the large packages."""
    for name in (package / "imported").read_text("utf-8").splitlines():
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("module", type=Path, help="a file below src/")
    parser.add_argument("tests", nargs="+", help="what pytest runs: files, folders or single tests")
    parser.add_argument("--most", type=int, default=60, help="how many changes to try")
    parser.add_argument("--seed", type=int, default=0, help="which, where there are more")
    given = parser.parse_args()
    if not given.module.is_file() or ROOT / "src" not in given.module.resolve().parents:
        parser.error(f"{given.module} is no file below {ROOT / 'src'}")
    source = given.module.read_text("utf-8")
    found = list(mutants(source))
    chosen = random.Random(given.seed).sample(found, min(given.most, len(found)))
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder)
        shutil.copytree(
            ROOT / "src", package, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True
        )
        copied = package / given.module.resolve().relative_to(ROOT / "src")
        started_s = time.monotonic()
        if printed := failed(package, given.tests):
            sys.exit(f"the tests fail on the unchanged module:\n{printed}")
        limit_s = 20 + 3 * (time.monotonic() - started_s)
        import_shared(package)
        num_killed = 0
        for line, change, mutated in sorted(chosen):
            copied.write_text(mutated, "utf-8")
            killed = bool(failed(package, given.tests, limit_s))
            num_killed += killed
            print(
                "killed  " if killed else "SURVIVED", f"{given.module}:{line}", change, flush=True
            )
    print(f"{num_killed} of {len(chosen)} killed ({len(found)} changes in all)")


if __name__ == "__main__":
    main()
