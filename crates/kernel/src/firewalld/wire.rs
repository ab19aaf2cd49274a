//! Messages of D-Bus and what is in them (the D-Bus specification 0.43: type system, message protocol).

use std::io;

/// The largest message (128 MiB by the specification) that an answer of ours may be.
const LARGEST: usize = 1 << 20;

const LITTLE_ENDIAN: u8 = b'l';
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
const FLAGS: u8 = 0;
const PROTOCOL: u8 = 1;
/// What stands before the header's fields: the fixed part and the length of the fields.
const FIXED: usize = 16;

// Header fields
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;

/// Whom a call is for, and what it calls.
#[derive(Clone, Copy, Debug)]
pub(super) struct Method<'a> {
    /// The name on the bus.
    pub(super) destination: &'a str,
    /// The object.
    pub(super) path: &'a str,
    /// The interface.
    pub(super) interface: &'a str,
    /// The method.
    pub(super) member: &'a str,
}

/// What a method answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Reply {
    /// A success.
    Done(Value),
    /// A failure: the error's name and text.
    Failed(String),
}

/// The first value of an answer.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Value {
    /// None, or one of another type.
    Other,
    Bool(bool),
    /// A string, by itself or as a variant.
    Text(String),
}

/// The bytes of a call.
pub(super) fn message(method: Method<'_>, arguments: &[&str], serial: u32) -> Vec<u8> {
    let mut body = Vec::new();
    arguments.iter().for_each(|argument| string(&mut body, argument));
    let mut fields = Vec::new();
    let named = [
        (PATH, "o", method.path),
        (INTERFACE, "s", method.interface),
        (MEMBER, "s", method.member),
        (DESTINATION, "s", method.destination),
    ];
    for (field, kind, value) in named {
        start(&mut fields, field, kind);
        string(&mut fields, value);
    }
    if !arguments.is_empty() {
        start(&mut fields, SIGNATURE, "g");
        signature(&mut fields, &"s".repeat(arguments.len()));
    }
    let mut message = vec![LITTLE_ENDIAN, METHOD_CALL, FLAGS, PROTOCOL];
    for number in [body.len() as u32, serial, fields.len() as u32] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

/// A header field up to its value. The fields begin at a multiple of 8, as each does.
fn start(fields: &mut Vec<u8>, field: u8, kind: &str) {
    pad(fields, 8);
    fields.push(field);
    signature(fields, kind);
}

fn string(to: &mut Vec<u8>, text: &str) {
    pad(to, 4);
    to.extend((text.len() as u32).to_le_bytes());
    to.extend(text.as_bytes());
    to.push(0);
}

fn signature(to: &mut Vec<u8>, text: &str) {
    to.push(text.len() as u8);
    to.extend(text.as_bytes());
    to.push(0);
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

/// A message that has arrived.
pub(super) struct Received {
    kind: u8,
    fields: Vec<u8>,
    body: Vec<u8>,
}

impl Received {
    /// Reads one message.
    ///
    /// # Errors
    /// If nothing comes, or what is none.
    pub(super) fn read(from: &mut impl io::Read) -> io::Result<Self> {
        let mut fixed = [0; FIXED];
        from.read_exact(&mut fixed)?;
        let number = |at: usize| fixed.get(at..).and_then(|rest| Reading(rest).number()).unwrap_or_default();
        let (body, fields) = (number(4) as usize, number(12) as usize);
        if fixed.first() != Some(&LITTLE_ENDIAN) || body.max(fields) > LARGEST {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the bus sent what is no message"));
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        from.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        rest.truncate(fields);
        Ok(Self { kind: fixed[1], fields: rest, body })
    }

    /// The fields; none if they cannot be read.
    fn fields(&self) -> Option<Fields> {
        let mut found = Fields::default();
        let mut rest = self.fields.as_slice();
        while !rest.is_empty() {
            let mut field = Reading(rest);
            let number = field.byte()?;
            match (number, field.signature()?.as_str()) {
                (REPLY_SERIAL, "u") => found.answers = Some(field.number()?),
                (ERROR_NAME, "s") => found.error = field.string()?,
                (INTERFACE, "s") => found.interface = field.string()?,
                (MEMBER, "s") => found.member = field.string()?,
                (SIGNATURE, "g") => found.kind = field.signature()?,
                (_, "s" | "o") => _ = field.string()?,
                (_, "u") => _ = field.number()?,
                _ => return None,
            }
            let read = rest.len() - field.0.len();
            rest = rest.get(read.next_multiple_of(8)..).unwrap_or_default();
        }
        Some(found)
    }

    /// It as the answer to the call `serial`, if it is that.
    pub(super) fn reply_to(&self, serial: u32) -> Option<Reply> {
        let Fields { answers, error, kind, .. } = self.fields()?;
        if answers != Some(serial) {
            return None;
        }
        let mut body = Reading(&self.body);
        match self.kind {
            METHOD_RETURN => Some(Reply::Done(body.value(&kind).unwrap_or(Value::Other))),
            ERROR if kind.starts_with('s') => {
                Some(Reply::Failed(format!("{error}: {}", body.string().unwrap_or_default())))
            }
            ERROR => Some(Reply::Failed(error)),
            _ => None,
        }
    }

    /// Whether it is the signal `member` of `interface`.
    pub(super) fn is_signal(&self, interface: &str, member: &str) -> bool {
        let named = |fields: Fields| fields.interface == interface && fields.member == member;
        self.kind == SIGNAL && self.fields().is_some_and(named)
    }
}

/// What a message's header says.
#[derive(Default)]
struct Fields {
    answers: Option<u32>,
    error: String,
    interface: String,
    member: String,
    kind: String,
}

/// Values one after the other. What a field holds is aligned already: after number and signature, four bytes are read.
struct Reading<'a>(&'a [u8]);

impl Reading<'_> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn number(&mut self) -> Option<u32> {
        let (number, rest) = self.0.split_first_chunk::<4>()?;
        self.0 = rest;
        Some(u32::from_le_bytes(*number))
    }

    /// The first value of what has the signature `kind`.
    fn value(&mut self, kind: &str) -> Option<Value> {
        Some(match kind.chars().next()? {
            'b' => Value::Bool(self.number()? != 0),
            's' => Value::Text(self.string()?),
            'v' if self.signature()? == "s" => {
                // Signature and NUL take three bytes, strings begin at a multiple of four.
                self.byte()?;
                Value::Text(self.string()?)
            }
            _ => return None,
        })
    }

    fn text(&mut self, length: usize) -> Option<String> {
        let text = self.0.get(..length)?;
        self.0 = self.0.get(length + 1..)?;
        Some(String::from_utf8_lossy(text).into_owned())
    }

    fn string(&mut self) -> Option<String> {
        let length = self.number()?;
        self.text(length as usize)
    }

    fn signature(&mut self) -> Option<String> {
        let length = self.byte()?;
        self.text(length.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ASKED: Method<'_> =
        Method { destination: "a.b", path: "/a", interface: "a.b.c", member: "addSource" };

    /// A message as it arrives, with its kind and fields.
    fn received(kind: u8, fields: &[(u8, &str, Vec<u8>)], body: Vec<u8>) -> Received {
        let mut bytes = Vec::new();
        for (field, signature, value) in fields {
            start(&mut bytes, *field, signature);
            bytes.extend(value);
        }
        Received { kind, fields: bytes, body }
    }

    fn text(value: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        string(&mut bytes, value);
        bytes
    }

    #[test]
    fn a_call_is_marshalled_as_specified() {
        let bytes = message(ASKED, &["trusted", "10.0.0.2/32"], 7);
        let header = [b'l', 1, 0, 1, 28, 0, 0, 0, 7, 0, 0, 0];
        assert_eq!(&bytes[..12], header);
        let fields = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
        let mut read = Reading(&bytes[16..]);
        assert_eq!((read.byte(), read.signature().as_deref()), (Some(PATH), Some("o")));
        assert_eq!(read.string().as_deref(), Some("/a"));
        let body = &bytes[(16 + fields).next_multiple_of(8)..];
        assert_eq!(body, b"\x07\0\0\0trusted\0\x0b\0\0\x0010.0.0.2/32\0".as_slice());
    }

    #[test]
    fn only_what_answers_a_call_is_its_answer() {
        let serial = (REPLY_SERIAL, "u", 7_u32.to_le_bytes().to_vec());
        let sender = (7, "s", text("org.freedesktop.DBus"));
        let yes = (SIGNATURE, "g", b"\x01b\0".to_vec());
        let fields = [serial.clone(), sender.clone(), yes];
        let done = received(METHOD_RETURN, &fields, 1_u32.to_le_bytes().to_vec());
        assert_eq!(done.reply_to(7), Some(Reply::Done(Value::Bool(true))));
        assert_eq!(done.reply_to(8), None);
        let name = (ERROR_NAME, "s", text("a.Error"));
        let signature = (SIGNATURE, "g", b"\x01s\0".to_vec());
        let failed = received(ERROR, &[name, serial, signature, sender], text("ZONE_ALREADY_SET"));
        assert_eq!(failed.reply_to(7), Some(Reply::Failed("a.Error: ZONE_ALREADY_SET".to_owned())));
        assert_eq!(received(SIGNAL, &[], Vec::new()).reply_to(7), None);
    }

    #[test]
    fn values_are_strings_too() {
        let answer = |kind: &[u8], body: &[u8]| {
            let serial = (REPLY_SERIAL, "u", 7_u32.to_le_bytes().to_vec());
            received(METHOD_RETURN, &[serial, (SIGNATURE, "g", kind.to_vec())], body.to_vec()).reply_to(7)
        };
        let yes = Some(Reply::Done(Value::Text("yes".to_owned())));
        assert_eq!(answer(b"\x01s\0", b"\x03\0\0\0yes\0"), yes);
        assert_eq!(answer(b"\x01v\0", b"\x01s\0\0\x03\0\0\0yes\0"), yes);
        assert_eq!(answer(b"\x01v\0", b"\x01u\0\0\x03\0\0\0"), Some(Reply::Done(Value::Other)));
        assert_eq!(answer(b"\x01v\0", b"\x01s\0"), Some(Reply::Done(Value::Other)));
    }

    #[test]
    fn signals_are_known_by_name() {
        let named = |interface, member| {
            [(INTERFACE, "s", text(interface)), (MEMBER, "s", text(member)), (PATH, "o", text("/a"))]
        };
        let reloaded = received(SIGNAL, &named("a.b", "Reloaded"), Vec::new());
        assert!(reloaded.is_signal("a.b", "Reloaded"));
        assert!(!reloaded.is_signal("a.b.c", "Reloaded") && !reloaded.is_signal("a.b", "Other"));
        assert!(!received(METHOD_RETURN, &named("a.b", "Reloaded"), Vec::new()).is_signal("a.b", "Reloaded"));
    }

    #[test]
    fn what_is_no_message_is_no_answer() {
        for cut in 0..24 {
            let mut fields = Vec::new();
            start(&mut fields, ERROR_NAME, "s");
            string(&mut fields, "a.b.Error");
            fields.truncate(cut);
            assert_eq!(Received { kind: ERROR, fields, body: Vec::new() }.reply_to(1), None);
        }
    }
}
