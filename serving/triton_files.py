"""Where the bundled Triton and its Python live, and the command line and environment that start it.

Checks before a start that nothing is missing and no port is taken. The process itself is in `server`.
"""

import hashlib
import os
import shutil
import socket
import subprocess
from collections.abc import Sequence
from ctypes.util import find_library
from pathlib import Path

from ml import remedies
from ml.settings import Settings
from serving import triton_access
from serving.router_states import REPLICA

_STUB = "triton_python_backend_stub"
_LIBRARY = "libpython3.11.so.1.0"
_SHARED_MEMORY = Path("/dev/shm")
REPOSITORY_ROOT = Path(__file__).resolve().parents[1]


def triton_home(settings: Settings) -> Path:
    """Return the folder with bin/ and backends/: of the bundled Triton, or of Triton's own image."""
    bundled = settings.triton_root.absolute() / "pytriton" / "tritonserver"
    return bundled if bundled.exists() else settings.triton_root.absolute()


def require(settings: Settings) -> None:
    """Put the stub in place. Raises LookupError with the remedy if server, Python or libpython is missing."""
    home = triton_home(settings)
    if not (home / "bin" / "tritonserver").is_file():
        raise LookupError(f"no Triton under {settings.triton_root}; {remedies.install()} or set HEADWATER_TRITON_ROOT")
    if not settings.serving_python.exists():
        raise LookupError(
            f"no serving environment at {settings.serving_python}; {remedies.install()} or set HEADWATER_SERVING_PYTHON"
        )
    if not (home / "python_backend_stubs").exists():
        return  # Triton's own image: stub and Python are in place
    _place_stub(home)
    if _python_library(settings) is None and find_library("python3.11") is None:
        raise LookupError(f"{_LIBRARY} is missing, which Triton's Python backend needs; apt-get install libpython3.11")


def require_ports(settings: Settings, kinds: Sequence[str] = ("grpc", "metrics")) -> None:
    """Raise OSError naming port and setting if one of Triton's ports is taken."""
    for kind in kinds:
        port: int = getattr(settings, f"triton_{kind}_port")
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((settings.triton_address, port))
            except OSError as error:
                setting = f"HEADWATER_TRITON_{kind.upper()}_PORT"
                raise OSError(
                    f"port {port} for Triton's {kind} is taken ({error.strerror}); free it or set {setting}"
                ) from None


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nothing listens on."""
    probes = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [probe.getsockname()[1] for probe in probes]
    for probe in probes:
        probe.close()
    return ports


def command(settings: Settings, shared_memory: str) -> list[str]:
    """Return Triton's command line: gRPC and metrics on one address, models loaded on request only."""
    home = triton_home(settings)
    return [
        str(home / "bin" / "tritonserver"),
        f"--model-repository={settings.serving_home / 'models'}",
        f"--backend-directory={home / 'backends'}",
        f"--cache-directory={home / 'caches'}",
        "--model-control-mode=explicit",
        "--disable-auto-complete-config",
        "--exit-timeout-secs=5",
        "--allow-http=false",
        "--allow-sagemaker=false",
        "--allow-vertex-ai=false",  # else a variable of the environment turns it on
        f"--grpc-address={settings.triton_address}",
        f"--metrics-address={settings.triton_address}",
        f"--grpc-port={settings.triton_grpc_port}",
        f"--metrics-port={settings.triton_metrics_port}",
        f"--backend-config=python,shm-region-prefix-name={shared_memory}",
        *triton_access.arguments(settings),
    ]


def environment(settings: Settings) -> dict[str, str]:
    """Return Triton's environment: serving Python first, repository importable, one thread a library."""
    env = {k: v for k, v in os.environ.items() if k not in ("PYTHONHOME", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV")}
    env["PATH"] = f"{settings.serving_python.absolute().parent}:{env.get('PATH', os.defpath)}"
    env["PYTHONPATH"] = str(REPOSITORY_ROOT)
    env["PYTHONPYCACHEPREFIX"] = str(settings.triton_state / "pycache")  # revisions are immutable
    env[REPLICA] = replica(settings)
    env["OTEL_EXPORTER_OTLP_ENDPOINT"] = settings.otlp_endpoint  # ours alone says whether there are traces
    env["OMP_NUM_THREADS"] = env["OPENBLAS_NUM_THREADS"] = "1"
    library = _python_library(settings)
    if library is not None:
        env["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(library.parent), env.get("LD_LIBRARY_PATH", "")]))
    return env


def replica(settings: Settings) -> str:
    """Return what tells this Triton from others of the same serving home."""
    return f"{socket.gethostname()}:{settings.triton_address}:{settings.triton_grpc_port}"


def shared_memory_prefix(settings: Settings) -> str:
    """Return the name that begins all shared memory regions of this Triton."""
    return f"headwater_{hashlib.sha256(str(settings.triton_state).encode()).hexdigest()[:12]}_"


def release_shared_memory(prefix: str) -> None:
    """Delete the regions that killed processes left behind. Only when none of them runs."""
    for region in _SHARED_MEMORY.glob(f"{prefix}*"):
        region.unlink(missing_ok=True)


def _place_stub(home: Path) -> None:
    target = home / "backends" / "python" / _STUB
    if not target.exists():
        temporary = target.with_name(f".{_STUB}.{os.getpid()}")
        shutil.copy2(home / "python_backend_stubs" / "3.11" / _STUB, temporary)
        os.replace(temporary, target)


def _python_library(settings: Settings) -> Path | None:
    """Return the libpython that belongs to the serving Python, if it has a shared one."""
    code = "import sys; print(sys.base_prefix)"
    python = [str(settings.serving_python.absolute()), "-c", code]
    prefix = subprocess.run(python, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    path = Path(prefix) / "lib" / _LIBRARY
    return path if path.is_file() else None
