"""Alerts by webhook: a POST of JSON, signed if a secret is set (docs/alerts.md). Its address is a secret, too."""

import hashlib
import hmac
import http.client
import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from assets.alert_message import Message
from assets.alert_sink import SinkError
from ml.alert_settings import Severity
from ml.settings import Settings

SIGNATURE = "X-Headwater-Signature-256"


@dataclass(frozen=True)
class Webhook:
    """A POST of JSON. Any answer but 2xx, and a redirect too, means that it was not taken."""

    url: str
    secret: str
    least: Severity
    timeout: float
    name: str = "webhook"
    limited: bool = True

    def send(self, message: Message) -> str:
        """Post the message."""
        host, body = urlsplit(self.url).hostname, json.dumps(message.payload).encode()
        headers = {"Content-Type": "application/json", "User-Agent": "headwater"}
        if self.secret:
            headers[SIGNATURE] = "sha256=" + hmac.new(self.secret.encode(), body, hashlib.sha256).hexdigest()
        try:
            request = urllib.request.Request(self.url, body, headers, method="POST")
            with urllib.request.build_opener(_NoRedirect).open(request, timeout=self.timeout):
                return str(host)
        except urllib.error.HTTPError as error:
            raise SinkError(f"{host} answered {error.code}") from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise SinkError(f"{host}: {_words(error)}") from None  # urllib's own words may hold the address


def open_webhook(settings: Settings) -> Webhook | None:
    """Return the webhook, None if none is set. Raises SinkError, without the address, if it is none."""
    url = settings.alerts_webhook_url.get_secret_value()
    if not url:
        return None
    try:
        parts = urlsplit(url)
        sound = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        sound = False
    if not sound or not url.isascii() or not url.isprintable() or " " in url:
        raise SinkError("HEADWATER_ALERTS_WEBHOOK_URL is no http or https address; set it to one, such as https://host")
    secret = settings.alerts_webhook_secret.get_secret_value()
    return Webhook(url, secret, settings.alerts_webhook_least, settings.alerts_timeout_seconds)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **named: Any) -> None:
        """Follow nothing: what was posted would be lost on the way."""


def _words(error: Exception) -> str:
    """Return what the operating system says of a failure; other words may hold the address, which is a secret."""
    reason = getattr(error, "reason", error)
    if isinstance(reason, TimeoutError):
        return "no answer in time"
    if isinstance(reason, OSError) and not isinstance(reason, urllib.error.URLError):
        return reason.strerror or type(reason).__name__
    return type(reason).__name__ if isinstance(reason, Exception) else type(error).__name__
