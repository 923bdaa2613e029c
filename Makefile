# make demo    set up and run campaigns/digits.yaml
# make test    set up and run the tests
# make chaos   run campaigns while 50 workers, machines and drivers are killed (10 minutes)
# make full    run the tests with all the injections that they compare (minutes more)
# make mutation  break bits, sites, faults and engine in one place at a time; tests must fail (hours)
# make lint    set up and check style, types and the layering of imports
# make docs    set up and build the documentation as a site, build/site/index.html
# make reference  write the pages of docs/reference and docs/campaign.schema.json anew
# make images  take the pictures of docs/images anew (needs Chromium)
# make plotly  fetch the cut-down plotly.js of the plotly that is installed (needs npm)
# make bench   set up and print the benchmark tables

PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin
STAMP := .venv/.installed

.PHONY: demo test full chaos mutation lint format docs reference images plotly bench install clean

demo: $(STAMP)
	$(BIN)/injecttf2 run campaigns/digits.yaml

test: $(STAMP)
	$(BIN)/python -m pytest

full: $(STAMP)
	$(BIN)/python -m pytest --full

KILLS ?= 50
CHAOS_SEED ?= 1

chaos: $(STAMP)
	$(BIN)/python -m pytest -n0 -s tests/orchestrator/test_chaos.py --kills $(KILLS) --chaos-seed $(CHAOS_SEED)

mutation: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check 'cosmic-ray>=8.4'
	rm -rf build/mutation && git clone --quiet . build/mutation  # the files are changed in place
	cd build/mutation && . ../../$(BIN)/activate && export PYTHONPATH=$$PWD && \
	cosmic-ray init tests/mutation.toml session.sqlite && \
	cr-filter-operators session.sqlite tests/mutation.toml && \
	cosmic-ray exec tests/mutation.toml session.sqlite; \
	cr-report --surviving-only --show-diff session.sqlite

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(STAMP)
	$(BIN)/python docs/build_site.py

reference: $(STAMP)
	$(BIN)/python docs/reference.py

images: $(STAMP)
	$(BIN)/python docs/images.py

BUNDLE := plotly.js-cartesian-dist-min
TEMPLATES := results/report/templates

plotly: $(STAMP)
	mkdir -p build && cd build && \
	version=$$(../$(BIN)/python -c "from plotly.offline import get_plotlyjs_version as v; print(v())") && \
	npm pack --silent $(BUNDLE)@$$version && \
	tar -xzOf $(BUNDLE)-$$version.tgz package/plotly-cartesian.min.js > ../$(TEMPLATES)/plotly-cartesian.min.js && \
	tar -xzOf $(BUNDLE)-$$version.tgz package/LICENSE > ../$(TEMPLATES)/plotly-cartesian.LICENSE

bench: $(STAMP)
	GLIBC_TUNABLES=glibc.malloc.hugetlb=1 $(BIN)/python -m benchmarks  # as Ray workers have it

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,docs]'
	touch $@

clean:
	rm -rf .venv build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
