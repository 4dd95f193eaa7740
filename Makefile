# Every target installs what it needs, into .venv and .tools. Start with `make demo`, then `make test`.
.DEFAULT_GOAL := help
.PHONY: help demo site test test-unit check format protos reference sync rules scaling dashboards chart tiny tiny-smoke bench \
  chaos bridge-test fuzz ray-check k8s-check audit images kafka install tools clean observe-test upgrade-test image-test k8s-test
bin := .venv/bin
pytest := $(bin)/python -m pytest
# Compile libraries once, also where the image of a container says otherwise: see tests/conftest.py.
unexport PYTHONDONTWRITEBYTECODE
# How many processes run tests: the number of cores that the suite may use. One that is idle takes
# half of what another one still has to do, so that all end together.
jobs ?= 2
# The same for tests with real parts, which wait for these a third of their time.
waiting_jobs ?= $(shell expr $(jobs) + 1)
# Benchmarks whose names hold this word; all if empty.
only ?=
# The release that `make upgrade-test` runs beside this tree; the newest tag if empty.
from ?=
# How long `make chaos` disturbs, in seconds, and the seed of its schedule.
seconds ?= 600
seed ?= 1
# How often `make bridge-test` kills.
kills ?= 10
# Mutated inputs that `make fuzz` gives to each parser.
inputs ?= 20000

help: ## Show the targets.
	@grep -hE '^[a-z0-9-]+:.*##' Makefile | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

demo: install ## Run Arno on this machine and send it the example images; pictures and results.jsonl land in demo-out/.
	$(bin)/arno demo examples/images --out demo-out

test: install tools ## Run every test, with a real Kafka broker and redis-server.
	$(pytest) -n $(jobs) --dist worksteal tests/unit
	$(pytest) -n $(waiting_jobs) --dist worksteal tests/contract tests/integration tests/e2e tests/chaos

test-unit: install ## Run the unit tests alone (one to two minutes on two cores).
	$(pytest) -n $(jobs) --dist worksteal tests/unit

check: install tools ## Check format, lint, types, architecture, protos, manifests, rules and spelling.
	$(bin)/ruff format --check
	$(bin)/ruff check
	$(bin)/typos
	$(bin)/yamllint --strict deploy k8s docker-compose.yml examples
	$(bin)/hadolint deploy/docker/*.Dockerfile
	$(bin)/buf lint
	$(bin)/buf format --diff --exit-code
	$(bin)/python scripts/check_breaking.py
	$(bin)/python scripts/generate_protos.py --check
	$(bin)/python scripts/generate_sync.py --check
	$(bin)/python scripts/generate_reference.py --check
	$(bin)/python scripts/generate_rules.py --check
	$(bin)/python scripts/generate_scaling.py --check
	$(bin)/python scripts/generate_dashboards.py --check
	$(bin)/python scripts/generate_chart.py --check
	$(bin)/mypy
	$(bin)/lint-imports
	$(bin)/python scripts/check_sizes.py
	$(bin)/python scripts/measure_structure.py
	promtool check config --syntax-only deploy/prometheus/prometheus.yml
	promtool check rules deploy/prometheus/rules.yml
	promtool test rules deploy/prometheus/tests/*.yml
	$(bin)/python scripts/check_manifests.py
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet
	.tools/bin/check_compose docker-compose.yml
	.tools/bin/check_compose examples/streams/compose.yaml

site: install ## Build the site of docs/ into build/site.
	NO_MKDOCS_2_WARNING=1 $(bin)/mkdocs build --strict --quiet

format: install ## Format and fix what can be fixed by machine.
	$(bin)/ruff format
	$(bin)/ruff check --fix
	$(bin)/buf format -w

protos: install ## Generate the Python modules of protos/.
	$(bin)/python scripts/generate_protos.py

reference: install ## Write docs/reference/grpc.md and services/arno/web/comments.json from the comments of protos/.
	$(bin)/python scripts/generate_reference.py

sync: install ## Generate the blocking client from the asyncio client.
	$(bin)/python scripts/generate_sync.py

rules: install ## Generate Prometheus' rules and the PrometheusRule from deploy/prometheus/{alerts,objectives}.yml.
	$(bin)/python scripts/generate_rules.py

scaling: install ## Generate the components pace-* of k8s/ from deploy/scaling.yml.
	$(bin)/python scripts/generate_scaling.py

dashboards: install ## Generate Grafana's dashboards from deploy/grafana/panels.yml.
	$(bin)/python scripts/generate_dashboards.py

chart: install ## Generate the Helm chart deploy/helm/arno from the overlays of k8s/.
	$(bin)/python scripts/generate_chart.py

tiny: install ## Train arno-tiny again from nothing; goes on where a killed run stopped (over an hour: see models/arno_tiny/README.md).
	$(bin)/python -m models.arno_tiny train --folder .runs/tiny

tiny-smoke: install ## Train arno-tiny for 3 minutes: the loss falls, and transformers and Arno read the same from what comes out.
	$(bin)/python -m models.arno_tiny smoke

bench: install tools ## Measure Arno and its peers on this CPU, then write docs/benchmarks.md (half an hour, goes on where it was cut off; `only=tiny-mix` for one).
	$(bin)/uv pip install --quiet --python $(bin)/python --constraints constraints.txt --editable '.[bench]'
	$(bin)/python -m benchmarks suite cpu --only "$(only)"
	$(bin)/python -m benchmarks report

chaos: install tools ## Disturb every part under load for ten minutes (seconds=60 seed=7 for less), and judge the history.
	PYTHONPATH=tests $(bin)/python -m chaos --seconds $(seconds) --seed $(seed)

bridge-test: install tools ## Kill `arno ingest`, its broker, gateway and worker ten times under load (kills=20 for more), and judge the topics.
	PYTHONPATH=tests $(bin)/python -m chaos.bridge --kills $(kills) --out benchmarks/results/streams-kills.json

fuzz: install tools ## Give 20,000 mutated inputs to every parser and send as many mutated calls to a real gateway (seed=7 for others, inputs=100000 for more, only=keys for one).
	PYTHONPATH=tests $(bin)/python -m fuzz --seed $(seed) --inputs $(inputs) --only "$(only)"

observe-test: install tools ## Break real installations under a real Prometheus: exactly the right alerts fire; writes docs/alerts-observed.md (ten minutes; `only=poison` for one).
	PYTHONPATH=tests $(bin)/python -m observe $(if $(only),--only $(only)) --results benchmarks/results/alerts-observed.json --page docs/alerts-observed.md

upgrade-test: install tools ## Run the last release beside this tree on one bus and one store; writes docs/upgrades-tested.md (two minutes; from=COMMIT for another one).
	PYTHONPATH=tests $(bin)/python -m upgrade --page docs/upgrades-tested.md $(if $(from),--from $(from))

k8s-test: install tools ## Scale real workers by KEDA in a real control plane; writes docs/autoscaling-observed.md (eight minutes; builds all of it first: half an hour).
	scripts/kube_lab/install
	PYTHONPATH=tests:scripts $(bin)/python -m cluster --docs docs

image-test: install ## Build the images of gateway, web and ingest with buildah on a stand-in base and run them as a cluster would (needs root, buildah, podman, runc, debootstrap).
	scripts/image_lab

ray-check: install ## Install Ray, and check that `--engine ray` writes data sets byte for byte as one process does.
	$(bin)/uv pip install --quiet --python $(bin)/python --constraints constraints.txt --editable '.[ray]'
	$(pytest) -q tests/integration/data_engine/test_on_ray.py

k8s-check: install tools ## Check each component on each overlay, each pair of components, kube-score, that the chart equals the overlays, and what a real API server says where `scripts/kube_lab/install plane` has built one.
	scripts/install_test_tools kubernetes
	$(bin)/python scripts/check_manifests.py --all
	PYTHONPATH=tests:scripts $(bin)/python -m cluster.dry_run

audit: install ## List what ships in dist/sbom.cdx.json (CycloneDX) and its licences in dist/licences.md, and ask PyPI for known vulnerabilities in it; fails where it cannot ask.
	$(bin)/python scripts/audit.py

.PHONY: pins
pins: install ## Write the digest behind the tag of every foreign image in deploy/docker, docker-compose.yml and k8s (needs the registries).
	$(bin)/python scripts/pin_images.py

images: install ## Build all images of deploy/docker as arno/NAME:VERSION with docker or buildah (PREFIX, BUILDER), and write the bill of materials of each, dist/NAME.cdx.json.
	scripts/build_images

kafka: ## Run a Kafka broker of your own on 127.0.0.1:9092; `scripts/kafka/broker stop` ends it.
	scripts/kafka/install
	scripts/kafka/broker start

install:
	@scripts/install_python

tools: install
	@scripts/install_test_tools

clean: ## Remove what the targets made, but not .venv and .tools.
	rm -rf .arno demo-out .mypy_cache .ruff_cache .hypothesis .import_linter_cache build dist
