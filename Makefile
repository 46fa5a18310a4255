# Needs Go (see go.mod for the version) and nothing else: the PostgreSQL with
# pgvector that tests and demo run on is found or set up by internal/pgtest.

GO ?= go

# One package may take this long. The slowest set up a server first.
TEST_TIMEOUT ?= 10m
BENCHTIME    ?= 1s

.DEFAULT_GOAL := help
.PHONY: help demo test bench lint fmt postgres picture

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

demo: ## show the tuner at work on a real PostgreSQL, with nothing to set up first
	$(GO) run ./cmd/autotune demo

picture: ## draw the README's picture, docs/picture.svg, from a simulation
	$(GO) run ./cmd/autotune simulate --picture docs/picture.svg

test: lint postgres ## vet, staticcheck and all tests, with the race detector
	$(GO) test -race -timeout $(TEST_TIMEOUT) ./...

bench: ## cost of the pool's facade against a plain pool
	$(GO) test -run '^$$' -bench Facade -benchmem -benchtime $(BENCHTIME) .

lint: ## gofmt, go vet and staticcheck
	@files=$$(gofmt -l .) || exit; test -z "$$files" || { echo "not formatted (make fmt):" $$files >&2; exit 1; }
	$(GO) vet ./...
	$(GO) tool staticcheck ./...

fmt: ## format the code
	gofmt -w .

postgres: ## make sure there is a PostgreSQL with pgvector to test on
	$(GO) run ./internal/pgtest/pgsetup
