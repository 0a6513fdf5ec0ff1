"""`make demo`: the whole line on the real year, to predictions served by Triton. It does what is out of date.

Models are built when the year is over: the clock stands at its end. Then the clock goes back to October and
forward with ten flights, and events are pushed up to each request's moment.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from assets.quiet import leave
from assets.replay import Answered, ask_in_order
from assets.resources import Platform
from assets.stages import Stages, run, say
from ml.clock import ReplayClock
from ml.models import model_named
from ml.scoring import score
from serving.fleet import server_for
from serving.model_repository import ModelRepository
from serving.plan import Plan

YEAR_END = datetime(2014, 1, 2, tzinfo=UTC)  # the last flight of 2013 has landed
OCTOBER = (datetime(2013, 10, 1, tzinfo=UTC), datetime(2013, 11, 1, tzinfo=UTC))
SPEC = model_named("flight_delay")
EACH = 5  # five flights that came late and five that did not


@dataclass
class Demo:
    """One run of the demo."""

    stages: Stages

    @property
    def platform(self) -> Platform:
        """The parts that it works on."""
        return self.stages.platform

    def run(self) -> None:
        """Bring every stage up to date in order, ask for ten flights, print what happened and what to try."""
        started = time.monotonic()
        server_for(self.platform.settings).require_startable()  # said at once, and not when the year is built
        clock = ReplayClock(self.platform.settings.clock_file)
        clock.set(YEAR_END)
        try:
            self._bring()
            answers = self._ask()
        except BaseException:
            say(
                "clock",
                f"it stands at {clock.now():%Y-%m-%d %H:%M} UTC, and answers are as of then: make demo moves it on",
            )
            raise
        self.stages.bring("predictions", "the prediction log returns to the lake", SPEC.name, always=True)
        self._report(answers, time.monotonic() - started)

    def _bring(self) -> None:
        """Bring tables, the model and Triton up to date."""
        self.stages.tables(SPEC.name)
        self.stages.model(SPEC.name)
        say("triton", "one Triton on loopback, models loaded through its control API")
        server_for(self.platform.settings).start()

    def _ask(self) -> list[Answered]:
        """Ten real flights of October, spread over the month, half of them late, each asked at its moment."""
        table = f"{SPEC.name}/training_set"
        asked = pl.col(SPEC.outcome.prediction_time)
        rows = self.platform.lake.read(table).filter((asked >= OCTOBER[0]) & (asked < OCTOBER[1])).collect()
        parts = [rows.filter(pl.col(SPEC.outcome.label) == late) for late in (0, 1)]
        chosen = pl.concat([part[:: part.height // EACH][:EACH] for part in parts])
        say(
            "requests",
            "ten October flights over gRPC; the clock and the online store move to each one's moment",
        )
        return list(ask_in_order(self.platform, SPEC, chosen))

    def _report(self, answers: list[Answered], seconds: float) -> None:
        registry = self.platform.registry
        champion = registry.champion(SPEC.name)
        if champion is None:
            raise LookupError(f"no champion for {SPEC.name!r}; run make clean and make demo")
        plan = ModelRepository(self.platform.settings.serving_home).history(SPEC.name)[-1]
        rows = pl.DataFrame([a.row for a in answers], infer_schema_length=None)
        offline = score(registry.onnx_path(champion), rows)
        served = [a.prediction.probability for a in answers]
        gap = max(abs(float(a) - b) for a, b in zip(offline, served, strict=True))
        print(_table(answers))
        print(f"Version {champion.version} answered. Served and offline probabilities differ by at most {gap:.1e}.")
        print(_WHERE_NEXT.format(first=answers[0].prediction.prediction_id, example=_example(answers[-1], plan)))
        print(f"The replayed clock stays at {answers[-1].row[SPEC.outcome.prediction_time]:%Y-%m-%d %H:%M} UTC.")
        auc = champion.metrics["test_roc_auc"]
        print(
            f"Test ROC AUC {auc:.3f} on October to December, learned from January to August, September for validation "
            f"({seconds:.0f} s)."
        )


def _table(answers: list[Answered]) -> str:
    lines = [
        "",
        f"{'flight':<24}{'asked at (UTC)':<20}{'probability':>12}   {'what happened':<22}{'prediction id'}",
    ]
    for answer in answers:
        row, late = answer.row, answer.row[SPEC.outcome.label]
        lines.append(
            f"{row[SPEC.outcome.row_id]:<24}{row[SPEC.outcome.prediction_time]:%Y-%m-%d %H:%M}    "
            f"{answer.prediction.probability:>11.3f}  "
            f"{'late (30 min +)' if late else 'not late':<18}{answer.prediction.prediction_id}"
        )
    return "\n".join([*lines, ""])


def _example(answer: Answered, plan: Plan) -> str:
    kinds = {field.name: field.kind for field in SPEC.request}
    return " ".join(f"{field.name}={_shown(answer.row[field.name], kinds.get(field.name))}" for field in plan.request)


def _shown(value: Any, kind: str | None) -> str:
    """Return a field as a person writes it: an instant with its zone, what a clock on the wall shows without."""
    if kind not in ("time", "local_time"):
        return str(value)
    moment = datetime.fromtimestamp(value, UTC)
    return f"{moment:%Y-%m-%dT%H:%M}" + ("Z" if kind == "time" else "")


_WHERE_NEXT = """
Where to look next
  make ui          the Dagster UI on this state: lineage, checks with evidence, runs
  make mlflow      the MLflow page: metrics, provenance, registered versions
  make status      what is served, and whether Triton answers
  make trace ID={first}
                   what the first of these answers stands on, down to raw rows
  make notebook NAME=model_review, make drill-bad-data
                   a review of the model; a month of wrong data, and what holds
  ask again        .venv/bin/python -m serving.client flight_delay {example}
  make stop        stop Triton
"""


def main() -> int:
    """Run the demo; return its exit status."""
    return run("demo", lambda stages: Demo(stages).run())


if __name__ == "__main__":
    leave(main())
