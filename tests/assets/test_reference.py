"""The reference page is what the code says."""

import pytest

from assets.reference import PAGE, reference
from assets.reference_settings import targets
from assets.resources import platform_for
from ml.settings import Settings

MAKEFILE = """
PY := python
export HEADWATER_HOME ?= .headwater
open close: setup
\t@$(PY) -m door $@ $(NAME) $(if $(WHY),--why "$(WHY)")

open: ## Open a door
close: ## Close it again
paint: setup ## Paint a door
\t@$(PY) -m paint $(COLOUR) "$(HEADWATER_HOME)"

preflight:
\t@$(PY) look
"""


@pytest.fixture(scope="module")
def page():
    return reference(platform_for(Settings()))


def test_the_page_in_the_repository_is_what_the_code_says(page):
    assert PAGE.read_text() == page, "run make reference and commit docs/reference.md"


def test_every_setting_is_told_with_a_meaning(page):
    for name, field in Settings.model_fields.items():
        assert field.description, name
        assert f"| `HEADWATER_{name.upper()}` |" in page


def test_a_target_is_told_with_what_its_caller_may_say():
    assert list(targets(MAKEFILE)) == [
        ("open", ["NAME", "WHY"], "Open a door"),
        ("close", ["NAME", "WHY"], "Close it again"),
        ("paint", ["COLOUR"], "Paint a door"),
    ]
