//! What a process may have to itself, and the journal names.

use std::fmt;
use std::str::FromStr;

use linkspan_model::{Invalid, Name};

/// Something that one process works on at a time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Object {
    /// A network.
    Network(Name),
    /// A sandbox.
    Sandbox(Name),
    /// A `linkspan run`, for as long as its command lives.
    Run(Name),
    /// A lab, while its file is compared with what there is and the difference made. Taken before all others.
    Lab(Name),
    /// The bridges that sandboxes of several commands meet on, while one of these makes some.
    Bridges,
    /// What the whole host shares, as its firewall table.
    Host,
}

impl fmt::Display for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Network(name) => write!(f, "network {name}"),
            Self::Sandbox(name) => write!(f, "sandbox {name}"),
            Self::Run(name) => write!(f, "run {name}"),
            Self::Lab(name) => write!(f, "lab {name}"),
            Self::Bridges => f.write_str("bridges"),
            Self::Host => f.write_str("host"),
        }
    }
}

impl FromStr for Object {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        match text.split_once(' ') {
            Some(("network", name)) => Ok(Self::Network(name.parse()?)),
            Some(("sandbox", name)) => Ok(Self::Sandbox(name.parse()?)),
            Some(("run", name)) => Ok(Self::Run(name.parse()?)),
            Some(("lab", name)) => Ok(Self::Lab(name.parse()?)),
            None if text == "bridges" => Ok(Self::Bridges),
            None if text == "host" => Ok(Self::Host),
            _ => Err(Invalid::new(format!("'{text}' is no object")).because(
                "it takes 'network NAME', 'sandbox NAME', 'run NAME', 'lab NAME', 'bridges' or 'host'",
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Object;

    #[test]
    fn text_and_back() {
        for text in ["network web", "sandbox a.b", "run x", "lab x", "bridges", "host"] {
            assert_eq!(text.parse::<Object>().unwrap().to_string(), text);
        }
        for bad in ["", "network", "network ", "pod a", "run a b"] {
            assert!(bad.parse::<Object>().is_err(), "{bad}");
        }
    }
}
