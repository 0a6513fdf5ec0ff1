"""Delivery of alerts to real receivers, from a real trail: at least once, no storms, nobody in another's way."""

import hashlib
import hmac
import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from assets.alert_delivery import HOUR
from ml.clock import RealClock
from tests.alert_receivers import LOOPBACK


def test_a_webhook_gets_signed_json_with_a_text_that_chats_show(world, hook):
    world.judged(evidence={"summary": "<!channel> @all & more"})
    assert world.tell()["webhook"].line == f"told 1: {LOOPBACK}"
    (message,) = hook.messages
    assert message["text"].splitlines() == [
        "Headwater: critical: raw/flights[2013-03] version 4 failed the check history: "
        "&lt;!channel&gt; @\u200ball &amp; more",
        "   http://127.0.0.1:3000/assets/raw/flights?view=checks&amp;checkDetail=history",
        "   → correct the data, materialize raw/flights[2013-03] again; "
        "make quarantine TABLE=raw/flights MONTH=2013-03 shows what is held",
    ]
    (alert,) = message["alerts"]
    assert (message["severity"], message["counts"], message["left_out"]) == ("critical", {"new": 1}, 0)
    assert (alert["kind"], alert["status"], alert["version"]) == ("check_failed", "new", "4")
    assert alert["run_id"] == "run-1"
    assert alert["link"] == "http://127.0.0.1:3000/assets/raw/flights?view=checks&checkDetail=history"
    signed = hmac.new(b"a-signing-secret", hook.bodies[0], hashlib.sha256).hexdigest()
    assert hook.headers[0]["X-Headwater-Signature-256"] == f"sha256={signed}"


def test_a_storm_is_one_message_that_counts_and_names_the_first(world, hook):
    world.judged_many(100)
    world.tell()
    (message,) = hook.messages
    lines = message["text"].splitlines()
    assert lines[0] == "Headwater: 100 alerts (100 new)"
    assert sum(line.startswith("• ") for line in lines) == 5
    assert lines[-1].startswith("and 95 more: 1 on raw/table_05, ")
    assert len(message["text"]) < 3000
    assert (len(message["alerts"]), message["left_out"]) == (20, 80)
    assert len(world.log()) == 100  # the file has every one
    world.judged_many(100, passed=True)
    world.tell()
    assert [m["counts"] for m in hook.messages[1:]] == [{"ended": 100}]


def test_a_receiver_gets_so_many_messages_an_hour_and_the_rest_in_the_next(world, hook):
    world.given["alerts_per_hour"] = 3
    for version in range(8):
        world.happened("failed", version=str(version))
        last = world.tell()
    assert [len(m["alerts"]) for m in hook.messages] == [1, 1, 1]
    assert last["webhook"].result == "waits"
    assert last["webhook"].line.startswith("5 to tell, in one message at ")
    assert len(world.log()) == 8  # a file is no person
    world.later("webhook", HOUR)
    world.tell()
    assert [len(m["alerts"]) for m in hook.messages] == [1, 1, 1, 5]


def test_a_receiver_that_is_down_gets_one_digest_when_it_is_back(world, hook):
    hook.code = 503
    for version in range(3):
        world.happened("failed", version=str(version))
        assert world.tell()["webhook"].result == "failed"
    assert len(world.log()) == 3  # nobody else waited
    hook.code, hook.bodies = 200, []
    world.happened("failed", version="3")
    assert world.tell()["webhook"].result == "told"
    world.tell()
    assert [m["counts"] for m in hook.messages] == [{"new": 4}]


def test_a_receiver_that_is_down_is_tried_less_and_less_often(world, hook):
    hook.code = 500
    world.judged()
    waits = []
    for failures in range(1, 8):
        assert world.tell(at_once=False)["webhook"].result == "failed"
        waiting = world.tell(at_once=False)["webhook"]
        assert waiting.result == "waits"
        assert f"after {failures} failures: {LOOPBACK} answered 500" in waiting.line
        waits.append((world.file("webhook").load().retry_at - RealClock().now()).total_seconds())
        world.later("webhook", timedelta(minutes=15))
    assert waits == pytest.approx([30, 60, 120, 240, 480, 900, 900], abs=15)
    assert len(hook.bodies) == 7
    hook.code = 200
    assert world.tell(at_once=False)["webhook"].result == "told"
    assert world.file("webhook").load().failures == 0


@pytest.mark.parametrize("code", [302, 400, 404, 500])
def test_any_answer_but_a_yes_means_that_it_was_not_taken(world, hook, code):
    hook.code = code
    world.judged()
    assert world.tell()["webhook"].line == f"{LOOPBACK} answered {code}; 1 to tell, they are kept"
    assert len(hook.bodies) == 1  # a redirect is not followed


def test_a_receiver_that_hangs_keeps_nobody(world, hook):
    hook.first = lambda: time.sleep(1.5)
    world.judged()
    began = time.monotonic()
    found = world.tell(wait=0.3)
    assert time.monotonic() - began < 1.0
    assert (found["webhook"].result, found["file"].result) == ("late", "told")
    assert world.tell(wait=5)["webhook"].result == "busy"  # nobody sends it again meanwhile
    _until(lambda: world.tell()["webhook"].result == "nothing")
    assert len(hook.bodies) == 1


def test_a_receiver_that_never_answers_is_given_up(world, hook):
    world.given["alerts_timeout_seconds"] = 0.2
    hook.first = lambda: time.sleep(1)
    world.judged()
    assert world.tell()["webhook"].line.startswith(f"{LOOPBACK}: no answer in time")


def test_a_kill_between_sending_and_remembering_loses_nothing(world, hook):
    world.judged()
    environment = {**os.environ, "HEADWATER_HOME": str(world.home), "HEADWATER_ALERTS_WEBHOOK_URL": hook.url}
    child = subprocess.Popen([sys.executable, "-m", "assets.alerts"], env=environment)
    hook.first = lambda: child.send_signal(signal.SIGKILL)  # it has the message; the answer is lost
    assert child.wait(60) == -signal.SIGKILL
    hook.first = lambda: None
    assert world.tell()["webhook"].result == "told"
    first, second = hook.messages
    assert first["alerts"] == second["alerts"]  # told twice, with the same id: a receiver can know it
    assert world.tell()["webhook"].result == "nothing"


def test_many_at_once_tell_it_once(world, hook):
    world.judged_many(30)
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(lambda _: world.tell(), range(6)))
    _until(lambda: world.tell()["webhook"].result == "nothing")
    assert [m["counts"] for m in hook.messages] == [{"new": 30}]
    assert len(world.log()) == 30


def test_what_cannot_be_remembered_is_not_sent(world, hook):
    world.judged()
    (world.home / "alerts" / "webhook.new").mkdir()  # stands for a disk that takes nothing
    assert world.tell()["webhook"].result == "failed"
    assert hook.bodies == []
    assert len(world.log()) == 1


def test_a_damaged_memory_is_refused_with_the_remedy(world, hook):
    path = world.home / "alerts" / "webhook.json"
    path.write_text("{")
    world.judged()
    assert world.tell()["webhook"].line == f"{path} is damaged; delete it, and webhook is told anew what is wrong now"
    path.unlink()
    assert world.tell()["webhook"].result == "told"


def test_a_line_that_a_kill_cut_short_spoils_no_other(world):
    path = world.home / "logs" / "alerts.jsonl"
    world.judged()
    world.tell()
    with path.open("a") as file:
        file.write('{"id": "cut sho')
    world.judged(passed=True, version=5)
    world.tell()
    lines = path.read_text().splitlines()
    assert [json.loads(lines[n])["status"] for n in (0, 2)] == ["new", "ended"]
    assert len(lines) == 3


def _until(true, seconds=10.0):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)
