"""The client of Headwater's models over Triton's gRPC: `python -m serving.client MODEL name=value ...`.

Which fields a model takes comes from the server, so that the client knows no model.
"""

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from tritonclient.grpc import InferInput

from ml.settings import Settings
from serving.channel import open_channel, translated
from serving.credentials import Credentials, of_client, read_control_secret, read_token
from serving.plan import EXPLAIN, MAX_BATCH
from serving.prediction import Prediction, predictions_of
from serving.probing import probing
from serving.request_rows import RequestField, columns_of, fields_of
from serving.retry import retried
from serving.spans import asking, traced


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
        self._fields: dict[str, dict[str, RequestField]] = {}

    @classmethod
    def of(cls, settings: Settings, timeout: float = 2.0, probe: bool | str = False) -> Self:
        """Return a client of the platform's own Triton, with what the settings say of TLS and token.

        For a probe it reads the control secret. Raises what reading these raises.
        """
        shown = of_client(settings, read_control_secret(settings) if probe else None)
        return cls(
            settings.triton_target,
            timeout,
            probe,
            ca=shown.ca,
            cert=shown.cert,
            key=shown.key,
            token=shown.token,
            control=shown.control,
        )

    def fields(self, model: str) -> dict[str, RequestField]:
        """Return what each field of the model takes, by name. Raises what `predict` raises."""
        return self._ask_fields(model, time.monotonic() + self.timeout)

    def _ask_fields(self, model: str, until: float) -> dict[str, RequestField]:
        def ask() -> Any:
            with translated(self.url, model, self.timeout):
                return self._triton.get_model_config(model, client_timeout=_left(until))

        return fields_of(self._asked(ask, until).config)

    def _asked(self, ask: Callable[[], Any], until: float) -> Any:
        return retried(ask, until) if self._retry else ask()

    def predict(self, model: str, rows: Sequence[Mapping[str, Any]], explain: int = 0) -> list[Prediction]:
        """Return a prediction a row, in order. A row has every field of the model; None is a missing value.

        `explain` asks for so many inputs that moved each answer most, of at most 16 rows.

        A field that is an instant takes a datetime or ISO timestamp with a zone, one that is a local time takes one
        without; as numbers both are seconds since 1970-01-01T00:00, in UTC and on the place's own clock. More rows than
        a batch are several requests within one timeout. Raises ConnectionError (`serving.channel.BusyError`: ask again
        later), PermissionError (token), TimeoutError, LookupError (unknown model), ValueError (wrong or missing field)
        or RuntimeError (the model failed).
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
        columns = columns_of(model, self._fields[model], rows)
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
            tensor = InferInput(name, list(column.shape), self._fields[model][name].dtype)
            tensor.set_data_from_numpy(column)
            inputs.append(tensor)

        def ask() -> Any:
            left = _left(until)  # also in Triton's queue: what nobody waits for is not scored
            options = {"timeout": int(left * 1e6), "client_timeout": left}
            with translated(self.url, model, self.timeout), asking(model, rows) as told:
                parameters = {**self._parameters, **({EXPLAIN: explain} if explain else {}), **told} or None
                return self._triton.infer(model, inputs, parameters=parameters, **options)

        result = self._asked(ask, until)
        return predictions_of(result, rows)


def _left(until: float) -> float:
    return max(until - time.monotonic(), 0.001)


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
    for view, state in prediction.feature_status.items():
        if state not in ("present", "not_needed"):
            table.add_row(view, state.replace("_", " "), style="yellow")
    for name, effect in prediction.explanation.items():
        table.add_row(f"  {name}", f"{effect:+.4f}")
    Console().print(table)


def _parser(settings: Settings) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m serving.client", description=__doc__)
    parser.add_argument("model", help="name of the model, such as flight_delay")
    parser.add_argument("fields", nargs="*", metavar="name=value", help="all fields of the model; name= is missing")
    parser.add_argument("--url", default=settings.triton_target, help="Triton's gRPC (%(default)s)")
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
