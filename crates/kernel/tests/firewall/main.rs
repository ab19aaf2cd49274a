//! The firewall, in namespaces of its own: what is in the table, and what becomes of packets.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod backend;
mod cost;
mod flows;
mod guests;
mod isolation;
mod listeners;
mod loopback;
mod net;
mod publish;
mod resolver;
mod segments;
mod table;
