# The two commands of the README, and their neighbours. Everything they need is set up by themselves.

HULL    := target/x86_64-unknown-linux-gnu/release/hull
STACK   := examples/inception
PROFILE ?=
COMPOSE  = $(HULL) compose --project-directory $(STACK) --file $(STACK)/compose.yaml $(addprefix --profile ,$(PROFILE))

PREFIX  ?= /usr/local

.PHONY: up down clean test bench build install setup base

## up: build hull, make the base image, build the example stack and bring it up (PROFILE=bonus adds the rest)
up: base
	$(STACK)/setup.sh
	$(COMPOSE) up --detach --build --wait
	@$(COMPOSE) ps
	@eval "$$(grep -E '^(HTTPS_PORT|DOMAIN_NAME)=' $(STACK)/.env)"; case $$HTTPS_PORT in 443|"") port= ;; *) port=:$$HTTPS_PORT ;; esac; \
	  echo "The site answers on https://localhost$$port, and on https://$$DOMAIN_NAME$$port where that name resolves"

## down: stop the example stack; its data stays
down:
	$(COMPOSE) --profile bonus down

## clean: stop the example stack and remove its images and volumes; the files in DATA_DIR are yours and stay
clean:
	$(COMPOSE) --profile bonus down --volumes --rmi all

## test: everything CI runs
test: setup
	cargo xtask check

## bench: hull beside crun, runc, podman and docker.io from Debian's packages, and youki
bench: build
	cargo xtask bench

build: setup
	cargo xtask release

## install: hull in PREFIX/bin, also as hull-oci, the units of its API in PREFIX/lib/systemd/system, and the group docker that may use it (PREFIX=/usr/local)
install: build
	install -D $(HULL) $(DESTDIR)$(PREFIX)/bin/hull
	ln -sf hull $(DESTDIR)$(PREFIX)/bin/hull-oci
	test -n "$(DESTDIR)" || getent group docker >/dev/null || groupadd --system docker
	mkdir -p $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in etc/systemd/*; do sed 's|/usr/local/bin|$(PREFIX)/bin|' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; done

base: build
	$(HULL) image inspect debian:bookworm >/dev/null 2>&1 || $(HULL) image bootstrap debian:bookworm

# A Rust toolchain is the one thing the rest cannot install for itself.
setup:
	@command -v cargo >/dev/null || { apt-get update -qq && apt-get install -y -qq rustup gcc libc6-dev && rustup default stable; } \
	  || { echo "cargo is missing and this Debian release has no rustup package: install Rust 1.95 or newer (https://rustup.rs)"; exit 1; }
	@cargo xtask setup
