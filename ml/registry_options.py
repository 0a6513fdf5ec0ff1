"""The options --tracking-uri and --artifacts of commands that write to the registry; without them, its settings.

A password goes through the environment: anybody on the machine may list a process's arguments.
"""

import argparse

from ml.secret_address import shown
from ml.settings import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    """Let a command take the registry's address as arguments."""
    parser.add_argument("--tracking-uri", help="MLflow's address, no password in it (default: HEADWATER_TRACKING_URI)")
    parser.add_argument("--artifacts", help="where MLflow's files go (default: HEADWATER_ARTIFACTS)")


def settle(arguments: argparse.Namespace, settings: Settings) -> None:
    """Fill in from the settings what was not given. Raises ValueError if a password was given as an argument."""
    given = arguments.tracking_uri
    if given and shown(given) != given:
        raise ValueError(
            f"--tracking-uri {shown(given)} holds a password, which anybody may list; set HEADWATER_TRACKING_URI"
        )
    arguments.tracking_uri = given or settings.tracking_uri
    arguments.artifacts = arguments.artifacts or settings.artifacts
