# `make` lists the targets. `make test` needs nothing but Go.

.PHONY: help test race fuzz lint cover e2e bench ci

help: ## this list
	@sed -n 's/^\([a-z0-9]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 8

test: ## all tests
	go test ./...

race: ## all tests under the race detector
	go test -race ./...

FUZZTIME ?= 30s
fuzz: ## every fuzz target for FUZZTIME (30s)
	FUZZTIME=$(FUZZTIME) .ci/run fuzz

lint: ## gofmt, go vet, staticcheck
	.ci/run lint

cover: ## coverage by package, and cover.html
	go test -coverprofile=cover.out ./...
	go tool cover -html=cover.out -o cover.html

e2e: ## tests against real mail programs, installed where missing (needs root)
	.ci/run e2e

BENCH ?= .
bench: ## benchmarks that match BENCH
	go test -run '^$$' -bench '$(BENCH)' -benchmem ./...

ci: ## all that a change must pass
	.ci/run
