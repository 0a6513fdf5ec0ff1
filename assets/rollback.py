"""`python -m assets.rollback`: published data back to an earlier version, offline and online together."""

import argparse
import getpass
import sys

from assets.command import REFUSALS, in_one_line
from assets.resources import Platform, platform_for
from assets.views import admit_roll_back
from ml.online_publish import rebuild
from ml.online_rows import open_online_rows
from ml.publication import Publication
from ml.settings import Settings


def roll_back(platform: Platform, name: str, version: int, actor: str, reason: str) -> Publication:
    """Point readers of published/<name> at `version` and rebuild its online rows as of the clock.

    Raises LookupError if that version was never published, GateClosed if its rows were made by another
    definition of the view than the one on record.
    """
    admit_roll_back(platform, name, version)
    publication = platform.publications.roll_back(name, version, actor, reason)
    views = [view for view in platform.feature_views if view.name == name]
    rebuild(views, platform.publications, open_online_rows(platform.settings.online_store), platform.clock.now())
    return publication


def versions(platform: Platform, name: str) -> list[str]:
    """Return a line for each publication of a table, oldest first: which is current, and which retention removed.

    Raises LookupError if nothing was ever published of it.
    """
    publications = platform.publications
    log, kept, current = publications.log(name), publications.kept(name), publications.current(name)
    if current is None:
        known = [table.partition("/")[2] for table in platform.lake.tables() if table.startswith("published/")]
        raise LookupError(f"nothing was ever published of {name!r}; published are {known}")
    marks = [" <- now" if p is log[-1] else "" if p.version in kept else " (removed by retention)" for p in log]
    return [f"{p.table} version {p.version}: {p.reason} ({p.actor}){m}" for p, m in zip(log, marks, strict=True)]


@in_one_line(*REFUSALS)
def main() -> int:
    """Roll back as the command line says; without a version, list what was published. Returns 1 on failure."""
    parser = argparse.ArgumentParser(prog="python -m assets.rollback", description="Roll published data back.")
    parser.add_argument("name", help="feature view or outcome table, such as aircraft_state; alone, lists its versions")
    parser.add_argument("--version", type=int, help="published version to go back to")
    parser.add_argument("--reason", default="rolled back by hand", help="kept in the publication log")
    arguments = parser.parse_args()
    platform = platform_for(Settings())
    if arguments.version is not None:
        roll_back(platform, arguments.name, arguments.version, getpass.getuser(), arguments.reason)
    print("\n".join(versions(platform, arguments.name)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
