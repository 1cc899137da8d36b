"""The doctor: what works is told, what does not comes with a remedy, and the exit code says
which."""

from __future__ import annotations

import importlib.metadata
import json
import re
import tomllib
from email.message import Message
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from oncue import cli, doctor, extras
from oncue.doctor import FAILED, FINE, NOTED


def test_a_working_machine(tiny_model_folder, capsys) -> None:
    assert cli.main(["doctor", "--model", str(tiny_model_folder), "--device", "cpu", "--json"]) == 0
    findings = {f["name"]: f for f in map(json.loads, capsys.readouterr().out.splitlines())}
    assert {"python", "torch", "av", "codecs", "device", "video", "model", "turn"} <= set(findings)
    assert {f["status"] for f in findings.values()} <= {FINE, NOTED}


def test_a_model_that_is_not_there(tmp_path, capsys) -> None:
    assert cli.main(["doctor", "--model", str(tmp_path / "none")]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(FAILED) and "model" in line for line in lines)
    assert not any(
        line.split()[1] == "turn" for line in lines if line.startswith((FINE, NOTED, FAILED))
    )
    assert re.fullmatch(r"1 of \d+ checks failed", lines[-1])


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """oncue as pyproject.toml of this tree describes it; the versions of optional packages."""
    text = (Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8")
    plain = tomllib.loads(text)["project"]
    optional = plain["optional-dependencies"]
    requires = list(plain["dependencies"])
    requires += [f'{line}; extra == "{name}"' for name in optional for line in optional[name]]
    metadata = Message()
    for name in optional:
        metadata["Provides-Extra"] = name
    oncue = SimpleNamespace(requires=requires, metadata=metadata)
    versions: dict[str, str] = {}

    def version(name: str) -> str:
        if name not in versions:
            raise importlib.metadata.PackageNotFoundError(name)
        return versions[name]

    monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda _: oncue)
    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    return versions


@pytest.mark.parametrize(
    ("version", "status", "found", "remedy"),
    [
        (None, FINE, "not installed; optional (extra 'wandb')", True),
        ("0.2.0", NOTED, "0.2.0, the extra 'wandb' asks for <0.32,>=0.31", True),
        ("99.0", NOTED, "99.0, the extra 'wandb' asks for <0.32,>=0.31", True),
        ("0.31.0", FINE, "0.31.0 (extra 'wandb')", False),
    ],
)
def test_an_optional_package_may_be_absent_but_not_of_another_version(
    installed: dict[str, str], version: str | None, status: str, found: str, remedy: bool
) -> None:
    if version is not None:
        installed["wandb"] = version
    checks = dict(extras.optional_packages())
    finding = doctor._check_optional("wandb", checks["wandb"])
    assert (finding.name, finding.status, finding.found) == ("wandb", status, found)
    assert finding.fix == ("pip install 'wandb<0.32,>=0.31'" if remedy else "")


@pytest.mark.usefixtures("installed")
def test_every_extra_but_that_for_developers_is_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(*_: Any) -> doctor.Finding:
        return doctor.Finding("something else", FINE, "")

    for name in ("installed", "codecs", "device", "video", "model", "python"):
        monkeypatch.setattr(doctor, f"_check_{name}", nothing)
    found = [finding.name for finding in doctor.examine() if finding.name != "something else"]
    assert found[:2] == ["tensorboard", "wandb"]
    assert "pyarrow" in found
    assert not {"pytest", "oncue"} & set(found)


def test_a_source_tree_that_is_not_installed_knows_no_extras(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def none(name: str) -> None:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(extras.importlib.metadata, "distribution", none)
    assert list(extras.optional_packages()) == []
    assert extras.install_command("wandb") == "pip install 'wandb'"


def test_what_is_needed_anyway_belongs_to_no_extra(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    metadata = Message()
    metadata["Provides-Extra"] = "fast"
    requires = ["a>=1", 'b>=1; python_version > "3"', "c==2; extra == 'fast'"]
    requires += ["d; extra == 'fast' and python_version < '3'", "oncue[data]; extra == 'fast'"]
    oncue = SimpleNamespace(requires=requires, metadata=metadata)
    monkeypatch.setattr(extras.importlib.metadata, "distribution", lambda _: oncue)
    assert [(e, r.name) for e, r in extras.optional_packages()] == [("fast", "c")]
