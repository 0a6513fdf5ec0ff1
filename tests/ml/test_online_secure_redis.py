"""The online store in a Redis that wants a password and TLS: it is used, and no message tells the password."""

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from ml.online_rows import OnlineRow, OnlineStoreError, open_online_rows, read
from tests.redis_server import free_port
from tests.serving.certificates import Authority

PASSWORD = "s3cret%2Fword"  # in an address; the server's own is s3cret/word
ROW = OnlineRow("N1", b"\0" * 32)


@pytest.fixture(scope="module")
def secure(tmp_path_factory) -> Iterator[tuple[int, Path]]:
    """Port and certificate authority of the server."""
    folder, port = tmp_path_factory.mktemp("secure"), free_port()
    authority = Authority(folder, "authority")
    certificate, key = authority.issue("redis")
    tls = {"tls-port": port, "tls-cert-file": certificate, "tls-key-file": key, "tls-ca-cert-file": authority.ca}
    settings = {
        "port": 0,
        "bind": "127.0.0.1",
        "save": '""',
        "requirepass": "s3cret/word",
        "tls-auth-clients": "no",
        **tls,
    }
    (folder / "redis.conf").write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    server = subprocess.Popen(["redis-server", folder / "redis.conf"], stdout=subprocess.DEVNULL)
    client = redis.Redis(host="127.0.0.1", port=port, ssl=True, ssl_ca_certs=str(authority.ca), password="s3cret/word")
    for _ in range(200):
        try:
            client.ping()
            break
        except redis.ConnectionError:
            time.sleep(0.02)
    yield port, authority.ca
    server.kill()
    server.wait()


def test_rows_are_written_and_read_over_tls_with_a_password(secure):
    port, ca = secure
    store = open_online_rows(f"rediss://:{PASSWORD}@127.0.0.1:{port}/0?ssl_ca_certs={ca}")
    assert store.upsert("view", [ROW]) == 1
    assert read(store, "view", ["N1", "N2"]) == [ROW.row, None]


@pytest.mark.parametrize(
    ("address", "told"),
    [
        ("rediss://:wr0ng@127.0.0.1:{port}/0?ssl_ca_certs={ca}", "correct user and password in HEADWATER_ONLINE_STORE"),
        ("rediss://127.0.0.1:{port}/0?ssl_ca_certs={ca}", "correct user and password in HEADWATER_ONLINE_STORE"),
        ("rediss://:s3cret%2Fword@127.0.0.1:{port}/0", "cannot be reached.*certificate"),
        ("redis://:s3cret%2Fword@127.0.0.1:{port}/0", "cannot be reached"),
        ("redis://127.0.0.1:{port}/0?password=s3cret%2Fword", "cannot be reached"),
    ],
    ids=["wrong password", "no password", "unknown authority", "no TLS", "password in the query"],
)
def test_what_keeps_us_out_is_named_and_no_password_is(secure, address, told):
    port, ca = secure
    store = open_online_rows(address.format(port=port, ca=ca))
    for ask in (lambda: store.upsert("view", [ROW]), lambda: read(store, "view", ["N1"])):
        with pytest.raises(OnlineStoreError, match=told) as error:
            ask()
        assert not [word for word in ("s3cret", "wr0ng") if word in str(error.value)]
