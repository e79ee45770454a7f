# Two commands on a machine that has only Python: `make run` and `make test`.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

OUT ?= runs/gpu

.PHONY: run test gpu install check clean

run: install
	$(BIN)/gp run

test: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2

# On a machine with a GPU, with the Python that has torch and triton, such as PYTHON=python3: first correct, then timed, in eight minutes.
gpu:
	$(PYTHON) -c "import bench.gpu.command, pytest, hypothesis"
	mkdir -p $(OUT)
	-timeout -k 5 135 $(PYTHON) -m pytest tests/gpu --gpu-seconds 110 --tb=short --junitxml=$(OUT)/tests.xml >$(OUT)/tests.log 2>&1
	tail -n 40 $(OUT)/tests.log
	timeout -k 5 345 $(PYTHON) -m bench.gpu --minutes 5.5 --out $(OUT)

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

clean:
	rm -rf $(VENV)
