"""Months as partitions: a span that ends or goes on, gaps, look-back, and tables made from several spans."""

from datetime import UTC, datetime

import pytest

from ml.months import Months, between, end_of, start_of, union_of


def test_a_span_has_every_month_from_the_first_to_the_last():
    assert Months("2012-11", "2013-02").names == ["2012-11", "2012-12", "2013-01", "2013-02"]
    assert Months("2013-01", "2013-01").names == ["2013-01"]


def test_a_span_without_an_end_grows_by_each_month_that_is_over():
    span = Months("2013-01")
    assert span.over_by(datetime(2013, 2, 28, 23, tzinfo=UTC)) == ["2013-01"]
    assert span.over_by(datetime(2013, 3, 1, tzinfo=UTC)) == ["2013-01", "2013-02"]
    assert span.over_by(datetime(2012, 1, 1, tzinfo=UTC)) == []
    with pytest.raises(ValueError, match="2013-01 on have no last one"):
        _ = span.names


def test_a_month_without_rows_is_no_month_of_the_span():
    span = Months("2013-01", "2013-04", without=("2013-02",))
    assert span.names == ["2013-01", "2013-03", "2013-04"]
    assert span.with_look_back(["2013-03"], 1) == ["2013-03"]
    assert span.with_look_back(["2013-03"], 2) == ["2013-01", "2013-03"]


def test_a_month_looks_back_to_the_months_before_and_the_first_to_nothing():
    year = Months("2013-01", "2013-12")
    assert year.with_look_back(["2013-03"], 1) == ["2013-02", "2013-03"]
    assert year.with_look_back(["2013-01", "2013-02"], 2) == ["2013-01", "2013-02"]
    assert year.with_look_back(["2013-03"], 0) == ["2013-03"]
    assert year.with_look_back(["2014-03"], 3) == ["2013-12"]  # another source of the table goes on for longer
    assert year.with_look_back(["2010-03"], 3) == []


def test_what_is_made_from_two_sources_has_the_months_of_both():
    assert union_of([Months("2010-03", "2010-09"), Months("2013-01", "2013-12")]) == Months("2010-03", "2013-12")
    assert union_of([Months("2013-05", "2013-09"), Months("2013-01")]) == Months("2013-01")
    gaps = [Months("2013-01", "2013-04", ("2013-02", "2013-03")), Months("2013-03", "2013-05")]
    assert union_of(gaps) == Months("2013-01", "2013-05", ("2013-02",))


def test_a_month_begins_and_ends_at_midnight_utc():
    assert (start_of("2012-12"), end_of("2012-12")) == (
        datetime(2012, 12, 1, tzinfo=UTC),
        datetime(2013, 1, 1, tzinfo=UTC),
    )
    assert between("2013-02", "2013-01") == []


@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("2013-1",), "'2013-1' is no month; write it like 2013-01"),
        (("2013-13",), "2013-13"),
        ((2013,), "2013"),
        (("2013-05", "2013-04"), "end before they begin"),
        (("2013-05", "2013-06", ("2013-07",)), r"\['2013-07'\] are not between"),
        (("2013-05", "2013-06", ("2013-06",)), r"\['2013-06'\] are not between"),
    ],
)
def test_a_span_that_is_none_is_refused_and_says_what_is_wrong(given, told):
    with pytest.raises(ValueError, match=told):
        Months(*given)
