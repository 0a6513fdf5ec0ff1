"""`make notebook`: one notebook executed as its asset, recorded in the instance that the UI shows; prints its page."""

import argparse
from typing import Any

import dagster as dg

from assets.command import require_given
from assets.notebooks import DRIFT_REVIEW, EXPLORE, MODEL_REVIEW
from assets.quiet import leave
from assets.runs import FOR_PEOPLE, materialize
from assets.stages import Stages, run, say
from ml.models import MODEL_NAMES
from ml.models.flight_delay import FLIGHT_DELAY

_TAKES = {EXPLORE: ("table", "view"), DRIFT_REVIEW: ("month",), MODEL_REVIEW: ("version",)}


def main(arguments: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    options = _parsed(arguments)
    owner = "notebooks" if options.name == EXPLORE else options.model
    config = {name: value for name in _TAKES[options.name] if (value := getattr(options, name)) is not None}
    return run("notebook", lambda stages: _execute(stages, dg.AssetKey([owner, options.name]), config))


def _execute(stages: Stages, key: dg.AssetKey, config: dict[str, str]) -> None:
    say("notebook", f"{key.to_user_string()}, in a kernel of its own, on this home")
    told: dict[str, Any] = {**FOR_PEOPLE, "ops": {"__".join(key.path): {"config": config}}}
    result = materialize(stages.definitions, stages.instance, [key], [], stages.log, told=told)
    (event,) = result.get_asset_materialization_events()
    metadata = event.materialization.metadata
    print(f"page: {str(metadata['executed notebook'].value).removesuffix('.ipynb')}.html")
    print(f"make ui serves it: {metadata['page'].value}")


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m assets.notebook", description="Execute a notebook as its asset.")
    parser.add_argument("name", help="a file in notebooks/")
    first = FLIGHT_DELAY.name
    parser.add_argument("--model", default=first, help=f"of a review; default: {first}")
    for name, told in {
        "month": "of a drift review; default: the newest that was judged",
        "version": "of a model review; default: the challenger, or the champion",
        "table": "a partitioned table to explore",
        "view": "a feature view to explore",
    }.items():
        parser.add_argument(f"--{name}", help=told)
    options = parser.parse_args(arguments)
    require_given("notebook", NAME=(options.name, sorted(_TAKES)))
    require_given("notebook", NAME=(options.name, "a notebook"), MODEL=(options.model, MODEL_NAMES))
    strangers = [
        name
        for names in _TAKES.values()
        for name in names
        if name not in _TAKES[options.name] and getattr(options, name)
    ]
    if strangers:
        parser.error(f"{options.name} takes no --{strangers[0]}; it takes --{' --'.join(_TAKES[options.name])}")
    return options


if __name__ == "__main__":
    leave(main())
