# `make help` says what there is. VENV, PYTHON and TORCH_SPEC are explained in
# .ci/setup_env.sh.
VENV ?= .venv
export VENV
BIN = $(VENV)/bin

CLASSIC_VENV ?= .venv-classic

# Processes that run tests, each with one thread; `auto`: as many as there are cores
TEST_WORKERS ?= auto
TEST = OMP_NUM_THREADS=1 "$(BIN)/python" -m pytest -n $(TEST_WORKERS) --dist loadfile \
	--no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help env ops quickstart test test-fast test-classic check format wheel docs clean

help: ## this list
	@sed -n 's/^\([a-z-]*\): .*## \(.*\)/make \1\t\2/p' Makefile | expand -t 18

env: ## the environment .venv with the tested packages
	@bash .ci/setup_env.sh base

ops: ## the same with the compiled ops of mmcv (MaskFormer needs them)
	@bash .ci/setup_env.sh ops

quickstart: env ## what `start` does, on a small generated data set
	@"$(BIN)/mim" run mmsemiseg quickstart

test: ## set up what the tests need, check the style, run all tests
	@bash .ci/setup_env.sh tests
	@$(MAKE) --no-print-directory check
	@$(TEST)

test-fast: ## the tests without runs, tools and packages, in the environment there is
	@$(TEST) -m 'not slow'

test-classic: ## every method and the tests with the original OpenMMLab packages
	@VENV="$(CLASSIC_VENV)" bash .ci/test_classic.sh

check: ## style: ruff's rules and format
	@"$(BIN)/ruff" check .
	@"$(BIN)/ruff" format --check .

format: ## let ruff repair what it can
	@"$(BIN)/ruff" check --fix .
	@"$(BIN)/ruff" format .

wheel: ## build the wheel into dist/
	@"$(BIN)/python" -m pip wheel -q --no-deps --no-build-isolation -w dist .

docs: ## the documentation as a site, docs/_build/html/index.html
	@bash .ci/setup_env.sh docs
	@"$(BIN)/python" -m sphinx -q -W --keep-going -c docs -d docs/_build/doctrees \
	    . docs/_build/html

clean: ## remove caches and build output; environment, data and runs stay
	@rm -rf build dist docs/_build docs/api .pytest_cache .ruff_cache *.egg-info
	@find mmsemiseg tools tests configs -name __pycache__ -type d -prune \
	    -exec rm -rf {} + 2>/dev/null || true
