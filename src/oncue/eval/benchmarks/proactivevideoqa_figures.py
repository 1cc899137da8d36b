"""The figures of ProactiveVideoQA from its sums, in percent."""

from __future__ import annotations

from collections.abc import Sequence

from oncue.eval.streams.benchmark import BySubset, Figures, Terms

OMEGAS = (0.0, 0.5, 1.0)
HEADLINE_OMEGA = 0.5


def figures_of(sums: BySubset, max_unscored_share: float) -> Figures:
    """`overall` weighs by gold turn, `subset_mean` weighs subsets alike. `headlines` are PAUC at
    omega 0.5, None where more than `max_unscored_share` of the judged replies have no mark.
    `counts` are what the shares are shares of."""
    subsets = {name: _figures_of(terms) for name, terms in sums.items()}
    total = _added(sums)
    overall, mean = _figures_of(total), _mean_of(tuple(subsets.values()))
    headlines = {name: _headline(found, max_unscored_share) for name, found in subsets.items()}
    return {
        "headlines": {
            "PAUC": _headline(overall, max_unscored_share),
            "mean": None if None in headlines.values() else _pauc_of(mean),
            **headlines,
        },
        "overall": overall,
        "subsets": subsets,
        "subset_mean": mean,
        "counts": {
            "overall": _counts_of(total),
            "subsets": {name: _counts_of(terms) for name, terms in sums.items()},
        },
    }


def lines_of(figures: Figures, max_unscored_share: float) -> list[str]:
    """Each subset in a line for people, all of them in another, and why one has no headline."""
    counts = figures["counts"]
    lines = []
    for name, found in figures["subsets"].items():
        lines.append(_line(name, found, counts["subsets"][name]))
        if figures["headlines"][name] is None and found["n_turns"]:
            lines.append(
                f"{name}: no headline, since {found['unscored']:.1f} % of the judged replies have "
                f"no mark (limit {100 * max_unscored_share:g} %)"
            )
    if len(figures["subsets"]) > 1:
        lines.append(_line("overall", figures["overall"], counts["overall"]))
    return lines


def _added(sums: BySubset) -> Terms:
    total: dict[str, float] = {}
    for terms in sums.values():
        for name, value in terms.items():
            total[name] = total.get(name, 0.0) + value
    return total


def _figures_of(terms: Terms) -> Figures:
    """The figures of some sums, in percent."""
    num = terms["n_turns"]
    known = not terms["repetition_unknown"]
    unscored = _percent(terms["n_unscored"], terms["n_judged"])
    return {
        "n_samples": round(terms["n_samples"]),
        "n_turns": round(num),
        "pauc": {f"{omega:g}": _percent(terms[f"pauc_{omega:g}"], num) for omega in OMEGAS},
        "duplicates": _percent(terms["n_duplicate"], terms["n_followups"]) if known else None,
        "unscored": 0.0 if unscored is None else unscored,
    }


def _mean_of(subsets: Sequence[Figures]) -> Figures:
    """Every share is the unweighted mean of those of the subsets, None where one has none."""
    paucs = [figures["pauc"] for figures in subsets]
    return {
        "n_samples": sum(figures["n_samples"] for figures in subsets),
        "n_turns": sum(figures["n_turns"] for figures in subsets),
        "pauc": {
            name: _mean([pauc[name] for pauc in paucs]) for name in (f"{o:g}" for o in OMEGAS)
        },
        "duplicates": _mean([figures["duplicates"] for figures in subsets]),
        "unscored": _mean([figures["unscored"] for figures in subsets]),
    }


def _counts_of(terms: Terms) -> Figures:
    names = ("judged", "unscored", "duplicate", "followups", "undecided", "turns_with_followups")
    counts: Figures = {f"n_{name}": round(terms[f"n_{name}"]) for name in names}
    return {**counts, "repetition_judged": not terms["repetition_unknown"]}


def _headline(figures: Figures, max_unscored_share: float) -> float | None:
    return None if figures["unscored"] > 100 * max_unscored_share else _pauc_of(figures)


def _pauc_of(figures: Figures) -> float | None:
    value: float | None = figures["pauc"][f"{HEADLINE_OMEGA:g}"]
    return value


def _mean(values: Sequence[float | None]) -> float | None:
    sound = [value for value in values if value is not None]
    return round(sum(sound) / len(sound), 4) if sound and len(sound) == len(values) else None


def _percent(number: float, total: float) -> float | None:
    return round(100 * number / total, 4) if total else None


def _line(name: str, figures: Figures, counts: Figures) -> str:
    """A subset in one line for people."""
    pauc = ", ".join(
        f"{'-' if v is None else f'{v:.2f}'} ({o})" for o, v in figures["pauc"].items()
    )
    duplicates = "unknown, since nobody judged repetition"
    if counts["repetition_judged"]:
        share = "-" if figures["duplicates"] is None else f"{figures['duplicates']:.1f} %"
        undecided = f", {counts['n_undecided']} not decided" if counts["n_undecided"] else ""
        duplicates = (
            f"{share} ({counts['n_duplicate']} of {counts['n_followups']} replies that may "
            f"repeat{undecided})"
        )
    return (
        f"{name}: {figures['n_samples']} samples, {figures['n_turns']} gold turns; PAUC by omega "
        f"{pauc}; duplicates {duplicates}; unscored {counts['n_unscored']} of "
        f"{counts['n_judged']} replies"
    )
