//! Names of containers and sandboxes: who may ask for what, and a server that answers.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
