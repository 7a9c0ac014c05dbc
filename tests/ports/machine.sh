# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154 # scripts/ports sets the variables
# The virtual machines of scripts/ports: QEMU emulates the processor, and Debian's kernel runs the
# programs. The file system is an archive that the kernel unpacks into its memory.

# The packages that emulate an architecture.
emulator_packages() {
    case $1 in
    amd64) echo 'qemu-system-x86 seabios' ;;
    arm64) echo 'qemu-system-arm' ;;
    riscv64) echo 'qemu-system-misc opensbi' ;;
    *) echo 'qemu-system-misc' ;;
    esac
}

# The command that emulates an architecture, and the console of its kernel.
choose_emulator() {
    console=ttyS0
    case $1 in
    amd64)
        emulator=(qemu-system-x86_64 -M q35 -cpu max)
        # The kernel's check of the timer fails if this machine is busy.
        console='ttyS0 no_timer_check'
        ;;
    arm64)
        emulator=(qemu-system-aarch64 -M 'virt,gic-version=3' -cpu cortex-a76)
        console=ttyAMA0
        ;;
    riscv64) emulator=(qemu-system-riscv64 -M virt -cpu max) ;;
    loong64)
        emulator=(qemu-system-loongarch64 -M virt -cpu max)
        # Without firmware, the search for a keyboard controller faults.
        console='ttyS0 initcall_blacklist=i8042_init'
        ;;
    esac
    processor=$(enter "$qemu_root" 60 "${emulator[0]}" --version |
        sed -n '1s/.*version \([0-9.]*\).*/QEMU \1/p')
    processor="$processor, ${emulator[*]: -1}"
}

# pack_machine ROOT BUNDLE: makes the file system of a machine, $out/machine.cpio, from a root with
# busybox, a shell and the C library, the bundle of the build, and the installed library.
pack_machine() {
    local tree=$out/machine
    rm -rf "$tree"
    mkdir -p "$tree/bundle" "$tree/src/build/stage/lib"
    cp -a "$1/usr" "$1/etc" "$tree"
    rm -rf "$tree"/usr/share/{doc,man,locale,gdb,bug,lintian} "$tree"/usr/lib/*/gconv
    mkdir -p "$tree"/usr/{bin,sbin,lib,lib64}
    local directory
    for directory in bin sbin lib lib64; do
        ln -sfn "usr/$directory" "$tree/$directory"
    done
    cp -a "$2/." "$tree/bundle"
    cp -a "$source"/build/stage/lib/libunixipc.so* "$source/build/stage/lib/pkgconfig" \
        "$tree/src/build/stage/lib"
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' \
        >"$tree/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$tree/etc/group"
    printf '127.0.0.1 localhost\n' >"$tree/etc/hosts"
    # The sh of busybox prefers its own commands.
    ln -sfn dash "$tree/usr/bin/sh"
    install -m 0755 "$inside/init" "$tree/init"
    install -m 0755 "$inside/run" "$tree/run-port"
    (cd "$tree" && find . -mindepth 1) >"$out/machine.list"
    enter "$qemu_root" 120 cpio --quiet -o -H newc -D /out/machine \
        <"$out/machine.list" >"$out/machine.cpio"
    rm -rf "$tree"
}

# boot SECONDS: starts the machine and prints what its console shows.
boot() {
    cp "$kernel_root/vmlinuz" "$out/vmlinuz"
    enter "$qemu_root" "$1" "${emulator[@]}" -accel 'tcg,thread=multi' -smp 2 -m 3072 -nodefaults -no-user-config \
        -display none -serial stdio -no-reboot -kernel /out/vmlinuz -initrd /out/machine.cpio \
        -append "console=$console panic=-1 quiet loglevel=4 mitigations=off" |
        sed -u 's/\r$//'
}
