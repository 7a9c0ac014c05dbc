# shellcheck shell=bash
# shellcheck disable=SC2154 # scripts/ports sets the variables
# The roots of scripts/ports: directories with a Debian system, and commands that run inside them.

# own_processes COMMAND...: runs a command in its own mount and PID namespace. All its processes end
# with the command, and when the process that called this is killed; its mounts end with them.
own_processes() {
    setpriv --pdeathsig KILL unshare --mount --propagation private --pid --fork --kill-child \
        --mount-proc "$@"
}

# run_bounded SECONDS COMMAND...: like own_processes, with a time limit.
run_bounded() {
    local status=0
    timeout --foreground --signal=KILL "$1" setpriv --pdeathsig KILL unshare --mount \
        --propagation private --pid --fork --kill-child --mount-proc "${@:2}" || status=$?
    [ $status -ne 137 ] || echo "ports: stopped after $1 s: ${*:2:4} ..." >&2
    return $status
}

# The URI of the Debian archive in the configuration of apt.
mirror() {
    local uri
    # shellcheck disable=SC2016 # apt replaces these
    uri=$(apt-get indextargets --format '$(REPO_URI)' 'Label: Debian' 'Component: main' | head -n 1)
    echo "${uri:-http://deb.debian.org/debian}"
}

# make_root NAME SUITE ARGUMENT...: makes the root $ports/roots/NAME by mmdebstrap with these
# arguments, unless the present one was made with the same ones.
make_root() {
    local name=$1 suite=$2 root=$ports/roots/$1 recipe
    shift 2
    recipe="$suite $*"
    if [ "$(cat "$root.recipe" 2>/dev/null)" = "$recipe" ]; then
        return
    fi
    say "makes the root $name"
    rm -rf --one-file-system "$root" "$root.recipe" "$root.new"
    mkdir -p "$ports/roots"
    # The index of unstable has a date of expiry, which a mirror that is a snapshot has passed.
    run_bounded 1800 mmdebstrap --quiet --aptopt='Acquire::Check-Valid-Until "false"' \
        --aptopt='Acquire::Retries "3"' "$@" "$suite" "$root.new" "$(mirror)"
    mv "$root.new" "$root"
    echo "$recipe" >"$root.recipe"
}

# The argument of mmdebstrap for packages that are separated by spaces.
include() {
    local list IFS=$' \n'
    # shellcheck disable=SC2206 # a list
    list=($1)
    IFS=,
    echo "--include=${list[*]}"
}

# enter ROOT SECONDS COMMAND...: runs a command in a root with a time limit. It has an own network,
# IPC and PID namespace, the directory $out as /out, $source as /src and $vendor as /vendor, and the
# root of this system as /mnt.
enter() {
    local root=$1 limit=$2
    shift 2
    # shellcheck disable=SC2016 # the inner shell replaces these
    # The root may have neither env nor a shell.
    run_bounded "$limit" unshare --net --ipc \
        env -i HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin bash -euc '
        root=$1 out=$2 source=$3 vendor=$4
        shift 4
        mkdir -p "$root/out" "$root/src" "$root/vendor" "$root"/{proc,sys,dev,tmp,mnt}
        mount --bind "$root" "$root"
        mount --bind "$out" "$root/out"
        mount --bind "$source" "$root/src"
        mount --bind -o ro "$vendor" "$root/vendor"
        mount -t proc proc "$root/proc"
        mount --rbind /sys "$root/sys"
        mount --rbind /dev "$root/dev"
        mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
        mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
        # Not chroot: / would be no mount point, and in a mount namespace of a test the paths of
        # open files would change.
        cd "$root"
        pivot_root . mnt
        hash -r
        # valgrind counts descriptors that a program inherits as its leaks.
        for file in /proc/self/fd/*; do
            fd=${file##*/}
            [ "$fd" -le 2 ] || eval "exec $fd>&-"
        done
        exec "$@"
    ' enter "$root" "$out" "$source" "$vendor" "$@"
}
