//! One netlink message: a header, a family header and attributes (linux/netlink.h).

/// Length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;
/// Messages and attributes start at multiples of this.
const ALIGN: usize = 4;
const NLM_F_REQUEST: u16 = 1;
const NLA_F_NESTED: u16 = 1 << 15;
const NLA_TYPE_MASK: u16 = 0x3fff;

/// A message being built. Numbers are in host byte order unless the method says otherwise.
#[derive(Clone, Debug)]
pub struct Message {
    bytes: Vec<u8>,
}

impl Message {
    /// A request of type `kind` with `flags` beside NLM_F_REQUEST and the family's header.
    pub fn new(kind: u16, flags: u16, family_header: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend(0_u32.to_ne_bytes());
        bytes.extend(kind.to_ne_bytes());
        bytes.extend((flags | NLM_F_REQUEST).to_ne_bytes());
        bytes.extend([0; 8]);
        bytes.extend(family_header);
        let mut message = Self { bytes };
        message.pad();
        message
    }

    /// Adds an attribute with `value` as it is.
    pub fn attr(&mut self, kind: u16, value: &[u8]) -> &mut Self {
        let length = 4 + value.len();
        self.bytes.extend(u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.pad();
        self
    }

    /// Adds a byte.
    pub fn attr_u8(&mut self, kind: u16, value: u8) -> &mut Self {
        self.attr(kind, &[value])
    }

    /// Adds a 16-bit number.
    pub fn attr_u16(&mut self, kind: u16, value: u16) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number.
    pub fn attr_u32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number in network byte order.
    pub fn attr_be32(&mut self, kind: u16, value: u32) -> &mut Self {
        self.attr(kind, &value.to_be_bytes())
    }

    /// Adds text with the NUL that the kernel wants behind it.
    pub fn attr_str(&mut self, kind: u16, value: &str) -> &mut Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.attr(kind, &bytes)
    }

    /// Adds an attribute made of the attributes that `build` adds. Its length is 16 bits wide: at most
    /// 65,531 bytes may stand in it.
    pub fn nest(&mut self, kind: u16, build: impl FnOnce(&mut Self)) -> &mut Self {
        let start = self.bytes.len();
        self.attr(kind | NLA_F_NESTED, &[]);
        build(self);
        let length = self.bytes.len() - start;
        debug_assert!(length <= usize::from(u16::MAX), "attribute {kind} of {length} bytes");
        self.bytes[start..start + 2]
            .copy_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_ne_bytes());
        self
    }

    /// Adds bytes as they are, padded: a structure inside a nest, as IFLA_INFO_DATA of veth wants before its attributes.
    pub fn raw(&mut self, bytes: &[u8]) -> &mut Self {
        self.bytes.extend(bytes);
        self.pad();
        self
    }

    /// Length so far, in bytes: never 0.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    fn flags(&self) -> u16 {
        u16::from_ne_bytes([self.bytes[6], self.bytes[7]])
    }

    /// The finished bytes under sequence number `sequence` with `more_flags` set: for who sends them without a
    /// [`Socket`](super::Socket), as a forked child must.
    pub(crate) fn finish(mut self, sequence: u32, more_flags: u16) -> Vec<u8> {
        let length = u32::try_from(self.bytes.len()).unwrap_or(u32::MAX);
        let flags = self.flags() | more_flags;
        self.bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        self.bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        self.bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        self.bytes
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGN), 0);
    }
}

/// The attributes in a byte string: pairs of type (flags removed) and value. Malformed rest is left out.
#[derive(Clone, Copy, Debug)]
pub struct Attrs<'a>(&'a [u8]);

impl<'a> Attrs<'a> {
    /// Reads `bytes`, which start with an attribute's header.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// The value of the last attribute of type `kind`.
    pub fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.filter(|(found, _)| *found == kind).last().map(|(_, value)| value)
    }

    /// The attributes within the attribute of type `kind`; none if it is absent.
    pub fn nested(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }

    /// The text of an attribute, up to its NUL.
    pub fn text(self, kind: u16) -> Option<String> {
        let value = self.get(kind)?;
        let end = value.iter().position(|byte| *byte == 0).unwrap_or(value.len());
        Some(String::from_utf8_lossy(&value[..end]).into_owned())
    }

    /// A 32-bit number in host byte order.
    pub fn u32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.get(..4)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// A 32-bit number in network byte order.
    pub fn be32(self, kind: u16) -> Option<u32> {
        self.get(kind)?.get(..4)?.try_into().ok().map(u32::from_be_bytes)
    }

    /// A byte.
    pub fn u8(self, kind: u16) -> Option<u8> {
        self.get(kind)?.first().copied()
    }
}

impl<'a> Iterator for Attrs<'a> {
    type Item = (u16, &'a [u8]);

    fn next(&mut self) -> Option<Self::Item> {
        let length = usize::from(u16::from_ne_bytes(self.0.get(0..2)?.try_into().ok()?));
        let kind = u16::from_ne_bytes(self.0.get(2..4)?.try_into().ok()?);
        let value = self.0.get(4..length)?;
        self.0 = self.0.get(length.next_multiple_of(ALIGN)..).unwrap_or_default();
        Some((kind & NLA_TYPE_MASK, value))
    }
}

#[cfg(test)]
mod tests {
    use super::{Attrs, HEADER, Message};

    #[test]
    fn what_is_built_is_read_back() {
        let mut message = Message::new(16, 0, &[1, 2, 3]);
        message.attr_str(3, "eth0").nest(18, |nest| {
            nest.attr_u32(1, 7).attr_be32(2, 9).attr_u8(4, 5);
        });
        let bytes = message.finish(42, 4);
        assert_eq!(bytes.len() % 4, 0);
        assert_eq!(u32::from_ne_bytes(bytes[0..4].try_into().unwrap()) as usize, bytes.len());
        assert_eq!(u16::from_ne_bytes(bytes[6..8].try_into().unwrap()), 5);
        let attrs = Attrs::new(&bytes[HEADER + 4..]);
        assert_eq!(attrs.text(3).unwrap(), "eth0");
        let nested = attrs.nested(18);
        assert_eq!(
            (nested.u32(1), nested.be32(2), nested.u8(4), nested.u32(9)),
            (Some(7), Some(9), Some(5), None)
        );
    }

    #[test]
    fn malformed_attributes_end_the_walk() {
        assert_eq!(Attrs::new(&[200, 0, 1, 0, 1]).count(), 0);
        assert_eq!(Attrs::new(&[2, 0, 1, 0]).count(), 0);
        assert_eq!(Attrs::new(&[1]).count(), 0);
    }
}
