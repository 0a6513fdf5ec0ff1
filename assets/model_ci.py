"""`make model-ci`: does a change make models better or worse? Both sides train on a small window and are compared.

Here: the command line and the exit status. The change is the working tree as it lies there, the base a commit.
docs/model-ci.md says how to read it.
"""

import argparse
import json
import logging
import signal
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from assets.failures import one_line
from assets.quiet import leave

if TYPE_CHECKING:
    from assets.model_ci_report import Report

WORSE, ERROR, INTERRUPTED = 1, 2, 130


def main(words: Sequence[str] | None = None) -> int:
    """Run the command. Returns 0, 1 if a model is worse beyond noise, 2 after a line on what failed, 130 on Ctrl-C."""
    warnings.simplefilter("ignore")
    logging.getLogger().setLevel(logging.ERROR)
    arguments = _parse(words)
    for number in (signal.SIGINT, signal.SIGTERM):  # a shell starts what runs in its background with SIGINT ignored
        signal.signal(number, signal.default_int_handler)
    try:
        # A change that breaks what is imported here is an error (2), not one that makes models worse (1).
        from assets.model_ci_run import compare
        from ml.settings import Settings

        settings = Settings()
        report = compare(arguments, settings)
        _write(report, [settings.root / "model-ci" / "report.md", *([arguments.out] if arguments.out else [])])
    except KeyboardInterrupt:
        print("\nheadwater: interrupted; nothing is left running, and nothing half done is kept", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        print(f"headwater: {one_line(error)}", file=sys.stderr)
        return ERROR
    print(report.markdown(), flush=True)
    return WORSE if report.failed and not arguments.allow_worse else 0


def _write(report: "Report", pages: Sequence[Path]) -> None:
    """Write each page, and the same numbers as JSON beside it."""
    for page in pages:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(report.markdown())
        page.with_suffix(".json").write_text(json.dumps(report.as_dict(), indent=2, default=str))


def _parse(words: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m assets.model_ci",
        description="Train with the working tree and with a base on a small window: better, worse or within noise.",
        epilog="Status 0: better, within noise, new or nothing to train; 1: worse beyond noise; 2: an error.",
    )
    parser.add_argument("models", nargs="*", help="models (default: those that the change can have touched)")
    parser.add_argument("--base", help="branch or commit (default: where this branch left origin/main, or main)")
    parser.add_argument("--window", help="months, ends included, such as 2013-01..2013-03 (default: the first three)")
    parser.add_argument("--seeds", type=int, default=3, help="trainings a side, at least 2 (default: 3)")
    parser.add_argument("--out", type=Path, help="file for the Markdown report; the JSON lies beside it")
    parser.add_argument("--all", action="store_true", help="all models, whether touched or not")
    parser.add_argument("--fresh", action="store_true", help="train the base again, too, though its result is kept")
    parser.add_argument("--allow-worse", action="store_true", help="status 0 also for a change that makes models worse")
    arguments = parser.parse_args(words)
    if arguments.seeds < 2:
        parser.error("--seeds: the noise of a seed needs at least 2")
    if arguments.out and arguments.out.suffix != ".md":
        parser.error("--out: give a file that ends in .md; the JSON gets the same name")
    return arguments


if __name__ == "__main__":
    leave(main())
