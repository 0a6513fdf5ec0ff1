"""The page that `make model-ci` leaves: Markdown that a CI job can post as a comment, and the same as JSON."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assets.model_ci_verdict import FAILING, Finding

_NOTHING = "Nothing that a model is made by has changed (docs, tests and serving do not count): no model was trained."


@dataclass(frozen=True)
class Report:
    """What was compared with what, and what was found."""

    base: str
    change: str
    window: str
    cut: Mapping[str, Any]
    seeds: int
    changed: Sequence[str]
    findings: Sequence[Finding]
    notes: Sequence[str]
    seconds: float

    @property
    def failed(self) -> bool:
        """Whether a model is worse beyond noise, or its training set refused."""
        return any(finding.verdict in FAILING for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """Return it JSON-able."""
        own = {name: value for name, value in vars(self).items() if name != "findings"}
        return {**own, "failed": self.failed, "findings": [finding.as_dict() for finding in self.findings]}

    def markdown(self) -> str:
        """Return the page."""
        lines = [f"## Model CI: {self.headline()}", "", f"Base `{self.base}`, change {self.change}.", ""]
        if self.findings:
            lines += [*_table(self.findings), "", *_told(self.findings), self._how(), ""]
        else:
            lines += [_NOTHING, ""]
        lines += [f"- {note}" for note in self.notes]
        if self.changed:
            shown = ", ".join(f"`{name}`" for name in self.changed[:8])
            more = f" and {len(self.changed) - 8} more" if len(self.changed) > 8 else ""
            lines.append(f"- Changed files that tables or training are made by: {shown}{more}")
        return "\n".join([*lines, f"- {self.seconds:.0f} s", ""])

    def headline(self) -> str:
        """Return the verdicts in a line, the worst first."""
        order = ["worse", "refused", "not comparable", "gone", "new", "within noise", "better"]
        verdicts: list[str] = [finding.verdict for finding in self.findings]
        told = [f"{verdicts.count(name)} {name}" for name in order if name in verdicts]
        return ", ".join(told) or "no model changed"

    def _how(self) -> str:
        days = {name: f"{part['start'][:10]} to {part['end'][:10]}" for name, part in self.cut.items()}
        return (
            f"Window {self.window}: train {days['train']}, validation {days['validation']}, test {days['test']} (ends "
            f"excluded); {self.seeds} seeds a side, means over seeds; 95% interval of the difference over days of the "
            "test part (paired bootstrap) and over seeds (Student's t)."
        )


def _table(findings: Sequence[Finding]) -> list[str]:
    head = "| model | verdict | score | base | change | difference [95% interval] | calibration error | loss |"
    lines = [f"{head} us a row | fit s | test rows |", "| --- " * 11 + "|"]
    for found in findings:
        ends = (found.base, found.change)
        cells = [
            f"`{found.model}`",
            f"**{found.verdict}**",
            found.score_title,
            *(_number(end.get("score"), 4) for end in ends),
            _difference(found),
            _pair(ends, "calibration_error", 4),
            f"{next(end['loss_title'] for end in ends if end)} {_pair(ends, 'loss', 4)}",
            _pair(ends, "us_a_row", 2),
            _pair(ends, "fit_seconds", 1),
            _pair(ends, "test_rows", 0),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _difference(found: Finding) -> str:
    seen = found.comparison
    return "-" if seen is None else f"{seen.difference:+.4f} [{seen.low:+.4f}, {seen.high:+.4f}]"


def _pair(ends: Sequence[Mapping[str, Any]], name: str, digits: int) -> str:
    """Return both sides' numbers, once where they read alike or only one side has any."""
    told = [_number(end.get(name), digits) for end in ends if end]
    return told[0] if len(set(told)) == 1 else " → ".join(told)


def _number(value: float | None, digits: int) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _told(findings: Sequence[Finding]) -> list[str]:
    lines = [f"- `{found.model}`: {note}" for found in findings for note in found.notes]
    return [*lines, ""] if lines else []
