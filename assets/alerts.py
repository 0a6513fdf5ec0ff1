"""`make alerts`: tell each sink what is due now; with DRY=1 only show it; with TEST=1 send a test through each.

The sensor in `assets/alerts_sensor.py` does the first every half minute. Starts no Dagster, so that cron may run it.
"""

import argparse
import sys
import threading
from collections.abc import Callable, Iterator, Sequence

from assets.alert_delivery import Delivery, Round
from assets.alert_log import open_log
from assets.alert_mail import open_mail
from assets.alert_memory import SinkFile
from assets.alert_message import trial
from assets.alert_sink import Sink, SinkError
from assets.alert_webhook import open_webhook
from assets.command import REFUSALS, in_one_line
from assets.failures import one_line
from assets.resources import Platform, platform_for
from checks.alert_trails import Trails
from ml.clock import RealClock
from ml.settings import Settings

SINKS: dict[str, Callable[[Settings], Sink | None]] = {"webhook": open_webhook, "mail": open_mail, "file": open_log}
PATIENCE = 10  # so many times the timeout of one step, a person waits for all steps of a sink


def tell(platform: Platform, wait: float, at_once: bool = False) -> list[Delivery]:
    """Send every sink what is due, side by side, and return what became of it within `wait` seconds.

    One that takes longer goes on by itself. Raises LookupError if an audit trail cannot be read.
    """
    this = Round(platform.settings, Trails.read(platform.lake), platform.clock.now(), at_once)
    return _side_by_side(platform.settings, this.deliver, wait)


def test(settings: Settings, wait: float) -> list[Delivery]:
    """Send a test message through every sink; it counts for nothing."""
    message = trial(RealClock().now())

    def send(sink: Sink) -> Delivery:
        return Delivery(sink.name, "told", f"took the test: {sink.send(message)}")

    return _side_by_side(settings, send, wait)


def show(platform: Platform) -> Iterator[str]:
    """Yield what each sink would be told now."""
    settings = platform.settings
    this = Round(settings, Trails.read(platform.lake), platform.clock.now(), at_once=True)
    for name, open_sink in SINKS.items():
        try:
            sink = open_sink(settings)
            if sink is None:
                continue
            state = SinkFile(settings.alerts_home, name).load()
            message, _ = this.due(sink, state)
            wait = this.waits(sink, state, RealClock().now())
            yield f"{name}: " + (f"{message.text}{wait and f' ({wait})'}" if message else "nothing to tell")
        except (SinkError, LookupError) as error:
            yield f"{name}: {one_line(error)}"


def _side_by_side(settings: Settings, ask: Callable[[Sink], Delivery], wait: float) -> list[Delivery]:
    """Ask every sink in a thread of its own, which does not keep this process alive, and wait for them so long."""
    done: dict[str, Delivery] = {}
    absent: set[str] = set()

    def one(name: str) -> None:
        try:
            sink = SINKS[name](settings)
            if sink is None:
                absent.add(name)
            else:
                done[name] = ask(sink)
        except Exception as error:  # whatever one sink does, the others go on
            done[name] = Delivery(name, "failed", one_line(error))

    threads = [threading.Thread(target=one, args=(name,), name=f"alerts-{name}", daemon=True) for name in SINKS]
    ends = RealClock().now().timestamp() + wait
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, ends - RealClock().now().timestamp()))
    late = {name: Delivery(name, "late", f"has not answered within {wait:g} s") for name in SINKS}
    return [done.get(name, late[name]) for name in SINKS if name not in absent]


@in_one_line(*REFUSALS)
def main(words: Sequence[str] | None = None) -> int:
    """Run the command. Returns 1 if a sink did not take what it was sent, after one line about each."""
    parser = argparse.ArgumentParser(prog="python -m assets.alerts", description="Tell people what is due now.")
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--dry-run", action="store_true", help="show what would be told, and tell nobody")
    how.add_argument("--test", action="store_true", help="send a test message through each sink")
    chosen, platform = parser.parse_args(words), platform_for(Settings())
    wait = PATIENCE * platform.settings.alerts_timeout_seconds
    if chosen.dry_run:
        print("\n".join(show(platform)) or "no sink is set")
        return 0
    told = test(platform.settings, wait) if chosen.test else tell(platform, wait, at_once=True)
    for delivery in told:
        print(f"{delivery.sink}: {delivery.line}")
    return int(any(delivery.result in ("failed", "late") for delivery in told))


if __name__ == "__main__":
    sys.exit(main())
