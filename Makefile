# make setup | demo | demo-trainers | check | test | test-all | test-long | test-wheels | test-pythons | test-trainers | docs | docs-wheel | docs-check | mutants | fuzz | bench | manifests | gpu-kit | release-check
# Everything happens in .venv, and tests of trainers in .venv-trainers; setup does nothing when nothing changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

LIBRARIES := torch monai kornia smp toolbelt pml timm piq
PLUGINS := plugins/lossreg-segmentation plugins/lossreg-sam $(LIBRARIES:%=plugins/lossreg-%)
THIRD_PARTY := examples/third_party
EDITORS := lossreg segmentation sam edge-losses  # the providers in the examples' schema
OURS := . $(PLUGINS) $(THIRD_PARTY)
PEERS := monai kornia kornia_rs torchvision timm segmentation_models_pytorch pytorch_metric_learning \
	pytorch-toolbelt opencv-python-headless piq
PACKAGES := lossreg lossreg_segmentation lossreg_sam $(LIBRARIES:%=lossreg_%)
PROJECT_FILES := $(OURS:=/pyproject.toml)

# The environment of tests/trainers: the trainers, and the packages of ours that their tests use.
TRAINERS := .venv-trainers
TRAINED := . plugins/lossreg-segmentation plugins/lossreg-sam plugins/lossreg-torch

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
TRAINERS_PIP := $(TRAINERS)/bin/python -m pip --disable-pip-version-check install --quiet \
	--constraint constraints.txt --constraint tests/trainers/constraints.txt
# Two workers of one thread each: torch would start two threads in both.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: setup trainers demo demo-trainers test test-all test-long test-wheels test-pythons test-trainers docs docs-wheel docs-check check bench gpu-kit manifests build release-check mutants fuzz clean

setup: $(STAMP)

$(STAMP): constraints.txt Makefile $(PROJECT_FILES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11) and 'lossreg needs Python 3.11 or newer')"
	# Our packages, editable, by the build backend of this environment; then their dependencies.
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --no-deps $(OURS:%=--editable %)
	$(PIP) "lossreg[dev]" $(notdir $(PLUGINS))
	# Peers that tests compare with and providers describe; their own dependencies are not needed.
	$(PIP) --no-deps $(PEERS)
	@touch $@

demo: setup
	$(BIN)/python examples/train.py

# The demo's U-Net trained by three trainers from one YAML file. The wheel of torchvision lacks operators on CPUs.
demo-trainers: trainers
	PYTHONPATH=tests/trainers $(TRAINERS)/bin/python -c "import data, runpy; data.define_torchvision_operators(); \
		runpy.run_path('examples/trainers/compare.py', run_name='__main__')"

# The tests of computed values: minutes, without processes, compilers and clusters.
test: setup
	$(PYTEST) -m "not tools" $(ARGS)

# All tests.
test-all: setup
	$(PYTEST) $(ARGS)

# All tests, with longer searches, and with the kernels that Numba compiles wherever a test does not choose: for a release.
test-long: setup
	LOSSREG_SEARCH=long $(PYTEST) $(ARGS)

# The built wheels in an empty environment, as a user installs them.
test-wheels: build
	$(BIN)/python tests/wheels.py dist

# The tests that need no torch, on every supported Python of this machine, each in its own environment.
test-pythons:
	$(PYTHON) tests/pythons.py $(PYTHONS)

trainers: $(TRAINERS)/.setup-done

$(TRAINERS)/.setup-done: constraints.txt $(wildcard tests/trainers/*.txt) Makefile $(TRAINED:=/pyproject.toml)
	@test -x $(TRAINERS)/bin/python || $(PYTHON) -m venv $(TRAINERS)
	$(TRAINERS_PIP) hatchling editables
	$(TRAINERS_PIP) --no-build-isolation --no-deps $(TRAINED:%=--editable %)
	$(TRAINERS_PIP) --requirement tests/trainers/requirements.txt
	# SAM 2 is built from source: without its kernel for CUDA.
	SAM2_BUILD_CUDA=0 $(TRAINERS_PIP) --no-build-isolation --no-deps --requirement tests/trainers/alone.txt
	@touch $@

# lossreg inside the trainers that it works with: real trainings of seconds, in processes of their own where ranks matter.
test-trainers: trainers
	OMP_NUM_THREADS=1 $(TRAINERS)/bin/python -m pytest -n 2 --dist worksteal tests/trainers $(ARGS)

# The site, in docs/_build/html; warnings are errors. Nothing is requested from the network.
docs: setup
	$(BIN)/python -m docs.check --only build

# The site as a package, for `lossreg docs` without a network.
docs-wheel: docs
	$(BIN)/python -m build --no-isolation --wheel --outdir dist docs

# The site and all its checks: links, every block with exactly the packages that its page names, every page in a browser.
docs-check: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m docs.check $(ARGS)

# Mutation tests: the tests must notice deliberate mistakes. Writes the table of docs/testing.md.
mutants: setup
	$(BIN)/python tests/mutants.py --table docs/testing.md

# Searches for inputs that lossreg does not expect, guided by coverage where atheris has a wheel. MINUTES for each target.
MINUTES ?= 2
fuzz: setup
	-$(PIP) --only-binary :all: atheris
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz --minutes $(MINUTES) $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python plugins/manifests.py check $(PACKAGES)

# BENCH="--quick" takes few rounds, BENCH="--before FOLDER" times an earlier version, too: docs/benchmarks/README.md.
BENCH ?=
bench: setup
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/losses.py $(BENCH)
	$(BIN)/python benchmarks/losses.py --catalogue $(BENCH)
	$(BIN)/python benchmarks/sizes.py $(filter --quick,$(BENCH))

gpu-kit: setup
	$(BIN)/python benchmarks/gpu/gather.py

manifests: setup
	$(BIN)/python plugins/manifests.py build $(PACKAGES)
	$(BIN)/python docs/catalogue.py
	$(BIN)/python docs/families.py
	$(BIN)/lossreg schema --at training.loss $(EDITORS:%=--provider %) > examples/configs/lossreg.schema.json

build: setup
	rm -rf dist
	for project in $(OURS); do $(BIN)/python -m build --no-isolation --outdir dist $$project || exit 1; done

release-check: setup
	$(BIN)/python -m release.check $(ARGS)

clean:
	rm -rf $(VENV) $(TRAINERS) dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
