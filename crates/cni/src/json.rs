//! JSON as Go's library reads it, which the reference plugins are written with: keys match in any case, of keys that
//! are given twice the last one counts, null is the same as absent, and numbers must fit where they go.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use crate::CniError;
use crate::error::Code;

/// Any value.
#[derive(Clone, PartialEq, Debug)]
pub enum Json {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number: whole ones are kept exactly, from `i64::MIN` to `u64::MAX`.
    Number(Number),
    /// A string.
    String(String),
    /// An array.
    List(Vec<Json>),
    /// An object.
    Object(Object),
}

/// An object: its pairs as they were written, with their place in the whole for errors.
#[derive(Clone, Default, PartialEq, Debug)]
pub struct Object {
    pairs: Vec<(String, Json)>,
    path: String,
}

/// A whole number of some width.
pub trait Whole: Sized {
    /// `number` as one, unless it has a fraction or does not fit.
    fn from_number(number: &Number) -> Option<Self>;
}

macro_rules! whole {
    ($($number:ty)*) => {$(
        impl Whole for $number {
            fn from_number(number: &Number) -> Option<Self> {
                let unsigned = || number.as_u64().and_then(|number| number.try_into().ok());
                number.as_i64().and_then(|number| number.try_into().ok()).or_else(unsigned)
            }
        }
    )*};
}

whole! { u8 u16 u32 u64 i32 i64 usize }

impl Json {
    /// Reads one value and nothing behind it. What is not UTF-8 in a string becomes U+FFFD.
    ///
    /// # Errors
    /// Code 6, with the place.
    pub fn parse(bytes: &[u8]) -> Result<Self, CniError> {
        let mut value: Self = serde_json::from_str(&String::from_utf8_lossy(bytes))
            .map_err(|error| CniError::new(Code::DECODING, "this is not JSON").because(error))?;
        value.locate(String::new());
        Ok(value)
    }

    /// What kind of value it is, for errors.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "a boolean",
            Self::Number(_) => "a number",
            Self::String(_) => "a string",
            Self::List(_) => "a list",
            Self::Object(_) => "an object",
        }
    }

    /// The text of a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }

    /// Tells every object within where it is.
    fn locate(&mut self, path: String) {
        match self {
            Self::List(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    if matches!(item, Self::List(_) | Self::Object(_)) {
                        item.locate(format!("{path}[{index}]"));
                    }
                }
            }
            Self::Object(object) => {
                for (key, value) in &mut object.pairs {
                    if matches!(value, Self::List(_) | Self::Object(_)) {
                        value.locate(joined(&path, key));
                    }
                }
                object.path = path;
            }
            _ => {}
        }
    }
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

impl Object {
    /// The pairs in order, keys in their own case, those given twice too.
    pub fn pairs(&self) -> &[(String, Json)] {
        &self.pairs
    }

    /// The same with one more pair, which goes before others of that key.
    #[must_use]
    pub fn with(mut self, key: &str, value: Json) -> Self {
        self.pairs.push((key.to_owned(), value));
        self
    }

    /// Where `key` of this object is in the whole: `ipam.ranges[0][1].subnet`.
    pub fn path_of(&self, key: &str) -> String {
        joined(&self.path, key)
    }

    /// The value of `key` in any case; none if it is absent or null.
    pub fn get(&self, key: &str) -> Option<&Json> {
        let same = |(other, _): &&(String, Json)| other.eq_ignore_ascii_case(key);
        self.pairs.iter().rev().find(same).map(|(_, value)| value).filter(|value| **value != Json::Null)
    }

    /// The string under `key` in this very case, which goes before others where an object has two keys that differ in case
    /// alone; otherwise as [`Self::string`].
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn exact_string(&self, key: &str) -> Result<Option<String>, CniError> {
        let exact = self.pairs.iter().rev().find(|(other, _)| other == key);
        match exact.and_then(|(_, value)| value.as_str()) {
            Some(text) => Ok(Some(text.to_owned())),
            None => self.string(key),
        }
    }

    /// The string under `key`. An empty one is a string too.
    ///
    /// # Errors
    /// Code 6, naming the key, if it is something else; so with all that follow.
    pub fn string(&self, key: &str) -> Result<Option<String>, CniError> {
        self.find(key, "a string", |value| value.as_str().map(str::to_owned))
    }

    /// The string under `key` if it is not empty: Go's zero value and an absent one are the same to many plugins.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn text(&self, key: &str) -> Result<Option<String>, CniError> {
        Ok(self.string(key)?.filter(|text| !text.is_empty()))
    }

    /// The boolean under `key`.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn boolean(&self, key: &str) -> Result<Option<bool>, CniError> {
        self.find(key, "true or false", |value| match value {
            Json::Bool(value) => Some(*value),
            _ => None,
        })
    }

    /// The whole number under `key`.
    ///
    /// # Errors
    /// As [`Self::string`]; also if it does not fit `T`.
    pub fn number<T: Whole>(&self, key: &str) -> Result<Option<T>, CniError> {
        let what = format!("a whole number that fits {}", std::any::type_name::<T>());
        self.find(key, &what, |value| match value {
            Json::Number(number) => T::from_number(number),
            _ => None,
        })
    }

    /// The object under `key`.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn object(&self, key: &str) -> Result<Option<&Self>, CniError> {
        self.find(key, "an object", |value| match value {
            Json::Object(object) => Some(object),
            _ => None,
        })
    }

    /// The array under `key`.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn list(&self, key: &str) -> Result<Option<&[Json]>, CniError> {
        self.find(key, "a list", |value| match value {
            Json::List(items) => Some(items.as_slice()),
            _ => None,
        })
    }

    /// The array of strings under `key`; empty if it is absent.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn strings(&self, key: &str) -> Result<Vec<String>, CniError> {
        let texts = |value: &Json| match value {
            Json::List(items) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            _ => None,
        };
        Ok(self.find(key, "a list of strings", texts)?.unwrap_or_default())
    }

    /// The array of objects under `key`; empty if it is absent. Null among them counts as an empty one.
    ///
    /// # Errors
    /// As [`Self::string`].
    pub fn objects(&self, key: &str) -> Result<Vec<Self>, CniError> {
        let objects = |value: &Json| match value {
            Json::List(items) => items.iter().map(Json::to_object).collect(),
            _ => None,
        };
        Ok(self.find(key, "a list of objects", objects)?.unwrap_or_default())
    }

    fn find<'a, T>(
        &'a self,
        key: &str,
        what: &str,
        read: impl FnOnce(&'a Json) -> Option<T>,
    ) -> Result<Option<T>, CniError> {
        let Some(value) = self.get(key) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| {
            CniError::new(Code::DECODING, format!("key '{}' must be {what}", self.path_of(key)))
                .because(format!("it is {}", Brief(value)))
        })
    }
}

impl Json {
    fn to_object(&self) -> Option<Object> {
        match self {
            Self::Object(object) => Some(object.clone()),
            Self::Null => Some(Object::default()),
            _ => None,
        }
    }
}

/// A value in a few words.
struct Brief<'a>(&'a Json);

impl fmt::Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 60;
        match self.0 {
            Json::Bool(value) => write!(f, "{value}"),
            Json::Number(value) => write!(f, "{value}"),
            Json::String(text) if text.len() <= SHOWN => write!(f, "the string {text:?}"),
            other => f.write_str(other.kind()),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
        Ok(Json::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
        Ok(Json::Number(value.into()))
    }

    fn visit_f64<E: serde::de::Error>(self, value: f64) -> Result<Json, E> {
        Number::from_f64(value).map(Json::Number).ok_or_else(|| E::custom("number out of range"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Json, E> {
        Ok(Json::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Json, E> {
        Ok(Json::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element()? {
            list.push(item);
        }
        Ok(Json::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Json, A::Error> {
        let mut pairs = Vec::new();
        while let Some(pair) = entries.next_entry()? {
            pairs.push(pair);
        }
        Ok(Json::Object(Object { pairs, path: String::new() }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(text: &str) -> Object {
        match Json::parse(text.as_bytes()).unwrap() {
            Json::Object(object) => object,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn keys_match_in_any_case_and_the_last_one_counts() {
        let config = object(r#"{"mtu": 1, "MTU": 2, "Bridge": "a"}"#);
        assert_eq!(config.number::<u32>("mtu").unwrap(), Some(2));
        let twice = object(r#"{"address": "a", "Address": {"IP": "b"}}"#);
        assert_eq!(twice.exact_string("address").unwrap().as_deref(), Some("a"));
        assert!(twice.string("address").is_err());
        assert_eq!(config.exact_string("bridge").unwrap().as_deref(), Some("a"));
        assert_eq!(config.string("bridge").unwrap().as_deref(), Some("a"));
        let keys: Vec<&str> = config.pairs().iter().map(|(key, _)| key.as_str()).collect();
        assert_eq!(keys, ["mtu", "MTU", "Bridge"]);
    }

    #[test]
    fn null_is_the_same_as_absent() {
        let config = object(r#"{"a": null, "b": [null]}"#);
        assert_eq!(config.boolean("a").unwrap(), None);
        assert_eq!(config.object("a").unwrap(), None);
        assert_eq!(config.strings("a").unwrap(), Vec::<String>::new());
        assert_eq!(config.objects("b").unwrap(), [Object::default()]);
    }

    #[test]
    fn a_wrong_type_is_told_with_its_place() {
        let config = object(r#"{"ipam": {"ranges": [[{"subnet": 7}]]}, "mtu": "x", "vlan": 1.5, "dns": []}"#);
        let ranges = config.object("ipam").unwrap().unwrap().list("ranges").unwrap().unwrap();
        let Json::List(set) = &ranges[0] else { panic!() };
        let Json::Object(range) = &set[0] else { panic!() };
        let error = range.string("subnet").unwrap_err();
        assert_eq!(error.code, Code::DECODING);
        assert_eq!(error.to_string(), "key 'ipam.ranges[0][0].subnet' must be a string: it is 7");
        let error = config.number::<u32>("mtu").unwrap_err();
        assert_eq!(
            error.to_string(),
            "key 'mtu' must be a whole number that fits u32: it is the string \"x\""
        );
        assert!(config.number::<u32>("vlan").is_err());
        assert!(config.object("dns").unwrap_err().details.contains("a list"));
    }

    #[test]
    fn numbers_fit_or_are_refused() {
        let config = object(r#"{"a": 255, "b": 256, "c": -1, "d": 18446744073709551615, "e": 1e3, "f": -0}"#);
        assert_eq!(config.number::<u8>("a").unwrap(), Some(255));
        assert!(config.number::<u8>("b").is_err());
        assert!(config.number::<u64>("c").is_err());
        assert_eq!(config.number::<i32>("c").unwrap(), Some(-1));
        assert_eq!(config.number::<u64>("d").unwrap(), Some(u64::MAX));
        assert!(config.number::<i64>("d").is_err());
        assert!(config.number::<i64>("e").is_err());
    }

    #[test]
    fn what_is_not_json_is_refused_and_bytes_that_are_no_text_are_not() {
        for text in ["", "{", "{}x", "{'a':1}", "nul"] {
            assert_eq!(Json::parse(text.as_bytes()).unwrap_err().code, Code::DECODING, "{text}");
        }
        assert_eq!(Json::parse(b"\"\xff\"").unwrap(), Json::String("\u{fffd}".to_owned()));
        let deep = "[".repeat(100_000);
        assert_eq!(Json::parse(deep.as_bytes()).unwrap_err().code, Code::DECODING);
    }
}
