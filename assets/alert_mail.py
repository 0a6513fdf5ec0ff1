"""Alerts by mail: plain text, encrypted on its way unless a setting says otherwise."""

import hashlib
import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import getaddresses

from assets.alert_message import Message
from assets.alert_sink import SinkError
from ml.alert_settings import Severity
from ml.settings import Settings


@dataclass(frozen=True)
class Mail:
    """A plain mail to all receivers."""

    host: str
    port: int
    starttls: bool
    user: str
    password: str
    sender: str
    receivers: tuple[str, ...]
    least: Severity
    timeout: float
    name: str = "mail"
    limited: bool = True

    def send(self, message: Message) -> str:
        """Hand the mail to the server. Taken by one receiver is taken; who was refused is said."""
        try:
            with smtplib.SMTP(self.host, self.port, timeout=self.timeout) as server:
                if self.starttls:
                    server.starttls(context=ssl.create_default_context())
                if self.user:
                    server.login(self.user, self.password)
                refused = server.send_message(self._mail(message))
        except (OSError, smtplib.SMTPException, ValueError) as error:
            text = " ".join(str(error).split()) or type(error).__name__
            raise SinkError(f"{self.host}: {text.replace(self.password or text, '***')}") from None
        return f"{self.host}" + (f", which refused {', '.join(refused)}" if refused else "")

    def _mail(self, message: Message) -> EmailMessage:
        mail = EmailMessage()
        mail["Subject"] = f"[Headwater] {message.subject}"
        mail["From"], mail["To"] = self.sender, ", ".join(self.receivers)
        told = "|".join(alert["id"] for alert in message.alerts) or message.at.isoformat()
        mail["Message-ID"] = f"<{hashlib.sha256(told.encode()).hexdigest()[:32]}@headwater>"  # twice sent, shown once
        mail["Auto-Submitted"] = "auto-generated"
        mail.set_content(message.text)
        return mail


def open_mail(settings: Settings) -> Mail | None:
    """Return the mail, None if no server is set. Raises SinkError if what is set is not enough, or not safe."""
    if not settings.alerts_smtp_host:
        return None
    sender, receivers = _addresses(settings.alerts_mail_from), _addresses(settings.alerts_mail_to)
    for setting, found in (("FROM", sender[:1]), ("TO", receivers)):
        if not found or not all("@" in address for address in found):
            raise SinkError(f"HEADWATER_ALERTS_MAIL_{setting} names no mail address; set it, or no mail server")
    user, password = settings.alerts_smtp_user, settings.alerts_smtp_password.get_secret_value()
    if user and not settings.alerts_smtp_starttls:
        raise SinkError("a password is not sent in the clear: set HEADWATER_ALERTS_SMTP_STARTTLS=true, or no user")
    return Mail(
        settings.alerts_smtp_host,
        settings.alerts_smtp_port,
        settings.alerts_smtp_starttls,
        user,
        password,
        sender[0],
        receivers,
        settings.alerts_mail_least,
        settings.alerts_timeout_seconds,
    )


def _addresses(text: str) -> tuple[str, ...]:
    return tuple(address for _, address in getaddresses([text]) if address)
