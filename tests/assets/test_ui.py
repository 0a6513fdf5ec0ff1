"""What `make ui` leaves in its terminal: the address, and no word that nobody can act on."""

import os
import subprocess
import sys

from assets.ui import QUIET


def test_what_dagster_says_of_its_own_parameters_is_not_told_and_all_else_is():
    code = (
        "import warnings; from dagster_shared.utils.warnings import beta_warning\n"
        "beta_warning('Parameter `owners` of function `asset`'); beta_warning('Class `LocalFileCodeReference`')\n"
        "warnings.warn('the disk is nearly full')"
    )
    told = {**os.environ, "PYTHONWARNINGS": QUIET}
    done = subprocess.run([sys.executable, "-c", code], env=told, capture_output=True, text=True)
    assert "the disk is nearly full" in done.stderr
    assert "beta" not in done.stderr
