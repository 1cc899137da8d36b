# Needs Python 3.11 or newer with pip and venv, nothing else. Every target sets up .venv by itself, once.
#   make demo    watch a generated video with the bundled model; writes demo/seen/index.html
#   make demo-ask  a question about a generated film of ten minutes, answered by looking; writes demo/asked/index.html
#   make test    all tests             make check   format, lint, types, layers
#   make wheel   build the wheel, install it into an empty environment, and watch a generated video with it
#   make test-oldest  all tests with the oldest transformers that is supported (an environment of its own)
#   make test-lmms-eval  the plug-in for lmms-eval, with lmms-eval installed (an environment of its own)
#   make test-ray  the pipeline on a local Ray cluster of two nodes, one of which is killed (needs the extra ray)
#   make results score the bundled models on held-out clips and write the tables of docs/results.md (three to seven minutes)
#   make bench   measure the engine on this machine; writes docs/results/engine.json (some minutes)
#   make mini    train the bundled models (two cores: one hour to two) and put them into the package
#   make mini-retrieval  train the bundled model that looks into long films (two cores: half an hour)
#   make mini-hour  the same method with fewer steps (two slow cores: less than an hour); leaves a model in runs/hour/mini
# On Linux the plain torch wheel brings CUDA with it (some GB). Without a GPU, take the small one:
#   make demo TORCH_INDEX=https://download.pytorch.org/whl/cpu

PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
INSTALLED := .venv/.installed
TORCH := $(shell grep '^torch==' constraints.txt)
# Of the modules that pip installs, most are never imported; Python compiles the others when they first are.
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: demo demo-ask test test-oldest test-lmms-eval test-ray check wheel bench mini mini-retrieval mini-hour results install clean
.DEFAULT_GOAL := demo

install: $(INSTALLED)

# torch goes in first and alone: once it is there, nothing that follows looks for another build of it.
$(INSTALLED): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing into .venv (once; a minute or two)"
	$(PIP) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP) -c constraints.txt -e '.[dev]'
	touch $@

# Of three clips the last, since the model is right about all of it; docs/results.md says how often it is not.
demo: $(INSTALLED)
	rm -rf demo/shapes
	$(BIN)/oncue world make demo/shapes --world shapes --split test --count 3
	$(BIN)/oncue watch "$$(ls demo/shapes/videos/*.mp4 | tail -n 1)" --gold demo/shapes/annotations.json --out demo/seen

# The question is that of the film, in its rows.jsonl. The model knows films of this world alone, in pools of 96 frames.
demo-ask: $(INSTALLED)
	rm -rf demo/films
	$(BIN)/oncue world make demo/films --world long --split test --count 1
	$(BIN)/oncue ask demo/films/videos/long-test-0-000000.mp4 "Which colour flashes while the cross is shown?" \
	  --options yellow red blue green --model mini-retrieval --frames 96 --max-turns 2 --thinking off --out demo/asked

# A process per core, up to four of them: most tests are small, and many wait for something. Each has one thread of torch:
# threads of several processes that wait for each other on the same cores are far slower.
SIDE_BY_SIDE := -n auto --maxprocesses 4 --dist loadfile
test: $(INSTALLED)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(SIDE_BY_SIDE)

# The oldest transformers that pyproject.toml admits (the newest it admits is the one in constraints.txt).
OLDEST := $(shell sed -n 's/.*"transformers>=\([0-9.]*\),.*/\1/p' pyproject.toml)
test-oldest:
	test -x .venv-oldest/bin/python || $(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	grep -vE '^(transformers|huggingface-hub|tokenizers)==' constraints.txt > .venv-oldest/constraints.txt
	.venv-oldest/bin/pip install --quiet -c .venv-oldest/constraints.txt transformers==$(OLDEST) -e '.[dev]'
	OMP_NUM_THREADS=1 .venv-oldest/bin/python -m pytest $(SIDE_BY_SIDE)

# The plug-in for lmms-eval, asked by lmms-eval itself, which has an environment of its own: it needs av < 16. What PyPI has of
# torchvision is made for CUDA, and does not import beside a torch without; nothing here needs it.
LMMS := integrations/lmms-eval
test-lmms-eval: $(INSTALLED)
	test -x .venv-lmms/bin/python || $(PYTHON) -m venv .venv-lmms
	.venv-lmms/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	.venv-lmms/bin/pip install --quiet -c $(LMMS)/constraints.txt -e $(LMMS)
	.venv-lmms/bin/pip uninstall --quiet --yes torchvision
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest $(LMMS)/tests

test-ray: $(INSTALLED)
	$(PIP) -c constraints.txt -e '.[dev,ray]'
	ONCUE_TEST_RAY=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/data/test_ray_runner.py -m ray

check: $(INSTALLED)
	$(BIN)/ruff format --check src tests docs integrations
	$(BIN)/ruff check src tests docs integrations
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/laws/test_layers.py

# The package as users get it, tried from a folder that has no source tree. What an earlier build left in build/ would be in it, too.
# The environment is empty: pip is that of .venv. It has torch in its cache after `make install`.
PIP_INTO_WHEEL := $(subst -m pip,-m pip --python .venv-wheel/bin/python,$(PIP))
wheel: $(INSTALLED)
	rm -rf build dist .venv-wheel
	$(PYTHON) -m venv --without-pip .venv-wheel
	$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --wheel-dir dist .
	$(PIP_INTO_WHEEL) $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) $(TORCH)
	$(PIP_INTO_WHEEL) -c constraints.txt dist/oncue-*.whl
	cd "$$(mktemp -d)" && "$(CURDIR)/.venv-wheel/bin/python" -I "$(CURDIR)/tests/installed_wheel.py" "$(CURDIR)/src/oncue"

bench: $(INSTALLED)
	$(BIN)/oncue bench engine --out docs/results/engine.json

# Resumes where it was stopped. First mini-sft, supervised in two runs, then mini, by reinforcement learning from there: the mean of
# its last five checkpoints. Only the models go into the package, without what only training needs.
MODELS := src/oncue/assets
mini: $(INSTALLED)
	$(BIN)/oncue train sft --recipe mini --out runs/mini-sft --resume auto
	$(BIN)/oncue train sft --recipe mini-more --model "$$(ls -d runs/mini-sft/checkpoints/step_* | tail -n 1)" \
	  --out runs/mini-more --resume auto
	rm -rf $(MODELS)/mini-sft
	cp -r "$$(ls -d runs/mini-more/checkpoints/step_* | tail -n 1)" $(MODELS)/mini-sft
	rm $(MODELS)/mini-sft/trainer.pt
	$(BIN)/oncue train grpo --recipe mini --num-steps 200 --final-learning-rate-frac 0.1 \
	  --examples.empty-frac 0.25 --reward.prefix-characters 23 --save-every-steps 25 --keep-checkpoints 5 --out runs/mini --resume auto
	rm -rf $(MODELS)/mini
	$(BIN)/oncue train average runs/mini/checkpoints/step_* --out $(MODELS)/mini

# The model that looks into long films: first supervised, then by reward. Two cores: half an hour.
mini-retrieval: $(INSTALLED)
	$(BIN)/oncue train sft --recipe mini-retrieval --out runs/mini-retrieval --resume auto
	$(BIN)/oncue train grpo --recipe mini-retrieval --model "$$(ls -d runs/mini-retrieval/checkpoints/step_* | tail -n 1)" \
	  --out runs/mini-retrieval-rl --resume auto
	rm -rf $(MODELS)/mini-retrieval
	cp -r "$$(ls -d runs/mini-retrieval-rl/checkpoints/step_* | tail -n 1)" $(MODELS)/mini-retrieval
	rm $(MODELS)/mini-retrieval/trainer.pt

# What an hour of two slow cores is enough for: one supervised run with about half of the steps of each stage, then half as many of
# reinforcement learning. It touches nothing in the package: oncue watch VIDEO --model runs/hour/mini.
mini-hour: $(INSTALLED)
	$(BIN)/oncue train sft --recipe mini --stages.0.num-steps 450 --stages.1.num-steps 650 --stages.2.num-steps 350 \
	  --stages.3.num-steps 900 --stages.4.num-steps 600 --out runs/hour/sft --resume auto
	$(BIN)/oncue train grpo --recipe mini --model "$$(ls -d runs/hour/sft/checkpoints/step_* | tail -n 1)" --num-steps 100 \
	  --final-learning-rate-frac 0.1 --examples.empty-frac 0.25 --reward.prefix-characters 23 \
	  --save-every-steps 25 --keep-checkpoints 3 --out runs/hour/rl --resume auto
	rm -rf runs/hour/mini
	$(BIN)/oncue train average runs/hour/rl/checkpoints/step_* --out runs/hour/mini

results: $(INSTALLED)
	for world in shapes footage; do \
	  $(BIN)/oncue eval world --world $$world --out docs/results/$$world && \
	  $(BIN)/oncue eval world --world $$world --model mini-sft --out docs/results/$$world-sft && \
	  $(BIN)/oncue eval world --world $$world --control frozen --limit 50 --out docs/results/$$world-frozen && \
	  $(BIN)/oncue eval world --world $$world --control shuffled --limit 100 --out docs/results/$$world-shuffled || exit 1; \
	done
	$(BIN)/python docs/results/tables.py

clean:
	rm -rf .venv .venv-oldest .venv-wheel .venv-lmms demo build dist
