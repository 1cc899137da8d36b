"""Judges by name, as the command line and the settings of a run give them."""

from __future__ import annotations

import re

from oncue.errors import ConfigError, shown_address
from oncue.scoring.judge import Judge, LexicalJudge
from oncue.scoring.server_judge import JudgeOptions, ServerJudge
from oncue.scoring.world_judge import world_judge

EXPECTED = (
    "expected exact, lexical, or openai:MODEL@URL such as openai:gpt-4.1@https://api.openai.com/v1"
)
_SERVER = re.compile(r"openai:(?P<model>\S+?)@(?P<url>[Hh][Tt]{2}[Pp][Ss]?://\S+)")


def make_judge(spec: str, max_score: int, options: JudgeOptions | None = None) -> Judge:
    """The judge that `spec` names: `exact` (for generated clips), `lexical`, or `openai:MODEL@URL`
    (a `ServerJudge`).

    `options` are for the last alone. Raises ConfigError for another spec, and for a `max_score`
    other than 2 or 4. Recorded judgements are no judge, since they belong to the very rollouts they
    were given for: see `recorded.py`.
    """
    if spec == "exact":
        return world_judge(max_score)
    if spec == "lexical":
        return LexicalJudge(max_score)
    if spec.startswith("replay:"):
        raise ConfigError(
            f"{spec} answers for stored rollouts only (oncue score rewards); {EXPECTED}"
        )
    found = server_of(spec)
    if found is None:
        raise ConfigError(
            f"unknown judge {shown_address(spec)!r}; {EXPECTED} (oncue score rewards also takes "
            "replay:FILE)"
        )
    model, url = found
    return ServerJudge(url, model, max_score, options)


def server_of(spec: str) -> tuple[str, str] | None:
    """Model and address of `openai:MODEL@URL`; None for what has another form."""
    found = _SERVER.fullmatch(spec)
    return (found["model"], found["url"]) if found is not None else None
