//! Sequences of exclusive instructions of AArch64, by which a processor without atomic instructions
//! changes memory: a load-exclusive, and a store-exclusive that fails if the processor has lost the
//! reservation. An exception loses it, so a process that is single-stepped there would repeat the
//! sequence forever. It runs through the sequence in one step; a kill inside would have the effect of
//! one before the sequence.

use common::isolated::{apply, isolated};

/// The size of an instruction.
const SIZE: u64 = 4;
/// The largest number of instructions of a sequence. Compilers and C libraries make short ones.
const MAX: u64 = 16;

/// The addresses at which a process has left the sequence whose load-exclusive is at `start`: after
/// the store-exclusive, and the targets of branches. None if there is no such sequence. `read`
/// returns the instruction at an address.
pub fn exits(start: u64, read: impl Fn(u64) -> u32) -> Option<Vec<u64>> {
    if !is_load(read(start)) {
        return None;
    }
    let mut targets = Vec::new();
    for at in (1..MAX).map(|index| start + index * SIZE) {
        let instruction = read(at);
        if is_store(instruction) {
            let end = at + SIZE;
            targets.retain(|target| !(start..end).contains(target));
            targets.push(end);
            return Some(targets);
        }
        if let Some(offset) = branch(instruction) {
            targets.push(at.wrapping_add_signed(offset));
        } else if is_indirect_branch(instruction) {
            return None;
        }
    }
    None
}

/// Whether a load or store is exclusive, and not an atomic one that has a similar encoding.
fn is_exclusive(instruction: u32) -> bool {
    let is_pair = instruction & 1 << 21 != 0;
    instruction & 0x3f80_0000 == 0x0800_0000 && (!is_pair || instruction >> 31 == 1)
}

fn is_load(instruction: u32) -> bool {
    is_exclusive(instruction) && instruction & 1 << 22 != 0
}

fn is_store(instruction: u32) -> bool {
    is_exclusive(instruction) && instruction & 1 << 22 == 0
}

/// The distance to the target of a direct branch, in bytes.
fn branch(instruction: u32) -> Option<i64> {
    // A field of `bits` bits from bit 5, or from bit 0, in instructions.
    let field = |from: u32, bits: u32| {
        let at_top = i64::from(instruction >> from) << (64 - bits);
        (at_top >> (64 - bits)) * SIZE as i64
    };
    if instruction & 0xff00_0010 == 0x5400_0000 || instruction & 0x7e00_0000 == 0x3400_0000 {
        Some(field(5, 19)) // B.cond, CBZ, CBNZ
    } else if instruction & 0x7e00_0000 == 0x3600_0000 {
        Some(field(5, 14)) // TBZ, TBNZ
    } else if instruction & 0x7c00_0000 == 0x1400_0000 {
        Some(field(0, 26)) // B, BL
    } else {
        None
    }
}

/// BR, BLR, RET.
fn is_indirect_branch(instruction: u32) -> bool {
    instruction & 0xfe00_0000 == 0xd600_0000
}

/// The process that is stepped.
#[cfg(target_arch = "aarch64")]
pub mod traced {
    use libc::{c_long, c_void, iovec, pid_t, user_regs_struct};
    use std::mem::MaybeUninit;
    use std::{io, ptr};

    /// `BRK #0`.
    const BREAKPOINT: u32 = 0xd420_0000;

    /// The instructions that breakpoints replace, until [`Breakpoints::remove`].
    pub struct Breakpoints(Vec<(u64, u32)>);

    impl Breakpoints {
        /// If the next instruction begins a sequence, sets breakpoints where the process leaves it.
        pub fn after_sequence(pid: pid_t) -> Option<Self> {
            let exits = super::exits(instruction_address(pid), |at| read(pid, at))?;
            let replaced = exits.into_iter().map(|at| (at, read(pid, at))).collect();
            let this = Self(replaced);
            this.0
                .iter()
                .for_each(|(at, _)| write(pid, *at, BREAKPOINT));
            Some(this)
        }

        /// Removes the breakpoints of a stopped process.
        pub fn remove(self, pid: pid_t) {
            // Of an address that occurs twice, both elements have the instruction of the program.
            self.0
                .iter()
                .for_each(|(at, before)| write(pid, *at, *before));
        }
    }

    /// The address of the next instruction of a stopped process.
    pub fn instruction_address(pid: pid_t) -> u64 {
        let mut registers = MaybeUninit::<user_regs_struct>::zeroed();
        let mut part = iovec {
            iov_base: registers.as_mut_ptr().cast(),
            iov_len: size_of_val(&registers),
        };
        let set = ptr::without_provenance_mut::<c_void>(libc::NT_PRSTATUS as usize);
        // SAFETY: the kernel writes at most as many bytes as the part has.
        let got = unsafe { libc::ptrace(libc::PTRACE_GETREGSET, pid, set, &mut part) };
        assert_ne!(got, -1, "PTRACE_GETREGSET: {}", io::Error::last_os_error());
        // SAFETY: zeros are valid registers, and the kernel writes numbers.
        unsafe { registers.assume_init() }.pc
    }

    /// The instruction at an address, in the low half of a word; 0 if there is none.
    pub fn read(pid: pid_t, at: u64) -> u32 {
        word(pid, at) as u32
    }

    fn word(pid: pid_t, at: u64) -> c_long {
        // SAFETY: reads a word of another process; an address that is not mapped is an error.
        unsafe { libc::ptrace(libc::PTRACE_PEEKTEXT, pid, at, 0) }
    }

    fn write(pid: pid_t, at: u64, instruction: u32) {
        let new = word(pid, at) & !0xffff_ffff | c_long::from(instruction);
        // SAFETY: writes a word of another process.
        let done = unsafe { libc::ptrace(libc::PTRACE_POKETEXT, pid, at, new) };
        assert_ne!(done, -1, "PTRACE_POKETEXT: {}", io::Error::last_os_error());
    }
}

#[apply(isolated)]
fn sequences() {
    const START: u64 = 0x1000;
    let exits_of = |code: &[u32]| {
        let read = |at: u64| code.get((at - START) as usize / 4).copied().unwrap_or(0);
        exits(START, read).map(|exits| exits.iter().map(|exit| exit - START).collect::<Vec<_>>())
    };
    // ldaxr w0, [x2]; cmp w0, w3; b.ne end; stxr w4, w1, [x2]; cbnz w4, start; end: ret
    let compare_and_swap = [
        0x885f_fc40,
        0x6b03_001f,
        0x5400_0061,
        0x8804_7c41,
        0x35ff_ff84,
        0xd65f_03c0,
    ];
    assert_eq!(exits_of(&compare_and_swap), Some(vec![20, 16]));
    // ldxr x3, [x1]; add x4, x3, x0; stlxr w5, x4, [x1]; cbnz w5, start
    let add = [0xc85f_7c23, 0x8b00_0064, 0xc805_fc24, 0x35ff_ffa5];
    assert_eq!(exits_of(&add), Some(vec![12]));
    // ldxp x0, x1, [x2]; stxp w5, x0, x1, [x2]
    assert_eq!(exits_of(&[0xc87f_0440, 0xc825_0440]), Some(vec![8]));
    // ldxr w0, [x1]; cbz w0, end; clrex; ret; end: no store
    assert_eq!(
        exits_of(&[0x885f_7c20, 0x3400_0060, 0xd503_3f5f, 0xd65f_03c0]),
        None
    );
    // Other instructions: ldar w0, [x1]; cas w0, w1, [x2]; casp x0, x1, x2, x3, [x4]; ldr w0, [x1]
    for instruction in [0x88df_fc20, 0x88a0_7c41, 0x4820_7c82, 0xb940_0020] {
        assert_eq!(
            exits_of(&[instruction, 0x8804_7c41]),
            None,
            "{instruction:#x}"
        );
    }
}
