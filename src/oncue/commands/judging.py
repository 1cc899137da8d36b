"""How a judge on a server is asked: flags that the commands with a judge share."""

from __future__ import annotations

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from oncue.errors import ConfigError
from oncue.files import user_cache

if TYPE_CHECKING:
    from oncue.scoring.grader import RunGrader
    from oncue.scoring.judge import Judge
    from oncue.scoring.server_judge import JudgeOptions

SERVER = "openai:"


@dataclass(frozen=True)
class JudgeServer:
    """How a judge openai:MODEL@URL is asked."""

    cache: Path | None = None
    """openai: SQLite file that keeps the answers. By default oncue/judge.sqlite3 in the user's
    cache folder."""

    max_at_once: int = 16
    """openai: requests on the way at once."""

    timeout_s: float = 60.0
    """openai: time limit of a request."""

    max_tokens: int = 16
    """openai: longest answer; a model that thinks first needs thousands."""

    max_failed_share: float = 0.2
    """openai: stop when more than this share of 50 answers failed among the newest 50."""

    request_fields: str = "{}"
    """openai: JSON object of more fields for every request, such as {"chat_template_kwargs":
    {"enable_thinking": false}}."""

    def judge(
        self, spec: str, max_score: int, prefix: str = "--", *, keep_answers: bool = True
    ) -> Judge:
        """The judge that `spec` names (`make_judge`). `prefix`: what these flags begin with on the
        command line. `keep_answers` False leaves the file of answers alone, for a judge that will
        not be asked.

        Raises ConfigError for a spec that names none, for numbers out of range, and for flags that
        would do nothing.
        """
        from oncue.scoring.judge_specs import make_judge

        options = self._options_of(spec, prefix)
        if options is not None and not keep_answers:
            options = replace(options, cache=None)
        return make_judge(spec, max_score, options)

    def grader(self, spec: str, prefix: str = "--") -> RunGrader:
        """The grader that `spec` names (`make_grader`). Raises as `judge`, and DataError for
        recorded judgements that break their format."""
        from oncue.scoring.graders import make_grader

        return make_grader(spec, self._options_of(spec, prefix))

    def check_unused(self, spec: str, prefix: str = "--") -> None:
        """Raises ConfigError where a flag was given that the judge `spec` does not look at."""
        given = [field.name for field in fields(self) if getattr(self, field.name) != field.default]
        if given:
            flag = prefix + given[0].replace("_", "-")
            raise ConfigError(f"{flag} is for {SERVER}MODEL@URL; leave it out with --judge {spec}")

    def _options_of(self, spec: str, prefix: str) -> JudgeOptions | None:
        """None for a judge that is on no server."""
        if not spec.startswith(SERVER):
            self.check_unused(spec, prefix)
            return None
        from oncue.scoring.server_judge import JudgeOptions as Options

        more = read_request_fields(self.request_fields, prefix)
        return Options(
            max_at_once=self.max_at_once,
            timeout_s=self.timeout_s,
            max_tokens=self.max_tokens,
            request_fields=more,
            cache=self.cache or user_cache() / "judge.sqlite3",
            max_failed_share=self.max_failed_share,
        )


def read_request_fields(text: str, prefix: str = "--") -> dict[str, Any]:
    """What `--request-fields` holds. Raises ConfigError for what is no JSON object."""
    try:
        more = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ConfigError(
            f"{prefix}request-fields is not JSON ({error}); expected an object of fields"
        ) from error
    if not isinstance(more, dict):
        raise ConfigError(f"{prefix}request-fields must be a JSON object, got {text!r:.80}")
    return more
