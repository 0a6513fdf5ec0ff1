"""The features that a window's answers were given, against the rows that the version learned from.

Which rows these are is said in assets/monitoring_rows.py; the statistics are those of all drift checks (`drift`).
"""

from dataclasses import replace
from pathlib import Path

from checks.drift import check_drift
from checks.drift_evidence import Reference
from checks.drift_windows import Profiles, Window
from checks.monitoring_window import Answers
from checks.outcome import Outcome

SERVED_DRIFT = "served_drift"
KIND = "learned from"


def check_served_drift(
    answers: Answers, served: Window, learned: Reference, profiles: Profiles, page: Path, always: bool = False
) -> Outcome:
    """Fail if the share of features that drifted reaches the reference's bound; a breach writes Evidently's page."""
    found = check_drift(served, [learned], profiles, page, always)
    told = found.evidence["references"][learned.kind]
    evidence = {
        **answers.about,
        "content": answers.content,
        "share": told["share"],
        "bound": learned.bounds.share,
        "drifted": sorted(told["causes"], key=lambda name: -told["distances"][name]),
        "causes": told["causes"],
        "distances": told["distances"],
    }
    head = f"{told['share']:.0%} of {len(told['distances'])} features drifted (bound {learned.bounds.share:.0%})"
    return replace(found, summary=f"{answers.title}: {head}; {found.summary}", evidence=evidence)
