# The two commands: `make up` shows a running workshop, `make test` proves it. `make help` lists the others.

SITE ?= examples/first-workshop
# Where `make install` puts things.
PREFIX ?= /usr/local
# Where everything is built. Said here, so that the binary is always at target/release/phoenix-cli.
TARGET ?= $(CURDIR)/target
export CARGO_TARGET_DIR := $(TARGET)
export PATH := $(HOME)/.cargo/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup up down quick test test-containers test-machine check release package install uninstall bench gen book

help:
	@echo 'make up [SITE=DIR]    build, start the lab, apply the site ($(SITE)), fetch it over HTTPS'
	@echo 'make down [SITE=DIR]  end the lab; leaves the machine as it was'
	@echo 'make quick            while working: does it compile, and the tests that need nothing else'
	@echo 'make test             every test, on real containers too where there is root and LXC'
	@echo 'make test-containers  only the tests on real containers'
	@echo 'make test-machine     those of a node that is a machine: an hour or two where it is emulated'
	@echo 'make check            formatting, lints, generated files, documentation'
	@echo 'make release          the optimised binary, target/release/phoenix-cli'
	@echo 'make package          a static binary as .tar.gz and .deb, in target/package'
	@echo 'make install          builds, and puts binary, completions and manual pages below PREFIX=/usr/local'
	@echo 'make uninstall        takes them away again'
	@echo 'make bench            measure, print a table, write target/bench.jsonl'
	@echo 'make gen              write the generated reference pages and schemas'
	@echo 'make book             the book, in target/book'
	@echo
	@echo 'ports of make up: API_PORT=8006 SSH_PORT=8022 HTTPS_PORT=8443'

setup:
	@tools/setup

up: setup
	@API_PORT=$(or $(API_PORT),8006) SSH_PORT=$(or $(SSH_PORT),8022) HTTPS_PORT=$(or $(HTTPS_PORT),8443) tools/up '$(SITE)'

down:
	@tools/down '$(SITE)'

test:
	@tools/setup test
	@tools/test

quick:
	@cargo check --workspace --all-targets --locked --quiet
	@tools/test quick

test-containers:
	@tools/setup test
	@tools/test containers

test-machine:
	@tools/setup test
	@tools/test machine

check:
	@tools/setup test
	@tools/check

release: setup
	@cargo build --release --locked -p phoenix-cli

package:
	@tools/setup package
	@tools/package

install: release
	@tools/install '$(TARGET)/release/phoenix-cli' '$(DESTDIR)$(PREFIX)'

uninstall:
	@tools/install --remove '$(DESTDIR)$(PREFIX)'

bench: setup
	@cargo xtask bench

gen:
	@cargo xtask gen

book:
	@tools/book
