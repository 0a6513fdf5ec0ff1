"""What the tests of the scaffolds share: a home in which nothing has run, and a file of somebody."""

import pytest

from assets.plan_manifest import with_files
from assets.resources import Platform
from ml.settings import Settings

GAUGES = "station,day,level\nUpper,2013-01-30,101.5\nUpper,2013-02-01,99\nLower,2013-02-01,NA\n"


@pytest.fixture(scope="session")
def platform(tmp_path_factory):
    """The platform of a home in which nothing has run, with dbt's manifest."""
    empty = Platform(Settings(home=tmp_path_factory.mktemp("scaffold")))
    with with_files(empty, {}) as parsed:
        empty.manifest.parent.mkdir(parents=True)
        empty.manifest.write_text(parsed.manifest.read_text())
    return empty


@pytest.fixture
def gauges(tmp_path):
    path = tmp_path / "gauges.csv"
    path.write_text(GAUGES)
    return str(path)
