//! Whole labs from one file: networks, sandboxes, programs in them, and checks that must hold.
//!
//! A file is read into the requests that the command line makes ([`Lab`]), compared with what there is ([`Found`]), and
//! the difference is carried out as changes of the engine ([`Worker`]). What belongs to a lab carries its name as a
//! label; everything else is left alone.

mod alike;
mod apply;
mod change;
mod check;
mod difference;
mod file;
mod former;
mod found;
mod lab;
mod order;
mod programs;
#[cfg(test)]
mod schema;
mod text;
mod trial;

pub use apply::{Watch, Worker};
pub use change::{Change, Kind, Line, lines};
pub use check::Check;
pub use difference::{Steps, between, removal};
pub use found::Found;
pub use lab::{LABEL, Lab};
pub use programs::{Program, Records};
pub use trial::{Verdict, try_all};

/// The JSON schema of a file, for editors.
pub const SCHEMA: &str = include_str!("../../../schemas/lab.schema.json");
