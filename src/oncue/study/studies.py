"""The studies by name."""

from __future__ import annotations

from oncue.errors import ConfigError
from oncue.study import credit_mini, mmduet2_mini, video_mtr_mini
from oncue.study.arms import Study

_STUDIES = (mmduet2_mini.STUDY, credit_mini.STUDY, video_mtr_mini.STUDY)


def study_named(name: str) -> Study:
    """The study of that name. Raises ConfigError for an unknown one."""
    for study in _STUDIES:
        if study.name == name:
            return study
    raise ConfigError(
        f"there is no study {name!r}; expected one of {', '.join(study.name for study in _STUDIES)}"
    )
