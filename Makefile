# Each of `make demo` and `make test` needs only Python 3.11 or newer, make and git: it makes its own .venv.
# Stamp files remember what is installed, so that a second call goes straight to work.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
TYPING := build/typing/retrograd
WHEEL := build/wheel

.PHONY: demo test test-gpu bench bench-gpu gpu venv lint types unit wheel clean
.NOTPARALLEL:

demo: $(VENV)/.examples
	$(BIN)/python examples/demo.py

test: lint types unit wheel

# Beside the peers, which are large; ROWS="gemm sum" chooses rows, and ROWS=--list names them.
bench: $(VENV)/.peers
	$(BIN)/python benchmarks/run.py $(ROWS)

# On an NVIDIA GPU, beside the same peers.
bench-gpu: $(VENV)/.peers $(VENV)/.gpu
	$(BIN)/python benchmarks/gpu.py $(ROWS)

# On an NVIDIA GPU, in a few minutes: the functions' bounds and the kernels of tests/test_gpu.py, and our own figures.
gpu: $(VENV)/.gpu
	$(BIN)/python -m pytest -m gpu tests/test_gpu.py -k "not sanitizer"
	$(BIN)/python benchmarks/gpu.py --alone $(ROWS)

venv: $(VENV)/.made

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# The rooms linked together as they are installed; made anew each time, so that no link outlives its file.
types: $(VENV)/.dev
	rm -rf $(TYPING)
	mkdir -p $(TYPING)
	ln -s "$(CURDIR)"/retrograd/* "$(CURDIR)"/compiler "$(CURDIR)"/runtime $(TYPING)/
	$(BIN)/mypy

unit: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

# On an NVIDIA GPU; where there is none, each test says what is missing.
test-gpu: $(VENV)/.gpu
	$(BIN)/python -m pytest -m gpu

# The wheel is built from the source distribution, and tried away from the source tree.
wheel: $(VENV)/.dev
	rm -rf $(WHEEL)
	$(BIN)/python -m build --quiet --outdir $(WHEEL) .
	$(PYTHON) -m venv $(WHEEL)/venv
	$(WHEEL)/venv/bin/python -m pip --disable-pip-version-check install --quiet $(WHEEL)/*.whl
	cd $(WHEEL) && venv/bin/python -I -W error "$(CURDIR)"/tests/installed.py

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name .git -prune -o -name __pycache__ -prune -exec rm -rf {} +

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	|| { echo "Retrograd needs Python 3.11 or newer; name one, as in: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	touch $@

$(VENV)/.examples: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[examples]'
	touch $@

$(VENV)/.peers: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[peers]'
	touch $@

$(VENV)/.dev: $(VENV)/.made pyproject.toml
	$(PIP) --editable '.[dev]'
	touch $@

$(VENV)/.gpu: $(VENV)/.dev
	$(PIP) --editable '.[cuda]'
	touch $@
