"""Made-up predictions in the size of ProactiveVideoQA, and how their scoring is measured."""

from __future__ import annotations

from pathlib import Path

from oncue.bench.scoring import MadeUp, peak_mib


def test_made_up_files_have_the_size_of_the_benchmark(tmp_path: Path) -> None:
    """Every reply is judged, and nothing is missing."""
    scored = MadeUp.write(tmp_path, 4000).score()
    sizes = {name: (f["n_samples"], f["n_turns"]) for name, f in scored["subsets"].items()}
    assert sizes == {"WEB": (500, 1328), "EGO": (326, 1575), "TV": (500, 500), "VAD": (101, 107)}
    counts = scored["counts"]["overall"]
    assert (counts["n_judged"], counts["n_unscored"], counts["n_undecided"]) == (4000, 0, 0)
    assert scored["overall"]["n_samples"] == 1427
    assert counts["n_followups"] == 4000 - 3510
    assert scored["n_missing_predictions"] == 0
    assert 0 < scored["overall"]["duplicates"] < 100


def test_the_peak_is_that_of_the_work_alone() -> None:
    kept = bytearray(2**22)
    assert 2 <= peak_mib(lambda: bytearray(2**21)) < 3
    assert len(kept) == 2**22
