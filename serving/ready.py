"""Whether this machine's Triton serves what is deployed: `python -m serving.ready`, the probe of a container.

By a real inference of each model, since Triton calls one ready whose process died. Ready is who answers by the newest
proven plan, or the one that is being tried: a replica that starts late is not, until it has caught up, nor is one that
answers by a plan that was refused, until it has gone back.
"""

import argparse
import sys
from collections.abc import Iterator

from ml.settings import Settings
from serving.control import Control
from serving.model_repository import ModelRepository
from serving.replica import leaving


def unready(settings: Settings, timeout: float) -> Iterator[str]:
    """Yield what keeps the replica from serving, a sentence each; each inference may take `timeout` seconds."""
    if leaving(settings).exists():
        yield "it ends"
        return
    control, repository = Control(settings), ModelRepository(settings.serving_home)
    try:
        if not control.live(timeout):
            yield f"no Triton answers at {control.url}"
            return
        for model in repository.deployed_models():
            if reason := _behind(control, repository, model, timeout):
                yield reason
    finally:
        control.close()


def _behind(control: Control, repository: ModelRepository, model: str, timeout: float) -> str:
    try:
        before = repository.answering(model)  # of a change that ends meanwhile, both count
        probe = control.probe(model, timeout)
        allowed = before | repository.answering(model)
        wanted = repository.deployed(model)
    except (OSError, LookupError, ValueError, RuntimeError) as error:
        return str(error)
    if wanted is None or probe.revision in allowed:
        return ""
    refused = ", which was refused" if probe.revision > wanted.revision else ""
    return f"{model} answers by revision {probe.revision}{refused}; {wanted.revision} is deployed"


def main(words: list[str] | None = None) -> int:
    """Run the command; return 0 if the replica is ready, 1 after a line for each reason if not."""
    parser = argparse.ArgumentParser(prog="python -m serving.ready", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--live", action="store_true", help="only whether Triton answers: who is behind lives")
    parser.add_argument("--timeout", type=float, default=5.0, help="seconds that an answer may take (%(default)s)")
    options = parser.parse_args(words)
    if options.timeout <= 0:
        parser.error("--timeout: a positive number of seconds")
    settings = Settings()
    if options.live:
        control = Control(settings)
        reasons = [] if control.live(options.timeout) else [f"no Triton answers at {control.url}"]
    else:
        reasons = list(unready(settings, options.timeout))
    for reason in reasons:
        print(f"not ready: {reason}", file=sys.stderr)
    return 1 if reasons else 0


if __name__ == "__main__":
    raise SystemExit(main())
