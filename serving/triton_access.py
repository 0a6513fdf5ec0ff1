"""Who may ask Triton for what: its arguments for TLS, the token of inference and the control API's secret.

Triton takes the two secrets on its command line only (docs/serving.md says what that means). What callers show is in
`credentials`.
"""

import hashlib
import hmac
import json
import ssl
from pathlib import Path

from ml.settings import Settings
from serving.credentials import CONTROL_KEY, TOKEN_KEY, make_control_secret, read_bytes, read_token

# All but health, which probes need, and what an inference needs. A protocol may stand in one group only.
_CONTROL = "model-repository,shared-memory,statistics,trace,logging"
_INFERENCE = "inference,metadata,model-config"


def require(settings: Settings) -> None:
    """Raise LookupError or ValueError, naming file and setting, if Triton could not use what the settings name."""
    _require_whole(settings)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    _require_pair(server, settings, "serving_tls_cert", "serving_tls_key")
    _require_pair(client, settings, "serving_client_cert", "serving_client_key")
    for name in ("serving_tls_client_ca", "serving_ca"):
        _require_ca(settings, name)
    if settings.serving_token_file is not None:
        _read(settings, "serving_token_file")
        read_token(settings.serving_token_file)


def arguments(settings: Settings) -> list[str]:
    """Return Triton's arguments. Makes the control secret of this serving home if there is none."""
    found = [f"--grpc-restricted-protocol={_CONTROL}:{CONTROL_KEY}={make_control_secret(settings)}"]
    if settings.serving_token_file is not None:
        token = read_token(settings.serving_token_file)
        found.append(f"--grpc-restricted-protocol={_INFERENCE}:{TOKEN_KEY}={token}")
    if settings.serving_tls_cert is not None:
        found += [
            "--grpc-use-ssl=true",
            f"--grpc-server-cert={settings.serving_tls_cert}",
            f"--grpc-server-key={settings.serving_tls_key}",
        ]
    if settings.serving_tls_client_ca is not None:
        found += ["--grpc-use-ssl-mutual=true", f"--grpc-root-cert={settings.serving_tls_client_ca}"]
    return found


def fingerprint(settings: Settings) -> str:
    """Return what changes with any of these arguments or with the content of a file among them; shows no secret."""
    files = (settings.serving_tls_cert, settings.serving_tls_key, settings.serving_tls_client_ca)
    parts = [*arguments(settings), *(hashlib.sha256(read_bytes(path)).hexdigest() for path in files if path)]
    return hmac.new(make_control_secret(settings).encode(), json.dumps(parts).encode(), "sha256").hexdigest()


def _require_whole(settings: Settings) -> None:
    for one, other in (
        ("serving_tls_cert", "serving_tls_key"),
        ("serving_tls_key", "serving_tls_cert"),
        ("serving_client_cert", "serving_client_key"),
        ("serving_client_key", "serving_client_cert"),
        ("serving_tls_client_ca", "serving_tls_cert"),
        ("serving_tls_client_ca", "serving_client_cert"),  # else nobody could load a model
        ("serving_client_cert", "serving_tls_cert"),
        ("serving_ca", "serving_tls_cert"),
    ):
        if getattr(settings, one) is not None and getattr(settings, other) is None:
            raise ValueError(f"{_variable(one)} is set and {_variable(other)} is not; set it too")


def _require_pair(context: ssl.SSLContext, settings: Settings, cert: str, key: str) -> None:
    chain, secret = _read(settings, cert), _read(settings, key)
    if chain is None:
        return
    try:
        context.load_cert_chain(chain, secret, password="")  # a key with a password would ask for it
    except ssl.SSLError as error:
        raise ValueError(
            f"{chain} ({_variable(cert)}) and {secret} ({_variable(key)}) are no certificate and its key without "
            f"a password, in PEM: {error}"
        ) from None


def _require_ca(settings: Settings, name: str) -> None:
    path = _read(settings, name)
    try:
        if path is not None:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
    except ssl.SSLError as error:
        raise ValueError(f"{path} ({_variable(name)}) holds no certificate in PEM: {error}") from None


def _read(settings: Settings, name: str) -> Path | None:
    """Return the file that a setting names, once it could be read."""
    path: Path | None = getattr(settings, name)
    try:
        if path is not None:
            read_bytes(path)
    except LookupError as error:
        raise LookupError(f"{error}; {_variable(name)} names it") from None
    return path


def _variable(name: str) -> str:
    return f"HEADWATER_{name.upper()}"
