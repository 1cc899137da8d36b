"""Pages have words for the reward of each task, whichever of its terms a run has."""

from __future__ import annotations

import pytest

from oncue.rewards.bootstrapping import TERM
from oncue.rewards.retrieval import TERMS
from oncue.rewards.shown_names import PROACTIVE, RETRIEVAL, shown_names


@pytest.mark.parametrize("more", [(), (TERM,)])
@pytest.mark.parametrize("profile", ["paper", "release"])
def test_retrieval_has_words_with_and_without_a_bonus(profile: str, more: tuple[str, ...]) -> None:
    found = shown_names((*TERMS[profile], *more))  # type: ignore[index]
    assert found is RETRIEVAL
    assert found.curves["hit_elsewhere"]


def test_another_reward_has_its_own_names() -> None:
    assert shown_names(PROACTIVE.terms) is PROACTIVE
    assert shown_names(("accuracy", "frames")).terms == {"accuracy": "accuracy", "frames": "frames"}
    assert shown_names(("pauc",)).terms == {"pauc": "pauc"}
    every = (*RETRIEVAL.terms, "mine")
    assert shown_names(every).terms == {name: name for name in every}
