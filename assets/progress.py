"""A Dagster logger for people: what assets say while they work, without Dagster's own events."""

import logging
import sys

import dagster as dg

INDENT = "        "
LONGEST = 240  # characters of a message; all of it is with the run, in the UI
# What Dagster's integrations say of themselves; their warnings and errors are not among it.
TOOLS = ("A dbt subsetted execution", "Copying `", "Running dbt command", "Finished dbt command", "[pipes]")


class _AssetMessages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print a message that an asset or its training process logged."""
        meta = getattr(record, "dagster_meta", {})
        text = str(meta.get("orig_message", record.getMessage()))
        if meta.get("dagster_event") is None and not text.startswith(TOOLS):
            shown = text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."
            print(f"{INDENT}{shown}", file=sys.__stdout__, flush=True)


@dg.logger({}, description="Messages of assets only, for the command line.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that prints what assets log at INFO and above."""
    logger = logging.Logger("headwater.progress", logging.INFO)
    logger.addHandler(_AssetMessages())
    return logger
