"""Alerts by mail, sinks that are set wrongly, and secrets that nobody is shown."""

from email import message_from_bytes, policy

import pytest

from assets import alerts
from ml.settings import Settings
from tests.alert_receivers import LOOPBACK

SECRETS = ("a-secret-path", "a-signing-secret", "a-mail-password")


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
