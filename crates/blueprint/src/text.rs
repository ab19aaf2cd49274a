//! Values as a file has them: text that the model reads, alone or in lists, and where in the file it stands.

use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::path::Path;

use ipnet::IpNet;
use linkspan_model::{
    Driver, HostAlias, HostName, Invalid, LinkSpec, Name, NetSpec, PublishSpec, TargetPort, Uplink, nearest,
};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{Deserialize, Deserializer, Error, IntoDeserializer, MapAccess, SeqAccess, Visitor};

/// What is written as text, and read by the same parser as on the command line.
pub trait FromText: Sized {
    /// What it is, for whoever reads that something else was found.
    const WANTED: &'static str;

    /// Reads it.
    ///
    /// # Errors
    /// Why it is none, in one line.
    fn read(text: &str) -> Result<Self, String>;
}

macro_rules! model_text {
    ($($type:ty: $wanted:literal),* $(,)?) => {
        $(impl FromText for $type {
            const WANTED: &'static str = $wanted;
            fn read(text: &str) -> Result<Self, String> {
                text.parse().map_err(|error: Invalid| error.one_line())
            }
        })*
    };
}
model_text!(
    Driver: "a driver",
    HostAlias: "NAME:ADDRESS",
    HostName: "a host name",
    LinkSpec: "SANDBOX[:ALIAS]",
    Name: "a name",
    NetSpec: "a network, as for --net, or a table",
    PublishSpec: "a port to publish, as for -p",
    TargetPort: "a port",
    Uplink: "IFACE, network:NAME or ovs:BRIDGE",
);

impl FromText for IpNet {
    const WANTED: &'static str = "a subnet, as 10.7.0.0/24";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("'{text}' is no subnet: it takes an address and a prefix length"))
    }
}

impl FromText for IpAddr {
    const WANTED: &'static str = "an IP address";
    fn read(text: &str) -> Result<Self, String> {
        text.parse().map_err(|_| format!("'{text}' is no IP address"))
    }
}

impl FromText for String {
    const WANTED: &'static str = "text";
    fn read(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

/// A value written as text; numbers and truth values stand for their text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Text<T>(pub T);

impl<'de, T: FromText> Deserialize<'de> for Text<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TextVisitor(PhantomData))
    }
}

struct TextVisitor<T>(PhantomData<T>);

impl<T: FromText> Visitor<'_> for TextVisitor<T> {
    type Value = Text<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WANTED)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Text<T>, E> {
        T::read(text).map(Text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Text<T>, E> {
        self.visit_str(&number.to_string())
    }

    fn visit_bool<E: Error>(self, truth: bool) -> Result<Text<T>, E> {
        self.visit_str(&truth.to_string())
    }
}

/// One value, or a list of them.
#[derive(Clone, Debug)]
pub struct Many<T>(pub Vec<T>);

impl<T> Default for Many<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Many<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ManyVisitor(PhantomData))
    }
}

struct ManyVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ManyVisitor<T> {
    type Value = Many<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or a list of values")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(text.into_deserializer())?]))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Many<T>, E> {
        Ok(Many(vec![T::deserialize(number.into_deserializer())?]))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Many<T>, A::Error> {
        Ok(Many(vec![T::deserialize(MapAccessDeserializer::new(map))?]))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Many<T>, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Many)
    }
}

/// A file's text, for errors that say where they are.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The file.
    pub path: &'a Path,
    /// What it holds.
    pub text: &'a str,
}

impl Source<'_> {
    /// An error at the byte `at`: path, line and column, and the line.
    pub fn error(&self, at: usize, what: impl fmt::Display) -> Invalid {
        let before = &self.text[..at.min(self.text.len())];
        let start = before.rfind('\n').map_or(0, |newline| newline + 1);
        let (line, column) = (before.matches('\n').count() + 1, before[start..].chars().count() + 1);
        let shown = self.text[start..].lines().next().unwrap_or_default();
        let error = Invalid::new(format!("{}:{line}:{column}: {what}", self.path.display()));
        if shown.trim().is_empty() { error } else { error.because(shown.trim_end()) }
    }

    /// What the reader of TOML has found wrong.
    pub fn refused(&self, error: &toml::de::Error) -> Invalid {
        let at = error.span().map_or(0, |span| span.start);
        let message = error.message();
        let Some(rest) = message.strip_prefix("unknown field ") else { return self.error(at, message) };
        let mut words = rest.split('`').skip(1).step_by(2);
        let given = words.next().unwrap_or_default();
        let known: Vec<_> = words.collect();
        let hint = match nearest(given, known.iter().copied()) {
            Some(known) => format!("did you mean {known}?"),
            None => format!("known keys: {}", known.join(", ")),
        };
        self.error(at, format!("unknown key '{given}'")).hint(hint)
    }
}
