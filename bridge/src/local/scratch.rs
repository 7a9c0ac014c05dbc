//! The buffer into which messages are received.

use bytes::Bytes;
use std::mem::MaybeUninit;
use unixipc::bytes::to_fill;
use unixipc::errno::{Errno, Result};

/// A buffer that grows to the longest message.
pub struct Scratch(Vec<u8>);

/// The first size.
const SIZE: usize = 64 << 10;
/// Longer than any message.
const SIZE_MAX: usize = 1 << 31;

impl Scratch {
    /// A buffer for short messages.
    pub fn new() -> Self {
        Self(vec![0; SIZE])
    }

    /// Receives a message with a function that fails with `EMSGSIZE`, and leaves the message, if the
    /// buffer is too short. The result of the function contains the length.
    pub fn receive<T>(
        &mut self,
        mut receive: impl FnMut(&mut [MaybeUninit<u8>]) -> Result<T>,
        len: impl Fn(&T) -> usize,
    ) -> Result<(T, Bytes)> {
        loop {
            match receive(to_fill(&mut self.0)) {
                Err(errno) if errno == Errno::EMSGSIZE && self.0.len() < SIZE_MAX => {
                    let size = self.0.len() * 2;
                    self.0.resize(size, 0);
                }
                received => {
                    let received = received?;
                    let bytes = self.0.get(..len(&received)).ok_or(Errno::EPROTO)?;
                    let bytes = Bytes::copy_from_slice(bytes);
                    return Ok((received, bytes));
                }
            }
        }
    }
}
