# shellcheck shell=bash disable=SC2034 # scripts/ports reads these variables
# The ports of scripts/ports.

all_ports=(musl rust-1.85 debian13 aarch64 aarch64-16k riscv64 loong64 linux-6.1 linux-5.10)

# Suites that need neither a compiler nor the source tree. `unit` has the unit tests of the library.
# killstep steps through each instruction of a call, which takes too long under emulation.
portable_suites='unit calls cell channel feed fifo lock message semlock shm spawn wake'
short_suites='cell lock channel feed'

# The packages with which a library for the system itself is built.
native='gcc g++ libc6-dev make pkgconf iproute2 procps'
# The other tools of `make check`.
test_tools='abigail-tools bsdutils clang cmake groff libclang-rt-19-dev mandoc meson ninja-build perl
    python3 python3-cffi strace util-linux valgrind'

# define PORT: sets the variables that describe a port.
define() {
    summary=          # what is tested, for the table
    suite=trixie      # the Debian suite of the compilers and of the C library
    packages=         # the packages of the root in which the port is built
    foreign=          # Debian's name of the architecture for which the compilers generate code
    target=           # Rust's name of the system for which it generates code
    prefix=           # the beginning of the names of the cross-compilers
    machine=          # Debian's name of the architecture of the virtual machine, if there is one
    kernel=           # the package that depends on the newest kernel
    kernel_suite=     # its suite
    check=            # not empty: all tests run, in a root that has their tools
    suites=$portable_suites
    [ -z "$short" ] || suites=$short_suites
    # The newest Rust of Debian 13, whose package cargo is Rust 1.85.
    local newest_rust='cargo-web rustc-web'
    # One root for all ports that are built with it for x86-64.
    local newest="$native $newest_rust rust-web-src musl-tools"
    case $1 in
    musl)
        summary='musl, x86-64'
        target=x86_64-unknown-linux-musl
        packages=$newest
        suites=
        ;;
    rust-1.85)
        summary='Rust 1.85 of Debian 13'
        packages="$native cargo"
        [ -z "$short" ] || suites=unit
        ;;
    debian13)
        summary='Debian 13, newest Rust'
        packages=$newest
        if [ -n "$short" ]; then
            suites='unit abi'
        else
            packages="$newest $test_tools"
            suites=
            check=1
        fi
        ;;
    aarch64)
        summary='AArch64, Debian 13'
        cross arm64 aarch64 aarch64-unknown-linux-gnu
        kernel=linux-image-cloud-arm64
        ;;
    aarch64-16k)
        summary='AArch64, pages of 16 KiB'
        cross arm64 aarch64 aarch64-unknown-linux-gnu
        kernel=linux-image-arm64-16k
        ;;
    riscv64)
        summary='RISC-V, Debian 13'
        cross riscv64 riscv64 riscv64gc-unknown-linux-gnu
        kernel=linux-image-riscv64
        ;;
    loong64)
        summary='LoongArch, Debian unstable'
        suite=sid
        newest_rust='cargo rustc'
        cross loong64 loongarch64 loongarch64-unknown-linux-gnu
        kernel=linux-image-loong64
        ;;
    linux-6.1)
        summary="Debian 12's kernel"
        old_kernel bookworm
        ;;
    linux-5.10)
        summary="Debian 11's kernel"
        old_kernel bullseye
        ;;
    *) return 1 ;;
    esac
    kernel_suite=${kernel_suite:-$suite}
}

# A port to another architecture: Debian's, the compiler's and Rust's name.
cross() {
    foreign=$1
    machine=$1
    target=$3
    prefix=$2-linux-gnu-
    packages="gcc libc6-dev make pkgconf $newest_rust gcc-$2-linux-gnu g++-$2-linux-gnu"
    case $suite in
    sid) packages="$packages libstd-rust-dev:$1" ;;
    *) packages="$packages libstd-rust-web-dev:$1" ;;
    esac
}

# The programs of Debian 13 on the kernel of an earlier suite.
old_kernel() {
    packages=$newest
    machine=amd64
    kernel=linux-image-cloud-amd64
    kernel_suite=$1
}
