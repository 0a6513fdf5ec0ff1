"""The promotion gate's rules on the registered ONNX file: proven equal to torch, what it costs, what it rests on.

Here: measuring the file on held-out rows, and the rules on what was measured. That its bytes are the proven ones is
asked before (ml/onnx_file.py).
"""

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from checks.promotion_rules import Rule, rule
from ml.cost import BATCH, REPEATS, ROUNDS, row_microseconds
from ml.importance import permutation_importance
from ml.scoring import TOLERANCE
from ml.spec import ModelSpec

IMPORTANCE_ROWS = 8_000  # each input costs one more scoring of them; a leak's share is far from the bound


@dataclass(frozen=True)
class ModelFile:
    """What was measured on a version's file.

    `onnx_difference` is what training recorded (ml.export.verify), None if it did not; `row_us` microseconds a row;
    `importance` as `ml.importance.permutation_importance` returns it.
    """

    sha256: str
    onnx_difference: float | None
    row_us: float
    importance: pl.DataFrame


def examine(spec: ModelSpec, path: Path, rows: pl.DataFrame, sha256: str, difference: float | None) -> ModelFile:
    """Measure the file at `path` on held-out rows. Raises what scoring them raises."""
    importance = permutation_importance(spec, path, rows, IMPORTANCE_ROWS)
    return ModelFile(sha256, difference, row_microseconds(path, rows), importance)


def file_rules(spec: ModelSpec, file: ModelFile) -> list[Rule]:
    """Return the rules on a version's file: no single feature carries it, ONNX is torch, it is cheap enough."""
    return [_leak(spec, file.importance), _parity(file.onnx_difference), _cost(spec, file.row_us)]


def _leak(spec: ModelSpec, importance: pl.DataFrame) -> Rule:
    top, bound = importance.row(0, named=True), spec.gates.max_feature_share
    return rule(
        "no feature carries it alone",
        f"{top['feature']} carries {top['share']:.0%} of the score above no skill",
        f"<= {bound:.0%}",
        top["share"] <= bound,
        f"look whether {top['feature']} is known when the question is asked; if it is, raise gates.max_feature_share",
    )


def _parity(difference: float | None) -> Rule:
    return rule(
        "ONNX answers as torch",
        "never measured" if difference is None else f"{difference:.1e}",
        f"<= {TOLERANCE:.0e}",
        difference is not None and difference <= TOLERANCE,
        "what was tested is not what was trained; train again through ml.train",
    )


def _cost(spec: ModelSpec, row_us: float) -> Rule:
    return rule(
        "cheap enough",
        f"{row_us:.2f} us of CPU a row (best of {ROUNDS} medians of {REPEATS} batches of {BATCH}, one thread)",
        f"<= {spec.serving.max_row_us:g} us",
        row_us <= spec.serving.max_row_us,
        "make the network smaller, or raise serving.max_row_us",
    )
