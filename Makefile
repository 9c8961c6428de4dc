# The commands of this project; `make help` lists them. Nothing but a Rust toolchain is assumed.

.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

CARGO ?= cargo
# Which commit a binary was built from, for the metric build_info. Outside a checkout it is unknown.
export INGO_PROXY_REVISION ?= $(shell git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# A build must not change what it was told to build from.
LOCKED := --locked

.PHONY: help
help: ## List these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

.PHONY: build
build: tools ## Build the release binary, target/release/ingo-signing-proxy
	CARGO="$(CARGO)" deploy/release/build

.PHONY: profile
profile: tools ## Record anew what a release does under load, which `make build` lays it out after; commit what is written
	deploy/release/profile/record

.PHONY: demo
demo: tools ## See the whole thing work: the proxy and an embedded Ingo on loopback, with lines to paste
	$(CARGO) build --profile demo $(LOCKED)
	@exec $${CARGO_TARGET_DIR:-target}/demo/ingo-signing-proxy demo

.PHONY: test
test: tools ## Run every test that needs the toolchain alone
	$(CARGO) test $(LOCKED)
	@if [ "$$(uname -m)" = x86_64 ] && ! grep -qsw avx512vl /proc/cpuinfo; then \
	  echo "SKIPPED: SHA-512 by AVX-512, which this processor does not have; make test-all has it emulated" >&2; fi

# Programs that tests need besides the toolchain, and their Debian packages.
PROGRAMS := prometheus:prometheus promtool:prometheus chromium:chromium tinyproxy:tinyproxy \
  curl:curl jq:jq openssl:openssl python3:python3 ss:iproute2 haproxy:haproxy nginx:libnginx-mod-http-lua \
  java:default-jdk-headless node:nodejs php:php-cli mcs:mono-mcs \
  strace:strace systemd-analyze:systemd wget:wget buildah:buildah valgrind:valgrind \
  bochs:bochs xorriso:xorriso cpio:cpio script:bsdutils
# What comes with none of these by itself: extensions and libraries of the languages that pages show programs in, and what tests/avx512 boots.
LIBRARIES := /etc/php/*/mods-available/curl.ini:php-curl /usr/share/php/GuzzleHttp/autoload.php:php-guzzlehttp-guzzle \
  /usr/lib/mono/4.5/System.Net.Http.dll:libmono-system-net-http4.0-cil /usr/lib/python3*/ensurepip:python3-venv /usr/lib/python3*/dist-packages/requests/__init__.py:python3-requests \
  $(foreach package,bochs-term bochsbios vgabios isolinux syslinux-common busybox-static,/var/lib/dpkg/info/$(package).list:$(package))

.PHONY: test-all
test-all: tools programs ## Run the tests that need other programs too: Prometheus, Chromium, tinyproxy; as root on Debian they are installed
	CARGO="$(CARGO)" tests/avx512
	$(CARGO) test $(LOCKED) --test observed --test browser -- --include-ignored --nocapture
	$(CARGO) test $(LOCKED) --test wayout
	@# TLS by AWS-LC, which is a feature of its own.
	$(CARGO) test $(LOCKED) --features aws-lc-rs --test it tls
	$(CARGO) test $(LOCKED) --test it clients -- --nocapture
	$(CARGO) test $(LOCKED) --test documented -- --include-ignored --nocapture
	$(MAKE) deploy-check
	$(CARGO) test $(LOCKED) --test deploy -- --include-ignored
	deploy/checks/helm
	$(CARGO) test $(LOCKED) --test charts -- --include-ignored --nocapture
	$(MAKE) deny
	$(CARGO) test $(LOCKED) --test image -- --include-ignored --nocapture
	benches/compare/publish --check
	$(MAKE) bench-instructions

# The system calls that the systemd unit allows are compared with those of this binary.
.PHONY: deploy-check
deploy-check: tools ## Check manifests, the systemd unit, compose.yaml, all YAML and all scripts, as far as that goes without a cluster
	$(CARGO) build $(LOCKED)
	deploy/check

.PHONY: programs
programs:
	@missing=(); \
	for pair in $(PROGRAMS); do command -v "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	for pair in $(LIBRARIES); do compgen -G "$${pair%%:*}" >/dev/null || missing+=("$${pair##*:}"); done; \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing what these tests need and this machine lacks: $${missing[*]}"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null; \
	else \
	  echo "SKIPPED: tests that need $${missing[*]}; install with: sudo apt-get install $${missing[*]}" >&2; \
	fi

.PHONY: lint
lint: tools ## Check format, clippy and documentation; warnings are errors
	$(CARGO) fmt --check
	$(CARGO) clippy $(LOCKED) --all-targets -- -D warnings
	$(CARGO) clippy $(LOCKED) --no-default-features --features proxy -- -D warnings
	$(CARGO) clippy $(LOCKED) --no-default-features --lib --examples -- -D warnings
	@# What is there for other processors is compiled where the toolchain has one: rustup target add aarch64-unknown-linux-gnu
	@if [ -d "$$(rustc --print sysroot)/lib/rustlib/aarch64-unknown-linux-gnu" ]; then \
	  $(CARGO) clippy $(LOCKED) --no-default-features --lib --target aarch64-unknown-linux-gnu -- -D warnings; \
	else echo "SKIPPED: code for other processors is not checked: this toolchain has no aarch64-unknown-linux-gnu" >&2; fi
	RUSTDOCFLAGS='-D warnings' $(CARGO) doc $(LOCKED) --no-deps --document-private-items

.PHONY: reference
reference: tools ## Write config/reference.yaml and docs/configuration.md anew, from the code
	$(CARGO) build $(LOCKED)
	@binary=$${CARGO_TARGET_DIR:-target}/debug/ingo-signing-proxy; \
	yaml=$$($$binary check --reference yaml); page=$$($$binary check --reference markdown); \
	printf '%s\n' "$$yaml" > config/reference.yaml; printf '%s\n' "$$page" > docs/configuration.md

.PHONY: docs
docs: tools ## Build the code's documentation, target/doc/ingo_signing_proxy
	$(CARGO) doc $(LOCKED) --no-deps

.PHONY: bench
bench: tools ## Measure signing, verifying, deciding and an exchange in one process; docs/performance.md
	$(CARGO) bench --profile measured $(LOCKED) --bench signing --bench exchange

.PHONY: bench-compare
bench-compare: build ## Measure this proxy beside nginx, nginx with Lua and HAProxy: target/bench/speed.md
	benches/compare/compare speed

.PHONY: bench-instructions
bench-instructions: tools ## Count instructions by callgrind and compare them with benches/instructions.json
	benches/instructions.py

.PHONY: bench-instructions-baseline
bench-instructions-baseline: tools ## Write benches/instructions.json anew
	benches/instructions.py --write

# Which variant of the image: scratch, from this toolchain alone, or distroless; deploy/container/build names the other settings.
.PHONY: image
image: tools ## Build the container image with buildah or docker, its SBOM beside it: target/image
	deploy/container/build

.PHONY: dist
dist: tools ## Pack binary, man pages, completions, configuration, SBOM and licences: target/dist
	deploy/release/dist

.PHONY: deny
deny: ## Check the licences, versions and sources of dependencies, and their vulnerabilities where the network allows
	deploy/release/deny

# zlib-ng, which Pingora compiles, needs cmake and a C compiler. A fresh Debian has neither.
.PHONY: tools
tools:
	@missing=(); \
	command -v cmake >/dev/null || missing+=(cmake); \
	command -v cc >/dev/null || missing+=(gcc libc6-dev); \
	if [ $${#missing[@]} -eq 0 ]; then exit 0; fi; \
	install="apt-get update && apt-get install -y --no-install-recommends $${missing[*]}"; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  echo "installing what the build needs and this machine lacks: $${missing[*]}"; \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends "$${missing[@]}" >/dev/null; \
	else \
	  echo "the build needs $${missing[*]}; install with: sudo sh -c '$$install'" >&2; exit 1; \
	fi
