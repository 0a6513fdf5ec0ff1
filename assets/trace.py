"""`make trace ID=...`: an answer down to raw rows; `make trace COLUMN=...`: all that rests on a column.

The command, and the assembly of the steps; each is found in `trace_answer`, `trace_features` or `trace_column`.
"""

import argparse
import json
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

from assets.command import REFUSALS, in_one_line, require_given
from assets.quiet import leave
from assets.resources import Platform, platform_for
from assets.trace_answer import find_answer, landed_step, serving_step
from assets.trace_features import Features
from assets.trace_model import model_step
from ml.models import MODELS
from ml.settings import Settings
from ml.source import Source
from ml.sources import SOURCES
from ml.trace import Step, attempt
from ml.trace_page import write_page
from ml.trace_text import SHOWN, tree

_WIDTH = 10_000  # characters


def trace_prediction(platform: Platform, prediction_id: str, sources: Sequence[Source] = SOURCES) -> Step:
    """Return an answer and all that it stands on, down to raw rows.

    What is gone is said where it belongs; the rest is shown all the same. Raises ValueError or LookupError only if
    there is no such answer.
    """
    answer = find_answer(platform, prediction_id)
    row, below = answer.row, list[Step]()
    with ThreadPoolExecutor(1) as pool:  # MLflow takes seconds to import
        name = f"{row['model']} version {row['model_version']}"
        model = pool.submit(attempt, "model", name, partial(model_step, platform, answer))
        plan = f"plan revision {row['revision']} of {row['model']}"
        below.append(attempt("serving", plan, partial(serving_step, platform, answer)))
        features = [*Features(platform, sources, answer).steps()]
        below += [model.result(), *features, *landed_step(platform, answer)]
    return answer.step(tuple(below))


def page_of(platform: Platform, step: Step, name: str) -> Path:
    """Write the page of a trace among the other reports, and return it."""
    return write_page(platform.settings.reports / "trace" / f"{name}.html", step)


@in_one_line(*REFUSALS)
def main(arguments: list[str] | None = None) -> int:
    """Print the trace that the command line asks for, and write its page. Returns 1 after one line on failure."""
    options = _parsed(arguments)
    platform = platform_for(Settings())
    if options.column:
        from assets.trace_column import trace_column

        step, name = trace_column(platform, options.column, MODELS), re.sub(r"\W+", "-", options.column)
    else:
        step, name = trace_prediction(platform, options.id), options.id.strip().lower()
    page = page_of(platform, step, name)
    _show(step, page, options.json, None if options.all else SHOWN)
    return 0


def _show(step: Step, page: Path, as_json: bool, shown: int | None) -> None:
    if as_json:
        print(json.dumps({**step.to_data(), "page": str(page)}, indent=1, default=str))
        return
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_WIDTH)  # a file or a pipe cuts no line
    console.print(tree(step, shown))
    missing = step.missing()
    if missing:
        console.print(f"{len(missing)} things are gone or do not agree: the lines with !", style="red")
    console.print("Lists are cut: ALL=1 shows everything, JSON=1 for machines", style="dim")
    console.print(f"page: {page}", soft_wrap=True)


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m assets.trace", description="Trace an answer, or a column.")
    what = parser.add_mutually_exclusive_group()
    what.add_argument("id", nargs="?", default="", help="prediction_id of an answer: 32 hexadecimal digits")
    what.add_argument("--column", help="raw/weather.visib, features/<view>.<column> or <view>:<feature>")
    parser.add_argument("--json", action="store_true", help="print everything as one JSON object")
    parser.add_argument("--all", action="store_true", help="cut no list")
    options = parser.parse_args(arguments)
    if not options.column:
        require_given("trace", ID=(options.id, "a prediction_id; or give COLUMN=raw/weather.visib in its place"))
    return options


if __name__ == "__main__":
    leave(main())
