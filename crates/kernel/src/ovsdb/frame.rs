//! JSON-RPC messages out of a stream, which has nothing between them (RFC 7047, section 4).

use serde_json::Value;

/// Larger messages are refused: what is asked for here fits into a fraction of it.
pub(super) const LIMIT: usize = 1 << 20;

/// What has been received and not yet been read.
#[derive(Default, Debug)]
pub(super) struct Frames {
    bytes: Vec<u8>,
    /// How much of it was looked at.
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

impl Frames {
    /// Takes more of the stream.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next whole message; none before all of it is there.
    ///
    /// # Errors
    /// If what comes is no JSON object, or one larger than [`LIMIT`]. What follows it cannot be read then.
    pub(super) fn next(&mut self) -> Result<Option<Value>, String> {
        while let Some(byte) = self.bytes.get(self.seen).copied() {
            if self.depth == 0 && !matches!(byte, b'{' | b' ' | b'\t' | b'\r' | b'\n') {
                return Err("it does not speak JSON-RPC".to_owned());
            }
            self.seen += 1;
            if self.ends_with(byte) {
                let message = serde_json::from_slice(&self.bytes[..self.seen]);
                self.bytes.drain(..self.seen);
                self.seen = 0;
                return message.map(Some).map_err(|error| format!("it sends broken JSON: {error}"));
            }
        }
        if self.bytes.len() > LIMIT {
            return Err(format!("it sends a message of more than {LIMIT} bytes"));
        }
        Ok(None)
    }

    /// Whether a message ends with this byte, the next one.
    const fn ends_with(&mut self, byte: u8) -> bool {
        if self.in_string {
            (self.in_string, self.escaped) = match byte {
                _ if self.escaped => (true, false),
                b'\\' => (true, true),
                b'"' => (false, false),
                _ => (true, false),
            };
            return false;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => self.depth += 1,
            b'}' | b']' => {
                self.depth -= 1;
                return self.depth == 0;
            }
            _ => {}
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{Frames, LIMIT};

    #[test]
    fn messages_come_whole_however_they_are_cut() {
        let text = r#" {"a":"}\"{","b":[{}]}{"c":1}"#;
        let mut frames = Frames::default();
        let mut messages = Vec::new();
        for byte in text.bytes() {
            frames.push(&[byte]);
            messages.extend(frames.next().unwrap());
        }
        assert_eq!(messages, [json!({"a": "}\"{", "b": [{}]}), json!({"c": 1})]);

        frames.push(text.as_bytes());
        assert!(frames.next().unwrap().is_some() && frames.next().unwrap().is_some());
        assert_eq!(frames.next(), Ok(None));
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for garbage in ["HTTP/1.1 400 Bad Request\r\n", "}", "[]", "{]", "{\"a\":}", "\0\0"] {
            let mut frames = Frames::default();
            frames.push(garbage.as_bytes());
            assert!(frames.next().is_err(), "{garbage}");
        }
    }

    #[test]
    fn a_message_without_end_is_refused() {
        let mut frames = Frames::default();
        frames.push(b"{\"a\":\"");
        let refused = (0..=LIMIT / 4096).any(|_| {
            frames.push(&[b'x'; 4096]);
            frames.next().is_err()
        });
        assert!(refused);
        // Nesting that no stack would bear.
        let mut frames = Frames::default();
        frames.push(format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000)).as_bytes());
        assert!(frames.next().is_err());
    }
}
