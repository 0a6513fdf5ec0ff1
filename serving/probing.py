"""Probes: requests that are not logged, and that any version of the plan may answer. Only the platform may send them.

So a request bears a key that is made from the control secret; every answer to anybody else is in the prediction log.
Standard library only: the router looks at the key, `client` and `control` show it.
"""

import hashlib
import hmac
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROBE = "headwater_probe"  # request parameter: true (the champion answers), or the version of the plan that answers
KEY = "headwater_probe_key"  # request parameter: `key_of` the control secret
SECRET_FILE = Path("server", "control.secret")  # under the serving home
REFUSED = "a probe needs the control secret of the serving home"


def key_of(secret: str) -> str:
    """Return the key of a control secret; it does not tell the secret."""
    return hmac.new(secret.encode(), b"headwater probe", hashlib.sha256).hexdigest()


def probing(secret: str, version: bool | str = True) -> dict[str, Any]:
    """Return the parameters of a probe that the champion answers, or the version of the plan that is named."""
    return {PROBE: version, KEY: key_of(secret)}


class Gatekeeper:
    """Knows the key of one serving home's probes."""

    def __init__(self, serving_home: Path) -> None:
        path = serving_home / SECRET_FILE
        self._key = key_of(path.read_text().strip()) if path.exists() else ""

    def admits(self, parameters: Mapping[str, Any]) -> bool:
        """Whether a request with these parameters may be a probe."""
        shown = str(parameters.get(KEY, ""))
        return bool(self._key) and hmac.compare_digest(shown.encode(), self._key.encode())
