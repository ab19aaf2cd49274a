//! The process that stays as long as something needs it: names for sandboxes.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]
