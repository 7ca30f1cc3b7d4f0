# make setup | demo | test | check | bench | manifests
# Everything happens in .venv; setup does nothing when nothing changed.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.setup-done

LIBRARIES := torch monai kornia smp toolbelt pml timm piq
PLUGINS := plugins/lossreg-segmentation plugins/lossreg-sam $(LIBRARIES:%=plugins/lossreg-%)
THIRD_PARTY := examples/third_party
EDITORS := lossreg segmentation sam edge-losses  # whose losses the examples' schema has
OURS := . $(PLUGINS) $(THIRD_PARTY)
PACKAGES := lossreg lossreg_segmentation lossreg_sam $(LIBRARIES:%=lossreg_%)
PROJECT_FILES := $(OURS:=/pyproject.toml)

PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt
# Two workers of one thread each: torch would start two threads in both.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

.PHONY: setup demo test check bench manifests build clean

setup: $(STAMP)

$(STAMP): constraints.txt Makefile $(PROJECT_FILES)
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c "import sys; sys.exit(sys.version_info < (3, 11) and 'lossreg needs Python 3.11 or newer')"
	# Ours, editable, by the build backend of this environment; then what they need, each built as its authors say.
	$(PIP) hatchling editables
	$(PIP) --no-build-isolation --no-deps $(OURS:%=--editable %)
	$(PIP) "lossreg[dev]" $(notdir $(PLUGINS))
	# Peers that tests compare with and providers describe; what else they depend on is not needed.
	$(PIP) --no-deps monai kornia kornia_rs torchvision timm segmentation_models_pytorch pytorch_metric_learning \
		pytorch-toolbelt opencv-python-headless piq
	@touch $@

demo: setup
	$(BIN)/python examples/train.py

test: setup
	$(PYTEST) $(ARGS)

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_architecture.py
	$(BIN)/python plugins/manifests.py check $(PACKAGES)

bench: setup
	$(BIN)/python benchmarks/startup.py
	$(BIN)/python benchmarks/losses.py
	$(BIN)/python benchmarks/losses.py --catalogue

manifests: setup
	$(BIN)/python plugins/manifests.py build $(PACKAGES)
	$(BIN)/python docs/catalogue.py
	$(BIN)/python docs/families.py
	$(BIN)/lossreg schema --at training.loss $(EDITORS:%=--provider %) > examples/configs/lossreg.schema.json

build: setup
	rm -rf dist
	for project in $(OURS); do $(BIN)/python -m build --no-isolation --outdir dist $$project || exit 1; done

clean:
	rm -rf $(VENV) dist runs .mypy_cache .ruff_cache .pytest_cache .hypothesis
