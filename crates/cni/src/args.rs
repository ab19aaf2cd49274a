//! CNI_ARGS: what a runtime says besides the configuration. Unlike JSON keys, these are case sensitive.

use crate::CniError;
use crate::error::Code;

/// The key that lets others be unknown.
const IGNORE: &str = "IgnoreUnknown";

/// The variable as it was given. Not every plugin reads it, so what is wrong in it is told by [`Args::load`].
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Args(String);

/// The pairs of CNI_ARGS, the last of a key first.
#[derive(Clone, Default, PartialEq, Eq, Debug)]
pub struct Pairs(Vec<(String, String)>);

impl Args {
    /// The text of the variable; empty if it is not set.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text of the variable.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Its pairs, for a plugin that knows the keys `known`.
    ///
    /// # Errors
    /// Code 4 if it is not `K=V;K=V`, or has an unknown key and no `IgnoreUnknown=1`.
    pub fn load(&self, known: &[&str]) -> Result<Pairs, CniError> {
        let wrong = |what: String| CniError::new(Code::ENVIRONMENT, what);
        let mut pairs = Vec::new();
        for pair in self.0.split(';').filter(|_| !self.0.is_empty()) {
            let (key, value) = pair
                .split_once('=')
                .filter(|(_, value)| !value.contains('='))
                .ok_or_else(|| wrong(format!("CNI_ARGS: invalid pair {pair:?}")))?;
            pairs.insert(0, (key.to_owned(), value.to_owned()));
        }
        let pairs = Pairs(pairs);
        let ignores = match pairs.get(IGNORE).map(str::to_ascii_lowercase).as_deref() {
            None | Some("0" | "false") => false,
            Some("1" | "true") => true,
            Some(_) => return Err(wrong(format!("CNI_ARGS: {IGNORE} must be 1, true, 0 or false"))),
        };
        let strange = |(key, _): &&(String, String)| key != IGNORE && !known.contains(&key.as_str());
        let strange: Vec<&str> = pairs.0.iter().rev().filter(strange).map(|(key, _)| key.as_str()).collect();
        if ignores || strange.is_empty() {
            return Ok(pairs);
        }
        let taken = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        Err(wrong(format!("CNI_ARGS: unknown args {strange:?}"))
            .because(format!("this plugin takes: {taken}"))
            .because(format!("{IGNORE}=1 lets others pass")))
    }
}

impl Pairs {
    /// The value of `key`; the last one if it was given twice.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(other, _)| other == key).map(|(_, value)| value.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> Result<Pairs, CniError> {
        Args::new(text).load(&["IP", "MAC"])
    }

    #[test]
    fn pairs_are_read() {
        let pairs = load("IP=10.0.0.9/24;MAC=;IP=10.0.0.8").unwrap();
        assert_eq!(pairs.get("IP"), Some("10.0.0.8"));
        assert_eq!(pairs.get("MAC"), Some(""));
        assert_eq!(pairs.get("ip"), None);
        assert_eq!(load("").unwrap(), Pairs::default());
    }

    #[test]
    fn what_is_no_pair_is_refused() {
        for text in ["none", "IP=1=2", "IP=1;", ";", "=1;IP"] {
            assert_eq!(load(text).unwrap_err().code, Code::ENVIRONMENT, "{text}");
        }
    }

    #[test]
    fn unknown_keys_need_to_be_allowed() {
        let error = load("K8S_POD_NAME=a;ip=1").unwrap_err();
        assert!(error.msg.contains(r#"["K8S_POD_NAME", "ip"]"#), "{error}");
        assert!(load("IgnoreUnknown=0;K8S_POD_NAME=a").is_err());
        assert!(load("IgnoreUnknown=yes;IP=1").is_err());
        for yes in ["1", "true", "TRUE"] {
            let pairs = load(&format!("IgnoreUnknown={yes};K8S_POD_NAME=a;IP=1")).unwrap();
            assert_eq!(pairs.get("IP"), Some("1"));
        }
    }
}
