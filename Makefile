# make quickstart   install, then train and evaluate a small detector: three minutes on a CPU;
#                   TASK=segmentation: a small segmentor
# make test         install what is missing, then lint, types and tests, but for the slowest
# make test-all     the slowest as well
# make test-cluster several hosts, which are network namespaces, and Slurm on them: as root, with
#                   iproute2, and slurm-wlm and munge of Debian; what is missing is said and skipped
# make gpu-report   measure the GPU of this machine, docs/howto/gpu_report.md; LIMIT=15: within 15 minutes
#
# make docs         build the pages of docs/ into site/, index.html first; a broken link or anchor ends it
#
# PYTHON=python3.12 picks the interpreter of .venv. TORCH_INDEX=https://download.pytorch.org/whl/cpu
# takes torch without CUDA, a tenth of the download. JOBS=8 tests in so many processes.
# STACK=openmmlab takes upstream's last releases instead of the maintained forks, in .venv-openmmlab.

PYTHON ?= python3
TASK ?= detection
JOBS ?= 2
STACK ?= onedl
ifeq ($(STACK),onedl)
VENV := .venv
CONSTRAINTS := constraints.txt
NEWEST := 13
# trackers needs NumPy 2.
TRACK := ,track
else ifeq ($(STACK),openmmlab)
VENV := .venv-openmmlab
CONSTRAINTS := constraints-openmmlab.txt
# Upstream needs NumPy 1, which has no wheel for Python 3.13.
NEWEST := 12
else
$(error STACK is onedl or openmmlab, not $(STACK))
endif
BIN := $(VENV)/bin
INDEX := $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX))

.PHONY: install quickstart test test-all test-cluster gpu-report docs lint types clean

install: $(VENV)/installed

$(VENV)/installed: setup.py $(CONSTRAINTS)
	@$(PYTHON) -c "import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, $(NEWEST)))" || { \
	  echo "error: $(PYTHON) is not Python 3.10 to 3.$(NEWEST), which STACK=$(STACK) needs;" \
	  "name one: make PYTHON=python3.12 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet $(INDEX) -c $(CONSTRAINTS) torch torchvision
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[$(STACK)]'
	@# mmcv asks for opencv-python, which needs a desktop's libGL; servers and containers have none.
	$(BIN)/python -m pip install --quiet --force-reinstall --no-deps -c $(CONSTRAINTS) \
	  opencv-python-headless
	@touch $@

$(VENV)/installed-tests: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[$(STACK),export,ncnn,mnn,pack,visualize,video$(TRACK),tiff,serve,notebook,test]'
	@touch $@

quickstart: $(VENV)/installed
	$(BIN)/python tools/quickstart.py --task $(TASK)

# Files are spread over the processes; each process computes with one thread.
PYTEST = OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) --dist loadfile

test: lint types
	$(PYTEST) -m 'not slow and not cluster'

test-all: lint types
	$(PYTEST) -m 'not cluster'

test-cluster: $(VENV)/installed-tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -m cluster tests/cluster

gpu-report: $(VENV)/installed-tests
	$(BIN)/python tools/gpu_report.py --out work_dirs/gpu $(if $(LIMIT),--limit $(LIMIT))

$(VENV)/installed-docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet -c $(CONSTRAINTS) -e '.[$(STACK),docs]'
	@touch $@

# Its makers announce a successor on every build.
docs: $(VENV)/installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet --site-dir site
	@echo site/index.html

lint: $(VENV)/installed-tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/installed-tests
	$(BIN)/mypy

clean:
	rm -rf .venv .venv-openmmlab build *.egg-info .pytest_cache .mypy_cache .ruff_cache
