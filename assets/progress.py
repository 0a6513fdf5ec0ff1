"""A Dagster logger for people: what assets say while they work, without Dagster's own events."""

import logging
import sys

import dagster as dg

INDENT = "        "


class _AssetMessages(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        """Print a message that an asset or its training process logged."""
        meta = getattr(record, "dagster_meta", {})
        if meta.get("dagster_event") is None:
            print(
                record.name, f"{INDENT}{meta.get('orig_message', record.getMessage())}", file=sys.__stdout__, flush=True
            )


@dg.logger({}, description="Messages of assets only, for the command line.")
def progress_logger(_context: dg.InitLoggerContext) -> logging.Logger:
    """Return a logger that prints what assets log at INFO and above."""
    logger = logging.Logger("headwater.progress", logging.INFO)
    logger.addHandler(_AssetMessages())
    return logger
