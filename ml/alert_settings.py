"""The settings of alerts: through which sinks people are told, of what at least, and how often. Part of `ml.settings`.

Secrets, and a webhook's address is one, are of a type that does not print. What is sent is in `assets/alert_*.py`.
"""

from pathlib import Path
from typing import Literal, get_args

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

Severity = Literal["info", "warning", "critical"]
SEVERITIES: tuple[Severity, ...] = get_args(Severity)  # the least grave first
_LEAST = "Least severity that is told there."


class AlertSettings(BaseSettings):
    """Where alerts go. A sink is on once its address is set; the log file is on unless it is `off`."""

    ui_url: str = Field(
        "", description="Where people open the Dagster UI, alerts link to it; unset: HEADWATER_UI_PORT on loopback."
    )
    alerts_webhook_url: SecretStr = Field(
        SecretStr(""),
        description="Takes alerts as JSON by POST, such as an incoming webhook of Slack or Mattermost; unset: none.",
    )
    alerts_webhook_secret: SecretStr = Field(
        SecretStr(""), description="Signs what the webhook gets: HMAC-SHA256 in X-Headwater-Signature-256."
    )
    alerts_webhook_least: Severity = Field("info", description=_LEAST)
    alerts_smtp_host: str = Field("", description="Mail server; unset: no mail.")
    alerts_smtp_port: int = Field(587, gt=0, le=65535, description="Port of the mail server.")
    alerts_smtp_starttls: bool = Field(
        True, description="Whether mail goes encrypted, and only so; its certificate must be trusted."
    )
    alerts_smtp_user: str = Field("", description="Name to log in with, which needs STARTTLS; unset: no login.")
    alerts_smtp_password: SecretStr = Field(SecretStr(""), description="Password of that name.")
    alerts_mail_from: str = Field("", description="Sender of the mail.")
    alerts_mail_to: str = Field("", description="Receivers of the mail, separated by commas.")
    alerts_mail_least: Severity = Field("warning", description=_LEAST)
    alerts_file: str = Field(
        "", description="File with a JSON line an alert; unset: logs/alerts.jsonl in the home; off: none."
    )
    alerts_file_least: Severity = Field("info", description=_LEAST)
    alerts_timeout_seconds: float = Field(
        10.0, gt=0, le=60, description="How long a sink may take to connect, and then to answer, in seconds."
    )
    alerts_quiet_hours: float = Field(
        24.0, gt=0, description="Hours, by the platform's clock, after which what goes on is told again."
    )
    alerts_per_hour: int = Field(10, ge=1, description="Messages an hour that a webhook, or the mail, gets at most.")

    @field_validator("alerts_file")
    @classmethod
    def _fixed(cls, path: str) -> str:
        """Fix a relative path where the process starts: tools change folders later."""
        return path if path in ("", "off") else str(Path(path).absolute())
