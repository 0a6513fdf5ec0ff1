"""When assets run by themselves: automation conditions. Sensors stand with what they start."""

import dagster as dg

# Plain eager() goes ahead although a blocking check of its input failed; this does not.
WHEN_CHECKED = dg.AutomationCondition.eager() & dg.AutomationCondition.all_deps_blocking_checks_passed()
