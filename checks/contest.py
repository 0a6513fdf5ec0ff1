"""What the promotion gate judges by: a candidate's answers, and the champion's, on the same held-out rows.

Here: the answers and what follows from them at once. Not here: rules and bounds (checks/promotion_*.py).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from ml.bootstrap import Scorer
from ml.spec import ModelSpec
from ml.task import Metrics, Task, days, task_of


@dataclass(frozen=True)
class Contest:
    """A candidate's answers [N] on N held-out `rows` of a training set.

    `champion` holds the champion's answers on the same rows, None if there is none, or if it cannot be scored on
    them: then `trouble` says why. `refit` holds those of the graph that is registered, if it has learned again since it
    was measured; `refresh` says that the candidate is the champion's own recipe on newer rows.
    """

    spec: ModelSpec
    rows: pl.DataFrame
    candidate: NDArray[Any]
    champion: NDArray[Any] | None = None
    trouble: str = ""
    refit: NDArray[Any] | None = None
    refresh: bool = False

    @cached_property
    def task(self) -> Task:
        """The spec's task."""
        return task_of(self.spec)

    @cached_property
    def labels(self) -> NDArray[Any]:
        """What happened [N]."""
        return self.rows[self.spec.outcome.label].to_numpy()

    @cached_property
    def days(self) -> NDArray[Any]:
        """The day [N] on which each row was asked: a bootstrap draws them whole."""
        return days(self.spec, self.rows)

    @cached_property
    def metrics(self) -> Metrics:
        """The candidate's metrics."""
        return self.task.evaluate(self.labels, self.candidate)

    def scorer(self, answers: NDArray[Any], rows: NDArray[Any] | slice = slice(None)) -> Scorer:
        """Return the score of (the rows at the index `rows` of) answers [N] as a function of their weights."""
        return self.task.scorer(self.labels[rows], np.asarray(answers)[rows])
