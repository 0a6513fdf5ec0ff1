"""`make approve`: a person lets a version take the step that its spec has wait for one; on record with name and reason.

The step itself is taken by the trial sensor, or by `make promote` and `make canary`.
"""

import argparse
import getpass
from typing import get_args

from assets.approved_steps import approve
from assets.command import REFUSALS, either, in_one_line, require_given
from assets.resources import platform_for
from ml.models import MODEL_NAMES, model_named
from ml.settings import Settings
from ml.upkeep import ApprovedStep

STEPS = get_args(ApprovedStep)


@in_one_line(*REFUSALS)
def main(arguments: list[str] | None = None) -> int:
    """Record the approval. Returns 1 after one line on failure."""
    parser = argparse.ArgumentParser(prog="python -m assets.approve", description="Let a version take its next step.")
    parser.add_argument("name", nargs="?", default="", help="the model, a file in ml/models")
    parser.add_argument("version", nargs="?", default="", help="its number in the registry")
    parser.add_argument("step", nargs="?", default="", help=f"what it may become: {either(STEPS)}")
    parser.add_argument("--why", default="", help="kept in the audit trail")
    given, who = parser.parse_args(arguments), getpass.getuser()
    version = (given.version, "its number in the registry")
    require_given("approve", NAME=(given.name, MODEL_NAMES), VERSION=version, STEP=(given.step, STEPS))
    approve(platform_for(Settings()), model_named(given.name), given.version, given.step, who, given.why)
    print(f"{given.name} version {given.version}: {given.step} approved by {who}; the trial sensor takes the step")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
