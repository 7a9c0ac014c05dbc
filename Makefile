# unixipc. `make help` lists the targets.

.DELETE_ON_ERROR:
.SUFFIXES:
MAKEFLAGS += --no-builtin-rules

prefix     = /usr/local
bindir     = $(prefix)/bin
libdir     = $(prefix)/lib
includedir = $(prefix)/include
unitdir    = $(prefix)/lib/systemd/system
datadir    = $(prefix)/share
mandir     = $(datadir)/man
DESTDIR    ?=

CARGO      ?= cargo
PKG_CONFIG ?= pkg-config
INSTALL    ?= install
# CC keeps the default of make, `cc`. The other tools are those of CC.
OBJCOPY    ?= $(shell scripts/tool-of objcopy $(CC))
ifeq ($(origin AR),default)
AR          = $(shell scripts/tool-of ar $(CC))
endif
ifeq ($(origin CXX),default)
CXX         = $(shell scripts/tool-of c++ $(CC))
endif

# Cross-compiling: make TARGET=aarch64-unknown-linux-gnu CC=aarch64-linux-gnu-gcc
TARGET     =

version    := $(shell scripts/version)
soversion  := $(firstword $(subst ., ,$(version)))
soname     := libunixipc.so.$(soversion)
sofile     := libunixipc.so.$(version)

build      := build
# The path may contain a space: it stands in quotes, and is not the name of a target.
stage      := $(CURDIR)/$(build)/stage
# scripts/build-into gives other directories for the output.
cargo_dir  := target
cargo_out  := $(cargo_dir)/$(if $(TARGET),$(TARGET)/)release
sources    := $(shell find src -name '*.rs') Cargo.toml Cargo.lock build.rs
exports    := $(shell grep -o 'ipc_[a-z0-9_]*;' packaging/unixipc.map | tr -d ';')
pages      := $(wildcard man/*.3 man/*.7)
# All headers that are installed, with their paths below include/.
headers    := $(patsubst include/%,%,$(wildcard include/*.h include/*.hpp include/*/*.hpp))

## make               build the shared and the static library
.PHONY: all
all: $(build)/$(sofile) $(build)/libunixipc.a

# One object with the code that the exported functions need. All other names become local, so a
# program can be linked with a second library written in Rust. The section groups are dissolved:
# otherwise the linker would keep one copy of a group that both libraries have. A linker without this
# option, such as mold, is replaced by GNU ld here. One name stays global, but hidden: the notes of all
# probes in a program refer to the same _.stapsdt.base (doc/probes.md).
$(build)/unixipc.o: $(sources) packaging/unixipc.map Makefile
	@scripts/need '$(CARGO)' '$(CC)' '$(AR)' '$(OBJCOPY)'
	@mkdir -p $(build)
	UNIXIPC_RUSTC_WRAPPER="$$RUSTC_WRAPPER" RUSTC_WRAPPER='$(CURDIR)/scripts/remap' \
	    $(CARGO) rustc --release --locked --lib --crate-type staticlib \
	    --target-dir $(cargo_dir) $(if $(TARGET),--target $(TARGET))
	printf '%s\n' $(exports) _.stapsdt.base >$(build)/exports
	bfd=; $(relocatable) -x c /dev/null -o $@ 2>/dev/null || bfd=-fuse-ld=bfd; \
	$(relocatable) $$bfd $(discard) $(addprefix -Wl$(comma)-u$(comma),$(exports)) \
	    -o $@ $(cargo_out)/libunixipc.a
	$(OBJCOPY) --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd --wildcard \
	    --strip-unneeded-symbol='_Unwind_*' --keep-global-symbols=$(build)/exports $@
relocatable = $(CC) -r -nostdlib -Wl,--force-group-allocation
# Rust adds its code for panics, which nothing uses. On RISC-V and LoongArch it stays in the archive,
# because GNU ld damages .eh_frame if it discards sections in this step.
discard = $(if $(filter riscv% loongarch%,$(shell $(CC) -dumpmachine)),,-Wl,--gc-sections)
comma := ,

$(build)/libunixipc.a: $(build)/unixipc.o
	rm -f $@
	$(AR) rcsD $@ $<

# If Rust's code for panics is in the object, it takes its unwinder from libgcc. Linked statically, the
# unwinder leaves the C library as the only dependency of the shared library.
$(build)/$(sofile): $(build)/unixipc.o packaging/unixipc.map
	$(CC) -shared -static-libgcc $(LDFLAGS) -o $@ $< \
	    -Wl,-soname,$(soname) -Wl,--version-script=packaging/unixipc.map \
	    -Wl,--gc-sections -Wl,-z,defs -Wl,-z,now -Wl,-z,relro -Wl,-z,noexecstack \
	    -Wl,-z,nodelete
	chmod 0644 $@
	ln -sf $(sofile) $(build)/$(soname)
	ln -sf $(soname) $(build)/libunixipc.so

## make tools         build the program unixipc, which shows and cleans the objects of the library
.PHONY: tools
tools: $(build)/unixipc
# `make install` installs it if it is built; tool= leaves it out.
tool := $(build)/unixipc
tool_out := $(cargo_dir)/cli/$(if $(TARGET),$(TARGET)/)release
$(build)/unixipc: $(shell find cli/src -name '*.rs') cli/Cargo.toml cli/Cargo.lock $(sources)
	@scripts/need '$(CARGO)'
	@mkdir -p $(build)/completions
	$(CARGO) build --release --locked --manifest-path cli/Cargo.toml --target-dir $(cargo_dir)/cli \
	    $(if $(TARGET),--target $(TARGET))
	cp $(tool_out)/unixipc $@.new
	$(if $(TARGET),:,for shell in bash zsh fish; do \
	    $@.new completions $$shell >$(build)/completions/unixipc.$$shell || exit; \
	done)
	mv $@.new $@

## make check-tools   run the tests of unixipc
.PHONY: check-tools
check-tools: examples
	@scripts/need '$(CARGO)'
	env -u MAKEFLAGS scripts/leaves-nothing \
	    $(CARGO) test --locked --manifest-path cli/Cargo.toml --target-dir $(cargo_dir)/cli

## make install       install below prefix= (bindir=, libdir=, includedir=, datadir=, mandir=, DESTDIR=)
.PHONY: install
install: all
	$(INSTALL) -d '$(DESTDIR)$(libdir)/pkgconfig' '$(DESTDIR)$(libdir)/cmake/unixipc' \
	    '$(DESTDIR)$(datadir)/unixipc' '$(DESTDIR)$(mandir)/man3' '$(DESTDIR)$(mandir)/man7'
	for header in $(headers); do \
	    $(INSTALL) -D -m 0644 include/$$header '$(DESTDIR)$(includedir)'/$$header || exit; \
	done
	$(INSTALL) -m 0644 packaging/unixipc.cdef.h '$(DESTDIR)$(datadir)/unixipc'
	$(INSTALL) -m 0644 $(build)/$(sofile) $(build)/libunixipc.a '$(DESTDIR)$(libdir)'
	ln -sf $(sofile) '$(DESTDIR)$(libdir)/$(soname)'
	ln -sf $(soname) '$(DESTDIR)$(libdir)/libunixipc.so'
	$(substitute) packaging/unixipc.pc.in >'$(DESTDIR)$(libdir)/pkgconfig/unixipc.pc'
	for file in Config ConfigVersion; do \
	    $(substitute) packaging/cmake/unixipc$$file.cmake.in \
	        >'$(DESTDIR)$(libdir)/cmake/unixipc'/unixipc$$file.cmake || exit; \
	done
	chmod 0644 '$(DESTDIR)$(libdir)/pkgconfig/unixipc.pc' '$(DESTDIR)$(libdir)/cmake/unixipc'/*
	for page in $(pages); do \
	    $(INSTALL) -m 0644 $$page '$(DESTDIR)$(mandir)'/man$${page##*.} || exit; \
	done
	@if [ -n '$(tool)' ] && [ -x '$(tool)' ]; then \
	    $(MAKE) --no-print-directory install-tools; \
	fi
	@$(if $(or $(DESTDIR),$(quiet)),:,echo 'Installed. If the linker searches $(libdir), run ldconfig.')

# Only the program, its page and its completions. It builds nothing, because root may install.
.PHONY: install-tools
install-tools:
	$(INSTALL) -D -m 0755 $(build)/unixipc '$(DESTDIR)$(bindir)/unixipc'
	$(INSTALL) -D -m 0644 man/unixipc.1 '$(DESTDIR)$(mandir)/man1/unixipc.1'
	$(if $(TARGET),:,\
	    $(INSTALL) -D -m 0644 $(build)/completions/unixipc.bash '$(DESTDIR)$(bash_completion)' && \
	    $(INSTALL) -D -m 0644 $(build)/completions/unixipc.zsh '$(DESTDIR)$(zsh_completion)' && \
	    $(INSTALL) -D -m 0644 $(build)/completions/unixipc.fish '$(DESTDIR)$(fish_completion)')
bash_completion = $(datadir)/bash-completion/completions/unixipc
zsh_completion  = $(datadir)/zsh/site-functions/_unixipc
fish_completion = $(datadir)/fish/vendor_completions.d/unixipc.fish

# The .pc file names directories below the prefix by ${prefix}, so that pkg-config's --define-prefix
# can move them. The CMake file finds the directories relative to its own.
substitute = sed -e 's|@prefix@|$(prefix)|' \
	-e 's|@libdir@|$(patsubst $(prefix)/%,$${prefix}/%,$(libdir))|' \
	-e 's|@includedir@|$(patsubst $(prefix)/%,$${prefix}/%,$(includedir))|' \
	-e 's|@datadir@|$(patsubst $(prefix)/%,$${prefix}/%,$(datadir))|' \
	-e 's|@version@|$(version)|g' -e 's|@soversion@|$(soversion)|g' \
	-e "s|@libdir_to_includedir@|$$(realpath -m --relative-to='$(libdir)' '$(includedir)')|"

## make uninstall     remove the installed files, and directories that are empty then
.PHONY: uninstall
uninstall:
	rm -f '$(DESTDIR)$(libdir)'/libunixipc.a '$(DESTDIR)$(libdir)'/libunixipc.so \
	    '$(DESTDIR)$(libdir)'/libunixipc.so.$(soversion)* '$(DESTDIR)$(libdir)/pkgconfig/unixipc.pc'
	rm -rf '$(DESTDIR)$(libdir)/cmake/unixipc' '$(DESTDIR)$(datadir)/unixipc'
	rm -f '$(DESTDIR)$(bindir)/unixipc' '$(DESTDIR)$(mandir)/man1/unixipc.1' \
	    '$(DESTDIR)$(bash_completion)' '$(DESTDIR)$(zsh_completion)' '$(DESTDIR)$(fish_completion)'
	rm -f '$(DESTDIR)$(bindir)/unixipc-bridge' '$(DESTDIR)$(mandir)/man1/unixipc-bridge.1' \
	    '$(DESTDIR)$(unitdir)/unixipc-bridge.service'
	for header in $(headers); do \
	    rm -f '$(DESTDIR)$(includedir)'/$$header || exit; \
	done
	for page in $(notdir $(pages)); do \
	    rm -f '$(DESTDIR)$(mandir)'/man$${page##*.}/$$page || exit; \
	done
	for directory in '$(libdir)/pkgconfig' '$(libdir)/cmake' '$(includedir)/unixipc' \
	    '$(includedir)' '$(datadir)' '$(mandir)/man1' '$(mandir)/man3' '$(mandir)/man7' '$(bindir)' \
	    '$(unitdir)' '$(dir $(bash_completion))' '$(dir $(zsh_completion))' '$(dir $(fish_completion))'; do \
	    rmdir -p --ignore-fail-on-non-empty '$(DESTDIR)'"$$directory" 2>/dev/null || :; \
	done

# An installation inside the tree, for the examples and the tests.
.PHONY: stage
stage: $(build)/stage.done
$(build)/stage.done: $(build)/$(sofile) $(build)/libunixipc.a $(addprefix include/,$(headers)) \
    Makefile $(wildcard packaging/*.in packaging/*.h packaging/cmake/*.in) $(pages)
	$(MAKE) --no-print-directory -s install tool= quiet=1 DESTDIR= prefix='$(stage)' \
	    libdir='$(stage)/lib' includedir='$(stage)/include' datadir='$(stage)/share' \
	    mandir='$(stage)/share/man'
	touch $@

## make bridge        build unixipc-bridge, which joins machines over NATS, into build/
.PHONY: bridge
bridge:
	@scripts/need '$(CARGO)'
	@mkdir -p $(build)
	env -u MAKEFLAGS $(CARGO) build --release $(bridge_flags) $(if $(TARGET),--target $(TARGET))
	$(INSTALL) -m 0755 $(bridge_target)/$(if $(TARGET),$(TARGET)/)release/unixipc-bridge $(build)
bridge_target = target/bridge
bridge_flags = --locked --manifest-path bridge/Cargo.toml --target-dir $(bridge_target)

## make install-bridge   build and install unixipc-bridge, its manual page, its systemd unit and an
##                      example of its configuration (bindir=, unitdir=, and those of make install)
.PHONY: install-bridge
install-bridge: bridge
	@$(MAKE) --no-print-directory install-bridge-files
# Builds nothing, as install-tools.
.PHONY: install-bridge-files
install-bridge-files:
	$(INSTALL) -d '$(DESTDIR)$(bindir)' '$(DESTDIR)$(mandir)/man1' '$(DESTDIR)$(unitdir)' \
	    '$(DESTDIR)$(datadir)/unixipc'
	$(INSTALL) -m 0755 $(build)/unixipc-bridge '$(DESTDIR)$(bindir)'
	$(INSTALL) -m 0644 man/unixipc-bridge.1 '$(DESTDIR)$(mandir)/man1'
	sed 's|@bindir@|$(bindir)|' packaging/systemd/unixipc-bridge.service.in \
	    >'$(DESTDIR)$(unitdir)/unixipc-bridge.service'
	chmod 0644 '$(DESTDIR)$(unitdir)/unixipc-bridge.service'
	$(INSTALL) -m 0644 packaging/systemd/unixipc-bridge.toml '$(DESTDIR)$(datadir)/unixipc'

## make check-bridge  run the tests of unixipc-bridge with a NATS server on the loopback interface
.PHONY: check-bridge
check-bridge:
	@scripts/need '$(CARGO)' nats-server
	env -u MAKEFLAGS scripts/leaves-nothing $(CARGO) test $(bridge_flags)

## make demo-bridge   show a feed that crosses from one machine to another
.PHONY: demo-bridge
demo-bridge: stage bridge
	@scripts/need '$(CC)' '$(PKG_CONFIG)' nats-server
	PKG_CONFIG_PATH='$(stage)/lib/pkgconfig' && export PKG_CONFIG_PATH && \
	$(CC) -O2 -o $(build)/quotes bridge/demo/quotes.c $$($(PKG_CONFIG) --cflags --libs unixipc) \
	    '-Wl,-rpath,$(stage)/lib'
	scripts/demo-bridge $(build)/unixipc-bridge $(build)/quotes

## make bench-bridge  measure unixipc-bridge beside a bare client of NATS (ARGS='COUNT LENGTH')
.PHONY: bench-bridge
bench-bridge:
	@scripts/need '$(CARGO)' nats-server
	env -u MAKEFLAGS $(CARGO) bench $(bridge_flags) --bench compare -- $(ARGS)

## make examples      build the C programs of c_examples/ into build/examples
.PHONY: examples
examples: stage
	@scripts/need '$(CC)' '$(PKG_CONFIG)'
	PKG_CONFIG_PATH='$(stage)/lib/pkgconfig' $(MAKE) --no-print-directory -C c_examples \
	    CXX='$(CXX)' out=../$(build)/examples LDFLAGS='$(LDFLAGS) "-Wl,-rpath,$(stage)/lib"'

## make demo          build everything and run the examples, and then the tool
.PHONY: demo
demo: examples tools
	@scripts/need sha256sum awk cmp
	@scripts/demo $(build)/examples

## make check         run all tests; a test whose tools are missing is ignored, and the output says so.
##                      For each failed test, the last lines have a command that repeats it.
.PHONY: check
check: examples
	@scripts/need '$(CC)' '$(PKG_CONFIG)' readelf
	env -u MAKEFLAGS scripts/leaves-nothing \
	    scripts/repeat-failed '$(CARGO) test %target -- --exact %test' \
	    $(CARGO) test --locked --no-fail-fast --target-dir target
	$(MAKE) --no-print-directory loom

## make loom          run every interleaving of the protocols in shared memory (TEST=NAME: of one test)
.PHONY: loom
loom:
	env -u MAKEFLAGS RUSTFLAGS='--cfg loom' CARGO_PROFILE_RELEASE_LTO=off \
	    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 scripts/repeat-failed 'make loom TEST=%test' \
	    $(CARGO) test --release --locked --test loom --target-dir target/loom \
	    $(if $(TEST),-- --exact '$(TEST)')

## make litmus        run litmus tests of the orderings on which the protocols rely (doc/memory-order.md)
.PHONY: litmus
litmus: $(build)/litmus
	$(build)/litmus
$(build)/litmus: $(wildcard tests/litmus/*.[ch]) Makefile
	@scripts/need '$(CC)'
	@mkdir -p $(build)
	$(CC) -std=c11 -O2 -Wall -Wextra -Wpedantic -pthread -o $@ $(filter %.c,$^) $(LDFLAGS)

## make sanitize      run the suites of the objects in shared memory under AddressSanitizer and
##                      ThreadSanitizer; SANITIZER=address or SANITIZER=thread: under one of them
SANITIZER = address thread
.PHONY: sanitize
sanitize:
	@scripts/need '$(CARGO)'
	for sanitizer in $(SANITIZER); do env -u MAKEFLAGS scripts/sanitize $$sanitizer || exit; done

## make check-msrv    compile the library and the tests with the oldest Rust version that they support,
##                      and run the tests of the modules
.PHONY: check-msrv
check-msrv:
	@scripts/need rustup
	rustup toolchain install $(msrv) --profile minimal
	env -u MAKEFLAGS rustup run $(msrv) cargo check --locked --workspace --all-targets \
	    --target-dir target/msrv
	env -u MAKEFLAGS rustup run $(msrv) cargo check --locked --all-targets \
	    --manifest-path benches/harness/Cargo.toml --target-dir target/msrv-harness
	env -u MAKEFLAGS rustup run $(msrv) cargo test --locked --lib --target-dir target/msrv
msrv := $(shell sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)

## make format        format the Rust, C and C++ files
.PHONY: format
format:
	@scripts/need cargo clang-format git
	for manifest in Cargo.toml cli/Cargo.toml bridge/Cargo.toml benches/harness/Cargo.toml \
	    benches/subjects/iceoryx2/Cargo.toml; do \
	    cargo fmt --all --manifest-path $$manifest || exit; \
	done
	scripts/c-files | xargs clang-format -i

## make spelling      check the spelling, and search for words of doc/vocabulary.txt
.PHONY: spelling
spelling:
	@scripts/spelling

## make bench         measure unixipc and, for comparison, the system and other libraries.
##                      QUICK=1: less than two minutes; ONLY=rate,latency: only these tests;
##                      BASE=FILE.csv: compare with an earlier run; see benches/README.md
.PHONY: bench
bench: bench-subjects
	env -u MAKEFLAGS $(bench_harness) -- --subjects $(build)/benches/subjects \
	    $(if $(QUICK),--quick) $(if $(ONLY),--only '$(ONLY)') $(if $(BASE),--base '$(BASE)') $(ARGS)
bench_harness = $(CARGO) run --quiet --locked --target-dir target/harness \
	--manifest-path benches/harness/Cargo.toml

# The programs that the harness runs: one for each library that is installed.
.PHONY: bench-subjects
bench-subjects: stage
	@scripts/need '$(CARGO)' '$(CC)' '$(PKG_CONFIG)'
	PKG_CONFIG_PATH="$(stage)/lib/pkgconfig$${PKG_CONFIG_PATH:+:$$PKG_CONFIG_PATH}" \
	    $(MAKE) --no-print-directory -C benches/subjects out=../../$(build)/benches/subjects \
	    LDFLAGS='$(LDFLAGS) "-Wl,-rpath,$(stage)/lib"'

## make bench-deps    list the missing libraries for make bench; as root on Debian, install them
.PHONY: bench-deps
bench-deps:
	@status=0; scripts/bench-deps '$(CC)' '$(CXX)' || status=1; \
	$(MAKE) --no-print-directory bench-subjects ICEORYX2=1 || status=1; exit $$status

## make bench-calls   measure each call and object of unixipc (QUICK=1: shorter)
.PHONY: bench-calls
bench-calls: stage
	PKG_CONFIG_PATH='$(stage)/lib/pkgconfig' $(MAKE) --no-print-directory -C benches/calls run \
	    out=../../$(build)/benches LDFLAGS='$(LDFLAGS) "-Wl,-rpath,$(stage)/lib"'

## make count-instructions   count the instructions of a message with valgrind
.PHONY: count-instructions
count-instructions: stage
	@scripts/need valgrind
	PKG_CONFIG_PATH='$(stage)/lib/pkgconfig' $(MAKE) --no-print-directory -C benches/calls \
	    ../../$(build)/benches/instructions out=../../$(build)/benches \
	    LDFLAGS='$(LDFLAGS) "-Wl,-rpath,$(stage)/lib"'
	scripts/count-instructions $(build)/benches/instructions

## make check-bench   run the tests of the benchmark harness
.PHONY: check-bench
check-bench:
	@scripts/need '$(CARGO)'
	env -u MAKEFLAGS $(CARGO) test --locked --manifest-path benches/harness/Cargo.toml \
	    --target-dir target/harness

## make header        generate include/unixipc.h, the files in packaging/ that follow from it, and the
##                      golden files of tests/abi from the code
.PHONY: header
header:
	UNIXIPC_BLESS=1 $(CARGO) test --locked --target-dir target --test header -- golden
	UNIXIPC_BLESS=1 $(CARGO) test --locked --target-dir target --test abi --test package -- golden

## make clean         remove all build output
.PHONY: clean
clean:
	rm -rf $(build) target

## make help          print this list
.PHONY: help
help:
	@sed -n 's/^## //p' Makefile
