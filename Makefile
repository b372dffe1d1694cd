# The one front door. `make help` lists what is here; each command installs what it needs.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help start serve site test check fmt clippy tsc tsc-js wasm prebuilt js wasm-test e2e e2e-tools e2e-engines bundlers soak fuzz bench bench-peers bench-warm bench-work constrain golden clean

# make start ARGS='--dir models=/path': further options of tools/serve.mjs
ARGS ?=
# make test SUITES='native js': only these of native, wasm, js, browser
SUITES ?= native wasm js browser
# make bench-peers: the harness that runs Fanlight beside its peers
PEERS ?= ../shared/tools/peer-bench
STEP := tools/step.sh
TSC := node_modules/.bin/tsc

help: ## this list
	@sed -n 's/^\([a-z0-9-]*\):.*## /  make \1\t/p' $(MAKEFILE_LIST) | expand -t 20

start: ## serve the page on localhost, with the engine from pkg/prebuilt, or compiled in a hurry if its sources have changed
	@exec node tools/start.mjs $(ARGS)

serve: ## serve what is already built
	@exec node tools/serve.mjs $(ARGS)

site: wasm js ## the page as a folder for any static host: build/site
	@node tools/site.mjs --out build/site

test: $(if $(findstring browser,$(SUITES)),e2e-tools) node_modules/.package-lock.json fmt clippy ## run every check and every test
	@$(STEP) "Building the engine for the browser, for tests" node tools/wasm.mjs --no-opt
	@$(MAKE) --no-print-directory tsc
	@node tools/test.mjs $(SUITES)

check: fmt clippy tsc ## formatter, clippy and type checker

fmt:
	@$(STEP) "Checking the format" cargo fmt --check

clippy:
	@$(STEP) "Running clippy" cargo clippy --locked --all-targets --quiet -- -D warnings

wasm: node_modules/.package-lock.json ## build pkg/wasm/simd128 and pkg/wasm/relaxed
	@$(STEP) "Building the engine for the browser" node tools/wasm.mjs $(if $(filter wasm,$(MAKECMDGOALS)),$(ARGS))

prebuilt: node_modules/.package-lock.json ## put the engine, as built from these sources, into the repository: make start then compiles nothing
	@$(STEP) "Building the engine for the repository" node tools/wasm.mjs --pack

node_modules/.package-lock.json: package.json package-lock.json
	@$(STEP) "Installing the development tools from npm" npm ci --no-fund --no-audit --loglevel=error
	@touch $@

js: node_modules/.package-lock.json
	@$(TSC) -p pkg/tsconfig.json && $(TSC) -p pkg/tsconfig.worker.json && node tools/site.mjs

tsc: node_modules/.package-lock.json
	@$(STEP) "Checking types and compiling the package" $(MAKE) --no-print-directory js
	@$(STEP) "Checking the types of the page, the tools and the tests" $(MAKE) --no-print-directory tsc-js

tsc-js:
	@$(TSC) -p www/tsconfig.json && $(TSC) -p www/tsconfig.sw.json && $(TSC) -p tsconfig.json

wasm-test: ## the Rust tests as a wasm program with SIMD, in Node
	@node tools/test.mjs wasm

e2e: e2e-tools wasm tsc ## the end-to-end tests in Chromium
	@node tools/test.mjs browser

e2e-engines: wasm tsc ## the same in Firefox and WebKit, where they are installed
	@$(STEP) "Installing what drives Firefox" npm ci --prefix tests/engines --no-fund --no-audit --loglevel=error
	@ENGINE=firefox node tools/test.mjs browser
	@ENGINE=webkit node tools/test.mjs browser

bundlers: e2e-tools wasm js ## the packed package in Vite, webpack, without a bundler and under server-side rendering; publint, attw
	@$(STEP) "Installing the bundlers" npm ci --prefix tests/bundlers --no-fund --no-audit --loglevel=error
	@node --test --test-timeout=600000 tests/bundlers/bundlers.test.mjs

soak: e2e-tools wasm js ## kills, aborts, flipped bits and memory, for as long as it takes: ARGS='kills --times 50'
	@node tools/soak.mjs $(ARGS)

fuzz: ## hostile input for what reads files, templates, schemas and replies, a short round: ARGS='--seconds 600 template'
	@$(STEP) "Fuzzing (the first time builds for a few minutes)" node tools/fuzz.mjs $(ARGS)

e2e-tools: node_modules/.package-lock.json
	@$(STEP) "Looking for Chromium" tools/chromium.sh
	@$(STEP) "Looking for the data that reading images needs" tools/tessdata.sh

bench: ## time the kernels, after checking their answers
	@$(STEP) "Running the benches" cargo bench --locked

bench-peers: wasm js ## the same model files in wllama, native llama.cpp and Fanlight: MODEL=file.gguf, and BUILD=simd128 for that build
	@test -n "$(MODEL)" || { echo "bench-peers: name a file: make bench-peers MODEL=/path/to/model.gguf"; exit 2; }
	@test -d $(PEERS) || { echo "bench-peers: $(PEERS) is absent; it holds the peers and the harness"; exit 2; }
	@mkdir -p build && rm -rf build/peer-bench && cp -R $(PEERS) build/peer-bench && chmod -R u+w build/peer-bench
	@$(STEP) "Installing the peers" npm ci --prefix build/peer-bench --no-fund --no-audit --loglevel=error
	@cd build/peer-bench && node run.mjs --model "$(abspath $(MODEL))" --fanlight-dir ../.. --fanlight-url "www/bench.html$(if $(BUILD),?build=$(BUILD))" $(ARGS)

constrain: node_modules/.package-lock.json ## 12,500 random schemas, answered at temperature 1 and validated: ARGS='--count N'
	@node tools/constrain.mjs --count 2500 $(ARGS) $(wildcard ../shared/fixtures/arch/qwen3/model-f32.gguf ../shared/fixtures/arch/llama/model-f32.gguf \
		../shared/fixtures/arch/qwen2/model-f32.gguf ../shared/fixtures/arch/qwen35/model-f32.gguf) www/models/tiny-chat-q8_0.gguf

bench-warm: wasm js ## how soon a stored model is ready, beside wllama: MODEL=file.gguf
	@test -n "$(MODEL)" || { echo "bench-warm: name a file: make bench-warm MODEL=/path/to/model.gguf"; exit 2; }
	@if test -d $(PEERS); then mkdir -p build && rm -rf build/peer-bench && cp -R $(PEERS) build/peer-bench && chmod -R u+w build/peer-bench && \
		npm ci --prefix build/peer-bench --no-fund --no-audit --loglevel=error; fi
	@node tools/warm.mjs --model "$(MODEL)" $(if $(wildcard $(PEERS)),--wllama build/peer-bench) $(ARGS)

bench-work: wasm js ## what structured work costs, with a schema and without, and beside wllama: MODEL=file.gguf
	@test -n "$(MODEL)" || { echo "bench-work: name a file: make bench-work MODEL=/path/to/model.gguf"; exit 2; }
	@node tools/masks.mjs --model "$(MODEL)"
	@if test -d $(PEERS); then mkdir -p build && rm -rf build/peer-bench && cp -R $(PEERS) build/peer-bench && chmod -R u+w build/peer-bench && \
		npm ci --prefix build/peer-bench --no-fund --no-audit --loglevel=error; fi
	@node tools/work.mjs --model "$(MODEL)" $(if $(wildcard $(PEERS)),--wllama build/peer-bench) $(ARGS)

golden: ## how the recorded answers are made again
	@cat tests/golden/README.md

clean: ## remove everything that was built
	rm -rf target tools/target pkg/dist pkg/wasm www/vendor build/site node_modules
