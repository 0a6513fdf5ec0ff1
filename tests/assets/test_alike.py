"""Which tables are brought up to date in one run."""

import pytest

from assets.alike import alike

CASES = {
    "more months upstream than downstream": (
        {"raw": 12, "daily": 3, "total": 3},
        {"raw": "", "daily": "raw", "total": "daily"},
        ["raw", "daily total"],
    ),
    "a kind waits to come whole": (
        {"first": 12, "other": 3, "last": 12},
        {"first": "", "other": "", "last": "first other"},
        ["other", "first last"],
    ),
    "a kind that another one parts": (
        {"first": 12, "middle": 3, "last": 12},
        {"first": "", "middle": "first", "last": "middle"},
        ["first", "middle", "last"],
    ),
    "nothing": ({}, {}, []),
}


def closed(parents):
    """All ancestors of each key, near and far; parents stand before their children."""
    found = {}
    for key, names in parents.items():
        found[key] = {*names.split(), *(far for name in names.split() for far in found[name])}
    return found


@pytest.mark.parametrize(("kinds", "parents", "runs"), CASES.values(), ids=CASES)
def test_tables_with_the_same_months_come_together_and_none_before_what_it_is_made_from(kinds, parents, runs):
    assert [" ".join(run) for run in alike(kinds, closed(parents))] == runs
