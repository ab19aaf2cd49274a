//! Netlink: messages with attributes, and sockets that send them in batches and read every answer.

mod message;
mod socket;

pub use message::{Attrs, Message};
pub use socket::{Answer, Error, Family, Socket};
