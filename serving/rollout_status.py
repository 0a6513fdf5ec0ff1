"""What serves, and who answers: `python -m serving.rollout_status [NAME]`. Changing it is in `assets.rollout`."""

import argparse
import sys

from ml.clock import ReplayClock
from ml.settings import Settings
from serving.model_repository import ModelRepository
from serving.plan import Plan
from serving.rollout import RolloutStatus, status


def told(plan: Plan) -> str:
    """Return a plan in a line: who serves as what, with which share, and why."""
    arms = [f"version {plan.champion.version}"]
    arms += [f"{a.variant} {a.version.version}" + (f" {a.share:.0%}" if a.share else "") for a in plan.arms]
    change = plan.change
    why = ", ".join(filter(None, [change.action, change.by and f"by {change.by}", change.at[:19], change.why]))
    return f"{', '.join(arms)} [{why}]"


def show(state: RolloutStatus) -> None:
    """Print the plans of a model, and who answers."""
    for plan in state.history:
        answers = state.answering is not None and state.answering.revision == plan.revision
        print(f"{state.model} revision {plan.revision}: {told(plan)}" + (" (answers)" * answers))
    if state.answering is None:
        print(f"nobody answers: {state.reason}")


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code (1: failed, or nobody answers)."""
    parser = argparse.ArgumentParser(prog="python -m serving.rollout_status", description=__doc__)
    parser.add_argument("name", nargs="?", help="name of the model; without one all are shown")
    options = parser.parse_args(arguments)
    settings = Settings()
    names = [options.name] if options.name else ModelRepository(settings.serving_home).deployed_models()
    try:
        states = [status(name, settings) for name in names]
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    for state in states:
        show(state)
    if not states:
        print("no model is deployed")
    if settings.clock_file.exists():
        print(f"the replayed clock stands at {ReplayClock(settings.clock_file).now():%Y-%m-%d %H:%M} UTC")
    return 0 if all(state.answering is not None for state in states) else 1


if __name__ == "__main__":
    raise SystemExit(main())
