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
from email import message_from_bytes, policy

import dagster as dg
import pytest

from assets import alerts
from assets.alert_delivery import FIRST_WAIT, HOUR
from assets.alert_memory import SinkFile
from assets.alerts_sensor import alerts_sensor
from assets.resources import Platform
from ml.clock import RealClock
from ml.settings import Settings
from tests.alert_receivers import LOOPBACK, PATH, Hook, MailServer
from tests.alert_trail import Trail
from tests.serving.certificates import Authority

SECRETS = ("a-secret-path", "a-signing-secret", "a-mail-password")


class World(Trail):
    """A home with a trail, whose settings say where alerts go."""

    def __init__(self, home):
        super().__init__(home)
        self.given = {"home": home, "alerts_timeout_seconds": 2}
        self.tell()  # the sinks are there before anything happens

    def platform(self):
        return Platform(Settings(**self.given))

    def tell(self, wait=20.0, at_once=True):
        return {d.sink: d for d in alerts.tell(self.platform(), wait, at_once)}

    def file(self, sink):
        return SinkFile(self.home / "alerts", sink)

    def later(self, sink, by):
        """Let real time pass for a sink, by putting what it remembers of it back."""
        state = self.file(sink).load()
        retry_at = state.retry_at and state.retry_at - by
        moved = {"sent": tuple(at - by for at in state.sent), "retry_at": retry_at}
        self.file(sink).save(type(state)(**{**vars(state), **moved}))

    def log(self):
        path = self.home / "logs" / "alerts.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def hook():
    made = Hook()
    yield made
    made.close()


@pytest.fixture
def world(tmp_path, hook, monkeypatch):
    monkeypatch.setenv("no_proxy", LOOPBACK)
    made = World(tmp_path)
    made.given |= {"alerts_webhook_url": hook.url, "alerts_webhook_secret": "a-signing-secret"}
    made.tell()
    return made


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


@pytest.fixture
def mail(world, tmp_path, monkeypatch):
    authority = Authority(tmp_path, "authority")
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.ca))
    server = MailServer(authority.issue("mail"), "a-mail-password", ("gone@example.org",)).start()
    world.given |= {
        "alerts_smtp_host": LOOPBACK,
        "alerts_smtp_port": server.port,
        "alerts_smtp_user": "headwater",
        "alerts_smtp_password": "a-mail-password",
        "alerts_mail_from": "Headwater <headwater@example.org>",
        "alerts_mail_to": "ada@example.org, Grace <grace@example.org>",
    }
    world.tell()
    yield server
    server.stop()


def test_a_mail_goes_encrypted_and_logged_in_to_all(world, mail):
    world.judged(evidence={"summary": "sch\u00f6n: 40% fewer\nrows \x1b\ud800"})
    world.happened("retrain", key="2013-09")  # not grave enough for a mail
    assert world.tell()["mail"].line == f"told 1: {LOOPBACK}"
    (envelope,) = mail.mails
    assert envelope.rcpt_tos == ["ada@example.org", "grace@example.org"]
    sent = message_from_bytes(envelope.content, policy=policy.default)
    assert sent["Subject"].strip() == "[Headwater] critical: raw/flights[2013-03] version 4 failed the check history"
    assert "sch\u00f6n: 40% fewer rows ??" in sent.get_content()
    assert "make quarantine TABLE=raw/flights MONTH=2013-03" in sent.get_content()


def test_a_mail_server_that_is_down_gets_one_mail_when_it_is_back(world, mail):
    mail.stop()
    world.judged_many(3)
    assert world.tell()["mail"].result == "failed"
    world.judged()
    mail.start()
    world.given["alerts_smtp_port"] = mail.port
    assert world.tell()["mail"].result == "told"
    (envelope,) = mail.mails
    assert b"4 alerts (4 new)" in envelope.content


def test_a_receiver_of_mail_that_is_refused_is_named_and_the_others_have_it(world, mail):
    world.given["alerts_mail_to"] = "ada@example.org,gone@example.org"
    world.judged()
    assert world.tell()["mail"].line == f"told 1: {LOOPBACK}, which refused gone@example.org"


def test_a_wrong_password_or_an_unknown_certificate_is_said_without_secrets(world, mail, monkeypatch):
    world.judged()
    mail.password = "another"
    line = world.tell()["mail"].line
    assert "535" in line
    assert "a-mail-password" not in line
    monkeypatch.delenv("SSL_CERT_FILE")
    assert "certificate" in world.tell()["mail"].line.lower()
    assert mail.mails == []


@pytest.mark.parametrize(
    ("wrong", "sink", "words"),
    [
        ({"alerts_webhook_url": "ftp://host/a-secret-path"}, "webhook", "HEADWATER_ALERTS_WEBHOOK_URL is no http"),
        ({"alerts_webhook_url": "https://host:x/a-secret-path"}, "webhook", "HEADWATER_ALERTS_WEBHOOK_URL is no http"),
        ({"alerts_webhook_url": "http:// host/a-secret-path"}, "webhook", "HEADWATER_ALERTS_WEBHOOK_URL is no http"),
        ({"alerts_smtp_host": "mail", "alerts_mail_from": "a@b"}, "mail", "HEADWATER_ALERTS_MAIL_TO names no mail"),
        (
            {
                "alerts_smtp_host": "mail",
                "alerts_mail_from": "a@b",
                "alerts_mail_to": "a@b",
                "alerts_smtp_user": "a",
                "alerts_smtp_starttls": False,
            },
            "mail",
            "a password is not sent in the clear",
        ),
        ({"alerts_file": "/proc/alerts/here"}, "file", "/proc/alerts"),
    ],
)
def test_a_sink_that_is_set_wrongly_is_named_and_the_others_go_on(world, wrong, sink, words):
    world.judged()
    world.given |= wrong
    found = world.tell()
    assert found[sink].result == "failed"
    assert words in found[sink].line
    assert "a-secret-path" not in found[sink].line
    others = [d.result for d in found.values() if d.sink != sink]
    assert others
    assert set(others) == {"told"}


def test_secrets_are_never_printed(world, hook, mail):
    settings = Settings(**world.given)
    hook.close()
    mail.stop()
    world.judged()
    found = world.tell()
    assert [found[sink].result for sink in ("webhook", "mail")] == ["failed", "failed"]
    kept = "".join(path.read_text() for path in (world.home / "alerts").iterdir())
    shown = f"{settings!r} {found} {kept} {list(alerts.show(world.platform()))} {world.log()}"
    assert [secret for secret in SECRETS if secret in shown] == []


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


def _until(true, seconds=10.0):
    ends = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < ends
        time.sleep(0.05)
