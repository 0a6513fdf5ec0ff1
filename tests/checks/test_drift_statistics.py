"""Our statistics are Evidently's and scipy's, on real months and awkward columns, from kept and merged profiles too."""

import numpy as np
import polars as pl
import pytest

from checks.drift_profile import Categories, keep, kept, merged, profile_of
from checks.drift_statistics import compare
from checks.drift_windows import Part, Profiles, Window
from ml.sources import SOURCES
from tests.checks.drift_world import part, rows, window

EXACT = 1e-9
FLIGHTS = ("dep_delay", "arr_delay", "air_time", "distance", "hour", "carrier", "origin", "dest", "tailnum")
PAIRS = (("2013-01", "2013-02"), ("2013-03", "2013-07"), ("2013-09", "2013-12"))


@pytest.fixture(scope="module")
def months():
    """The shipped year's raw flights, by month, as the source has them."""
    (flights,) = (source for source in SOURCES if source.name == "flights")
    rows = flights.read().with_columns(late=pl.col("arr_delay") > 30)
    return {f"2013-{month:02}": rows.filter(month=month) for month in range(1, 13)}


def theirs(old, new, method):
    """What Evidently computes by a method (None: the one it chooses) on two polars columns."""
    from evidently.legacy.calculations.stattests import get_stattest
    from evidently.legacy.core import ColumnType

    kind = ColumnType.Numerical if old.dtype.is_numeric() else ColumnType.Categorical
    sides = [side.to_pandas().replace([-np.inf, np.inf], np.nan).dropna() for side in (old, new)]
    return get_stattest(*sides, kind, method)(*sides, kind, None).drift_score


def equal(old, new):
    from scipy.stats import ks_2samp

    found = compare(profile_of(old), profile_of(new))
    assert found.distance == pytest.approx(theirs(old, new, None), abs=EXACT)
    assert found.psi == pytest.approx(theirs(old, new, "psi"), abs=EXACT)
    if old.dtype.is_numeric():
        sides = [side.drop_nulls().drop_nans().to_numpy() for side in (old.cast(pl.Float64), new.cast(pl.Float64))]
        finite = [side[np.isfinite(side)] for side in sides]
        assert found.ks == pytest.approx(ks_2samp(*finite, method="asymp").statistic, abs=EXACT)
    return found


@pytest.mark.parametrize("pair", PAIRS, ids=" ".join)
@pytest.mark.parametrize("column", [*FLIGHTS, "late"])
def test_statistics_of_real_months_are_evidentlys(months, pair, column):
    old, new = (months[month][column] for month in pair)
    equal(old, new)


def columns():
    random = np.random.default_rng(3)
    n = 3000
    holes = np.where(random.random(n) < 0.2, np.nan, random.normal(0, 1, n))
    yield "two values", pl.Series(random.integers(0, 2, n)), pl.Series((random.random(n) < 0.7).astype(int))
    yield "five values", pl.Series(random.integers(0, 5, n)), pl.Series(random.integers(1, 5, n))
    yield "sixth value only now", pl.Series(random.integers(0, 5, n)), pl.Series(random.integers(0, 6, n))
    yield "twenty values", pl.Series(random.integers(0, 20, n)), pl.Series(random.integers(0, 25, n))
    yield "narrow integers", pl.Series(random.integers(0, 22, n)), pl.Series(random.integers(0, 22, n))
    yield "narrow integers with a gap", pl.Series(random.integers(0, 22, n)), pl.Series([None, *range(25)] * 50)
    yield "holes and infinities", pl.Series(holes), pl.Series([np.inf, -np.inf, None, 1.5, 2.5, 3.5, 9.0] * 100)
    yield "constant reference", pl.Series(np.zeros(n)), pl.Series(random.normal(0, 1, n))
    yield "constant now", pl.Series(random.normal(0, 1, n)), pl.Series(np.ones(n))
    yield "apart", pl.Series(random.normal(0, 1, n)), pl.Series(random.normal(100, 1, 50))
    yield "names", pl.Series(random.choice(list("ABC"), n)), pl.Series(random.choice(list("BCD"), n))
    yield "booleans", pl.Series(random.random(n) < 0.2), pl.Series(random.random(n) < 0.7)


@pytest.mark.parametrize(("old", "new"), [pytest.param(o, n, id=i) for i, o, n in columns()])
def test_statistics_of_awkward_columns_are_evidentlys(old, new):
    equal(old, new)


def test_profiles_kept_and_added_give_the_numbers_of_the_raw_rows(months, tmp_path):
    profiles, three = Profiles(tmp_path), [months[m] for m in ("2013-01", "2013-02", "2013-03")]
    reference, whole = window(*three), pl.concat(three)
    for column in FLIGHTS:
        raw = compare(profile_of(whole[column]), profile_of(months["2013-12"][column]))
        for _ in range(2):  # made, then read
            assert compare(profiles.of(reference, column), profile_of(months["2013-12"][column])) == raw


def test_a_kept_profile_is_read_and_the_rows_are_not(tmp_path):
    profiles, frame = Profiles(tmp_path), rows()
    first = profiles.of(window(frame), "delay")

    def refuse():
        raise AssertionError("read again")

    again = Window("rows", (Part("made/up", "rows 0", part(frame).key, refuse),))
    assert np.array_equal(Profiles(tmp_path).of(again, "delay").values, first.values)


def test_other_rows_under_the_same_name_get_a_profile_of_their_own(tmp_path):
    profiles = Profiles(tmp_path)
    before, after = (profiles.of(window(frame), "delay") for frame in (rows(), rows(shift=5)))
    assert after.mean - before.mean == pytest.approx(5, abs=0.1)


@pytest.mark.parametrize("damage", [b"", b"\x93NUMPY half a file", b"rubbish"])
def test_a_damaged_profile_is_made_again(tmp_path, damage):
    whole = Profiles(tmp_path).of(window(rows()), "delay")
    (path,) = tmp_path.rglob("delay.profile")
    path.write_bytes(damage)
    assert np.array_equal(Profiles(tmp_path).of(window(rows()), "delay").values, whole.values)
    assert kept(path) is not None


@pytest.mark.parametrize("column", ["delay", "carrier", "empty"])
def test_a_profile_comes_back_as_it_was_written(tmp_path, column):
    profile = profile_of(rows().with_columns(pl.when(pl.col("delay") > 0).then(column).alias(column))[column])
    keep(profile, tmp_path / "p.profile")
    read = kept(tmp_path / "p.profile")
    assert (type(read), read.missing, read.present) == (type(profile), profile.missing, profile.present)
    assert np.array_equal(read.values, profile.values)
    assert np.array_equal(read.counts, profile.counts)


def test_a_month_of_nulls_only_does_not_hide_the_kind_of_the_others():
    parts = [profile_of(pl.Series([None, None], dtype=pl.Null)), profile_of(pl.Series([1.0, 2.0]))]
    assert (merged(parts).present, merged(parts).missing) == (2, 2)
    with pytest.raises(ValueError, match="numeric in some parts"):
        merged([profile_of(pl.Series(["a"])), profile_of(pl.Series([1.0]))])


def test_every_type_has_a_profile():
    from datetime import UTC, date, datetime

    made = {
        "times": pl.Series([datetime(2013, 1, 1, tzinfo=UTC), None]),
        "dates": pl.Series([date(2013, 1, 1), None]),
        "lists": pl.Series([[1, 2], None]),
        "enums": pl.Series(["a", None], dtype=pl.Enum(["a", "b"])),
        "small": pl.Series([1, None], dtype=pl.Int8),
        "decimals": pl.Series(["1.5", None]).cast(pl.Decimal(5, 2)),
    }
    for name, column in made.items():
        profile = profile_of(column)
        assert (profile.present, profile.missing) == (1, 1), name
        assert isinstance(profile, Categories) == (name in ("lists", "enums")), name


def test_a_column_whose_type_changed_has_moved_without_bound():
    found = compare(profile_of(pl.Series([1, 2, 3])), profile_of(pl.Series(["1", "2", "3"])))
    assert (found.method, found.distance) == ("none", np.inf)
