//! Rules as chains of nf_tables expressions. Numbers from linux/netfilter/nf_tables.h unless another header
//! is named.
//!
//! Registers are the 32-bit ones, counted from 0: a concatenated key lies in consecutive ones.

use crate::netlink::Message;

use super::nft::{Family, LIST_ELEM, add_rule};

const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;

const REG_VERDICT: u32 = 0;
const REG32_00: u32 = 8;

const NFT_JUMP: i32 = -3;
const NFT_GOTO: i32 = -4;
// linux/netfilter.h
const NF_DROP: i32 = 0;
const NF_ACCEPT: i32 = 1;

const CMP_EQ: u32 = 0;
const CMP_NEQ: u32 = 1;
const LOOKUP_F_INV: u32 = 1;

/// A fact about the packet that `meta` loads.
#[derive(Clone, Copy)]
pub(super) enum Meta {
    Protocol = 1,
    Iif = 4,
    Iifname = 6,
    Oifname = 7,
    Nfproto = 15,
    L4proto = 16,
    Iifgroup = 21,
    Oifgroup = 22,
}

/// A fact about the packet's connection that `ct` loads.
#[derive(Clone, Copy)]
pub(super) enum Ct {
    State = 0,
    Direction = 1,
    Status = 2,
    ProtoDst = 12,
    DstIp6 = 22,
}

/// What keeps a checksum right when a part of a packet is set.
#[derive(Clone, Copy)]
pub(super) enum Checksum {
    /// The transport header's, which takes the addresses in.
    Pseudoheader,
    /// One as TCP has it.
    Internet,
    /// SCTP's.
    Sctp,
}

/// The header that `payload` reads from.
#[derive(Clone, Copy)]
pub(super) enum Header {
    Link = 0,
    Network = 1,
    Transport = 2,
}

/// The address that `fib` asks about.
#[derive(Clone, Copy)]
pub(super) enum Fib {
    Source = 1,
    Destination = 2,
}

enum Value {
    Byte(u8),
    Number(u32),
    Bytes(Vec<u8>),
    Name(&'static str),
    Verdict(i32, Option<&'static str>),
}

struct Expression {
    name: &'static str,
    attributes: Vec<(u16, Value)>,
}

/// A rule being built: each method adds one expression.
#[derive(Default)]
pub(super) struct Rule(Vec<Expression>);

impl Rule {
    /// Loads `key` into register `to`.
    pub(super) fn meta(self, key: Meta, to: u32) -> Self {
        self.expression("meta", [(1, register(to)), (2, Value::Number(key as u32))])
    }

    /// Loads `key` of the connection into register 0.
    pub(super) fn ct(self, key: Ct) -> Self {
        self.expression("ct", [(1, register(0)), (2, Value::Number(key as u32))])
    }

    /// Loads `key` as it was in the first packet of the connection into register `to`.
    pub(super) fn ct_original(self, key: Ct, to: u32) -> Self {
        const DIR_ORIGINAL: u8 = 0;
        self.expression(
            "ct",
            [(1, register(to)), (2, Value::Number(key as u32)), (3, Value::Byte(DIR_ORIGINAL))],
        )
    }

    /// Loads `bytes` into register `to`.
    pub(super) fn value(self, to: u32, bytes: impl Into<Vec<u8>>) -> Self {
        self.expression("immediate", [(1, register(to)), (2, Value::Bytes(bytes.into()))])
    }

    /// Puts register 0 into `length` bytes at `offset` of `header`. The `checksum` that changes with it lies at
    /// `checksum_at` of the same header.
    pub(super) fn set_payload(
        self,
        header: Header,
        offset: u32,
        length: u32,
        checksum_at: u32,
        checksum: Checksum,
    ) -> Self {
        const L4CSUM_PSEUDOHDR: u32 = 1;
        let (kind, flags) = match checksum {
            Checksum::Pseudoheader => (0, L4CSUM_PSEUDOHDR),
            Checksum::Internet => (1, 0),
            Checksum::Sctp => (2, 0),
        };
        let numbers = [(2, header as u32), (3, offset), (4, length), (6, kind), (7, checksum_at), (8, flags)];
        let mut attributes = vec![(5, register(0))];
        attributes.extend(numbers.map(|(attribute, number)| (attribute, Value::Number(number))));
        self.expression("payload", attributes)
    }

    /// Sends a copy to the address in register `address` by the device whose index is in register `device`.
    pub(super) fn dup(self, address: u32, device: u32) -> Self {
        self.expression("dup", [(1, register(address)), (2, register(device))])
    }

    /// Loads `length` bytes at `offset` of `header` into register `to`.
    pub(super) fn payload(self, header: Header, offset: u32, length: u32, to: u32) -> Self {
        self.expression(
            "payload",
            [
                (1, register(to)),
                (2, Value::Number(header as u32)),
                (3, Value::Number(offset)),
                (4, Value::Number(length)),
            ],
        )
    }

    /// Loads the type (RTN_LOCAL, ...) of one of the packet's addresses into register 0.
    pub(super) fn fib_type(self, address: Fib) -> Self {
        const RESULT_ADDRTYPE: u32 = 3;
        self.expression(
            "fib",
            [(1, register(0)), (2, Value::Number(RESULT_ADDRTYPE)), (3, Value::Number(address as u32))],
        )
    }

    /// Goes on only if register 0 starts with `value`.
    pub(super) fn equal(self, value: impl Into<Vec<u8>>) -> Self {
        self.compare(CMP_EQ, value.into())
    }

    /// Goes on only if register 0 does not start with `value`.
    pub(super) fn unequal(self, value: impl Into<Vec<u8>>) -> Self {
        self.compare(CMP_NEQ, value.into())
    }

    fn compare(self, operator: u32, value: Vec<u8>) -> Self {
        self.expression("cmp", [(1, register(0)), (2, Value::Number(operator)), (3, Value::Bytes(value))])
    }

    /// Goes on only if register 0 has one of `bits` set.
    pub(super) fn any_of(self, bits: u32) -> Self {
        self.mask(bits.to_ne_bytes()).unequal([0; 4])
    }

    /// Leaves of register 0 the bits in `mask`.
    pub(super) fn mask<const N: usize>(self, mask: [u8; N]) -> Self {
        self.expression(
            "bitwise",
            [
                (1, register(0)),
                (2, register(0)),
                (3, Value::Number(N as u32)),
                (4, Value::Bytes(mask.to_vec())),
                (5, Value::Bytes(vec![0; N])),
            ],
        )
    }

    /// Goes on only if the key in register 0 is in `set`.
    pub(super) fn within(self, set: &'static str) -> Self {
        self.expression("lookup", [(1, Value::Name(set)), (2, register(0))])
    }

    /// Goes on only if the key in register 0 is not in `set`.
    pub(super) fn not_within(self, set: &'static str) -> Self {
        self.expression("lookup", [(1, Value::Name(set)), (2, register(0)), (5, Value::Number(LOOKUP_F_INV))])
    }

    /// Goes on only if the key in register 0 is in `map`, with what it leads to in register 0.
    pub(super) fn map(self, map: &'static str) -> Self {
        self.expression("lookup", [(1, Value::Name(map)), (2, register(0)), (3, register(0))])
    }

    /// Redirects to the address in register 0 and the port in register `port`, if one is given.
    pub(super) fn dnat(self, nfproto: u8, port: Option<u32>) -> Self {
        const NAT_DNAT: u32 = 1;
        let mut attributes =
            vec![(1, Value::Number(NAT_DNAT)), (2, Value::Number(u32::from(nfproto))), (3, register(0))];
        attributes.extend(port.map(|port| (5, register(port))));
        self.expression("nat", attributes)
    }

    /// Gives the packet the address in register 0 as its source.
    pub(super) fn snat(self, nfproto: u8) -> Self {
        const NAT_SNAT: u32 = 0;
        let family = Value::Number(u32::from(nfproto));
        self.expression("nat", [(1, Value::Number(NAT_SNAT)), (2, family), (3, register(0))])
    }

    /// Gives the packet the address of the interface that it leaves by.
    pub(super) fn masquerade(self) -> Self {
        self.expression("masq", [])
    }

    /// Keeps connection tracking from the packet.
    pub(super) fn notrack(self) -> Self {
        self.expression("notrack", [])
    }

    pub(super) fn accept(self) -> Self {
        self.verdict(NF_ACCEPT, None)
    }

    pub(super) fn drop(self) -> Self {
        self.verdict(NF_DROP, None)
    }

    /// Goes on behind the rule where `chain` comes to no verdict.
    pub(super) fn jump(self, chain: &'static str) -> Self {
        self.verdict(NFT_JUMP, Some(chain))
    }

    pub(super) fn goto(self, chain: &'static str) -> Self {
        self.verdict(NFT_GOTO, Some(chain))
    }

    fn verdict(self, code: i32, chain: Option<&'static str>) -> Self {
        self.expression("immediate", [(1, Value::Number(REG_VERDICT)), (2, Value::Verdict(code, chain))])
    }

    fn expression(mut self, name: &'static str, attributes: impl Into<Vec<(u16, Value)>>) -> Self {
        self.0.push(Expression { name, attributes: attributes.into() });
        self
    }

    /// The kinds of expression that it needs.
    pub(super) fn expressions(&self) -> impl Iterator<Item = &'static str> {
        self.0.iter().map(|expression| expression.name)
    }

    /// The message that puts it at the end of `chain`.
    pub(super) fn append_to(&self, family: Family, chain: &str) -> Message {
        add_rule(family, chain, |list| {
            for Expression { name, attributes } in &self.0 {
                list.nest(LIST_ELEM, |expression| {
                    expression.attr_str(EXPR_NAME, name).nest(EXPR_DATA, |data| {
                        attributes.iter().for_each(|(kind, value)| value.write(*kind, data));
                    });
                });
            }
        })
    }
}

fn register(number: u32) -> Value {
    Value::Number(REG32_00 + number)
}

impl Value {
    fn write(&self, kind: u16, message: &mut Message) {
        match self {
            Self::Byte(byte) => message.attr_u8(kind, *byte),
            Self::Number(number) => message.attr_be32(kind, *number),
            Self::Bytes(bytes) => message.nest(kind, |data| _ = data.attr(DATA_VALUE, bytes)),
            Self::Name(name) => message.attr_str(kind, name),
            Self::Verdict(code, chain) => message.nest(kind, |data| {
                data.nest(DATA_VERDICT, |verdict| {
                    verdict.attr_be32(VERDICT_CODE, code.cast_unsigned());
                    if let Some(chain) = chain {
                        verdict.attr_str(VERDICT_CHAIN, chain);
                    }
                });
            }),
        };
    }
}
