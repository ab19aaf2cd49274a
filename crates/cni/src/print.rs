//! JSON out.

use serde::Serialize;
use serde_json::ser::{PrettyFormatter, Serializer};

/// `value` as people can read it, with the indentation that the reference plugins use.
pub(crate) fn pretty(value: &impl Serialize) -> String {
    let mut bytes = Vec::new();
    let formatter = PrettyFormatter::with_indent(b"    ");
    // Values made of strings and numbers always have a JSON form.
    _ = value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter));
    String::from_utf8_lossy(&bytes).into_owned()
}
