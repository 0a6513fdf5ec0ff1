# Headwater's platform: webserver, daemon, code server, runs, steps and training. Build from the repository's root:
#   docker build -f deploy/images/platform.Dockerfile --build-arg COMMIT="$(git rev-parse HEAD)" -t headwater-platform:0.1.0 .
# With --build-arg WITH=spark also what HEADWATER_DBT_OUTPUT=spark and HEADWATER_OFFLINE_STORE=spark need: Spark and Java.
# Holds: Python 3.11, the locked environment (torch with CUDA as PyPI has it), ml, serving, checks, assets, dbt_project, notebooks.
# Holds no data, no secret, no compiler, no test.
FROM python:3.11.14-slim-bookworm AS build
COPY --from=ghcr.io/astral-sh/uv:0.13.8 /uv /usr/local/bin/uv
WORKDIR /build
COPY requirements/platform-image.lock requirements/platform-image.lock
COPY requirements/spark.lock requirements/spark.lock
COPY deploy/images/install-platform.sh install-platform.sh
ARG WITH=""
RUN ./install-platform.sh /usr/local/bin/python /opt/venv "$WITH"

FROM python:3.11.14-slim-bookworm
ARG WITH=""
# Debian keeps only the newest Java 17, so no version of it can be pinned.
# hadolint ignore=DL3008
RUN if [ "$WITH" = spark ]; then apt-get update && apt-get install -y --no-install-recommends openjdk-17-jre-headless && rm -rf /var/lib/apt/lists/*; fi
RUN groupadd --gid 10001 headwater && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /tmp headwater
COPY --from=build /opt/venv /opt/venv
WORKDIR /app
COPY ml ml
COPY serving serving
COPY checks checks
COPY assets assets
COPY dbt_project dbt_project
COPY notebooks notebooks
COPY dagster.yaml dagster.yaml
COPY requirements/platform.lock requirements/platform.lock
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 DO_NOT_TRACK=true GX_ANALYTICS_ENABLED=false \
    HEADWATER_HOME=/var/lib/headwater HOME=/tmp
ARG COMMIT=unknown
RUN echo "$COMMIT" > COMMIT && python -m compileall -q -j 0 /app
USER 10001:10001
CMD ["dagster", "api", "grpc", "-m", "assets.definitions", "-h", "0.0.0.0", "-p", "4000"]
