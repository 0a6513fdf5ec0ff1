#!/bin/sh
# dbt's command line on Spark, as a file that can stand where dbt's own would. HEADWATER_PYTHON has both installed.
root="$(dirname "$(readlink -f "$0")")/.."
PYTHONPATH="$root" exec "${HEADWATER_PYTHON:-$root/.venv/bin/python}" -m ml.dbt_spark "$@"
