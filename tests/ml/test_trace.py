import json
from datetime import UTC, datetime

from rich.console import Console

from ml.trace import Step, attempt
from ml.trace_page import page
from ml.trace_text import tree

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
CELLS = tuple(
    {"feature": f"f{n}", "logged": n / 3, "published": n / 3, "same": True, "columns": "raw/trips: late"}
    for n in range(9)
)
CHECKS = Step("checks", "checks", {"expectations": "passed", "history": "passed", "judged": "noon"})
VIEW = Step(
    "feature",
    "state of bus=<A>",
    {"known at": NOON},
    CELLS,
    below=(Step("data", "features/state[2013-07] version 2", {"from": {"raw/trips": "version 3"}}, below=(CHECKS,)),),
)
TRIPS = Step("source", "raw/trips version 3", gone=("retention removed it",))
TRACE = Step("prediction", "prediction " + "ab" * 16, {"answer": "probability 0.25"}, below=(VIEW, TRIPS))


def text(shown):
    console = Console(width=300, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(tree(TRACE, shown))
    return console.export_text()


def test_a_long_list_is_cut_with_a_count_unless_all_is_asked_for():
    assert "f2 = 0.666667  <- raw/trips: late" in text(3)
    assert "... and 6 more" in text(3)
    assert "f8 =" not in text(3)
    assert "f8 =" in text(None)


def test_checks_with_the_same_outcome_stand_in_one_line():
    assert "checks: expectations, history passed (noon)" in text(3)


def test_what_is_gone_is_said_where_it_belongs_and_once_on_the_whole():
    assert "! retention removed it" in text(3)
    assert TRACE.missing() == ["retention removed it"]


def test_what_cannot_be_found_is_a_step_that_says_so():
    def gone():
        raise LookupError("version 3 is gone;\n restore it")

    assert attempt("model", "m version 3", gone) == Step(
        "model", "m version 3", gone=("version 3 is gone; restore it",)
    )


def test_json_has_everything_and_no_empty_entries():
    told = json.loads(json.dumps(TRACE.to_data()))
    view, trips = told["below"]
    assert view["facts"]["known at"] == "2013-07-01T12:00:00+00:00"
    assert len(view["rows"]) == 9
    assert trips == {"kind": "source", "name": "raw/trips version 3", "gone": ["retention removed it"]}


def test_the_page_pictures_the_way_and_marks_what_is_gone():
    found = page(TRACE)
    assert found.count("<rect") == 3
    assert found.count("<path") == 2  # raw table to view, view to answer
    assert "state of bus=&lt;A&gt;" in found
    assert "<A>" not in found
    assert "<ul class='gone'><li>retention removed it</li></ul>" in found
    for number in range(5):
        assert found.count(f"id='step{number}'") == 1


def test_a_page_of_a_column_has_steps_and_no_picture():
    found = page(Step("impact", "column raw/trips.late", below=(TRIPS,)))
    assert "<svg" not in found
    assert "raw/trips version 3" in found
