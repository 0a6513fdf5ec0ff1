"""What the prediction log and the labels say of a canary, as numbers in order of time. Judging them is `canary`'s part.

Answers are compared row by row: the champion's graph scores what the canary answered, from the features in the log. So
that it does not matter that the two answer other keys, and few rows tell much.
"""

from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.labels import with_labels
from ml.recalibration import row_losses
from ml.scoring import score
from ml.spec import ModelSpec
from ml.task import task_of

NONE: NDArray[Any] = np.empty(0)


@dataclass(frozen=True)
class Seen:
    """What a canary did, each part in order of time.

    `failed`, a row each: the canary failed on it. `slower`, a batch each: logarithm of how many times as long it took
    as one of the champion's. `canary` and `champion`, a row each: their answers to it. `canary_loss` and
    `champion_loss`: the same, of rows with a label. `trouble` and `no_labels` say why there are none.
    """

    failed: NDArray[Any] = field(default_factory=lambda: NONE)
    slower: NDArray[Any] = field(default_factory=lambda: NONE)
    canary: NDArray[Any] = field(default_factory=lambda: NONE)
    champion: NDArray[Any] = field(default_factory=lambda: NONE)
    canary_loss: NDArray[Any] = field(default_factory=lambda: NONE)
    champion_loss: NDArray[Any] = field(default_factory=lambda: NONE)
    trouble: str = ""
    no_labels: str = ""


@dataclass(frozen=True)
class Contestants:
    """The version on trial, the champion's and its graph, and the first revision in which the two serve together.

    On trial is a `canary`, or a `shadow`, which answers nobody.
    """

    canary: str
    champion: str
    onnx: Path
    revision: int
    variant: Literal["canary", "shadow"] = "canary"


def look(
    spec: ModelSpec,
    who: Contestants,
    log: pl.DataFrame,
    outcomes: pl.DataFrame | None,
    now: datetime,
    why_not: str = "",
) -> Seen:
    """Return what the log (as `serving.log_reader` reads it) and the outcomes, if there are any, say of the canary.

    Outcomes are rows of the spec's outcome table; `why_not` says why there are none.
    """
    since = log.filter(pl.col("revision") >= who.revision)
    rows = since.filter(variant=who.variant, model_version=who.canary).sort("time", maintain_order=True)
    output = task_of(spec).output
    # A shadow answers nobody, so that its row says nothing of whether it could have.
    sound = pl.col("answered") if who.variant == "canary" else pl.col(output).is_not_null()
    answers = rows.filter(sound & ~pl.col("degraded"))  # without features nobody answers from the log
    failed = rows.select(~sound).to_series().to_numpy()
    slower = _slower(who, log) if who.variant == "canary" else _slower_than_it_was_answered(who, since)
    try:
        champion = score(who.onnx, answers).astype(np.float64)
    except (LookupError, ValueError) as error:
        trouble = f"the champion cannot score the canary's rows: {error}"
        return Seen(failed, slower, trouble=trouble, no_labels=trouble)
    answers = answers.with_columns(champion=pl.Series(champion, dtype=pl.Float64)).drop_nulls([output])
    answers = answers.filter(pl.col("champion").is_finite())
    seen = Seen(failed, slower, answers[output].to_numpy(), answers["champion"].to_numpy())
    if outcomes is None:
        return Seen(**{**vars(seen), "no_labels": why_not or "there are no outcomes"})
    labelled = with_labels(spec, answers, outcomes, now).drop_nulls(spec.outcome.label)
    label = labelled[spec.outcome.label].cast(pl.Float64).to_numpy()
    losses = [row_losses(spec.task, label, labelled[name].to_numpy()) for name in (output, "champion")]
    return Seen(**{**vars(seen), "canary_loss": losses[0], "champion_loss": losses[1]})


def _slower_than_it_was_answered(who: Contestants, since: pl.DataFrame) -> NDArray[Any]:
    """Return for each batch of a shadow the logarithm of its time over that in which the champion answered its rows.

    The shadow's is the scoring alone, the champion's the whole way: a shadow that is slower will not be faster.
    """
    taken = since.filter(pl.col("taken_ms") > 0)
    own = taken.filter(variant="shadow", model_version=who.canary).select("prediction_id", "time", own="taken_ms")
    champion = taken.filter(variant="champion").select("prediction_id", champion="taken_ms")
    # By row and not by time: a shadow that reads other views has an instant of its own.
    both = own.join(champion, on="prediction_id").unique("time", keep="first", maintain_order=True).sort("time")
    return (both["own"] / both["champion"]).log().to_numpy()


def _slower(who: Contestants, log: pl.DataFrame) -> NDArray[Any]:
    """Return for each batch of the canary the logarithm of its time over that of a batch of the champion's alone.

    That is the newest before it of about its size (a power of two) that no other was compared with: so that load, batch
    size and the champion's rows in a batch that the canary slows down do not count. Rows of before it began count, too.
    """
    batches = (
        log.filter((pl.col("variant") != "shadow") & (pl.col("taken_ms") > 0))
        .group_by("time", "taken_ms", "revision")
        .agg(
            rows=pl.col("prediction_id").n_unique(),
            canary=(pl.col("model_version") == who.canary).any(),
            alone=(pl.col("model_version") == who.champion).all(),
        )
        .sort("time", "canary")
    )
    waiting: dict[int, list[float]] = {}
    found = []
    for _, taken, revision, rows, canary, alone in batches.iter_rows():
        size = waiting.setdefault(int(rows).bit_length(), [])
        if alone:
            size.append(taken)
        elif canary and revision >= who.revision and size:
            found.append(np.log(taken / size.pop()))
    return np.array(found)
