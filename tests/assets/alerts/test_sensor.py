"""The sensor and the command that tell alerts."""

import dagster as dg
import pytest

from assets import alerts
from assets.alert_delivery import FIRST_WAIT
from assets.alerts_sensor import alerts_sensor
from tests.alert_receivers import LOOPBACK, PATH


def test_the_sensor_tells_and_its_tick_fails_where_a_receiver_did(world, hook):
    sensor = alerts_sensor()

    def tick():
        return sensor(dg.build_sensor_context(resources={"platform": world.platform()}))

    world.judged()
    assert tick().skip_message == f"webhook: told 1: {LOOPBACK}\nfile: told 1: {world.home}/logs/alerts.jsonl"
    hook.code = 500
    world.judged(passed=True, version=5)
    with pytest.raises(RuntimeError, match="answered 500; 1 to tell, they are kept"):
        tick()
    world.later("webhook", FIRST_WAIT)
    hook.code = 200
    tick()
    assert [m["counts"] for m in hook.messages] == [{"new": 1}, {"ended": 1}, {"ended": 1}]


def _command(monkeypatch, world, hook, *words):
    monkeypatch.setenv("HEADWATER_HOME", str(world.home))
    monkeypatch.setenv("HEADWATER_ALERTS_WEBHOOK_URL", hook.url)
    return alerts.main(words)


def test_the_command_shows_what_is_due_and_tells_nobody(world, hook, monkeypatch, capsys):
    world.judged()
    assert _command(monkeypatch, world, hook, "--dry-run") == 0
    assert "webhook: Headwater: critical: raw/flights[2013-03] version 4" in capsys.readouterr().out
    assert (hook.bodies, world.log()) == ([], [])
    assert _command(monkeypatch, world, hook) == 0
    assert "webhook: told 1: 127.0.0.1" in capsys.readouterr().out
    assert _command(monkeypatch, world, hook, "--dry-run") == 0
    assert capsys.readouterr().out.splitlines() == ["webhook: nothing to tell", "file: nothing to tell"]


def test_a_test_goes_through_each_sink_and_says_who_took_it(world, hook, monkeypatch, capsys):
    assert _command(monkeypatch, world, hook, "--test") == 0
    assert "webhook: took the test: 127.0.0.1" in capsys.readouterr().out
    assert "This is a test" in hook.messages[0]["text"]
    assert hook.messages[0]["alerts"] == []
    hook.code = 410
    assert _command(monkeypatch, world, hook, "--test") == 1
    said = capsys.readouterr().out
    assert "webhook: 127.0.0.1 answered 410" in said
    assert "file: took the test" in said
    assert PATH not in said
