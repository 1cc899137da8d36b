"""The prompts of the pipeline: files of text that a user can edit, each with a version that changes
with it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from oncue.errors import DataError
from oncue.files import prepare_folder, write_text

_DIGITS = 10  # of the digest in a version
# What the pipeline reads, whatever a user makes of the rest
_FORMS = {
    "caption": """\
Answer with one JSON object and nothing else, in this form:
{"caption": "..."}
For a scene that is unusable: {"unusable": "the reason, in a few words"}""",
    "questions": """\
Answer with one JSON object and nothing else, in this form:
{"questions": [{"question": "...?", "answers": [{"scene": 1, "answer": "..."}, ...]}, ...]}
For scenes that are unusable: {"unusable": "the reason, in a few words"}""",
    "merge": """\
Answer with one JSON object and nothing else, in this form:
{"answer": "..."}""",
    "repair": "",
}
NAMES = tuple(_FORMS)


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a model is asked to do. `version`: its name and a digest of all of its text."""

    name: str
    text: str

    @property
    def version(self) -> str:
        return f"{self.name}-{hashlib.sha256(self.text.encode()).hexdigest()[:_DIGITS]}"


@dataclass(frozen=True, slots=True)
class Prompts:
    """One prompt for each kind of request."""

    caption: Prompt
    questions: Prompt
    merge: Prompt
    repair: Prompt

    @classmethod
    def read(cls, folder: Path | None = None) -> Prompts:
        """The prompts of the files caption.txt, questions.txt, merge.txt and repair.txt in
        `folder`, each with the form of its answer behind it; without a folder, ours.

        Raises DataError for a file that is missing, empty, or no text.
        """
        return cls(*(Prompt(name, _whole(name, _read(name, folder))) for name in NAMES))

    def versions(self) -> dict[str, str]:
        return {name: getattr(self, name).version for name in NAMES}


def write_prompts(folder: Path) -> tuple[Path, ...]:
    """Writes our prompts into `folder`, to be edited. Raises DataError where one is there."""
    prepare_folder(folder, "give another folder")
    paths = tuple(folder / f"{name}.txt" for name in NAMES)
    if there := [path for path in paths if path.exists()]:
        raise DataError(f"{there[0]} is there already; give another folder, or delete it")
    for name, path in zip(NAMES, paths, strict=True):
        write_text(path, _read(name, None))
    return paths


def _read(name: str, folder: Path | None) -> str:
    if folder is None:
        place = resources.files("oncue") / "data" / "pipeline" / "prompts" / f"{name}.txt"
        return place.read_text("utf-8")
    path = folder / f"{name}.txt"
    try:
        text = path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"cannot read the prompt {path} ({error}); oncue data build --write-prompts FOLDER "
            "writes a set to edit"
        ) from error
    if not text.strip():
        raise DataError(f"the prompt {path} is empty; write what the model should do")
    return text


def _whole(name: str, text: str) -> str:
    return "\n\n".join(filter(None, (text.strip(), _FORMS[name])))
