# Needs Go (see go.mod for the version) and nothing else: the PostgreSQL with
# pgvector that tests and demo run on is found or set up by internal/pgtest.

GO ?= go

# One package may take this long. The slowest set up a server first.
TEST_TIMEOUT ?= 10m
BENCHTIME    ?= 1s

# Under the race detector each program sleeps a second before it ends, in case a
# goroutine still races; tests start hundreds of programs and wait for them.
export GORACE ?= atexit_sleep_ms=100

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint fmt postgres picture proof load chaos soak model swaps theory fuzz flakes

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## show the tuner at work on a real PostgreSQL, with nothing to set up first
	$(GO) run ./cmd/autotune demo

picture: ## draw the README's picture, docs/picture.svg, from a simulation
	$(GO) run ./cmd/autotune simulate --picture docs/picture.svg

test: ## vet, staticcheck and all tests, with the race detector
	$(MAKE) -j2 --no-print-directory lint postgres
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./...

bench: ## cost of the pool's facade against a plain pool
	$(GO) test -run '^$$' -bench Facade -benchmem -benchtime $(BENCHTIME) .

# The suites of internal/fire at full length; each ends with a table of figures.
# PG=plain runs them on a PostgreSQL without pgvector where there is one too.
SOAK     ?= 2m
FUZZTIME ?= 1000000x
FLAKES   ?= 20
FIRE      = AUTOTUNE_FIRE=full AUTOTUNE_FIRE_PG=$(PG) SOAK=$(SOAK) $(GO) -C internal/fire test -count=1 -timeout 2h -parallel 16

proof: ## load, faults, security and soak, and one table with the figure of each line
	$(FIRE) -run 'TestLoad|TestFault|TestSecurity|TestSoak'

load: ## what the pool gives under load, with figures (about 6 minutes)
	$(FIRE) -run TestLoad

chaos: ## every fault under load, with the books kept in the database (about 5 minutes)
	$(FIRE) -run 'TestFault|TestSecurity'

soak: ## shifting load and random faults for SOAK (default 2m)
	$(FIRE) -run TestSoak

model: ## 200,000 random operations against a model of the pool, with the race detector
	$(FIRE) -race -run TestModel

swaps: ## a thousand hot-swaps under load, with the race detector, however long that takes
	AUTOTUNE_SWAPS=1000 $(GO) test -race -count=1 -timeout 1h -run Swaps .

theory: ## the simulator and the model against theory at full length (about a minute)
	AUTOTUNE_FIRE=full $(GO) test -count=1 -timeout 1h ./internal/model ./simulations/plant

fuzz: ## FUZZTIME executions (default 1000000x) of every fuzz target
	@set -e; for f in $$(grep -rl --include='*_test.go' '^func Fuzz' . | sort); do \
		for t in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' $$f); do \
			echo "$$t in $$(dirname $$f)"; $(GO) test -run '^$$' -fuzz "^$$t\$$" -fuzzminimizetime 10x -fuzztime $(FUZZTIME) ./$$(dirname $$f); \
		done; done

flakes: ## run all tests FLAKES times (default 20) and count the runs that failed
	@failed=0; for i in $$(seq $(FLAKES)); do \
		$(GO) test -race -count=1 -timeout $(TEST_TIMEOUT) ./... >flakes.out 2>&1 || { failed=$$((failed+1)); cp flakes.out flakes-$$i.out; }; \
	done; rm -f flakes.out; echo "$$failed of $(FLAKES) runs failed"; test $$failed = 0

lint: ## gofmt, go vet and staticcheck
	@files=$$(gofmt -l .) || exit; test -z "$$files" || { echo "not formatted (make fmt):" $$files >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fmt: ## format the code
	gofmt -w .

postgres: ## make sure there is a PostgreSQL with pgvector to test on
	$(GO) run ./internal/pgtest/pgsetup
