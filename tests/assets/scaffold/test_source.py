"""A drafted source: what is guessed of its file, and what is refused by name, with nothing written."""

import gzip
import zipfile
from types import ModuleType

import polars as pl
import pytest

from assets.guesses import key_of, reader_of, schema_of, time_of
from assets.new_files import held
from assets.new_source import months_told, new_source
from assets.plan import printed, source_plan
from ml import sources
from ml.months import Months
from ml.source import Source
from ml.sources import SOURCES, source_named
from tests.assets.scaffold.formatted import assert_formatted
from tests.assets.tree import planned_assets


def module(**names):
    made = ModuleType("made")
    made.__dict__.update(names)
    return made


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_what_is_guessed_of_the_shipped_files_is_what_people_declared(source):
    schema = schema_of(reader_of(source.reader.origin))
    assert schema == source.schema
    rows = source.read()
    assert len(key_of(rows, time_of(rows))) <= len(source.key)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n", "has no rows"),
        ("a,b\nx,1.5\nx,1.5\n", "name a row: rows repeat"),
        ("a,b\nx,1\nx,1,2\n", "does not fit its declaration"),
        ("a;b\nx;1,5\n", "has one column named 'a;b'; is ';' the separator"),
        ("a\tb\nx\t1\n", r"is '\\t' the separator"),
        ("\x00\xff", "a"),
    ],
)
def test_rows_that_cannot_be_declared_are_refused_by_file(tmp_path, content, problem):
    path = tmp_path / "rows.csv"
    path.write_text(content)
    with pytest.raises((ValueError, LookupError), match=problem) as refused:
        new_source("rows", str(path))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "file", "problem"),
    [
        ("flights", "gauges.csv", "a source 'flights' exists"),
        ("River", "gauges.csv", "cannot be the name of a source; take lower_snake_case"),
        ("class", "gauges.csv", "cannot be the name of a source"),
        ("../up", "gauges.csv", "cannot be the name of a source"),
        ("", "gauges.csv", "cannot be the name of a source"),
        ("river", "nowhere.csv", "no file"),
        ("river", "gauges.xlsx", "neither .csv, .csv.gz, .csv.zip nor .parquet; convert it"),
    ],
)
def test_a_source_of_a_bad_name_or_without_a_file_is_refused(gauges, tmp_path, name, file, problem):
    (tmp_path / "gauges.xlsx").write_text("?")
    with pytest.raises((ValueError, LookupError), match=problem):
        new_source(name, str(tmp_path / file))


def test_a_drafted_source_reads_its_file_and_knows_no_row_too_early(gauges):
    draft, source = new_source("gauges", gauges)
    assert_formatted(draft.files["ml/sources/gauges.py"])
    assert (source.key, source.schema["day"], source.read().height) == (("station", "day"), pl.Date(), 3)
    assert source.known_at(source.read()).dt.to_string("%F %T").to_list()[0] == "2013-01-31 00:00:00"
    assert months_told(source) == "2013-01 to 2013-02"


def test_another_separator_is_seen_in_packed_files_too(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a;b\nx;1\n")
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"a;b\nx;1\n"))
    for name in ("a.csv.zip", "a.csv.gz"):
        with pytest.raises(ValueError, match="is ';' the separator"):
            new_source("a", str(tmp_path / name))


def test_zipped_and_parquet_files_are_declared_too(tmp_path, gauges):
    with zipfile.ZipFile(tmp_path / "gauges.csv.zip", "w") as archive:
        archive.write(gauges, "gauges.csv")
    rows = pl.read_csv(gauges, try_parse_dates=True, null_values=["NA"])
    rows.with_columns(at=pl.col("day").cast(pl.Datetime("us"))).write_parquet(tmp_path / "gauges.parquet")
    for file, columns in (("gauges.csv.zip", 3), ("gauges.parquet", 4)):
        draft, source = new_source("gauges", str(tmp_path / file))
        assert_formatted(draft.files["ml/sources/gauges.py"])
        assert source.read().shape == (3, columns)
    rows.with_columns(at=pl.col("day").cast(pl.Datetime("ns"))).write_parquet(tmp_path / "odd.parquet")
    with pytest.raises(ValueError, match=r"odd.parquet: columns \{'at': .* write them as"):
        new_source("odd", str(tmp_path / "odd.parquet"))


def test_the_months_of_a_source_are_those_of_its_file(tmp_path):
    path = tmp_path / "old.csv"
    path.write_text("day,level\n1850-03-01,1\n1850-04-01,2\n1850-07-01,2\n")
    draft, source = new_source("old", str(path))
    assert_formatted(draft.files["ml/sources/old.py"])
    assert source.months == Months("1850-03", "1850-07", without=("1850-05", "1850-06"))


def test_a_new_source_is_planned_before_it_is_there(platform, gauges):
    _, source = new_source("gauges", gauges)
    text = printed("it", source_plan(platform, source))
    assert planned_assets(text) == ["raw/gauges"]
    assert "blocked by expectations, history" in text


def test_a_file_of_sources_without_any_is_refused_by_name():
    with pytest.raises(ValueError, match=r"ml/sources/empty.py holds no Source; declare one, or name the file _"):
        list(sources._held(module(), "empty"))


def test_a_source_that_a_file_imports_is_counted_once():
    flights = source_named("flights")
    assert list(sources._held(module(A=flights, B=flights), "two")) == [flights]


def test_of_a_drafted_file_only_its_own_is_taken(gauges):
    text = new_source("gauges", gauges)[0].files["ml/sources/gauges.py"]
    assert held("from ml.sources.nycflights13 import FLIGHTS\n" + text, "gauges", Source).name == "gauges"
