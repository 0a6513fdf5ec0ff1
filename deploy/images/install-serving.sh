#!/bin/sh
# The serving image's one environment: the router inside Triton, and what starts and probes Triton. Run from the root of
# the repository: install-serving.sh PYTHON FOLDER. Needs uv; writes nothing outside of FOLDER.
set -eu
uv venv --quiet --python "$1" "$2"
uv pip install --quiet --no-cache --python "$2/bin/python" --requirement requirements/serving-image.lock
# Packages bring files of newer Pythons (torch does), which do not compile; nobody imports them.
"$2/bin/python" -m compileall -q -j 0 "$2/lib" >/dev/null || true
