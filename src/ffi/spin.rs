//! How long a blocking call spins, as C says it.

use crate::errno::{Result, errno};
use crate::transport::spin::SpinPolicy;
use libc::c_uint;
use std::time::Duration;

/// The largest `spin_us`.
///
/// cbindgen:ignore
const SPIN_US_MAX: c_uint = 1_000_000;

/// Converts the member `spin_us` of an option structure, and whether the flag against spinning is
/// set. If neither is, an adaptive spin takes `adaptive`. `EINVAL` if both are set, or the time is
/// too long.
pub fn spin_policy(spin_us: c_uint, no_spin: bool, adaptive: Duration) -> Result<SpinPolicy> {
    match (spin_us, no_spin) {
        (0, false) => Ok(SpinPolicy::Adaptive(adaptive)),
        (time, false) if time <= SPIN_US_MAX => {
            Ok(SpinPolicy::For(Duration::from_micros(time.into())))
        }
        (0, true) => Ok(SpinPolicy::For(Duration::ZERO)),
        _ => Err(errno!(EINVAL)),
    }
}
