import socket
from pathlib import Path

import pytest

from ml.settings import Settings
from serving import triton_files
from tests.serving.example import settings_at


def test_a_missing_server_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match=r"no Triton under .*; run make setup or set HEADWATER_TRITON_ROOT"):
        triton_files.require(settings_at(tmp_path, triton_root=tmp_path))


def test_a_missing_serving_environment_is_named_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(LookupError, match="run make setup or set HEADWATER_SERVING_PYTHON"):
        triton_files.require(settings_at(tmp_path, serving_python=tmp_path / "python"))


def test_a_missing_libpython_is_named_with_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(triton_files, "find_library", lambda name: None)
    monkeypatch.setattr(triton_files, "_python_library", lambda settings: None)
    with pytest.raises(LookupError, match=r"apt-get install libpython3\.11"):
        triton_files.require(settings_at(tmp_path))


def test_a_taken_port_is_named_with_its_setting(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = settings_at(tmp_path, triton_grpc_port=port)
        with pytest.raises(OSError, match=f"port {port} for Triton's grpc is taken .* HEADWATER_TRITON_GRPC_PORT"):
            triton_files.require_ports(settings)


def test_triton_listens_on_loopback_only_and_loads_on_request_only(tmp_path: Path) -> None:
    line = triton_files.command(settings_at(tmp_path), "prefix")
    for kind in ("grpc", "metrics"):
        assert f"--{kind}-address=127.0.0.1" in line
    assert "--allow-http=false" in line
    assert "--model-control-mode=explicit" in line


def test_triton_s_python_is_the_serving_one_and_finds_the_repository(tmp_path: Path) -> None:
    settings = Settings()
    environment = triton_files.environment(settings)
    assert environment["PATH"].split(":")[0] == str(settings.serving_python.absolute().parent)
    assert (Path(environment["PYTHONPATH"]) / "serving" / "router.py").is_file()
    assert triton_files.shared_memory_prefix(settings) != triton_files.shared_memory_prefix(settings_at(tmp_path))
