"""The ways in which runs start, each one started for real. A path gets a world into which a month was delivered.

A path only starts what it starts and waits for the end; what came of it is told by the lake and by Dagster's records.
"""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import dagster as dg

from assets.raw import raw_assets
from assets.runs import materialize
from benchmarks._fault_outcome import Refusal, failed_count, refusals_since
from benchmarks._fault_server import Server
from benchmarks._fault_world import World, key, stage_keys

Way = Callable[[World, Sequence[str]], None]
TICKS = 5  # more than the line has stages
PATIENCE_S = 600


def raw_alone(world: World, name: str) -> tuple[Refusal, ...]:
    """The raw asset and its checks, in process, in records of their own: the cheapest way to see a month judged."""
    source, platform = world.source(name), world.platform
    failed = failed_count(platform)
    month = world.month if source.partition is not None else None
    quiet = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
    with dg.DagsterInstance.ephemeral() as instance:
        dg.materialize(
            raw_assets([source]),
            instance=instance,
            partition_key=month,
            resources={"platform": platform},
            run_config=quiet,
            raise_on_error=False,
        )
        return tuple(refusals_since(platform, instance, failed, set()))


def one_run(world: World, arriving: Sequence[str]) -> None:
    """From the source to what is published, in one run."""
    run(world, [*_raw(world, arriving), *_rest(world)])


def child_alone(world: World, arriving: Sequence[str]) -> None:
    """Each stage in a run of its own, the next one started whatever became of the one before."""
    definitions = world.definitions()
    for raw in _raw(world, arriving):
        run(world, [raw])
    for stage in ("features", "published"):
        run(world, stage_keys(definitions, stage))


def automation_tick(world: World, arriving: Sequence[str]) -> None:
    """What the automation conditions ask for once the month has landed, tick after tick, at the world's time."""
    definitions, keys = world.definitions(), _rest(world)
    selection, cursor = dg.AssetSelection.assets(*keys), None
    with world.instance() as instance:
        for tick in range(TICKS):
            asked = dg.evaluate_automation_conditions(
                definitions, instance, selection, evaluation_time=world.platform.clock.now(), cursor=cursor
            )
            cursor = asked.cursor
            if tick == 0:  # the tick before the month arrived
                for raw in _raw(world, arriving):
                    run(world, [raw])
                continue
            wanted = [k for k in keys if world.month in _partitions(asked, k)]
            if not wanted:
                return
            run(world, wanted)


def command_line(world: World, arriving: Sequence[str]) -> None:
    """`dg launch` in a process of its own."""
    selection = " or ".join(f'key:"{k.to_user_string()}"' for k in [*_raw(world, arriving), *_rest(world)])
    dg_command = str(Path(sys.executable).parent / "dg")
    subprocess.run(
        [dg_command, "launch", "--assets", selection, "--partition", world.month],
        cwd=world.tree,
        env=world.env,
        stdout=(world.root / "launch.log").open("w"),
        stderr=subprocess.STDOUT,
        timeout=PATIENCE_S,
        check=False,
    )


def graphql(server: Server, world: World, arriving: Sequence[str]) -> None:
    """The mutation that the UI's button sends, over HTTP; the webserver launches the run."""
    server.launch([*_raw(world, arriving), *_rest(world)], world.month)


def backfill(server: Server, world: World, arriving: Sequence[str]) -> None:
    """The mutation that the UI's backfill sends; the daemon submits runs, stage by stage."""
    server.backfill([*_raw(world, arriving), *_rest(world)], world.month)


def sensor(server: Server, world: World, arriving: Sequence[str]) -> None:
    """A sensor that the daemon evaluates sees the delivery and asks for a run."""
    server.arrive([*_raw(world, arriving), *_rest(world)], world.month)


IN_PROCESS: dict[str, Way] = {
    "one run": one_run,
    "child alone": child_alone,
    "automation tick": automation_tick,
    "command line": command_line,
}
SERVED: dict[str, Callable[[Server, World, Sequence[str]], None]] = {
    "UI's GraphQL": graphql,
    "backfill": backfill,
    "sensor": sensor,
}


def build(world: World) -> None:
    """Features and published, in one run."""
    run(world, _rest(world))


def run(world: World, keys: Sequence[dg.AssetKey]) -> None:
    """One run in this process. That it fails is recorded, and no error here."""
    definitions = world.definitions()
    graph = definitions.resolve_asset_graph()
    months = [world.month] if any(graph.get(k).partitions_def for k in keys) else []
    with world.instance() as instance:
        materialize(definitions, instance, keys, months, world.root / "runs.log", go_on=True)


def _raw(world: World, arriving: Sequence[str]) -> list[dg.AssetKey]:
    return [key(world.source(name)) for name in arriving]


def _rest(world: World) -> list[dg.AssetKey]:
    definitions = world.definitions()
    return [*stage_keys(definitions, "features"), *stage_keys(definitions, "published")]


def _partitions(asked: "dg.EvaluateAutomationConditionsResult", asset: dg.AssetKey) -> set[str]:
    with suppress(KeyError):
        return {partition for partition in asked.get_requested_partitions(asset) if partition}
    return set()
