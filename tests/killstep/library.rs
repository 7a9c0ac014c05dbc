//! Loads the installed library with all symbols resolved, so that the scenarios step through the
//! code that ships and not through a debug build.

use common::{root, stage};
use libc::{c_char, c_int, c_uint, c_void, iovec, key_t, mode_t, pid_t, size_t, ssize_t};
use libtest_mimic::Failed;
use std::ffi::{CStr, CString};
use std::mem;
use unixipc::channel::Channel;
use unixipc::feed::{Feed, Subscriber};
use unixipc::ffi::channel::ipc_channel_opts;
use unixipc::ffi::cond::ipc_cond;
use unixipc::ffi::event::ipc_event;
use unixipc::ffi::feed::{
    ipc_feed_info, ipc_feed_opts, ipc_feed_subscriber, ipc_sub_info, ipc_sub_opts,
};
use unixipc::ffi::mutex::ipc_mutex;
use unixipc::ffi::rwlock::ipc_rwlock;
use unixipc::ffi::shm::ipc_shm_opts;
use unixipc::ffi::spawn::ipc_spawn_opts;
use unixipc::shm::Shm;

/// The callback that initialises a region.
pub type Init = unsafe extern "C" fn(*mut c_void, size_t, *mut c_void) -> c_int;

macro_rules! library {
    ($($name:ident($($arg:ty),*) -> $ret:ty;)*) => {
        /// The functions of the library, by name.
        pub struct Library {
            $(pub $name: unsafe extern "C" fn($($arg),*) -> $ret,)*
        }

        impl Library {
            fn from(handle: *mut c_void) -> Self {
                Self {$(
                    $name: {
                        let address = symbol(handle, concat!(stringify!($name), "\0"));
                        // SAFETY: the header declares the function with this type.
                        unsafe {
                            mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) -> $ret>(
                                address,
                            )
                        }
                    },
                )*}
            }
        }
    };
}

library! {
    ipc_pair_open(c_int, *mut c_int) -> c_int;
    ipc_send_full(c_int, *const c_void, size_t, *mut size_t, c_int) -> ssize_t;
    ipc_recv_full(c_int, *mut c_void, size_t, *mut size_t, c_int) -> ssize_t;
    ipc_msg_send(c_int, *const c_void, size_t, *const c_int, size_t, c_int) -> c_int;
    ipc_msg_sendv(c_int, *const iovec, c_int, *const c_int, size_t, c_int) -> ssize_t;
    ipc_msg_recv(c_int, *mut c_void, size_t, *mut c_int, *mut size_t, c_int) -> ssize_t;
    ipc_spawn(
        *const c_char, *const *mut c_char, *const ipc_spawn_opts, size_t, *mut c_int
    ) -> pid_t;
    ipc_fifo_create(*const c_char, mode_t, c_uint) -> c_int;
    ipc_fifo_open(*const c_char, c_uint, c_int) -> c_int;
    ipc_fifo_send(c_int, *const c_void, size_t, c_int) -> c_int;
    ipc_fifo_recv(c_int, *mut c_void, size_t, c_int) -> ssize_t;
    ipc_fifo_recv_any(c_int, *mut c_void, size_t, *mut c_int, c_int) -> ssize_t;
    ipc_fifo_unlink(*const c_char) -> c_int;
    ipc_semlock_open(key_t, c_int) -> c_int;
    ipc_semlock_rdlock(c_int, c_int) -> c_int;
    ipc_semlock_rdunlock(c_int) -> c_int;
    ipc_semlock_wrlock(c_int, c_int) -> c_int;
    ipc_semlock_wrunlock(c_int) -> c_int;
    ipc_semlock_consistent(c_int) -> c_int;
    ipc_semlock_remove(c_int) -> c_int;
    ipc_shm_create(size_t, *const ipc_shm_opts, size_t, *mut *mut Shm) -> c_int;
    ipc_shm_publish(*mut Shm, *const c_char) -> c_int;
    ipc_shm_open(*const c_char, c_uint, *mut *mut Shm) -> c_int;
    ipc_shm_open_or_create(
        *const c_char, size_t, Option<Init>, *mut c_void, *const ipc_shm_opts, size_t, *mut *mut Shm
    ) -> c_int;
    ipc_shm_from_fd(c_int, c_uint, *mut *mut Shm) -> c_int;
    ipc_shm_attach(key_t, size_t, c_int, *mut *mut Shm) -> c_int;
    ipc_shm_addr(*const Shm) -> *mut c_void;
    ipc_shm_size(*const Shm) -> size_t;
    ipc_shm_fd(*const Shm) -> c_int;
    ipc_shm_unlink(*const c_char) -> c_int;
    ipc_shm_close(*mut Shm) -> ();
    ipc_mutex_init(*mut ipc_mutex, c_uint) -> c_int;
    ipc_mutex_lock(*mut ipc_mutex, c_int) -> c_int;
    ipc_mutex_consistent(*mut ipc_mutex) -> c_int;
    ipc_mutex_unlock(*mut ipc_mutex) -> c_int;
    ipc_rwlock_init(*mut ipc_rwlock, c_uint) -> c_int;
    ipc_rwlock_rdlock(*mut ipc_rwlock, c_int) -> c_int;
    ipc_rwlock_rdunlock(*mut ipc_rwlock) -> c_int;
    ipc_rwlock_wrlock(*mut ipc_rwlock, c_int) -> c_int;
    ipc_rwlock_wrunlock(*mut ipc_rwlock) -> c_int;
    ipc_rwlock_consistent(*mut ipc_rwlock) -> c_int;
    ipc_cond_init(*mut ipc_cond, c_uint) -> c_int;
    ipc_cond_wait(*mut ipc_cond, *mut ipc_mutex, c_int) -> c_int;
    ipc_cond_signal(*mut ipc_cond) -> c_int;
    ipc_cell_memory_size(size_t) -> size_t;
    ipc_event_init(*mut ipc_event, c_uint) -> c_int;
    ipc_event_set(*mut ipc_event) -> c_int;
    ipc_event_clear(*mut ipc_event) -> c_int;
    ipc_event_wait(*mut ipc_event, c_int) -> c_int;
    ipc_event_is_set(*const ipc_event) -> c_int;
    ipc_cond_broadcast(*mut ipc_cond) -> c_int;
    ipc_cell_init(*mut c_void, size_t, size_t, c_uint, *mut *mut c_void) -> c_int;
    ipc_cell_open(*const c_void, size_t, c_uint, *mut *mut c_void) -> c_int;
    ipc_cell_store(*mut c_void, *const c_void, size_t, c_int) -> c_int;
    ipc_cell_load(*const c_void, *mut c_void, size_t, *mut u64) -> ssize_t;
    ipc_cell_wait(*const c_void, u64, c_int) -> c_int;
    ipc_cell_close(*mut c_void) -> ();
    ipc_channel_pair(*const ipc_channel_opts, size_t, *mut *mut Channel) -> c_int;
    ipc_channel_from_fd(
        c_int, *const ipc_channel_opts, size_t, c_int, *mut *mut Channel
    ) -> c_int;
    ipc_channel_listen(*const c_char, mode_t, c_uint) -> c_int;
    ipc_channel_accept(
        c_int, *const ipc_channel_opts, size_t, c_int, *mut *mut Channel
    ) -> c_int;
    ipc_channel_connect(
        *const c_char, *const ipc_channel_opts, size_t, c_int, *mut *mut Channel
    ) -> c_int;
    ipc_channel_send(*mut Channel, *const c_void, size_t, c_int) -> c_int;
    ipc_channel_send_many(*mut Channel, *const iovec, size_t, c_int) -> ssize_t;
    ipc_channel_sendv(*mut Channel, *const iovec, c_int, c_int) -> ssize_t;
    ipc_channel_recv(*mut Channel, *mut c_void, size_t, c_int) -> ssize_t;
    ipc_channel_recv_many(*mut Channel, *mut iovec, size_t, c_int) -> ssize_t;
    ipc_channel_send_fds(
        *mut Channel, *const c_void, size_t, *const c_int, size_t, c_int
    ) -> c_int;
    ipc_channel_recv_fds(
        *mut Channel, *mut c_void, size_t, *mut c_int, *mut size_t, c_int
    ) -> ssize_t;
    ipc_channel_reserve(*mut Channel, size_t, c_int) -> *mut c_void;
    ipc_channel_commit(*mut Channel, size_t) -> c_int;
    ipc_channel_cancel(*mut Channel) -> c_int;
    ipc_channel_peek(*mut Channel, *mut *const c_void, c_int) -> ssize_t;
    ipc_channel_release(*mut Channel) -> c_int;
    ipc_channel_call(
        *mut Channel, *const c_void, size_t, *mut c_void, size_t, c_int
    ) -> ssize_t;
    ipc_channel_next_call(*mut Channel, *mut c_void, size_t, *mut u64, c_int) -> ssize_t;
    ipc_channel_reply(*mut Channel, u64, *const c_void, size_t, c_int) -> c_int;
    ipc_channel_shutdown(*mut Channel, c_int) -> c_int;
    ipc_channel_fd(*mut Channel) -> c_int;
    ipc_channel_close(*mut Channel) -> ();
    ipc_feed_create(*const ipc_feed_opts, size_t, *mut *mut Feed) -> c_int;
    ipc_feed_listen(*mut Feed, *const c_char, mode_t, c_uint) -> c_int;
    ipc_feed_add(*mut Feed, c_int) -> c_int;
    ipc_feed_publish(*mut Feed, *const c_void, size_t, c_int) -> c_int;
    ipc_feed_reserve(*mut Feed, size_t, c_int) -> *mut c_void;
    ipc_feed_commit(*mut Feed, size_t) -> c_int;
    ipc_feed_cancel(*mut Feed) -> c_int;
    ipc_feed_service(*mut Feed) -> c_int;
    ipc_feed_fd(*mut Feed) -> c_int;
    ipc_feed_subscribers(*mut Feed, *mut ipc_feed_subscriber, size_t, size_t) -> ssize_t;
    ipc_feed_info(*mut Feed, *mut ipc_feed_info, size_t) -> c_int;
    ipc_feed_close(*mut Feed) -> ();
    ipc_sub_connect(
        *const c_char, *const ipc_sub_opts, size_t, c_int, *mut *mut Subscriber
    ) -> c_int;
    ipc_sub_from_fd(
        c_int, *const ipc_sub_opts, size_t, c_int, *mut *mut Subscriber
    ) -> c_int;
    ipc_sub_recv(*mut Subscriber, *mut c_void, size_t, *mut u64, c_int) -> ssize_t;
    ipc_sub_peek(*mut Subscriber, *mut *const c_void, *mut u64, c_int) -> ssize_t;
    ipc_sub_release(*mut Subscriber) -> c_int;
    ipc_sub_fd(*mut Subscriber) -> c_int;
    ipc_sub_info(*mut Subscriber, *mut ipc_sub_info, size_t) -> c_int;
    ipc_sub_close(*mut Subscriber) -> ();
}

/// Brings the installed library up to date.
pub fn build() -> Result<(), Failed> {
    stage::make(&["stage"])
}

/// Loads the installed library. It stays loaded until the process ends.
pub fn load() -> Library {
    let path = root().join("build/stage/lib/libunixipc.so");
    let name = CString::new(path.into_os_string().into_encoded_bytes()).unwrap();
    // SAFETY: the library has no constructors of its own.
    let handle = unsafe { libc::dlopen(name.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
    assert!(!handle.is_null(), "dlopen {name:?}");
    Library::from(handle)
}

fn symbol(handle: *mut c_void, name: &str) -> *mut c_void {
    let name = CStr::from_bytes_with_nul(name.as_bytes()).unwrap();
    // SAFETY: the handle is open, the name a string.
    let address = unsafe { libc::dlsym(handle, name.as_ptr()) };
    assert!(!address.is_null(), "{name:?} is not exported");
    address
}
