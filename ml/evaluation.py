"""How good probabilities are: metrics, slices, and whether one model beats another beyond noise.

Here: functions of labels and probabilities. Not here: bounds and verdicts (checks/) or scoring
(ml/scoring.py).
"""

from dataclasses import asdict, dataclass

import numpy as np
import polars as pl
from numpy.typing import ArrayLike, NDArray

BINS = 10


@dataclass(frozen=True)
class Metrics:
    """Metrics of N probabilities; log loss in nats."""

    rows: int
    positive_share: float
    mean_probability: float
    roc_auc: float
    pr_auc: float
    log_loss: float
    brier: float
    calibration_error: float

    def as_dict(self, prefix: str = "") -> dict[str, float]:
        """Return the metrics by name, each with `prefix`."""
        return {prefix + name: float(value) for name, value in asdict(self).items()}


@dataclass(frozen=True)
class Difference:
    """A challenger's ROC AUC minus the champion's on the same rows.

    `low` and `high` bound the central share `confidence` of the bootstrap's differences;
    `p_not_better` is the share of resamples in which the challenger was not better.
    """

    champion_auc: float
    challenger_auc: float
    difference: float
    low: float
    high: float
    confidence: float
    p_not_better: float
    resamples: int


def evaluate(labels: ArrayLike, probabilities: ArrayLike) -> Metrics:
    """Return the metrics of probabilities [N] in [0, 1] against labels [N] of 0 and 1.

    Raises ValueError if there are no rows, lengths differ, a probability is no number or outside
    [0, 1], or only one class is present.
    """
    from sklearn.metrics import average_precision_score, brier_score_loss, log_loss

    label, probability = _checked(labels, probabilities)
    return Metrics(
        rows=len(label),
        positive_share=float(label.mean()),
        mean_probability=float(probability.mean()),
        roc_auc=roc_auc(label, probability),
        pr_auc=float(average_precision_score(label, probability)),
        log_loss=float(log_loss(label, probability, labels=[0, 1])),
        brier=float(brier_score_loss(label, probability)),
        calibration_error=calibration_error(label, probability),
    )


def roc_auc(labels: ArrayLike, scores: ArrayLike) -> float:
    """Return the area under the ROC curve: the chance that a positive row outscores a negative one.

    Ties count half (Mann-Whitney U; Hanley and McNeil 1982). Labels [N] of 0 and 1, scores [N].
    """
    label = np.asarray(labels, dtype=np.float64)
    return float(_RankedScores(label, np.asarray(scores, dtype=np.float64)).auc(np.ones(len(label))))


def calibration_error(labels: ArrayLike, probabilities: ArrayLike, bins: int = BINS) -> float:
    """Return the expected calibration error over bins of equal mass.

    Sum over bins of |mean label - mean probability| weighted by the bin's share of rows: Naeini et
    al., Obtaining Well Calibrated Probabilities Using Bayesian Binning, AAAI 2015; equal-mass bins as in
    Nixon et al., Measuring Calibration in Deep Learning, CVPR workshops 2019. Rows are sorted by
    probability and cut into `bins` runs whose lengths differ by at most one.
    """
    label, probability = _checked(labels, probabilities)
    order = np.argsort(probability, kind="stable")
    gaps = [
        abs(label[part].mean() - probability[part].mean()) * len(part)
        for part in np.array_split(order, min(bins, len(order)))
    ]
    return float(sum(gaps) / len(label))


def compare(
    labels: ArrayLike,
    champion: ArrayLike,
    challenger: ArrayLike,
    groups: ArrayLike | None = None,
    resamples: int = 300,
    confidence: float = 0.95,
    seed: int = 7,
) -> Difference:
    """Compare two models on the same N rows by a paired bootstrap of the ROC AUC difference.

    Each resample draws rows with replacement, the same for both models (percentile interval: Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). With `groups` [N] (say the day),
    whole groups are drawn instead: rows of one day share their storm and are not independent. Raises
    ValueError as `evaluate` does.
    """
    label, first = _checked(labels, champion)
    _, second = _checked(labels, challenger)
    ranked = [_RankedScores(label, first), _RankedScores(label, second)]
    whole = [scores.auc(np.ones(len(label))) for scores in ranked]
    differences = np.array(
        [ranked[1].auc(weight) - ranked[0].auc(weight) for weight in _weights(label, groups, resamples, seed)]
    )
    tail = (1 - confidence) / 2
    low, high = np.quantile(differences, [tail, 1 - tail])
    return Difference(
        champion_auc=whole[0],
        challenger_auc=whole[1],
        difference=whole[1] - whole[0],
        low=float(low),
        high=float(high),
        confidence=confidence,
        p_not_better=float((1 + (differences <= 0).sum()) / (1 + len(differences))),
        resamples=len(differences),
    )


def slices(
    rows: pl.DataFrame,
    column: str,
    label: str = "label",
    probability: str = "probability",
    min_rows: int = 200,
) -> pl.DataFrame:
    """Return one row of metrics a value of `column`, largest first; columns as in Metrics.

    Values with fewer than `min_rows` rows or only one class are left out.
    """
    found = []
    for (value,), part in rows.sort(column).group_by(column, maintain_order=True):
        if part.height >= min_rows and part[label].n_unique() == 2:
            found.append({"column": column, "value": str(value), **asdict(evaluate(part[label], part[probability]))})
    schema = {"column": pl.String, "value": pl.String, **dict.fromkeys(Metrics.__annotations__, pl.Float64)}
    return pl.DataFrame(found, schema=schema | {"rows": pl.Int64}).sort("rows", descending=True)


class _RankedScores:
    """Scores sorted once, so that the AUC under any row weights costs one pass."""

    def __init__(self, label: NDArray[np.float64], scores: NDArray[np.float64]) -> None:
        self._order = np.argsort(scores, kind="stable")
        ordered = scores[self._order]
        self._starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1]]))
        self._positive = label[self._order]

    def auc(self, weight: NDArray[np.float64]) -> float:
        """Return the AUC with weights [N] in the rows' original order."""
        ordered = weight[self._order]
        positive = np.add.reduceat(ordered * self._positive, self._starts)
        negative = np.add.reduceat(ordered, self._starts) - positive
        below = np.cumsum(negative) - negative
        pairs = positive.sum() * negative.sum()
        return float((positive * (below + 0.5 * negative)).sum() / pairs) if pairs > 0 else float("nan")


def _weights(label: NDArray[np.float64], groups: ArrayLike | None, resamples: int, seed: int) -> list[NDArray]:
    random = np.random.default_rng(seed)
    member = np.arange(len(label)) if groups is None else np.unique(np.asarray(groups), return_inverse=True)[1]
    count = int(member.max()) + 1
    found: list[NDArray] = []
    while len(found) < resamples:
        drawn = np.bincount(random.integers(0, count, count), minlength=count).astype(np.float64)[member]
        if 0 < (drawn * label).sum() < drawn.sum():
            found.append(drawn)
    return found


def _checked(labels: ArrayLike, probabilities: ArrayLike) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    label = np.asarray(labels, dtype=np.float64)
    probability = np.asarray(probabilities, dtype=np.float64)
    if label.shape != probability.shape or label.ndim != 1 or len(label) == 0:
        raise ValueError(f"labels {label.shape} and probabilities {probability.shape} must be [N] with the same N > 0")
    if not np.isin(label, (0.0, 1.0)).all():
        raise ValueError("labels must be 0 or 1; leave rows without a label out")
    if not ((probability >= 0) & (probability <= 1)).all():
        raise ValueError("probabilities must be numbers in [0, 1]; the model gave others")
    if label.min() == label.max():
        raise ValueError(f"all {len(label)} labels are {label[0]:.0f}; metrics need both classes")
    return label, probability
