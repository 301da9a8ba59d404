# make call        a phone call with no server and no keys
# make serve       the control plane on port 8000, with a client key of its own at first
# make test        types, import rules and tests (15 minutes at most)
# make acceptance  what runs in real time: scenarios, faults, load (45 minutes at most)

PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3,$(shell command -v $(name) 2>/dev/null)))
RUN = .venv/bin/python
# Tests of processes mostly wait for them: three at a time, each file in one (tests/conftest.py).
SPREAD = -n 3 --dist loadgroup --no-loadscope-reorder
INSTALLED = .venv/.installed

.PHONY: call serve test acceptance lint lock clean

call: $(INSTALLED)
	$(RUN) agent.py call $(ARGS)

serve: $(INSTALLED)
	$(RUN) -m ops serve --first-key $(ARGS)

test: $(INSTALLED) lint
	$(RUN) tests/system_tools.py
	$(RUN) -m coverage erase
	$(RUN) -m pytest $(SPREAD) tests/integration tests/unit --cov --cov-report= --cov-fail-under=0
	$(RUN) -m coverage report

acceptance: $(INSTALLED)
	$(RUN) tests/system_tools.py
	$(RUN) -m pytest tests/acceptance

lint: $(INSTALLED)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy
	.venv/bin/lint-imports --no-cache

# Exact versions with hashes, for all supported versions of Python. Needs uv.
lock:
	uv pip compile -q --universal -p 3.11 --generate-hashes --no-annotate --no-header pyproject.toml -o requirements.lock
	uv pip compile -q --universal -p 3.11 --generate-hashes --no-annotate --no-header --extra offline --extra dev pyproject.toml -o requirements-dev.lock

$(INSTALLED): requirements-dev.lock pyproject.toml
	@echo "Setting up .venv with $(PYTHON): one to two minutes, once"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 to 3.13 is needed; this is " + sys.version.split()[0]) if not (3, 11) <= sys.version_info[:2] <= (3, 13) else None'
	@$(PYTHON) -m venv .venv
	@echo "Installing the packages of requirements-dev.lock, each checked against its hash"
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(RUN) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

clean:
	rm -rf .venv build *.egg-info .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache
