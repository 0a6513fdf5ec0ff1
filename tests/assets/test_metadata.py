"""What the UI shows of a table fits into it and is in words."""

from datetime import UTC, datetime

import polars as pl

from assets.metadata import column_schema, preview


def test_first_rows_of_a_wide_table_stand_below_each_other():
    wide = pl.DataFrame({f"c{number}": [number, None, 2, 3] for number in range(13)})
    assert preview(wide.lazy()).splitlines()[:3] == [
        "| column | first | second | third |",
        "| --- | --- | --- | --- |",
        "| c0 | 0 | null | 2 |",
    ]
    assert len(preview(wide.lazy()).splitlines()) == 2 + 13
    assert preview(wide.drop("c12").lazy()).count("\n") == 1 + 4


def test_an_instant_says_its_zone_and_not_how_polars_keeps_it():
    rows = pl.DataFrame({"at": [datetime(2013, 1, 1, tzinfo=UTC)], "n": [1]})
    assert [column.type for column in column_schema(rows.schema).columns] == ["timestamp (UTC)", "Int64"]
