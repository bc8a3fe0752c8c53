# Targets whose comment begins with ## are listed by a bare `make`. The checks themselves are steps of .ci/run, so that
# they run here exactly as in CI, and in every module of the repository.

ROUNDS   ?= 5
DURATION ?= 10m
SEED     ?= 0
FAULT    ?= all
KILLS    ?= 200
REPORT   ?=

.DEFAULT_GOAL := help
.PHONY: help check setup test race embedded docker repeat fuzz lint vet fmt tidy tidy-check cover example picture bench bench-page vulnerabilities model sim scale torture clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## everything that CI checks (on Debian it installs what is missing)
	@bash .ci/run

setup: ## install redis-server, docker and the tools of .ci/versions
	@bash .ci/run setup

test: ## all tests, on the first Redis that is there (see CONTRIBUTING.md)
	@bash .ci/run test

race: ## all tests with the race detector; a real Redis is required
	@bash .ci/run race

embedded: ## the tests that ask for a Redis, on the embedded server
	@bash .ci/run embedded

docker: ## the tests that ask for a Redis, on one in docker
	@bash .ci/run docker

repeat: export COUNT ?= 10
repeat: ## the tests of lock and worker COUNT times, with the race detector
	@bash .ci/run repeat

fuzz: export FUZZTIME ?= 30s
fuzz: ## each fuzz target for FUZZTIME, beside each other
	@bash .ci/run fuzz

lint: ## staticcheck and golangci-lint
	@bash .ci/run staticcheck lint

vet: ## gofmt (as a check) and go vet
	@bash .ci/run format vet

fmt: ## gofmt everything in place
	@gofmt -l -w .

tidy: ## go mod tidy in every module
	@find . -name go.mod -not -path './bin/*' -execdir go mod tidy -e \;

tidy-check: ## what go mod tidy would change
	@bash .ci/run tidy

cover: ## how much of the code the tests reach; the profile is bin/cover.out
	@mkdir -p bin
	@go test -coverpkg=./lock/...,./worker/...,./status/... -coverprofile=bin/cover.out ./...
	@go tool cover -func=bin/cover.out | tail -n 1

example: ## run the examples
	@bash .ci/run example

picture: ## run a cluster in which one fails and one is killed, and draw it into docs/handover.svg (REDIS_URL: there)
	@go run ./examples/cluster -workers 5 -work 300ms -lock-timeout 1s -kill 2 -svg docs/handover.svg

bench: ## measure against other libraries, ROUNDS rounds, and write docs/benchmarks.*; an hour, on an idle machine
	@cd bench && go run . -rounds $(ROUNDS) -json ../docs/benchmarks.json -markdown ../docs/benchmarks.md -svg ../docs/benchmarks.svg

bench-page: ## write docs/benchmarks.md and .svg anew from docs/benchmarks.json
	@cd bench && go run . -from ../docs/benchmarks.json -markdown ../docs/benchmarks.md -svg ../docs/benchmarks.svg >/dev/null

vulnerabilities: ## govulncheck, if its database can be reached
	@bash .ci/run vulnerabilities

model: ## visit all states of internal/model, and show what each rule is for; five minutes, 4 GB
	@go run ./internal/model/cmd/explore
	@go run ./internal/model/cmd/explore -rules

sim: ## simulate 2,000 minutes and 20 hours of a cluster, with its faults, and every check against a broken variant
	@go test ./internal/sim -count=1 -timeout 0 -v -run 'TestStrictSimulation|TestSeedsAreRepeatable|TestBrokenVariants' -strict -seeds 2000
	@go test ./internal/sim -count=1 -timeout 0 -v -run TestStrictSimulation -strict -seeds 20 -length 1h

scale: ## count what Redis is given to do, with up to 10,000 workers and 100,000 jobs (docs/scale.md)
	@go test ./internal/sim -count=1 -timeout 0 -v -run TestScale -scale large

torture: ## faults at processes, connections and Redis for DURATION (SEED, FAULT), every check against a broken variant, and KILLS holders killed; REPORT=docs/torture.md writes that page
	@go test -C internal/torture -count=1 -timeout 0 -v -run 'TestTorture|TestBrokenVariants|TestKilledHoldersAreReplaced' -parallel 2 -duration $(DURATION) -seed $(SEED) -fault "$(FAULT)" -holders $(KILLS) -report "$(abspath $(REPORT))"

clean: ## remove bin/
	@rm -rf bin
