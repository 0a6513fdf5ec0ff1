"""The chart's HAProxy, for real, in front of a real Triton: clients infer, and do nothing else."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.request import urlopen

import pytest
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from serving.channel import open_channel
from serving.client import HeadwaterClient
from serving.credentials import Credentials, of_control
from serving.triton_files import free_ports
from tests.deploy.chart import CHART
from tests.serving.certificates import Authority
from tests.serving.conftest import Served, served  # noqa: F401  (the fixture of a served model)
from tests.serving.example import ROW

pytestmark = pytest.mark.server
CONFIGURATION = CHART / "files" / "haproxy.cfg"


@dataclass
class Proxy:
    """A running HAProxy, and where clients come in."""

    url: str
    process: subprocess.Popen[bytes]


def start(triton: str, more: str) -> Proxy:
    port, health = free_ports(2)
    named = {"LISTEN": f"127.0.0.1:{port} {more}", "TRITON": triton, "HEALTH": f"127.0.0.1:{health}"}
    haproxy = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
    assert haproxy is not None
    process = subprocess.Popen([haproxy, "-db", "-f", str(CONFIGURATION)], env={**os.environ, **named})
    until = time.monotonic() + 10
    while time.monotonic() < until:
        try:
            urlopen(f"http://127.0.0.1:{health}/", timeout=1)
            break
        except OSError:
            time.sleep(0.05)
    return Proxy(f"127.0.0.1:{port}", process)


@pytest.fixture(scope="module")
def proxy(served: Served) -> Iterator[Proxy]:  # noqa: F811
    made = start(served.server.url, "proto h2")
    yield made
    made.process.terminate()
    made.process.wait(10)


def test_clients_are_answered_through_it(proxy: Proxy) -> None:
    client = HeadwaterClient(proxy.url, 5.0)
    assert client.predict("example", [ROW])[0].model_version
    assert len(client.predict("example", [ROW] * 500)) == 500
    client.close()


def test_what_is_not_inference_is_refused_even_with_the_control_secret(proxy: Proxy, served: Served) -> None:  # noqa: F811
    for url, refused in ((proxy.url, True), (served.server.url, False)):
        triton: InferenceServerClient = open_channel(url, of_control(served.settings))
        calls = (
            triton.get_model_repository_index,
            lambda t=triton: t.load_model("example"),
            triton.get_inference_statistics,
            triton.get_trace_settings,
            triton.get_log_settings,
            triton.get_system_shared_memory_status,
        )
        for call in calls:
            if refused:
                with pytest.raises(InferenceServerException, match="only inference is served here"):
                    call()
            else:
                call()
        triton.close()
    assert not served.server.start().failing


def test_over_tls_its_certificate_is_checked(served: Served, tmp_path: Path) -> None:  # noqa: F811
    own, stranger = Authority(tmp_path, "own"), Authority(tmp_path, "stranger")
    cert, key = own.issue("server")
    shutil.copyfile(cert, tmp_path / "tls.crt")  # as Kubernetes mounts a Secret of type tls
    shutil.copyfile(key, tmp_path / "tls.key")
    made = start(served.server.url, f"ssl crt {tmp_path / 'tls.crt'} alpn h2")
    try:
        client = HeadwaterClient(made.url, 5.0, ca=own.ca)
        assert client.predict("example", [ROW])[0].model_version
        client.close()
        for shown in (Credentials(ca=stranger.ca), Credentials()):
            assert not _answers(made.url, shown)
    finally:
        made.process.terminate()
        made.process.wait(10)


def _answers(url: str, shown: Credentials) -> bool:
    client = open_channel(url, shown)
    try:
        return bool(client.is_server_live(client_timeout=2))
    except InferenceServerException:
        return False
    finally:
        client.close()
