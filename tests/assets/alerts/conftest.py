"""A webhook and a mail server that really receive, and a home that tells them."""

import pytest

from tests.alert_receivers import LOOPBACK, Hook, MailServer
from tests.assets.alerts.world import World
from tests.serving.certificates import Authority


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
