//! The process that stays as long as something needs it: it answers for the names of sandboxes, inside each of them.
//!
//! What there is to answer is in the store. Who changes it tells the agent so ([`Door`]), and starts it if there is none.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod agent;
mod door;
mod post;
mod roll;
mod rooms;

pub use agent::{Failure, serve};
pub use door::Door;
