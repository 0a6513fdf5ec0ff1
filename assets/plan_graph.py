"""What definitions hold, by name, and what one entry more adds to them: asked of Dagster, never kept in a list.

How it is told to people is in `assets/plan.py`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import dagster as dg


@dataclass(frozen=True)
class PlannedAsset:
    """An asset that can be materialized, its group and partitions, and its checks by whether they block."""

    key: str
    group: str
    monthly: bool
    blocking: tuple[str, ...]
    warning: tuple[str, ...]


@dataclass(frozen=True)
class Graph:
    """The assets, and the names of what runs them."""

    assets: tuple[PlannedAsset, ...]
    jobs: tuple[str, ...]
    sensors: tuple[str, ...]
    schedules: tuple[str, ...]

    def without(self, other: "Graph") -> "Graph":
        """Return what is in this graph and not, or not so, in the other."""
        return Graph(
            tuple(asset for asset in self.assets if asset not in other.assets),
            _more(self.jobs, other.jobs),
            _more(self.sensors, other.sensors),
            _more(self.schedules, other.schedules),
        )

    def only(self, name: str) -> "Graph":
        """Return the assets whose key ends with `name`, and nothing else."""
        return Graph(tuple(asset for asset in self.assets if asset.key.split("/")[-1] == name), (), (), ())


def graph_of(definitions: dg.Definitions) -> Graph:
    """Return what the definitions hold, sorted by name."""
    graph = definitions.resolve_asset_graph()
    checks = [(graph.get(key).key, graph.get(key).blocking) for key in sorted(graph.asset_check_keys)]
    assets = []
    for key in sorted(graph.materializable_asset_keys):
        node, named = graph.get(key), [(check.name, blocks) for check, blocks in checks if check.asset_key == key]
        assets.append(
            PlannedAsset(
                key.to_user_string(),
                node.group_name,
                node.partitions_def is not None,
                tuple(name for name, blocks in named if blocks),
                tuple(name for name, blocks in named if not blocks),
            )
        )
    return Graph(
        tuple(assets),
        tuple(sorted(job.name for job in definitions.jobs or ())),
        tuple(sorted(sensor.name for sensor in definitions.sensors or ())),
        tuple(sorted(schedule.name for schedule in definitions.schedules or ())),
    )


def _more(names: Sequence[str], others: Sequence[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in others)
