"""Traces in OpenTelemetry: a client's span, the router's below it, and its stages below that.

gRPC's metadata does not reach Triton's Python, so the parent comes as a request parameter, in W3C's form. OpenTelemetry
is imported only where traces are wanted: docs/monitoring.md.
"""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ml import remedies
from ml.clock import RealClock
from serving.plan import TRACEPARENT
from serving.seen import Seen

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from serving.answer import Answer, Request

_EXPORT_SECONDS = 1.0
_PATIENCE_SECONDS = 5.0
_LAST_SECONDS = 1.0
_NAME = "headwater"


def open_provider(endpoint: str, service: str) -> "TracerProvider":
    """Return what sends spans to the OTLP receiver at `endpoint` (http://host:port), from a thread, some at a time.

    What waits is bounded; what does not fit, and what the receiver does not take, is lost. Raises LookupError with the
    remedy if this environment has no OpenTelemetry.
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise LookupError(f"HEADWATER_OTLP_ENDPOINT is set, but {error}; {remedies.install()}, or unset it") from error
    provider = TracerProvider(resource=Resource.create({"service.name": service}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=_PATIENCE_SECONDS)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=1000 * _EXPORT_SECONDS))
    return provider


@contextmanager
def traced(endpoint: str, service: str) -> Iterator[None]:
    """Make what runs inside send its spans to `endpoint`, once a process; none if that is empty."""
    if not endpoint:
        yield
        return
    provider = open_provider(endpoint, service)
    from opentelemetry import trace

    trace.set_tracer_provider(provider)
    try:
        yield
    finally:
        end(provider)


def end(provider: "TracerProvider") -> None:
    """Send what waits, for a second at most: a receiver that is away must not hold up who ends."""
    thread = threading.Thread(target=provider.shutdown, name="spans-end", daemon=True)
    thread.start()
    thread.join(_LAST_SECONDS)


@contextmanager
def asking(model: str, rows: int) -> Iterator[dict[str, str]]:
    """Make a span of a call by the application's own tracer provider; yield the parameters that tell the router of it.

    Without a provider there is no span, but a parent that the application has is passed on.
    """
    if (trace := sys.modules.get("opentelemetry.trace")) is None:  # then nobody can have set one
        yield {}
        return
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    attributes = {"headwater.model": model, "headwater.rows": rows}
    tracer, carrier = trace.get_tracer(_NAME), dict[str, str]()
    with tracer.start_as_current_span(f"ask {model}", kind=trace.SpanKind.CLIENT, attributes=attributes):
        TraceContextTextMapPropagator().inject(carrier)
        yield {TRACEPARENT: told} if (told := carrier.get("traceparent")) else {}


class Spans:
    """A `seen.Watcher` that makes spans of requests that are no probes. Stages are those of the request's batch."""

    def __init__(self, endpoint: str, model: str) -> None:
        """Raises LookupError as `open_provider`."""
        self._provider = open_provider(endpoint, "headwater-router")
        self._tracer = self._provider.get_tracer(_NAME)
        self._model = model

    def answered(self, seen: Seen) -> None:
        """Make the spans of a batch, which begin and end when it did."""
        shift = int((RealClock().now().timestamp() - time.perf_counter()) * 1e9)
        for request, answer in zip(seen.requests, seen.answers, strict=True):
            if not request.probe:
                self._request(seen, request, answer, shift)

    def shadowed(self, by: Any, rows: int, seconds: float) -> None:
        """Make none: a shadow answers nobody."""

    def close(self) -> None:
        """Send what waits, for a second at most."""
        end(self._provider)

    def _request(self, seen: Seen, request: "Request", answer: "Answer | Exception", shift: int) -> None:
        from opentelemetry.trace import SpanKind, set_span_in_context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parent = TraceContextTextMapPropagator().extract({"traceparent": request.traceparent})
        begun = _instant(seen.started, shift)
        span = self._tracer.start_span(f"answer {self._model}", parent, SpanKind.SERVER, start_time=begun)
        if span.is_recording():
            span.set_attributes({"headwater.model": self._model, **_batch(seen), **_told(answer)})
            if isinstance(answer, Exception):
                self._failed(span, answer)
            within, before = set_span_in_context(span), seen.started
            for stage, ended in seen.laps:
                lap = self._tracer.start_span(stage, within, start_time=_instant(before, shift))
                lap.end(_instant(ended, shift))
                before = ended
        span.end(_instant(seen.ended, shift))

    def _failed(self, span: Any, error: Exception) -> None:
        from opentelemetry.trace import Status, StatusCode

        span.record_exception(error)
        span.set_status(Status(StatusCode.ERROR, str(error)))


def _batch(seen: Seen) -> dict[str, int]:
    known = None if seen.scored is None else seen.scored.known
    told = {"headwater.batch.requests": len(seen.requests)}
    return told if known is None else {**told, "headwater.batch.rows": known.request.rows}


def _told(answer: "Answer | Exception") -> dict[str, Any]:
    if isinstance(answer, Exception):
        return {}
    return {
        "headwater.rows": len(answer.versions),
        "headwater.versions": sorted(set(answer.versions)),
        "headwater.variants": sorted(set(answer.variants)),
        "headwater.revision": answer.revision,
        "headwater.prediction_id": answer.prediction_ids[0],
        "headwater.degraded_rows": int(answer.degraded.sum()),
    }


def _instant(clock: float, shift: int) -> int:
    """Return nanoseconds since the epoch of an instant of `time.perf_counter`."""
    return int(clock * 1e9) + shift
