# make demo        installs into .venv and trains on real handwritten digits for a minute
# make test        installs into .venv and runs the tests
# make test-fast   the tests that take seconds, in two minutes
# make test-tensorflow   tests watch on Keras models with TensorFlow, in .venv-tensorflow
# make test-trackers     reads back what TensorBoard, W&B, trackio and MLflow really wrote, in .venv-trackers
# make lessons     runs all lessons in full as notebooks, in .venv-lessons; about three minutes each
# make fuzz        2,400 odd inputs: a table of tracebacks, hangs, memory, wrong exit codes and answers
# make kills       200 kills (KILLS=20: fewer), each followed by the same command; half an hour
# make check       lint, types and tests
# make docs        builds the documentation site into build/site, and checks it
# make wheel       builds the wheel into dist/
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
CASES  ?= 2400
KILLS  ?= 200
SEED   ?= 0
PIP     = $(BIN)/python -m pip --disable-pip-version-check
INSTALLING = Installing Ganvas into $(VENV): minutes in silence; PyTorch takes about 200 MB if built for CPUs, gigabytes with CUDA.

# Modules are compiled at their first import, and kept: nothing is compiled in advance, nor anew in every process.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo test test-fast test-tensorflow test-trackers lessons fuzz kills lint types check docs wheel bench clean

demo: $(VENV)/installed
	$(BIN)/ganvas train

test: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder

test-fast: $(VENV)/installed-dev
	$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder -m "not slow and not exhaustive"

test-tensorflow: .venv-tensorflow/installed
	KERAS_BACKEND=tensorflow TF_CPP_MIN_LOG_LEVEL=3 .venv-tensorflow/bin/python -m pytest -W ignore \
		-o 'python_functions=case_*' tests/test_watch_keras.py

.venv-tensorflow/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-tensorflow
	.venv-tensorflow/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt \
		--editable . pytest keras 'tensorflow-cpu==2.21.*'
	touch $@

test-trackers: .venv-trackers/installed
	.venv-trackers/bin/python -m pytest -W ignore tests/test_trackers_written.py

# trackio needs Pillow < 13 and MLflow pyarrow < 26: of constraints.txt only PyTorch and NumPy hold here
.venv-trackers/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-trackers
	grep -E '^(torch|numpy)==' constraints.txt > .venv-trackers/constraints.txt
	printf '%s\n' 'pillow<13' 'pyarrow<26' 'tensorboard==2.21.*' 'wandb==0.31.*' 'trackio==0.43.*' 'mlflow==3.17.*' \
		>> .venv-trackers/constraints.txt
	.venv-trackers/bin/python -m pip --disable-pip-version-check install --quiet --no-compile \
		--constraint .venv-trackers/constraints.txt --editable '.[tensorboard,wandb,trackio,mlflow]' pytest
	touch $@

lessons: .venv-lessons/installed
	mkdir -p build/lessons/en build/lessons/fr
	for file in lessons/??/*.py; do \
		.venv-lessons/bin/jupytext --quiet --to ipynb --output build/$${file%.py}.ipynb $$file || exit 1; done
	cd build/lessons && ../../.venv-lessons/bin/python -m pytest -q -c /dev/null --rootdir . --nbmake --nbmake-timeout=1200 --durations=0 --overwrite

.venv-lessons/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-lessons
	.venv-lessons/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --constraint constraints.txt \
		--editable '.[export]' pytest jupytext nbmake ipykernel keras
	touch $@

fuzz: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz/fuzz.py --cases $(CASES) --seed $(SEED)
	$(BIN)/python -m pytest -n auto --dist loadfile -m exhaustive --timeout 3600

kills: $(VENV)/installed-dev
	$(BIN)/python tests/fuzz/kills.py --kills $(KILLS) --seed $(SEED)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

check: lint types test

docs: $(VENV)/installed-dev .venv-docs/installed
	$(BIN)/python tools/make_site.py
	.venv-docs/bin/zensical build --clean --strict --config-file build/zensical.toml
	.venv-docs/bin/python tools/site_math.py build/site
	$(BIN)/python tools/check_site.py build/site

.venv-docs/installed: docs/requirements.txt
	$(PYTHON) -m venv .venv-docs
	.venv-docs/bin/python -m pip --disable-pip-version-check install --quiet --no-compile --no-deps --requirement docs/requirements.txt
	touch $@

wheel: $(VENV)/installed-dev
	$(PIP) wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

bench: $(VENV)/installed-dev
	$(BIN)/python benchmarks/throughput.py
	$(BIN)/python benchmarks/digits.py

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Ganvas needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "$(INSTALLING)"
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable .
	touch $@

$(VENV)/installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "$(INSTALLING)"
	$(PIP) install --quiet --no-compile --constraint constraints.txt --editable '.[dev]'
	touch $(VENV)/installed $@

clean:
	rm -rf $(VENV) dist
