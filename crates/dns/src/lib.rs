//! Names of containers and sandboxes: who may ask for what, and a server that answers.
//!
//! A frontend says what there is ([`Zones`]) and on which sockets it is asked for ([`Server`]); what nobody here has
//! a name for goes to a [`Forward`].
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cache;
mod forward;
mod query;
mod server;
mod wire;
mod zones;

pub use forward::{Forwarder, Manner, Upstream};
pub use query::{Client, Forward, Query, Reply};
pub use server::{Config, Listen, ListenError, Server, Socket};
pub use zones::{Answer, Asker, Link, Member, Network, Question, Records, Style, Verdict, Zones};
