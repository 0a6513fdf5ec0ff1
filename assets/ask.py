"""`make ask`: held-out questions of the past to the served model, each at its own moment, and what then happened.

The clock and the online store go to each question's moment and come back afterwards. How is in assets/replay.py.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from assets.command import require_given
from assets.quiet import leave
from assets.replay import Answered, ask_in_order, published_views
from assets.resources import Platform
from assets.stages import Stages, run
from ml import remedies
from ml.clock import RealClock, ReplayClock
from ml.models import MODEL_NAMES, model_named
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.scoring import score
from ml.spec import ModelSpec
from ml.task import task_of
from serving.fleet import server_for
from serving.model_repository import ModelRepository


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(prog="python -m assets.ask", description=__doc__.partition(":")[2].split(".")[0])
    parser.add_argument("name", nargs="?", default="", help="a file in ml/models")
    parser.add_argument("--rows", type=int, default=5, help="how many, spread over the model's test window")
    arguments = parser.parse_args()
    require_given("ask", NAME=(arguments.name, MODEL_NAMES))
    if arguments.rows < 1:
        parser.error(f"--rows is {arguments.rows}; it is at least 1")
    return run("ask", lambda stages: _ask(stages, model_named(arguments.name), arguments.rows))


def _ask(stages: Stages, spec: ModelSpec, count: int) -> None:
    platform = stages.platform
    if ModelRepository(platform.settings.serving_home).deployed(spec.name) is None:
        raise LookupError(f"{spec.name} is not deployed; {_deploy(spec)}")
    server_for(platform.settings).start()
    asked, window = pl.col(spec.outcome.prediction_time), spec.split.test
    held_out = (asked >= window.start) & (asked < window.end)
    rows = platform.lake.read(f"{spec.name}/training_set").filter(held_out).collect()
    if rows.is_empty():
        raise LookupError(f"{spec.name}/training_set has no row from {window.start} to {window.end}: nothing to ask")
    with _clock_kept(platform):
        answers = list(ask_in_order(platform, spec, rows[:: max(1, rows.height // count)][:count]))
    print(_table(platform, spec, answers))


@contextmanager
def _clock_kept(platform: Platform) -> Iterator[None]:
    """Bring the clock and the online store back to where they were."""
    path = platform.settings.clock_file
    before = platform.clock.now() if path.exists() else None
    try:
        yield
    finally:
        if before is None:
            path.unlink(missing_ok=True)
        else:
            ReplayClock(path).set(before)
        now = before or RealClock().now()
        rebuild(published_views(platform), platform.publications, open_online_rows(platform.settings.online_store), now)


def _deploy(spec: ModelSpec) -> str:
    return remedies.deploy(spec.name, f"make model NAME={spec.name}")


def _table(platform: Platform, spec: ModelSpec, answers: list[Answered]) -> str:
    task, label = task_of(spec), spec.outcome.label
    champion = platform.registry.champion(spec.name)
    if champion is None:
        raise LookupError(f"no champion for {spec.name!r}; {_deploy(spec)}")
    frame = pl.DataFrame([answer.row for answer in answers], infer_schema_length=None)
    offline = score(platform.registry.onnx_path(champion), frame)
    served = [answer.prediction.value for answer in answers]
    lines = ["", f"{spec.outcome.row_id:<24}{'asked at (UTC)':<20}{task.output:>12}   {label:<14}prediction id"]
    for answer, value in zip(answers, served, strict=True):
        row = answer.row
        lines.append(
            f"{row[spec.outcome.row_id]!s:<24}{row[spec.outcome.prediction_time]:%Y-%m-%d %H:%M}    {value:>12.3f}   "
            f"{row[label]!s:<14}{answer.prediction.prediction_id}"
        )
    gap = max(abs(float(a) - b) for a, b in zip(offline, served, strict=True))
    told = f"Version {champion.version} answered. Served and offline answers differ by at most {gap:.1e}."
    return "\n".join([*lines, "", told])


if __name__ == "__main__":
    leave(main())
