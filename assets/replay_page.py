"""The page of a replayed year: quality over the year, each way to keep the model; what was done when; what it cost."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from assets.replay_result import Standing, YearResult
from assets.replay_rivals import LOOP
from assets.replay_steps import Retrained, shares
from ml.bootstrap import Difference
from ml.markdown import page, plain, table
from ml.pictures import picture
from ml.spec import ModelSpec
from ml.task import task_of

MARKS = {"retrain": ("^", "retraining starts"), "champion": ("o", "new champion"), "refused": ("x", "refused")}
_PICTURE = "year.png"


def write_page(
    path: Path, spec: ModelSpec, result: YearResult, events: pl.DataFrame, runs: Sequence[Retrained]
) -> None:
    """Write the page; `events` are the loop's (ml/loop_log.py), `runs` its retrainings."""
    task = task_of(spec)
    loss = task.loss_metric.replace("_", " ")
    text = "\n\n".join(
        [
            f"# {plain(spec.name)}: the year as it happened",
            f"{result.rows:,} requests that were served and whose outcome came. Lower {loss} is better.",
            f"![quality over the year]({_PICTURE})",
            "## What each way was worth and cost",
            standings_table(spec, result),
            "In brackets: 95% of resamples, whole days drawn. A gap is the loop's less the other's on the same rows.",
            f"The loop: {counts(events)}.",
            "## From a breach to a proven model",
            "Without a hand, on this machine; the trial in service after it takes as long as its rows and labels do.",
            table(("step", "seconds, mean of runs", "share"), shares(runs)),
            "## What was done, and why",
            table(("when", "what", "version", "by", "why"), timeline(events)),
        ]
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(f"{spec.name}: replayed year", text, {_PICTURE: _drawn(spec, result, events)}))


def standings_table(spec: ModelSpec, result: YearResult) -> str:
    """Return the standings as a Markdown table."""
    task = task_of(spec)
    heads = ("kept", task.score_title, task.loss_metric.replace("_", " "), "retrainings", "training, s")
    gaps = (f"{task.score_title} gap", "loss gap")
    return table((*heads, *gaps), [_line(standing) for standing in result.standings])


def counts(events: pl.DataFrame) -> str:
    """Return how often the loop did what, in words."""
    told = {"retrain": "retrainings", "refused": "refused", "champion": "promoted", "reverted": "taken back"}
    return ", ".join(f"{events.filter(event=event).height} {word}" for event, word in told.items())


def timeline(events: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Return a row an event: when, what, version, by whom, why."""
    shown = events.filter(pl.col("event") != "held")
    return [
        (f"{e['at']:%Y-%m-%d}", e["event"], e["version"], e["actor"], plain(e["reason"])[:400])
        for e in shown.iter_rows(named=True)
    ]


def _line(standing: Standing) -> tuple[Any, ...]:
    rival = standing.rival
    cost = (len(rival.seconds), f"{sum(rival.seconds):.0f}")
    return (rival.name, standing.score, standing.loss, *cost, _gap(standing.score_gap), _gap(standing.loss_gap))


def _gap(found: Difference | None) -> str:
    return "" if found is None else f"{found.difference:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"


def _drawn(spec: ModelSpec, result: YearResult, events: pl.DataFrame) -> bytes:
    def draw(axes: Any) -> None:
        for standing in result.standings:
            name = standing.rival.name
            wide = 1.8 if name == LOOP else 1.0
            axes.plot(result.weeks["week"].to_list(), result.weeks[name].to_list(), label=name, linewidth=wide)
        low, high = axes.get_ylim()
        for event, (marker, label) in MARKS.items():
            at = events.filter(event=event)["at"].to_list()
            axes.plot(at, [low] * len(at), marker, markersize=6, linestyle="", label=label, clip_on=False)
        axes.set_ylim(low, high)
        axes.set_ylabel(f"{task_of(spec).loss_metric.replace('_', ' ')}, by week")
        axes.legend(fontsize=7, ncols=2)

    return picture(draw, (10.0, 4.0))
