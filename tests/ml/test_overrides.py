from datetime import UTC, datetime, timedelta

import pytest

from ml.clock import ReplayClock
from ml.lake import Lake
from ml.overrides import Override, Overrides

NOW = datetime(2013, 3, 1, tzinfo=UTC)


class World:
    def __init__(self, folder):
        self.folder, self.clock = folder, ReplayClock(folder / "clock.json")
        self.clock.set(NOW)
        self.overrides = self.opened(allowed=True)

    def opened(self, allowed):
        return Overrides(Lake(self.folder / "lake"), self.clock, allowed)

    def grant(self, **changes):
        given = {"table": "raw/flights", "version": 3, "check": "history", "who": "ada", "why": "a known outage"}
        override = Override(**{**given, "until": NOW + timedelta(hours=2), "partition": "2013-02", **changes})
        self.overrides.grant([override])
        return override


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_an_override_holds_until_its_end_by_the_platforms_clock(world):
    granted = world.grant()
    assert world.overrides.active("raw/flights") == [granted]
    assert world.overrides.active("raw/weather") == []
    world.clock.set(NOW + timedelta(hours=2))
    assert world.overrides.active("raw/flights") == []
    assert world.overrides.log() == [granted]


def test_without_the_setting_none_is_granted_and_none_counts(world):
    world.grant()
    forbidden = world.opened(allowed=False)
    assert forbidden.active("raw/flights") == []
    with pytest.raises(PermissionError, match="HEADWATER_ALLOW_OVERRIDES=true"):
        forbidden.grant([])


@pytest.mark.parametrize("changes", [{"who": " "}, {"why": ""}])
def test_an_override_names_who_and_why(world, changes):
    with pytest.raises(ValueError, match="who grants it and why"):
        world.grant(**changes)
    assert world.overrides.log() == []


@pytest.mark.parametrize("lasts", [timedelta(0), timedelta(hours=-1), timedelta(days=31)])
def test_an_override_ends_later_but_not_for_ever(world, lasts):
    with pytest.raises(ValueError, match="within 30 days"):
        world.grant(until=NOW + lasts)


def test_an_override_can_be_ended_early_and_stays_on_record(world):
    world.grant()
    other = world.grant(version=4)
    assert [o.check for o in world.overrides.end("raw/flights", 3, "2013-02")] == ["history"]
    assert world.overrides.active("raw/flights") == [other]
    assert len(world.overrides.log()) == 3
