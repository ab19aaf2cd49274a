//! Where addresses come from.

pub mod delegate;
