//! The structures of `semctl(2)`. The libc crate has them for glibc only.

#[cfg(target_env = "gnu")]
pub use libc::{semid_ds, seminfo};

/// `struct semid64_ds` of the kernel.
#[cfg(not(target_env = "gnu"))]
#[allow(non_camel_case_types)]
#[repr(C)]
pub struct semid_ds {
    perm: libc::ipc_perm,
    /// The time of the last `semop(2)`; 0 if there was none.
    pub sem_otime: libc::c_long,
    #[cfg(target_arch = "x86_64")]
    reserved: libc::c_ulong,
    ctime: libc::c_long,
    #[cfg(target_arch = "x86_64")]
    reserved2: libc::c_ulong,
    nsems: libc::c_ulong,
    reserved3: [libc::c_ulong; 2],
}

#[cfg(not(target_env = "gnu"))]
const _: () = assert!(
    size_of::<semid_ds>()
        == if cfg!(target_arch = "x86_64") {
            104
        } else {
            88
        }
);

/// `struct seminfo`, which only programs in C read.
#[cfg(not(target_env = "gnu"))]
#[allow(non_camel_case_types)]
pub type seminfo = libc::c_void;
