"""When windows of answers are looked at: the job, the sensor that starts it as labels mature, and `make monitor`.

What it does: assets/monitoring.py, assets/outcomes.py, assets/performance.py and its checks.
"""

import argparse
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from assets.command import require_given
from assets.gates import Batch
from assets.monitoring_pages import page_of, with_page
from assets.monitoring_rows import performance_table, seen, spans
from assets.performance import windows_of
from assets.performance_checks import CHECKS, judge
from assets.quiet import leave
from assets.resources import Platform
from assets.stages import Stages, run
from ml.models import MODEL_NAMES, model_named
from ml.spec import ModelSpec
from ml.windows import newest_final
from serving.model_repository import ModelRepository

PARTS = ("predictions", "outcomes", "performance")
SENSOR_SECONDS = 60


def monitor_job(spec: ModelSpec) -> UnresolvedAssetJobDefinition:
    """Return the job that lands answers, joins labels, measures windows and judges them."""
    keys = [dg.AssetKey([spec.name, part]) for part in PARTS]
    return dg.define_asset_job(
        f"{spec.name}_monitor",
        selection=dg.AssetSelection.assets(*keys),
        description=f"What {spec.name} answered, what happened, how good it was; judges windows that are final.",
    )


def monitor_sensor(spec: ModelSpec, job: UnresolvedAssetJobDefinition) -> dg.SensorDefinition:
    """Return the sensor that starts `job` once a day of the platform's clock, as the labels of a day mature.

    The run key is the window, where one has become final since, else the day: a clock that is moved by weeks starts one
    run, which takes all windows.
    """

    @dg.sensor(
        name=f"{spec.name}_monitor_sensor",
        job=job,
        minimum_interval_seconds=SENSOR_SECONDS,
        description=f"Judges the answers of {spec.name} as their labels mature, by the platform's clock.",
    )
    def on_mature(
        context: dg.SensorEvaluationContext, platform: dg.ResourceParam[Platform]
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        if ModelRepository(platform.settings.serving_home).deployed(spec.name) is None:
            yield dg.SkipReason(f"{spec.name} is not deployed: nobody was answered")
            return
        now, label_hours = platform.clock.now(), spec.outcome.label_hours
        day = f"{now - timedelta(hours=label_hours) - timedelta(days=1):%Y-%m-%d}"  # the last whole day that is mature
        if context.cursor == day:
            yield dg.SkipReason(f"the answers of {day} were looked at; those of the day after mature next")
            return
        window = newest_final(spec.monitoring.window_days, label_hours, now)
        is_new = context.cursor is None or context.cursor < f"{window.end - timedelta(days=1):%Y-%m-%d}"
        context.update_cursor(day)
        about = f"window {window.name}" if is_new else f"day {day}"
        yield dg.RunRequest(f"{spec.name}:{about}", tags={"headwater/reason": f"the labels of {about} have matured"})

    return on_mature


def main() -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m assets.monitor",
        description="Land a model's answers, join the labels that have come, and judge the windows that are final.",
    )
    parser.add_argument("name", nargs="?", default="", help="a file in ml/models")
    parser.add_argument("--page", metavar="DAY", type=_day, help="write the page of the window from this day on, too")
    arguments = parser.parse_args()
    require_given("monitor", NAME=(arguments.name, MODEL_NAMES))
    return run("monitor", lambda stages: _monitor(stages, arguments.name, arguments.page))


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no day; write it like 2013-10-07") from None


def _monitor(stages: Stages, name: str, day: str | None) -> None:
    for part, what in zip(PARTS, ("answers from the log", "labels that have come", "windows, judged"), strict=True):
        stages.bring(part, what, name, always=True)
    print(told(stages.platform, model_named(name)))
    if day is not None:
        print(f"\npage: {write_page(stages.platform, model_named(name), day)}")


def told(platform: Platform, spec: ModelSpec) -> str:
    """Return the windows of a model's answers as a table: numbers with intervals, and the checks that warn."""
    table = performance_table(spec)
    if not platform.lake.exists(table):
        return f"\nno answer of {spec.name} is older than {spec.outcome.label_hours:g} hours: nothing to judge yet"
    lines = windows_of(spec, platform.lake.read(table).collect())[::-1]
    versions, warned = platform.lake.partition_versions(table), dict[tuple[str, str], list[str]]()
    for verdict, _ in platform.verdicts.newest_verdicts(table):
        if verdict.version == versions.get(verdict.partition) and verdict.check in CHECKS:
            about = (verdict.partition, str(verdict.evidence.get("version", "")))
            word = verdict.check if "content" in verdict.evidence else f"{verdict.check} crashed"
            warned.setdefault(about, []).extend([] if verdict.passed else [word])
    rows = [{**line, "warns": _warns(warned, line)} for line in lines]
    widths = {head: max(len(head), *(len(row[head]) for row in rows)) for head in rows[0]}
    heads = {head: head for head in widths}
    return "\n" + "\n".join("  ".join(row[h].ljust(w) for h, w in widths.items()).rstrip() for row in [heads, *rows])


def write_page(platform: Platform, spec: ModelSpec, day: str) -> Path:
    """Judge the window that begins on a day once more, recording nothing, and write its page, in breach or not.

    Raises LookupError naming the windows that there are, or if nobody was answered by a champion in this one.
    """
    known = {span.name: span for span in spans(platform, spec)}
    if day not in known:
        raise LookupError(f"no window of {spec.name} begins on {day}; there are: {', '.join(known) or 'none'}")
    window = seen(platform, spec, known[day])
    if window is None or window.answers.labelled.is_empty():
        raise LookupError(f"the window of {spec.name} from {day} on has no labelled answer of a champion")
    with_page(window, judge(window, Batch(platform, performance_table(spec), 0, day)), always=True)
    return page_of(window)


def _warns(warned: dict[tuple[str, str], list[str]], line: dict[str, str]) -> str:
    found = warned.get((line["window"], line["version"]))
    crashed = warned.get((line["window"], ""), [])
    return "not judged" if found is None and not crashed else ", ".join([*(found or []), *crashed]) or "nothing"


if __name__ == "__main__":
    leave(main())
