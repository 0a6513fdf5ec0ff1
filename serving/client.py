"""The client of Headwater's models over Triton's gRPC: `python -m serving.client MODEL name=value ...`.

Which fields a model takes comes from the server, so that the client knows no model.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from tritonclient.grpc import InferInput

from ml.settings import Settings
from serving.channel import open_channel, translated
from serving.credentials import Credentials, of_client, read_control_secret, read_token
from serving.plan import EXPLAIN, MAX_BATCH
from serving.probing import probing
from serving.retry import retried
from serving.spans import asking, traced

_OUTPUTS = ("model_version", "prediction_id", "degraded", "feature_status", "variant")
_ANSWERS = ("probability", "value")  # a model has one of them
_EMPTY = "Triton gave {got} answers for {rows} rows; the serving environment needs numpy < 2: make setup"


class Prediction(NamedTuple):
    """One answer: its value, the model version that gave it (as champion, canary or challenger), its id in the log.

    `output` says what the value is: a probability, or a value in the unit of the model's label.

    `degraded` marks an answer given without some features, because reading them took too long or their store was
    down. `feature_status` says of each view whether its features were there, and why not (docs/serving.md);
    `feature_age_seconds` how long ago the event of each view's row was. `decision`: whether the value reaches the
    version's threshold; None if it has none. `explanation`, where it was asked for: the inputs that moved the answer
    most, each with how much lower the value would be if it was missing.
    """

    value: float
    model_version: str
    prediction_id: str
    degraded: bool
    feature_status: dict[str, str]
    output: str = "probability"
    variant: str = "champion"
    decision: bool | None = None
    feature_age_seconds: dict[str, float] = {}
    explanation: dict[str, float] = {}

    @property
    def probability(self) -> float:
        """The probability. Raises ValueError if the model answers with a value of another kind."""
        if self.output != "probability":
            raise ValueError(f"the model answers with a {self.output}, not with a probability; read `value`")
        return self.value


class HeadwaterClient:
    """A client of one Triton server at `url` (host:port); each call ends within `timeout` seconds.

    A `probe` is not logged; the champion answers it, or the version of the plan that it names as a text. It needs the
    `control` secret, which the platform's own clients have (`of`). With `ca`, whom to trust, it speaks TLS, with `cert`
    and `key` mutual TLS (files in PEM); `token` is what the server asks of an inference. `retry`: within the timeout it
    asks again where nothing was sent (no connection) or nothing was scored (Triton's queue is full), after random
    pauses that double. It never does after a timeout or a broken connection: the answer may be in the prediction log.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 2.0,
        probe: bool | str = False,
        *,
        ca: Path | None = None,
        cert: Path | None = None,
        key: Path | None = None,
        token: str | None = None,
        control: str | None = None,
        retry: bool = True,
    ) -> None:
        if probe and control is None:
            raise ValueError("a probe needs the control secret; use HeadwaterClient.of where the serving home is")
        self.url = url
        self.timeout = timeout
        self._retry = retry
        self._parameters = probing(control, probe) if probe and control is not None else {}
        self._triton = open_channel(url, Credentials(ca, cert, key, token))
        self._fields: dict[str, dict[str, str]] = {}

    @classmethod
    def of(cls, settings: Settings, timeout: float = 2.0, probe: bool | str = False) -> Self:
        """Return a client of the platform's own Triton, with what the settings say of TLS and token.

        For a probe it reads the control secret. Raises what reading these raises.
        """
        shown = of_client(settings, read_control_secret(settings) if probe else None)
        url, tls = f"127.0.0.1:{settings.triton_grpc_port}", {"ca": shown.ca, "cert": shown.cert, "key": shown.key}
        return cls(url, timeout, probe, **tls, token=shown.token, control=shown.control)

    def fields(self, model: str) -> dict[str, str]:
        """Return the model's fields, name to Triton type: BYTES (text) or FP64 (number or time)."""
        return self._ask_fields(model, time.monotonic() + self.timeout)

    def _ask_fields(self, model: str, until: float) -> dict[str, str]:
        def ask() -> Any:
            with translated(self.url, model, self.timeout):
                return self._triton.get_model_metadata(model, client_timeout=_left(until))

        metadata = self._asked(ask, until)
        return {field.name: field.datatype for field in metadata.inputs}

    def _asked(self, ask: Callable[[], Any], until: float) -> Any:
        return retried(ask, until) if self._retry else ask()

    def predict(self, model: str, rows: Sequence[Mapping[str, Any]], explain: int = 0) -> list[Prediction]:
        """Return a prediction a row, in order. A row has every field of the model; None is a missing value.

        `explain` asks for so many inputs that moved each answer most, of at most 16 rows.

        An FP64 field takes a number, a datetime or an ISO timestamp: with a zone it becomes seconds since
        1970-01-01T00:00 UTC, without one the same on its own wall clock. More rows than a batch are several requests
        within one timeout. Raises ConnectionError (`serving.channel.BusyError`: ask again later), PermissionError
        (token), TimeoutError, LookupError (unknown model), ValueError (wrong or missing field) or RuntimeError (the
        model failed).
        """
        until = time.monotonic() + self.timeout
        if model not in self._fields:
            self._fields[model] = self._ask_fields(model, until)
        try:
            return self._predict(model, rows, until, explain)
        except (ValueError, LookupError):
            # The fields may be another revision's by now.
            if (fields := self._ask_fields(model, until)) == self._fields.pop(model):
                raise
            self._fields[model] = fields
            return self._predict(model, rows, until, explain)

    def close(self) -> None:
        """Close the connection."""
        self._triton.close()

    def _predict(self, model: str, rows: Sequence[Mapping[str, Any]], until: float, explain: int) -> list[Prediction]:
        columns = _columns(model, self._fields[model], rows)
        predictions: list[Prediction] = []
        for start in range(0, len(rows), MAX_BATCH):
            part = {name: column[start : start + MAX_BATCH] for name, column in columns.items()}
            predictions += self._infer(model, part, min(MAX_BATCH, len(rows) - start), until, explain)
        return predictions

    def _infer(
        self, model: str, columns: Mapping[str, np.ndarray], rows: int, until: float, explain: int
    ) -> list[Prediction]:
        inputs = []
        for name, column in columns.items():
            tensor = InferInput(name, list(column.shape), self._fields[model][name])
            tensor.set_data_from_numpy(column)
            inputs.append(tensor)

        def ask() -> Any:
            left = _left(until)  # also in Triton's queue: what nobody waits for is not scored
            options = {"timeout": int(left * 1e6), "client_timeout": left}
            with translated(self.url, model, self.timeout), asking(model, rows) as told:
                parameters = {**self._parameters, **({EXPLAIN: explain} if explain else {}), **told} or None
                return self._triton.infer(model, inputs, parameters=parameters, **options)

        result = self._asked(ask, until)
        answer = next((name for name in _ANSWERS if result.get_output(name) is not None), _ANSWERS[0])
        outputs = [result.as_numpy(name) for name in (answer, *_OUTPUTS)]
        for output in outputs:
            if output is None or output.size != rows:
                raise RuntimeError(_EMPTY.format(got=0 if output is None else output.size, rows=rows))
        found = [
            Prediction(
                float(value), v.decode(), name.decode(), bool(degraded), json.loads(status), answer, part.decode()
            )
            for value, v, name, degraded, status, part in zip(*(o.reshape(-1) for o in outputs), strict=True)
        ]
        decisions, ages = result.as_numpy("decision"), result.as_numpy("feature_age_seconds")
        if decisions is not None:
            found = [p._replace(decision=bool(d)) for p, d in zip(found, decisions.reshape(-1), strict=True)]
        if (told := result.as_numpy("explanation")) is not None:
            found = [p._replace(explanation=json.loads(t)) for p, t in zip(found, told.reshape(-1), strict=True)]
        if ages is not None:
            found = [p._replace(feature_age_seconds=_ages(p, row)) for p, row in zip(found, ages, strict=True)]
        return found


def _ages(prediction: Prediction, row: np.ndarray) -> dict[str, float]:
    """Return the ages that are known, by view; they come in the order of the statuses."""
    named = zip(prediction.feature_status, row.tolist(), strict=True)
    return {view: age for view, age in named if not math.isnan(age)}


def _columns(model: str, fields: Mapping[str, str], rows: Sequence[Mapping[str, Any]]) -> dict[str, np.ndarray]:
    for index, row in enumerate(rows):
        missing, unknown = sorted(fields.keys() - row.keys()), sorted(row.keys() - fields.keys())
        if missing or unknown:
            raise ValueError(
                f"row {index} for model {model!r} lacks {missing} and has unknown {unknown}; it takes {_listed(fields)}"
            )
    return {name: _column(name, dtype, [row[name] for row in rows]) for name, dtype in fields.items()}


def _column(name: str, dtype: str, values: Sequence[Any]) -> np.ndarray:
    if dtype == "BYTES":
        return np.array([[_text(name, value)] for value in values], dtype=object)
    return np.array([[_number(name, value)] for value in values], dtype=np.float64)


def _text(name: str, value: Any) -> bytes:
    if value is not None and not isinstance(value, str):
        raise ValueError(f"field {name!r} is {value!r}; it takes text")
    return (value or "").encode()


def _number(name: str, value: Any) -> float:
    if value is None or value == "":
        return math.nan
    try:
        return seconds_of(value) if isinstance(value, datetime) else float(value)
    except (TypeError, ValueError):
        pass
    try:
        return seconds_of(datetime.fromisoformat(value))
    except (TypeError, ValueError):
        raise ValueError(
            f"field {name!r} is {value!r}; it takes a number or a time such as 2013-10-03T17:15:00-04:00"
        ) from None


def seconds_of(instant: datetime) -> float:
    """Return seconds since 1970-01-01T00:00, in UTC with a zone, on the instant's own wall clock without."""
    return (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp()


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


def _listed(fields: Mapping[str, str]) -> str:
    return ", ".join(f"{name} ({'text' if dtype == 'BYTES' else 'number or time'})" for name, dtype in fields.items())


def _print(model: str, row: Mapping[str, str], prediction: Prediction) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=model, show_header=False)
    for name, value in row.items():
        table.add_row(name, value, style="dim")
    table.add_row(prediction.output, f"{prediction.value:.4f}" + (" (degraded)" if prediction.degraded else ""))
    if prediction.decision is not None:
        table.add_row("decision", "act" if prediction.decision else "do not act")
    table.add_row("model_version", f"{prediction.model_version} ({prediction.variant})")
    table.add_row("prediction_id", prediction.prediction_id)
    for name, effect in prediction.explanation.items():
        table.add_row(f"  {name}", f"{effect:+.4f}")
    Console().print(table)


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__)
    parser.add_argument("model", help="name of the model, such as flight_delay")
    parser.add_argument("fields", nargs="*", metavar="name=value", help="all fields of the model; name= is missing")
    parser.add_argument("--url", default=f"127.0.0.1:{settings.triton_grpc_port}", help="Triton's gRPC (%(default)s)")
    parser.add_argument("--explain", type=int, default=0, metavar="N", help="say which N inputs moved the answer most")
    parser.add_argument("--timeout", type=float, default=2.0, help="seconds until it gives up (%(default)s)")
    ca, cert, key = (
        settings.serving_ca or settings.serving_tls_cert,
        settings.serving_client_cert,
        settings.serving_client_key,
    )
    parser.add_argument("--ca", type=Path, default=ca, help="PEM of whom to trust: then it speaks TLS (%(default)s)")
    parser.add_argument("--cert", type=Path, default=cert, help="PEM of your certificate, for mutual TLS (%(default)s)")
    parser.add_argument("--key", type=Path, default=key, help="PEM of its key (%(default)s)")
    token = settings.serving_token_file
    parser.add_argument("--token-file", type=Path, default=token, help="file with the server's token (%(default)s)")
    parser.add_argument("--no-retry", action="store_true", help="do not ask again where nothing was sent or scored")
    return parser


def _client(options: argparse.Namespace) -> HeadwaterClient:
    token = None if options.token_file is None else read_token(options.token_file)
    tls = {name: getattr(options, name) for name in ("ca", "cert", "key")}
    return HeadwaterClient(options.url, options.timeout, **tls, token=token, retry=not options.no_retry)


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; return the exit code."""
    settings = Settings()
    parser = _parser(settings)
    options = parser.parse_args(arguments)
    if any("=" not in field for field in options.fields):
        parser.error("fields are given as name=value")
    row = dict(field.split("=", 1) for field in options.fields)
    try:
        with traced(settings.otlp_endpoint, "headwater-client"):
            (prediction,) = _client(options).predict(options.model, [row], options.explain)
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    _print(options.model, row, prediction)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
