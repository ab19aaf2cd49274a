//! Linkspan as its users have it: the program, on a host of its own, judged by traffic and by the system's own
//! tools.
//!
//! The host is the namespace that a test runs in. It is wired to a machine called outside:
//!
//! | machine | device | address |
//! |---|---|---|
//! | the host | lan0 | 192.0.2.1/24 |
//! | outside, whose default route is the host | lan0 | 192.0.2.9/24 |
//!
//! Sandboxes are made by the program under test. `support` has the words that the stories are told with.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test ends at the first surprise"
)]

mod support;

mod aardvark;
mod agent;
mod agreement;
mod cni;
mod connect;
mod dhcp;
mod errors;
mod examples;
mod flat;
mod foreign;
mod ipam;
mod ipv6;
mod ipvlan;
mod lab;
mod macvlan;
mod matrix;
mod modes;
mod names;
mod neighbours;
mod netavark;
mod ovs;
mod podman;
mod ports;
mod program;
mod publish;
mod readme;
mod shaping;
mod taps;
mod tiers;
mod traces;
mod traffic;
