"""Words of the texts that people read: none of the banned ones, every file that a page names is
there, and every page begins with what its reader can do after it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import oncue

PACKAGE = Path(oncue.__file__).parent
ROOT = Path(__file__).parents[2]
LOG = ROOT / "docs/experiment_log.md"  # stays as it was written
PAGES = sorted({ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")} - {LOG})

BANNED = re.compile(r"(?<![a-z])(told|stands|mend(?:s|ed|ing)?|anew|the\s+like)(?![a-z])", re.I)
KEYS = ("asked_anew",)  # of result files: a name that is stored stays
FIXED = {  # judgements belong to the words of a prompt, made clips to the very code of their world
    PACKAGE / "scoring/judge_prompts.py",
    *PACKAGE.glob("world/*.py"),
}
FILE = re.compile(r"`(?:src/oncue/)?([\w./-]+\.py)`")
LINK = re.compile(r"\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")


def texts() -> Iterator[Path]:
    """What people read: pages, and the package with its help, messages, comments and names."""
    yield from PAGES
    for ending in ("py", "html", "css", "js"):
        yield from sorted(set(PACKAGE.rglob(f"*.{ending}")) - FIXED)


def banned_words(text: str) -> list[str]:
    """`line: word` of each banned word of `text`, also as a part of a name such as `is_told`."""
    for key in KEYS:
        text = text.replace(key, " " * len(key))
    return [f"{text.count(chr(10), 0, m.start()) + 1}: {m[0]}" for m in BANNED.finditer(text)]


def missing_files(text: str, folder: Path) -> list[str]:
    """Files that `text`, a page in `folder`, names or links to, and that are not there."""
    trees = (PACKAGE, ROOT / "tests", ROOT / "docs")
    known = [path.as_posix() for tree in trees for path in tree.rglob("*.py")]
    named = [name for name in FILE.findall(text) if not any(p.endswith(f"/{name}") for p in known)]
    return named + [link for link in LINK.findall(text) if not (folder / link).exists()]


def opening(page: str) -> str:
    """The first sentence of a page, below its heading."""
    return page.split("\n", 1)[1].strip().split(". ")[0]


def split_strings(source: str) -> str:
    """The texts of Python code, each whole where the code writes it in several parts."""
    constants = [n.value for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Constant)]
    return "\n\n".join(value for value in constants if isinstance(value, str))


def test_no_banned_word_is_in_what_people_read() -> None:
    found = {}
    for path in texts():
        text = path.read_text("utf-8")
        found[path.as_posix()] = banned_words(text) or (
            banned_words(split_strings(text)) if path.suffix == ".py" else []
        )
    assert {name: words for name, words in found.items() if words} == {}


def test_every_file_that_a_page_names_is_there() -> None:
    missing = {page.name: missing_files(page.read_text("utf-8"), page.parent) for page in PAGES}
    assert {name: files for name, files in missing.items() if files} == {}


def test_every_page_begins_with_what_its_reader_can_do_after_it() -> None:
    pages = [page for page in PAGES if page.parent != ROOT and page.name != "index.md"]
    openings = {page.name: opening(page.read_text("utf-8")) for page in pages}
    assert {n: o for n, o in openings.items() if not o.startswith("After this page you ")} == {}


def test_the_checks_can_fail() -> None:
    assert banned_words("You are told.\nIt stands, is_told, and\nthe\nlike.") == [
        "1: told",
        "2: stands",
        "2: told",
        "3: the\nlike",
    ]
    assert banned_words('"asked_anew"; withstands, recommends, amended, toldo') == []
    assert banned_words(split_strings('f"{a} and the " "like"')) == ["1: the like"]
    page = "`engine/nowhere.py`, `src/oncue/engine/core.py`, [x](nothing.md), [y](tour.md#a)"
    assert missing_files(page, ROOT / "docs") == ["engine/nowhere.py", "nothing.md"]
    assert not opening("# T\n\nA page. After this page you know.").startswith(
        "After this page you "
    )
