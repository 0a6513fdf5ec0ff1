"""`make reference`: writes docs/reference.md from the code, which a test compares with what stands there.

Here the page is put together. Tables of settings and targets are made in `reference_settings`, those of Dagster's
definitions in `reference_graph`, those of serving in `reference_serving`.
"""

from pathlib import Path

from assets.definitions import definitions_for
from assets.quiet import quiet_exit
from assets.reference_graph import Graph
from assets.reference_serving import metric_table, serving_tables
from assets.reference_settings import make_table, settings_tables
from assets.resources import Platform, platform_for
from ml.feature_views import FeatureView
from ml.markdown import table
from ml.models import MODELS
from ml.settings import Settings

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "reference.md"

_PAGE = """# Reference

Written from the code by `make reference`; a test fails where it says something else than the code. Do not edit it.

## Commands
Parameters are given as `make model NAME=flight_delay`. Most may be left out; a command that lacks one says so.

{targets}

## Settings
Environment variables, read once, by `ml/settings.py`; `make` passes them on. Relative paths begin where the process
starts. What stands under `HEADWATER_HOME`, and what `make` itself reads, is in [settings](settings.md).

{settings}

## Assets
`<model>` is each of {models}. *made* says whether the asset has a partition a month.

{assets}

## Checks
What blocks closes the gate: nothing reads what has not passed ([read a failed gate](how-to.md#read-a-failed-gate)).
Where a name begins with `<table>`, dbt's test is named after the table.

{checks}

## Jobs, sensors, schedules
{automation}

## Feature views
Declared in dbt's YAML. *fields* are what a model's `features` may name as `view:field`; a field's kind is how it is
packed online.

{views}

## gRPC
Triton serves a model a `ModelSpec`, under its name. Inputs have the shape [batch, 1], a batch is at most 256 rows, an
empty text or NaN is a missing value. Examples, statuses and limits are in [serving](serving.md).

{serving}

## Metrics
The router's, on Triton's metrics port. Each series has the labels `model` and `process`, too. A histogram is told as
the three counters `_bucket` (with the label `le`), `_sum` and `_count`.
How to read them is in [monitoring](monitoring.md#metrics).

{metrics}
"""


def reference(platform: Platform) -> str:
    """Return the page."""
    graph = Graph(definitions_for(platform), MODELS)
    return _PAGE.format(
        targets=make_table(ROOT / "Makefile"),
        settings=settings_tables(),
        models=", ".join(f"`{spec.name}`" for spec in MODELS),
        assets=graph.asset_tables(),
        checks=graph.check_table(),
        automation=graph.automation_table(),
        views=table(
            ("view", "join keys", "ttl", "online", "holds", "fields"), [_view(v) for v in platform.feature_views]
        ),
        serving=serving_tables(platform),
        metrics=metric_table(),
    )


def _view(view: FeatureView) -> tuple[str, ...]:
    keys = ", ".join(f"`{name}` ({kind})" for name, kind in zip(view.join_keys, view.join_key_kinds, strict=True))
    fields = ", ".join(f"`{field.name}` ({field.kind})" for field in view.fields)
    hours = view.ttl.total_seconds() / 3600
    ttl = f"{hours / 24:g} days" if hours >= 72 else f"{hours:g} h"
    return f"`{view.name}`", keys, ttl, "yes" if view.online else "no", view.description, fields


def main() -> None:
    """Write the page."""
    quiet_exit()
    PAGE.write_text(reference(platform_for(Settings())))
    print(f"wrote {PAGE.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
