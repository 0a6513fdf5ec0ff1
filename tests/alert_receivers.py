"""Receivers of alerts, as they are out there: a web server that can fail, hang and recover, and a mail server."""

import json
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from serving.triton_files import free_ports

LOOPBACK = "127.0.0.1"
PATH = "/services/T00/B00/a-secret-path"


class Hook:
    """An incoming webhook. It answers `code`; `first` is called before it answers."""

    def __init__(self) -> None:
        self.code, self.bodies, self.headers = 200, list[bytes](), list[dict[str, str]]()
        self.first: Callable[[], Any] = lambda: None
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                hook.bodies.append(self.rfile.read(int(self.headers["Content-Length"])))
                hook.headers.append(dict(self.headers))
                hook.first()
                self.send_response(hook.code)
                self.send_header("Location", f"{hook.url}/elsewhere")
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self._server = ThreadingHTTPServer((LOOPBACK, 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://{LOOPBACK}:{self._server.server_port}{PATH}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    @property
    def messages(self) -> list[dict[str, Any]]:
        """What it was sent, oldest first."""
        return [json.loads(body) for body in self.bodies]

    def close(self) -> None:
        """End it: nobody listens on its port any more."""
        self._server.shutdown()
        self._server.server_close()


@dataclass
class MailServer:
    """A mail server that asks for encryption and a login, if it is given a certificate; it refuses some receivers."""

    certificate: tuple[Any, Any] | None = None
    password: str = ""
    refuses: tuple[str, ...] = ()
    mails: list[Envelope] = field(default_factory=list)

    def start(self) -> "MailServer":
        """Listen; the port is `port`."""
        (self.port,) = free_ports(1)
        named: dict[str, Any] = {}
        if self.certificate is not None:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(*map(str, self.certificate))
            named = {"tls_context": context, "require_starttls": True}
            named |= {"auth_required": True, "authenticator": self._login}
        self._controller = Controller(self, hostname=LOOPBACK, port=self.port, **named)
        self._controller.start()
        return self

    def stop(self) -> None:
        """End it, if it is not ended."""
        if self._controller.server is not None:
            self._controller.stop()

    def _login(self, server: SMTP, session: Session, envelope: Envelope, mechanism: str, data: Any) -> AuthResult:
        assert isinstance(data, LoginPassword)
        known = (data.login, data.password) == (b"headwater", self.password.encode())
        return AuthResult(success=known, handled=False)

    async def handle_RCPT(self, server: SMTP, session: Session, envelope: Envelope, address: str, options: Any) -> str:
        """Refuse whom it shall refuse."""
        if address in self.refuses:
            return "550 nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        """Keep the mail."""
        self.mails.append(envelope)
        return "250 taken"
