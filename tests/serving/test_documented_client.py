"""The client's example in docs/serving.md: it runs, and asks what the README's command asks."""

import re
import shlex
from pathlib import Path

import numpy as np

from ml.models import model_named
from serving.client import HeadwaterClient
from serving.prediction import Prediction
from serving.request_rows import RequestField, columns_of

ROOT = Path(__file__).parents[2]
EXAMPLE = re.compile(r"## From Python\n.*?```python\n(.*?)```", re.DOTALL)
COMMAND = re.compile(r"serving\.client flight_delay ((?:.*\\\n)*.*)")
TEXTS = ("tailnum", "carrier", "origin", "dest")
KINDS = {field.name: field.kind for field in model_named("flight_delay").request}


def columns(row):
    fields = {name: RequestField("BYTES" if name in TEXTS else "FP64", KINDS.get(name, "")) for name in row}
    return columns_of("flight_delay", fields, [row])


def test_the_example_asks_what_the_readme_asks(monkeypatch, capsys):
    asked = []

    def predict(client, model, rows):
        asked.append((client.url, model, *rows))
        return [Prediction(0.25, "3", "ab" * 16, False, {}, decision=False)]

    monkeypatch.setattr(HeadwaterClient, "predict", predict)
    exec(EXAMPLE.search((ROOT / "docs" / "serving.md").read_text())[1], {})
    assert capsys.readouterr().out == f"0.25 False 3 {'ab' * 16}\n"
    ((url, model, row),) = asked
    words = shlex.split(COMMAND.search((ROOT / "README.md").read_text())[1].replace("\\\n", " "))
    told = columns(dict(word.split("=", 1) for word in words))
    assert (url, model) == ("127.0.0.1:8001", "flight_delay")
    assert columns(row).keys() == told.keys()
    assert all(np.array_equal(column, told[name]) for name, column in columns(row).items())
