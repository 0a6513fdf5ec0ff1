"""The replicas of Triton that the settings name: what the platform says to one, it says to each.

One replica is `control`; who they are, a name says that resolves to them all (a headless Service), asked anew at each
call. One that goes meanwhile is not waited for: another that starts loads by itself what is deployed (`replica`).
"""

import socket
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from ml.settings import Settings
from serving.channel import BusyError
from serving.control import Control, Probe

LEAVE_SECONDS = 30.0  # how long one that does not answer may stay among those that the name resolves to
CATCH_UP_SECONDS = 10.0  # for one that was ready and is behind a change
T = TypeVar("T")


def addresses(settings: Settings) -> dict[str, str]:
    """Return where replicas are controlled, host:port, with the name that each was found by.

    Raises ConnectionError if a name resolves to nothing, ValueError if one has no port.
    """
    if not settings.triton_replicas:
        return {settings.triton_here: ""}
    found: dict[str, str] = {}
    for name in settings.triton_replicas.split(","):
        host, _, port = name.strip().rpartition(":")
        if not host or not port.isdecimal():
            raise ValueError(f"HEADWATER_TRITON_REPLICAS has {name!r}; it is host:port, several with commas")
        try:
            answers = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM)
        except OSError as error:
            raise ConnectionError(
                f"no replica of Triton: {host} (HEADWATER_TRITON_REPLICAS) resolves to nothing ({error}); "
                "see that one is ready: kubectl get pods -l app.kubernetes.io/component=triton"
            ) from None
        family = min(answer[0] for answer in answers)  # each replica once: IPv4 where a name has both
        found |= {_url(str(answer[4][0]), port): host for answer in answers if answer[0] == family}
    return found


def _url(address: str, port: str) -> str:
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


class Replicas:
    """Control of all replicas. Errors are those of `Control`, and name the replica."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Control] = {}

    def silent(self) -> list[str]:
        """Return the addresses of those that do not answer now. Raises ConnectionError if there is no replica."""
        return [control.url for control in self._controls() if not control.live()]

    def require_live(self) -> None:
        """Raise ConnectionError with the remedy unless each answers."""
        self._each(lambda control: control.require_live())

    def load(self, model: str) -> None:
        """Load the newest configuration on each."""
        self._each(lambda control: control.load(model))

    def unload(self, model: str) -> None:
        """Unload the model on each and wait until it is gone."""
        self._each(lambda control: control.unload(model))

    def ready(self, model: str) -> bool:
        """Whether each calls the model ready."""
        return all(self._each(lambda control: control.ready(model)))

    def probe(self, model: str) -> Probe:
        """Return who answers on every replica. Raises RuntimeError if not all answer by one revision.

        One that has just come may still load: it is waited for.
        """
        until = time.monotonic() + CATCH_UP_SECONDS
        while len(set(probes := self._each(lambda control: control.probe(model)))) > 1 and time.monotonic() < until:
            time.sleep(0.5)
        if len(set(probes)) > 1:
            told = ", ".join(sorted({f"revision {p.revision}, version {p.model_version}" for p in probes}))
            raise RuntimeError(f"replicas of Triton answer differently: {told}")
        return probes[0]

    def recover(self, model: str) -> Probe:
        """Probe the model on each, load it anew where it fails, and return who answers by the newest revision."""
        return max(self._each(lambda control: control.recover(model)))

    def close(self) -> None:
        """Close the channels."""
        for control in self._open.values():
            control.close()
        self._open = {}

    def _controls(self) -> list[Control]:
        """Return the controls of those who are there now."""
        there = addresses(self._settings)
        for url in [url for url in self._open if url not in there]:
            self._open.pop(url).close()
        for url, name in there.items():
            if url not in self._open:
                self._open[url] = Control(self._settings, url, name)
        return list(self._open.values())

    def _each(self, call: Callable[[Control], T]) -> list[T]:
        """Return what each says, of those that left nothing; raises the first error, or ConnectionError if none is."""
        controls = self._controls()
        with ThreadPoolExecutor(len(controls)) as pool:
            said = list(pool.map(lambda control: self._said(control, call), controls))
        found = [answer for answers in said for answer in answers]
        if not found:
            raise ConnectionError(f"all replicas of Triton left meanwhile: {', '.join(c.url for c in controls)}")
        return found

    def _said(self, control: Control, call: Callable[[Control], T]) -> list[T]:
        """Return the answer of one; nothing if it is not among the replicas any more."""
        until = time.monotonic() + LEAVE_SECONDS
        while True:
            try:
                return [call(control)]
            except (ConnectionError, TimeoutError) as error:  # a node that is lost answers nothing at all
                if not self._settings.triton_replicas:
                    raise
                if control.url not in addresses(self._settings):
                    return []
                if isinstance(error, TimeoutError) or time.monotonic() > until:
                    raise _given_up(control, error) from None
                time.sleep(0.5)


def _given_up(control: Control, error: Exception) -> Exception:
    """Return what to raise for a replica that stays and did not do what it was asked: one that lives is left alone."""
    who = f"the replica of Triton at {control.url}"
    if isinstance(error, BusyError):
        return BusyError(
            f"{who} was busy for {LEAVE_SECONDS:g} s; it lives, so leave its pod: try again when it is asked less, or "
            f"add replicas ({error})"
        )
    if isinstance(error, TimeoutError):
        slow = "lives and is slow: try again when it is asked less"
        return TimeoutError(f"{error}; {who} {slow if control.live() else 'does not live: delete its pod'}")
    return ConnectionError(
        f"{who} does not answer, and has not left its Service in {LEAVE_SECONDS:g} s; delete its pod, then try again "
        f"({error})"
    )
