"""Versions of the example model side by side in one router, and what a router answers and logs."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from serving.answer import Answer, Request
from serving.log_reader import log_schema, read_new
from serving.plan import Arm, Plan, Variant, Version
from serving.router import Router
from tests.serving.example import RAW, write_graph

ROWS = 2000
REQUEST = Request(
    {
        "tailnum": np.array([[b"N1"]], dtype=object),
        "origin": np.array([[b"EWR"]], dtype=object),
        "runway": np.array([[4.0]]),
        "distance": np.array([[1400.0]]),
        "departure": np.array([[RAW["departure"]]]),
    }
)


def version(plan: Plan, name: str, bias: float = 1.0, scale: float = 1.0) -> Version:
    path = Path(plan.champion.onnx).parent / f"{name}.onnx"
    write_graph(path, bias, plan.champion.inputs, scale)
    return replace(plan.champion, version=name, onnx=str(path))


def beside(plan: Plan, *arms: tuple[Variant, Version, float], revision: int = 1) -> Plan:
    return replace(plan, revision=revision, arms=tuple(Arm(*arm) for arm in arms))


def request(rows: int = ROWS, first: int = 0, **more: Any) -> Request:
    tails = [f"N{n}".encode() for n in range(first, first + rows)]
    return Request(
        {
            "tailnum": np.array(tails, dtype=object).reshape(-1, 1),
            "origin": np.full((rows, 1), b"EWR", dtype=object),
            "runway": np.full((rows, 1), 4.0),
            "distance": np.full((rows, 1), 1400.0),
            "departure": np.full((rows, 1), 1.38e9),
        },
        **more,
    )


def answer(router: Router, asked: Request | None = None) -> Answer:
    (found,) = router.answer([asked or request()])
    assert isinstance(found, Answer), found
    return found


def logged(plan: Plan) -> pl.DataFrame:
    return read_new(Path(plan.prediction_log), log_schema(plan))[0]
