//! Names of objects and of network devices.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::Invalid;

/// Longest name of a device: IFNAMSIZ less its NUL (linux/if.h).
const IFNAME_MAX: usize = 15;
/// Longest name of an object: it must fit a host name label.
const NAME_MAX: usize = 63;

/// The name of a network or a sandbox: `[a-zA-Z0-9][a-zA-Z0-9_.-]*`, at most 63 characters.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Name(String);

/// The name of a network device: 1 to 15 characters without `/`, `:`, white space (kernel: dev_valid_name).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct IfName(String);

impl Name {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IfName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// For names built here from digits: cut to the longest a device may have.
    pub(crate) fn truncated(text: &str) -> Self {
        Self(text.chars().take(IFNAME_MAX).collect())
    }

    /// The sandbox side's name number `index`: `eth0`, `eth1`, ...
    pub fn numbered(prefix: &str, index: usize) -> Self {
        Self::truncated(&format!("{prefix}{index}"))
    }
}

impl FromStr for Name {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let mut chars = text.chars();
        let first = chars.next().is_some_and(|c| c.is_ascii_alphanumeric());
        let rest = chars.all(|c| c.is_ascii_alphanumeric() || "_.-".contains(c));
        if first && rest && text.len() <= NAME_MAX {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new(format!("'{text}' is no valid name")).because(format!(
            "a name starts with a letter or digit, goes on with letters, digits, '_', '.', '-', and has at most \
             {NAME_MAX} characters"
        )))
    }
}

impl FromStr for IfName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let wrong = |why: String| Err(Invalid::new(format!("'{text}' is no valid device name")).because(why));
        match text {
            "" => wrong("it is empty".to_owned()),
            "." | ".." | "all" | "default" => wrong("the kernel reserves it".to_owned()),
            _ if text.len() > IFNAME_MAX => {
                wrong(format!("it has {} characters and the kernel takes {IFNAME_MAX} at most", text.len()))
            }
            _ if text.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control()) => {
                wrong("'/', ':' and white space are not allowed in it".to_owned())
            }
            _ => Ok(Self(text.to_owned())),
        }
    }
}

/// The name that a sandbox calls itself: labels of letters, digits, `-` and `_` between dots, 64 characters at most
/// (HOST_NAME_MAX).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct HostName(String);

impl FromStr for HostName {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        let label = |label: &str| {
            let inner =
                label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
            !label.is_empty()
                && label.len() <= 63
                && inner
                && !label.starts_with('-')
                && !label.ends_with('-')
        };
        if text.len() <= 64 && text.split('.').all(label) {
            return Ok(Self(text.to_owned()));
        }
        Err(Invalid::new(format!("'{text}' is no host name"))
            .because("a host name is made of letters, digits, '-' and '.', with at most 64 characters"))
    }
}

macro_rules! text_type {
    ($type:ident) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
        text_form!($type);
    };
}
text_type!(Name);
text_type!(IfName);
text_type!(HostName);

#[cfg(test)]
mod tests {
    use super::{IfName, Name};

    #[test]
    fn names_are_checked() {
        assert!("web-1.a_b".parse::<Name>().is_ok());
        for bad in ["", "-a", "a/b", "a b", &"x".repeat(64)] {
            assert!(bad.parse::<Name>().is_err(), "{bad}");
        }
    }

    #[test]
    fn device_names_are_checked_as_the_kernel_does() {
        assert!("eth0.10".parse::<IfName>().is_ok());
        for bad in ["", ".", "..", "all", "default", "a/b", "a b", "a:b", "sixteen-letters!"] {
            assert!(bad.parse::<IfName>().is_err(), "{bad}");
        }
        let error = "sixteen-letters!".parse::<IfName>().unwrap_err();
        assert!(error.cause.unwrap().contains("16 characters"));
    }
}
