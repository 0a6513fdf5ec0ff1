"""Assets, checks, jobs, sensors and schedules, as tables of the reference page: what Dagster's definitions say.

What differs between models by their name only is told once, of `<model>`. The page is put together in `reference`.
"""

import re
from collections.abc import Iterable, Iterator

import dagster as dg

from ml.markdown import table
from ml.spec import ModelSpec

_STAGES = ("raw", "features", "publish", "training", "model", "deployment", "monitoring", "scoring", "audit")
_A_TIME = re.compile(r" \([\w ,]*\d+:\d\d:\d\d\)")
_UNTOLD = "A test of dbt's, declared in the table's `.yml`."


class Graph:
    """The definitions of all `models`, read for people."""

    def __init__(self, definitions: dg.Definitions, models: Iterable[ModelSpec]) -> None:
        self.definitions = definitions
        self.models = tuple(models)
        self.assets = definitions.resolve_asset_graph()

    def asset_tables(self) -> str:
        """Return a table of asset keys for each group, the groups in the order of the lineage."""
        groups: dict[str, dict[tuple[str, ...], None]] = {}
        for key in sorted(self.assets.get_all_asset_keys()):
            node = self.assets.get(key)
            row = (
                f"`{self._general(key.to_user_string())}`",
                "a month" if node.is_partitioned else "whole",
                ", ".join(sorted(node.kinds)),
                self._told(node.description, "No description."),
            )
            groups.setdefault(node.group_name, {})[row] = None
        order = sorted(groups, key=lambda name: (_STAGES.index(name) if name in _STAGES else len(_STAGES), name))
        heads = ("asset key", "made", "with", "holds")
        return "\n\n".join(f"### `{name}`\n{table(heads, groups[name])}" for name in order)

    def check_table(self) -> str:
        """Return a table of checks: those of one name and meaning in one row, with the assets that they judge."""
        judged: dict[tuple[str, str, str], dict[str, None]] = {}
        for spec in sorted(self._checks(), key=lambda spec: (spec.asset_key, spec.name)):
            asset, subject = self._general(spec.asset_key.to_user_string()), spec.asset_key.path[-1]
            name = spec.name if spec.description else spec.name.replace(subject, "<table>", 1)
            told = self._told(spec.description, _UNTOLD).replace(asset, "the table")
            judged.setdefault((name, "yes" if spec.blocking else "no", _A_TIME.sub("", told)), {})[asset] = None
        rows = [(f"`{name}`", _among(assets), blocks, told) for (name, blocks, told), assets in sorted(judged.items())]
        return table(("check", "of", "blocks", "holds if, or does"), rows)

    def automation_table(self) -> str:
        """Return a table of jobs, sensors and schedules, and whether they are on before anybody switched them."""
        definitions = self.definitions
        rows = [("job", job.name, "", job.description) for job in definitions.jobs or ()]
        for sensor in definitions.sensors or ():
            running = sensor.default_status is dg.DefaultSensorStatus.RUNNING
            rows.append(("sensor", sensor.name, "on" if running else "off", sensor.description))
        for schedule in definitions.get_repository_def().schedule_defs:
            started = schedule.default_status is dg.DefaultScheduleStatus.RUNNING
            when = f"{'on' if started else 'off'}, `{schedule.cron_schedule}`"
            rows.append(("schedule", schedule.name, when, schedule.description))
        general = {(kind, f"`{self._general(name)}`", on, self._told(told, "")): None for kind, name, on, told in rows}
        return table(("kind", "name", "at first", "does"), general)

    def _checks(self) -> Iterator[dg.AssetCheckSpec]:
        for key in self.assets.asset_check_keys:
            yield self.assets.get_check_spec(key)

    def _general(self, text: str) -> str:
        for spec in self.models:
            text = text.replace(spec.name, "<model>")
        return text

    def _told(self, text: str | None, otherwise: str) -> str:
        """Return the first paragraph, without what a model says of itself."""
        first = (text or otherwise).split("\n\n")[0].strip()
        for spec in self.models:
            first = first.replace(f"{spec.description} ", "").replace(spec.description, "what the model answers")
        for spec in self.models:
            first = first.replace(spec.name, "the model")
        return first[:1].upper() + first[1:]


def _among(assets: Iterable[str]) -> str:
    """Return asset keys, those of one stage together."""
    stages: dict[str, list[str]] = {}
    for asset in assets:
        stage, _, name = asset.rpartition("/")
        stages.setdefault(stage, []).append(name)
    return "; ".join(
        f"`{stage}/{names[0]}`" if len(names) == 1 else f"`{stage}/`: {', '.join(names)}"
        for stage, names in stages.items()
    )
