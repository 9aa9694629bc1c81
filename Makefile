# make demo: install, train on the built-in phrasebook, evaluate, translate. make test: everything that must hold.
# make faults: puts faults into the code, one at a time, and says which the tests let pass (WORDS="outputs tree" chooses some).
# make bounds: the tests with the lowest versions that pyproject.toml allows, and with the newest there are.
PYTHON ?= python3
PYTHON_LOWEST ?= $(PYTHON)
PYTHON_NEWEST ?= $(PYTHON)
VENV ?= .venv
BIN := $(VENV)/bin
RUNS := runs/demo

.PHONY: demo test lint faults bounds bounds-lowest bounds-newest install install-dev clean

demo: install
	$(BIN)/seqgen train experiment=demo runtime.runs_folder=$(RUNS)
	@run=$$(ls -td $(RUNS)/*-*/ | head -n 1); run=$${run%/}; \
	echo; $(BIN)/seqgen eval --ckpt "$$run" && \
	echo && echo "Five sentences that it never saw:" && \
	$(BIN)/seqgen translate --ckpt "$$run" --input recipes/demo/unseen.ja --output "$$run/unseen.en" && \
	paste -d '\n' recipes/demo/unseen.ja "$$run/unseen.en" | awk 'NR % 2 {print "  " $$0; next} {print "    -> " $$0}' && \
	echo && echo "The run:      $$run" && echo "Its plots:    $$run/plots" && echo "Its samples:  $$run/samples"

test: install-dev lint
	$(BIN)/python -m pytest -n 2 --dist worksteal

lint: install-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

faults: install-dev
	$(BIN)/python -m tests.inject $(WORDS)

bounds: bounds-lowest bounds-newest

bounds-lowest: PYTHON := $(PYTHON_LOWEST)
bounds-newest: PYTHON := $(PYTHON_NEWEST)
bounds-lowest: RESOLUTION := lowest-direct
bounds-newest: RESOLUTION := highest
bounds-lowest bounds-newest: bounds-%:
	$(PYTHON) -m venv --clear $(VENV)-$*
	$(VENV)-$*/bin/pip install --quiet uv
	$(VENV)-$*/bin/uv pip install --python $(VENV)-$*/bin/python --resolution $(RESOLUTION) -e ".[dev]"
	$(VENV)-$*/bin/python -m pytest -n 2 --dist worksteal

install: $(VENV)/installed
install-dev: $(VENV)/installed-dev

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -c constraints.txt -e ".[dev]"
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-newest build dist *.egg-info
