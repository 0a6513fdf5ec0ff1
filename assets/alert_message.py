"""From notices to words: one message, however many there are, as people and programs read it (docs/alerts.md).

Here: pure text and JSON. What is told is decided in `checks/alerts.py`; a sink (`assets/alert_sink.py`) takes it.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from checks.alert_kinds import Alert
from checks.alerts import Notice, Status
from checks.guard import name_of
from ml.alert_settings import SEVERITIES

NAMED = 5  # alerts that a message's text names; it counts the others
LISTED = 20  # alerts that its JSON holds
_STATUS: dict[Status, str] = {"new": "new", "reminder": "reminders", "ended": "over"}


@dataclass(frozen=True)
class Message:
    """What a sink sends: a line, a text, and each alert as JSON-able fields. `notices` is empty in a test message."""

    subject: str
    text: str
    at: datetime
    alerts: tuple[dict[str, Any], ...] = ()

    @property
    def payload(self) -> dict[str, Any]:
        """What a webhook gets. `text` is escaped, so that no value in it formats, links or calls people in a chat."""
        severities = [alert["severity"] for alert in self.alerts] or ["info"]
        return {
            "text": for_chat(self.text),
            "subject": self.subject,
            "severity": max(severities, key=SEVERITIES.index),
            "at": self.at.isoformat(),
            "counts": dict(Counter(alert["status"] for alert in self.alerts)),
            "alerts": list(self.alerts[:LISTED]),
            "left_out": max(0, len(self.alerts) - LISTED),
        }


def message_of(notices: Sequence[Notice], at: datetime, ui: str) -> Message:
    """Return one message that tells all `notices` (one at least), the first few by name; `ui` is Dagster's address."""
    alerts = tuple(_fields(notice, ui) for notice in notices)
    first, more = _headline(notices[0]), len(notices) - 1
    if not more:
        return Message(first, f"Headwater: {_paragraph(notices[0], ui)}", at, alerts)
    counts = Counter(notice.status for notice in notices)
    told = ", ".join(f"{counts[status]} {words}" for status, words in _STATUS.items() if counts[status])
    lines = [f"Headwater: {len(notices)} alerts ({told})"]
    lines += [f"• {_paragraph(notice, ui)}" for notice in notices[:NAMED]]
    if rest := notices[NAMED:]:
        lines.append(f"and {len(rest)} more: {_where(rest)}")
    return Message(f"{first}, and {more} more", "\n".join(lines), at, alerts)


def trial(at: datetime) -> Message:
    """Return a message that only says that messages arrive."""
    text = "This is a test of Headwater's alerts: what you read here is where alerts will come."
    return Message("test of the alerts", text, at)


def link_of(alert: Alert, ui: str) -> str:
    """Return the page of the alert's asset in the Dagster UI, at its check if it is about one."""
    path = "/".join(quote(part, safe="") for part in alert.asset.split("/"))
    query = {"view": "checks", "checkDetail": alert.check} if alert.check else {}
    return f"{ui}/assets/{path}" + (f"?{urlencode(query)}" if query else "")


def for_chat(text: str) -> str:
    """Return a text in which Slack, Mattermost and Teams find neither their marks nor a name to call."""
    for mark, plain in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;"), ("@", "@\u200b")):
        text = text.replace(mark, plain)
    return text


def _headline(notice: Notice) -> str:
    grave = "over" if notice.status == "ended" else notice.alert.severity
    return f"{grave}: {notice.alert.title}"


def _paragraph(notice: Notice, ui: str) -> str:
    alert, since = notice.alert, f"since {notice.since:%Y-%m-%d %H:%M} UTC"
    if notice.status == "ended":
        return f"{_headline(notice)}, {since}; now {notice.why}. {link_of(alert, ui)}"
    still = f" (still, {since})" if notice.status == "reminder" else ""
    remedy = f"\n   → {alert.remedy}" if alert.remedy else ""
    return f"{_headline(notice)}{still}: {alert.summary}\n   {link_of(alert, ui)}{remedy}"


def _where(notices: Sequence[Notice]) -> str:
    counts = Counter(notice.alert.asset for notice in notices)
    told = [f"{number} on {asset}" for asset, number in counts.most_common(NAMED)]
    return ", ".join(told) + (", ..." if len(counts) > NAMED else "")


def _fields(notice: Notice, ui: str) -> dict[str, Any]:
    alert = notice.alert
    return {
        "id": notice.id,
        "kind": alert.kind,
        "status": notice.status,
        "severity": alert.severity,
        "subject": name_of(alert.asset, alert.partition),
        "asset": alert.asset,
        "partition": alert.partition,
        "version": alert.version,
        "check": alert.check,
        "title": alert.title,
        "summary": notice.why if notice.status == "ended" else alert.summary,
        "remedy": "" if notice.status == "ended" else alert.remedy,
        "link": link_of(alert, ui),
        "since": notice.since.isoformat(),
        "run_id": alert.run_id,
    }
