#!/bin/sh
# The platform image's environment, the same lock as `make setup` installs, without what only tests need. Run from the root
# of the repository: install-platform.sh PYTHON FOLDER [spark]. Needs uv; writes nothing outside of FOLDER.
set -eu
uv venv --quiet --python "$1" "$2"
uv pip install --quiet --no-cache --python "$2/bin/python" --requirement requirements/platform-image.lock
if [ "${3:-}" = spark ]; then uv pip install --quiet --no-cache --python "$2/bin/python" --requirement requirements/spark.lock; fi
# Packages bring files of newer Pythons (torch does), which do not compile; nobody imports them.
"$2/bin/python" -m compileall -q -j 0 "$2/lib" >/dev/null || true
