//! The commands that send and receive messages, beside real feeds, listeners and FIFOs.

mod channels;
mod feeds;
mod fifos;
mod recordings;
mod support;
mod terminal;
