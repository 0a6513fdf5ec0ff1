"""What the platform's image copies is all that a training pod needs."""

import os
import shutil
import subprocess

from ml.lake import Lake
from ml.models.flight_delay import FLIGHT_DELAY
from tests.deploy.chart import ROOT
from tests.ml.synthetic import training_rows
from tests.ml.train_command import TABLE, command

DOCKERFILE = ROOT / "deploy" / "images" / "platform.Dockerfile"


def test_a_model_is_trained_and_registered_from_what_the_image_copies(tmp_path):
    app, home = tmp_path / "app", tmp_path / "home"
    final = DOCKERFILE.read_text().split("\nFROM ")[-1].splitlines()
    for source, target in (line.split()[1:] for line in final if line.startswith("COPY ") and "--from" not in line):
        (app / target).parent.mkdir(parents=True, exist_ok=True)
        copy = shutil.copytree if (ROOT / source).is_dir() else shutil.copy
        copy(ROOT / source, app / target)
    Lake(home / "lake").replace(TABLE, training_rows(FLIGHT_DELAY, count=1500), None, {})
    (home / "mlflow").mkdir()
    env = {**os.environ, "PYTHONPATH": str(app), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command(home, device="cpu"), cwd=app, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "registered flight_delay version 1" in done.stdout
