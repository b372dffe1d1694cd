#!/bin/sh
# rust-wasm.sh CARGO-ARGUMENTS…
#
# Calls cargo for a wasm target, in the way that this machine offers:
#   1. rustup's toolchain, with the target added when it is missing (the normal way);
#   2. where rustup cannot fetch it: the distribution's Rust (Debian: rustc-web cargo-web rust-web-src and the lld that
#      /usr/bin/rust-lld points to), which builds the standard library from its packaged source.
# rust-wasm.sh --install [TARGET]    makes one of the two ready, and says which
#                                    (exit code 3: neither can make this target)
# FANLIGHT_RUST=distribution         takes the second way even where the first would do
set -eu

case "${1:-}" in
'' | -h | --help)
    sed -n '2,/^set/{/^set/d;s/^# \{0,1\}//p}' "$0"
    exit 0
    ;;
esac

say() { echo "rust-wasm: $*" >&2; }
root() { if [ "$(id -u)" = 0 ]; then "$@"; else sudo "$@"; fi; }

# The target that the cargo arguments name.
target=wasm32-unknown-unknown
previous=
for argument; do
    case "$previous" in --target | --install) target=$argument ;; esac
    previous=$argument
done

std_installed() { [ -d "$(rustc --print sysroot 2>/dev/null)/lib/rustlib/$target/lib" ]; }

add_target() {
    command -v rustup >/dev/null || return 1
    say "rustup target add $target"
    rustup target add "$target" >&2
}

distribution_ready() {
    [ -x /usr/bin/rustc ] && [ -x /usr/bin/cargo ] && [ -x /usr/bin/rust-lld ] &&
        [ -e "$(/usr/bin/rustc --print sysroot)/lib/rustlib/src/rust/library/std/Cargo.toml" ]
}

# The distribution's way is for browsers: a WASI program would need a C library too, which is not asked for here.
distribution_serves() {
    [ "$target" = wasm32-unknown-unknown ] && return 0
    say "$target needs rustup, which cannot fetch it here"
    exit 3
}

install_distribution() {
    command -v apt-get >/dev/null || {
        say "cannot get $target: rustup has failed, and there is no apt-get. Install Rust with this target by hand."
        exit 1
    }
    say "installing the distribution's Rust: rustc-web cargo-web rust-web-src rust-web-llvm"
    root apt-get update -q >&2 && root apt-get install -qy rustc-web cargo-web rust-web-src rust-web-llvm >&2
    # rust-lld is a link to lld-NN, which none of these packages brings.
    [ -x /usr/bin/rust-lld ] || root apt-get install -qy "$(basename "$(readlink /usr/bin/rust-lld)")" >&2
    distribution_ready || { say "the distribution's Rust is installed and cannot build for wasm"; exit 1; }
}

way=rustup
if [ "${FANLIGHT_RUST:-}" = distribution ]; then
    distribution_serves
    distribution_ready || install_distribution
    way=distribution
elif ! std_installed && ! add_target; then
    distribution_serves
    distribution_ready || install_distribution
    way=distribution
fi

if [ "$1" = --install ]; then
    say "$target by $way"
    exit 0
fi

if [ "$way" = rustup ]; then exec cargo "$@"; fi
# The compiler is a stable one: RUSTC_BOOTSTRAP lets it build the standard library that the packages bring as source.
command=$1
shift
RUSTC=/usr/bin/rustc RUSTDOC=/usr/bin/rustdoc RUSTC_BOOTSTRAP=1 exec /usr/bin/cargo "$command" -Zbuild-std=std,panic_abort "$@"
