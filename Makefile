# Stanch. `make` lists the targets.

GO       ?= go
BIN      := $(CURDIR)/bin
VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo devel)
LDFLAGS  := -s -w -buildid= -X stanch/internal/version.version=$(VERSION)
FUZZTIME ?= 20s
IMAGE    ?= stanch:$(VERSION)

STATICCHECK_VERSION := v0.8.2
GOVULNCHECK_VERSION := v1.9.0

# Go's own directories; testdata and what the tools put beside them stay out.
DIRS := cmd internal playbooks responder scanner

.DEFAULT_GOAL := help
.PHONY: help build install test check fmt vet staticcheck vuln race fuzz bench demo docker golden clean deps

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  %-12s %s\n", $$1, $$2}'

build: ## build bin/stanch: static, stripped, reproducible
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags '$(LDFLAGS)' -o $(BIN)/stanch ./cmd/stanch

install: ## install stanch into Go's bin directory
	CGO_ENABLED=0 $(GO) install -trimpath -ldflags '$(LDFLAGS)' ./cmd/stanch

deps: ## install what the tests need (as root on Debian, what is missing)
	.ci/deps

test: deps ## every test, on SQLite and on a throw-away PostgreSQL
	.ci/postgres $(GO) test -timeout 30m ./...

check: fmt vet staticcheck vuln race fuzz ## what CI runs beside the tests

fmt: ## fail on files that gofmt would change
	@out=$$(gofmt -l $(DIRS)); if [ -n "$$out" ]; then echo "gofmt would change:"; echo "$$out"; exit 1; fi

vet: ## go vet
	$(GO) vet ./...

staticcheck: $(BIN)/staticcheck-$(STATICCHECK_VERSION) ## staticcheck, pinned
	$< ./...

vuln: ## known vulnerabilities; skipped, and said so, where their database is out of reach
	@if curl -fsS -m 10 -o /dev/null https://vuln.go.dev/index/modules.json 2>/dev/null; then \
		$(MAKE) --no-print-directory $(BIN)/govulncheck-$(GOVULNCHECK_VERSION) && $(BIN)/govulncheck-$(GOVULNCHECK_VERSION) ./...; \
	else echo "vuln: https://vuln.go.dev cannot be reached; not checked"; fi

race: deps ## every test again with the race detector; fewer crash points than in test
	.ci/postgres $(GO) test -race -short -timeout 40m ./...

fuzz: ## each fuzz target for FUZZTIME (20s)
	FUZZTIME=$(FUZZTIME) GO=$(GO) .ci/fuzz

bench: ## benchmarks, with allocations
	$(GO) test -run '^$$' -bench . -benchmem ./...

demo: ## the whole product on this machine, in a minute
	$(GO) run ./cmd/stanch demo

docker: ## build the container image
	docker build --build-arg VERSION=$(VERSION) -t $(IMAGE) .

golden: ## write the golden reports and docs/report.schema.json anew
	$(GO) test ./responder/report -update

clean: ## remove what make built
	rm -rf $(BIN)

$(BIN)/staticcheck-$(STATICCHECK_VERSION):
	GOBIN=$(BIN) $(GO) install honnef.co/go/tools/cmd/staticcheck@$(STATICCHECK_VERSION)
	mv $(BIN)/staticcheck $@

$(BIN)/govulncheck-$(GOVULNCHECK_VERSION):
	GOBIN=$(BIN) $(GO) install golang.org/x/vuln/cmd/govulncheck@$(GOVULNCHECK_VERSION)
	mv $(BIN)/govulncheck $@
