# SPDX-License-Identifier: MIT
# The door: `make help` lists what it opens. Meson and Ninja do the building, this file names it.

SETUP ?= scripts/setup
# The configurations; a directory each. `make test` builds and tests these three.
TESTED = build build-clang build-asan

.DEFAULT_GOAL := all
.PHONY: help all run run-nested run-nested-qemu test bench bench-peers test-record fuzz oss-fuzz soak \
	mutants lint coverage install clean setup $(TESTED) build-cov

all: build ## Build the library, the program and the benchmarks (into build/)

help: ## Print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-15s %s\n", $$1, $$2 }' Makefile

run: build ## Boot Debian's Linux under shadow paging; a table of what the root cache does for it
	@guests/fetch build/guests/linux
	@scripts/run-table build

run-nested: build ## The guest's own KVM: Linux in Linux, both pagings, npt=1 and npt=0
	@guests/fetch --kvm build/guests/kvm
	@scripts/run-nested build

run-nested-qemu: build ## The same with Debian's QEMU -accel kvm in the guest: some minutes
	@guests/fetch --kvm build/guests/kvm
	@scripts/run-nested --qemu build

test: $(TESTED) ## Run every test: gcc, clang, and clang with ASan and UBSan
	@tests/run $(TESTED)

bench: build ## Count instructions of each operation (callgrind) into build/bench.json
	@scripts/bench build

bench-peers: build ## The same work bare, on KVM and on Rhizome; build/peers.json, peers.svg
	@bench/peers.py --build build --json build/peers.json --chart build/peers.svg

test-record: build ## Record KVM hosts for some minutes: Linux with pti=on, nested guests
	@python3 tests/system/record_long.py build/lab/rhizome build/guests/mark.elf build/guests/kvm

fuzz: build-fuzz/build.ninja ## libFuzzer and random sequences under sanitizers, TIME=60 seconds (ONLY=TARGET)
	@ninja -C build-fuzz --quiet fuzzers
	@scripts/fuzz build-fuzz $(or $(TIME),60) $(ONLY)

oss-fuzz: setup ## Build the fuzz targets as OSS-Fuzz does, and run each over its corpus
	@tests/fuzz/oss-fuzz/try.sh build-oss

soak: build ## Random steps and deeper small worlds: STEPS=N, TIME=seconds or until stopped; SEED=
	@scripts/soak $(addprefix --steps ,$(STEPS)) $(addprefix --seconds ,$(TIME)) \
		$(addprefix --seed ,$(SEED)) build

soak-nested: build ## guests/nested-torture with fresh seeds, until told to stop or for TIME seconds
	@tests/system/nested_torture_test.py build/lab/rhizome build/guests/nested-torture.elf --soak $(TIME)

mutants: build ## Break the library in one place at a time; a test must notice (ONLY=WORD: some)
	@tests/mutants/run.py $(addprefix --only ,$(ONLY)) build

lint: build build-clang ## Static analysis: clang-tidy, cppcheck, gcc -fanalyzer; the rule checks
	@$(SETUP) cppcheck
	@scripts/lint build build-clang
	@tests/run --only rules build

coverage: setup ## Lines and branches of lib/ that the tests reach
	@rm -rf build-cov # what older objects counted would be added in
	@$(MAKE) --no-print-directory build-cov
	@tests/run build-cov
	@scripts/coverage build-cov

install: build ## Install headers, archives, pkg-config files and program; DESTDIR=, PREFIX=
	@$(if $(PREFIX),meson configure build --prefix=$(abspath $(PREFIX)) && ninja -C build --quiet)
	meson install -C build --no-rebuild

clean: ## Remove everything that was built
	rm -rf build build-*/

setup:
	@$(SETUP)

build: build/build.ninja
build-clang: build-clang/build.ninja
build-asan: build-asan/build.ninja
build-cov: build-cov/build.ninja
$(TESTED) build-cov:
	@ninja -C $@ build.ninja >$@/configure.txt || { cat $@/configure.txt; exit 1; }
	@ninja -C $@ --quiet

SANITIZE = -Db_sanitize=address,undefined -Db_lundef=false
FEWER = -Dproperty_steps=1000000 -Daudited_steps=40000 -Dproperty_seed=
build/build.ninja: CONFIGURE = CC=gcc meson setup build
build-clang/build.ninja: CONFIGURE = CC=clang meson setup build-clang $(FEWER)2
build-asan/build.ninja: CONFIGURE = CC=clang meson setup build-asan $(SANITIZE) $(FEWER)3
build-fuzz/build.ninja: CONFIGURE = CC=clang CXX=clang++ meson setup build-fuzz $(SANITIZE) \
	-Dc_args=-fsanitize=fuzzer-no-link -Dfuzz_engine=-fsanitize=fuzzer
build-cov/build.ninja: CONFIGURE = CC=gcc meson setup build-cov --buildtype=debug \
	-Db_coverage=true -Dc_args=-fprofile-update=atomic $(FEWER)4
%/build.ninja: | setup
	@$(CONFIGURE) >/dev/null || { tail -n 20 $*/meson-logs/meson-log.txt; exit 1; }
