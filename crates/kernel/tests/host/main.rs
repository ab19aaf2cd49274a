//! The real kernel: each step judged by what the system's tools show and by traffic.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod advertisements;
mod bridge;
mod errors;
mod facts;
mod namespace;
mod patch;
mod port;
mod remove;
mod shape;
mod steps;
