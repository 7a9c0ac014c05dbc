//! Seccomp filters, by which a test makes system calls fail.

use libc::{c_int, c_long, c_ulong, sock_filter};
use std::io;

/// The number of fchmodat2(2), which the libc crate does not have for every architecture.
pub const SYS_FCHMODAT2: c_long = 452;

/// Makes a system call fail in this process and its children from now on. The number is the one
/// of the machine's native ABI.
pub fn refuse(syscall: c_long, error: c_int) {
    let [fail, allow] = returns(error);
    install(&mut [
        load(NUMBER),
        jump(libc::BPF_JEQ, syscall as u32, 0, 1),
        fail,
        allow,
    ]);
}

/// Like [`refuse`], but only if the low half of an argument passes a test: BPF_JSET (it has one
/// of these bits) or BPF_JGT (it is greater).
pub fn refuse_where(syscall: c_long, argument: u32, test: u32, value: u32, error: c_int) {
    let [fail, allow] = returns(error);
    install(&mut [
        load(NUMBER),
        jump(libc::BPF_JEQ, syscall as u32, 0, 3),
        load(ARGUMENTS + 8 * argument),
        jump(test, value, 0, 1),
        fail,
        allow,
    ]);
}

/// Like [`refuse`], but only if the low half of an argument has none of these bits. With the
/// error 0 the call does nothing, and returns 0.
pub fn refuse_without(syscall: c_long, argument: u32, bits: u32, error: c_int) {
    let [fail, allow] = returns(error);
    install(&mut [
        load(NUMBER),
        jump(libc::BPF_JEQ, syscall as u32, 0, 3),
        load(ARGUMENTS + 8 * argument),
        jump(libc::BPF_JSET, bits, 1, 0),
        fail,
        allow,
    ]);
}

/// Makes a system call wait for the listener, whose descriptor this returns, if the low half of its
/// first argument is `argument`.
pub(crate) fn listen(syscall: c_long, argument: u32) -> c_int {
    let [_, allow] = returns(0);
    let wait = instruction(
        libc::BPF_RET | libc::BPF_K,
        0,
        0,
        libc::SECCOMP_RET_USER_NOTIF,
    );
    install_with(
        &mut [
            load(NUMBER),
            jump(libc::BPF_JEQ, syscall as u32, 0, 3),
            load(ARGUMENTS),
            jump(libc::BPF_JEQ, argument, 0, 1),
            wait,
            allow,
        ],
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    )
}

/// The offsets of the call's number and of its arguments in `seccomp_data`.
const NUMBER: u32 = 0;
const ARGUMENTS: u32 = 16;

fn instruction(code: u32, jt: u8, jf: u8, k: u32) -> sock_filter {
    let code = code as u16;
    sock_filter { code, jt, jf, k }
}

fn load(offset: u32) -> sock_filter {
    instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, offset)
}

fn jump(test: u32, value: u32, if_true: u8, if_false: u8) -> sock_filter {
    instruction(libc::BPF_JMP | libc::BPF_K | test, if_true, if_false, value)
}

fn returns(error: c_int) -> [sock_filter; 2] {
    [
        libc::SECCOMP_RET_ERRNO | error as u32,
        libc::SECCOMP_RET_ALLOW,
    ]
    .map(|action| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, action))
}

fn install(program: &mut [sock_filter]) {
    assert_eq!(install_with(program, 0), 0);
}

fn install_with(program: &mut [sock_filter], flags: c_ulong) -> c_int {
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no pointers.
    let done = unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) };
    assert_eq!(done, 0);
    let mode = libc::SECCOMP_SET_MODE_FILTER;
    // SAFETY: the program is ours; the kernel copies it.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, mode, flags, &program) };
    assert_ne!(done, -1, "{}", io::Error::last_os_error());
    done as c_int
}
