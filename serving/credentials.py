"""What a caller of Triton shows and trusts: TLS files, the token of inference, the secret of the control API.

What Triton itself is started with is in `triton_access`. No error and no repr shows a secret.
"""

import os
import re
import secrets
import uuid
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from ml import remedies
from ml.settings import Settings
from serving.probing import SECRET_FILE

TOKEN_KEY = "token"
CONTROL_KEY = "control"
_HEADER = "triton-grpc-protocol-"  # Triton puts it before a restriction's key
_SECRET = re.compile(r"[A-Za-z0-9._~+/=-]{16,256}")


@dataclass(frozen=True)
class Credentials:
    """Files in PEM and secrets, None where the server asks for none. With a `ca` the connection is TLS."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    token: str | None = field(default=None, repr=False)
    control: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if (self.cert is None) != (self.key is None):
            raise ValueError("a client's certificate and its key go together; give both or neither")
        if self.cert is not None and self.ca is None:
            raise ValueError("a client's certificate needs TLS; give the CA that signed the server's (--ca)")
        if self.token is not None and not _SECRET.fullmatch(self.token):
            raise ValueError(
                "the token is not 16 to 256 letters, digits or ._~+/=-; make one with openssl rand -hex 32"
            )

    def headers(self) -> dict[str, str]:
        """Return the headers of every call."""
        shown = {TOKEN_KEY: self.token, CONTROL_KEY: self.control}
        return {_HEADER + name: value for name, value in shown.items() if value is not None}

    def channel(self) -> grpc.ChannelCredentials | None:
        """Return gRPC's credentials, None without TLS. Raises LookupError naming the file that cannot be read."""
        if self.ca is None:
            return None
        return grpc.ssl_channel_credentials(read_bytes(self.ca), *(p and read_bytes(p) for p in (self.key, self.cert)))


OPEN = Credentials()  # of a server without TLS and token


def of_client(settings: Settings, control: str | None = None) -> Credentials:
    """Return what the platform's own clients show by the settings. Raises LookupError or ValueError."""
    token = None if settings.serving_token_file is None else read_token(settings.serving_token_file)
    ca = settings.serving_ca or settings.serving_tls_cert
    return Credentials(ca, settings.serving_client_cert, settings.serving_client_key, token, control)


def of_control(settings: Settings) -> Credentials:
    """Return the same with the control secret; without, where no server was started yet."""
    path = _secret_file(settings)
    return of_client(settings, read_control_secret(settings) if path.exists() else None)


def read_token(path: Path) -> str:
    """Return the token in a file, blanks around it left out. Raises LookupError or ValueError, without the token."""
    text = read_bytes(path).decode(errors="replace").strip()
    if not _SECRET.fullmatch(text):
        raise ValueError(
            f"the token in {path} is not 16 to 256 letters, digits or ._~+/=-; make one with openssl rand -hex 32"
        )
    return text


def read_control_secret(settings: Settings) -> str:
    """Return the control secret. Raises PermissionError if others may read it, ValueError if it is damaged."""
    path = _secret_file(settings)
    if path.stat().st_mode & 0o077:
        raise PermissionError(f"others may read {path}; delete it, then {remedies.restart_triton()}")
    return read_token(path)


def make_control_secret(settings: Settings) -> str:
    """Return the control secret of this serving home; make it, for its owner alone, if there is none."""
    path = _secret_file(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")  # pids of two containers may be the same
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_urlsafe(32))
        with suppress(FileExistsError):  # another replica was first: its secret is everybody's
            os.link(temporary, path)
        temporary.unlink()
    return read_control_secret(settings)


def read_bytes(path: Path) -> bytes:
    """Return a file's bytes. Raises LookupError naming it if it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as error:
        raise LookupError(f"{path} cannot be read ({error.strerror})") from None


def _secret_file(settings: Settings) -> Path:
    return settings.serving_home / SECRET_FILE
