//! Messages of nf_tables. Numbers from linux/netfilter/nf_tables.h unless another header is named.

use crate::netlink::Message;

const NEWTABLE: u16 = 0;
const GETTABLE: u16 = 1;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const NEWSET: u16 = 9;
const NEWSETELEM: u16 = 12;
const GETSETELEM: u16 = 13;
const DELSETELEM: u16 = 14;
const GETGEN: u16 = 16;
/// NFTA_GEN_ID.
pub(super) const GEN_ID: u16 = 1;

const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
/// NFTA_TABLE_USERDATA.
pub(super) const TABLE_USERDATA: u16 = 6;

pub(super) const CHAIN_TABLE: u16 = 1;
pub(super) const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
pub(super) const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const CHAIN_USERDATA: u16 = 12;
const HOOK_HOOKNUM: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
pub(super) const NF_ACCEPT: u32 = 1;

pub(super) const RULE_TABLE: u16 = 1;
pub(super) const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;

const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LEN: u16 = 5;
const SET_DATA_TYPE: u16 = 6;
const SET_DATA_LEN: u16 = 7;
const SET_ID: u16 = 10;
const SET_USERDATA: u16 = 13;
const SET_INTERVAL: u32 = 0x4;
const SET_MAP: u32 = 0x8;

const ELEM_LIST_TABLE: u16 = 1;
const ELEM_LIST_SET: u16 = 2;
/// NFTA_SET_ELEM_LIST_ELEMENTS.
pub(super) const ELEM_LIST_ELEMENTS: u16 = 3;

/// NFTA_LIST_ELEM.
pub(super) const LIST_ELEM: u16 = 1;

// linux/netlink.h
pub(super) const NLM_F_DUMP: u16 = 0x300;
const NLM_F_EXCL: u16 = 0x200;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

// linux/netfilter/nfnetlink.h
const NFNL_SUBSYS_NFTABLES: u16 = 10;
/// The family of a table, of which there is one, but for a runtime's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Family {
    /// Packets that the host sends, takes or routes.
    Inet,
    /// Packets of IPv4; only tables of others are of it.
    Ip,
    /// Frames that go through a bridge. Not every kernel has it.
    Bridge,
    /// Packets of IPv6, and what can be done with them only. Not every kernel has all of it.
    Ip6,
    /// What of [`Inet`](Self::Inet) is in the table that users of Podman know, made when something is first published there.
    Backend,
}

impl Family {
    /// The number in messages (linux/netfilter.h).
    pub(super) const fn number(self) -> u8 {
        match self {
            Self::Inet | Self::Backend => 1,
            Self::Ip => 2,
            Self::Bridge => 7,
            Self::Ip6 => 10,
        }
    }

    /// The name of the table.
    const fn table(self) -> &'static str {
        match self {
            Self::Backend => "netavark",
            Self::Inet | Self::Ip | Self::Bridge | Self::Ip6 => "linkspan",
        }
    }
}

/// Where a base chain stands in a packet's way (linux/netfilter.h).
#[derive(Clone, Copy)]
pub(super) enum Hook {
    Prerouting = 0,
    Input = 1,
    Forward = 2,
    Output = 3,
    Postrouting = 4,
}

/// What makes a chain a base chain.
pub(super) struct Base {
    /// The chain's type: `filter` or `nat`.
    pub(super) kind: &'static str,
    /// The hook.
    pub(super) hook: Hook,
    /// The order within the hook, lowest first.
    pub(super) priority: i32,
}

/// The type of a set's keys and data.
pub(super) struct Layout {
    /// The type's number in `nft`, 6 bits for each field.
    pub(super) kind: u32,
    /// Length in bytes.
    pub(super) length: u32,
}

pub(super) fn message(family: Family, kind: u16, flags: u16) -> Message {
    message_of(family.number(), kind, flags)
}

/// A message about a table of any family, of which there are more than Linkspan has (linux/netfilter.h).
pub(super) fn message_of(family: u8, kind: u16, flags: u16) -> Message {
    Message::new(NFNL_SUBSYS_NFTABLES << 8 | kind, flags, &[family, 0, 0, 0])
}

/// `create table`: fails if there is one.
pub(super) fn create_table(family: Family, userdata: &[u8]) -> Message {
    let mut table = message(family, NEWTABLE, NLM_F_CREATE | NLM_F_EXCL);
    table.attr_str(TABLE_NAME, family.table()).attr_be32(TABLE_FLAGS, 0).attr(TABLE_USERDATA, userdata);
    table
}

/// `add table`: leaves one that is there as it is.
pub(super) fn add_table(family: Family) -> Message {
    let mut table = message(family, NEWTABLE, NLM_F_CREATE);
    table.attr_str(TABLE_NAME, family.table()).attr_be32(TABLE_FLAGS, 0);
    table
}

pub(super) fn get_table(family: Family) -> Message {
    let mut table = message(family, GETTABLE, 0);
    table.attr_str(TABLE_NAME, family.table());
    table
}

pub(super) fn delete_table(family: Family) -> Message {
    let mut table = message(family, DELTABLE, 0);
    table.attr_str(TABLE_NAME, family.table());
    table
}

pub(super) fn add_chain(family: Family, name: &str, base: Option<&Base>, userdata: &[u8]) -> Message {
    let mut chain = message(family, NEWCHAIN, NLM_F_CREATE);
    chain.attr_str(CHAIN_TABLE, family.table()).attr_str(CHAIN_NAME, name);
    if let Some(Base { kind, hook, priority }) = base {
        chain.attr_str(CHAIN_TYPE, kind).attr_be32(CHAIN_POLICY, NF_ACCEPT).nest(CHAIN_HOOK, |at| {
            at.attr_be32(HOOK_HOOKNUM, *hook as u32).attr_be32(HOOK_PRIORITY, priority.cast_unsigned());
        });
    }
    chain.attr(CHAIN_USERDATA, userdata);
    chain
}

/// A rule at the end of `chain`; `build` adds its expressions.
pub(super) fn add_rule(family: Family, chain: &str, build: impl FnOnce(&mut Message)) -> Message {
    let mut rule = message(family, NEWRULE, NLM_F_CREATE | NLM_F_APPEND);
    rule.attr_str(RULE_TABLE, family.table()).attr_str(RULE_CHAIN, chain).nest(RULE_EXPRESSIONS, build);
    rule
}

pub(super) fn dump_rules(family: Family) -> Message {
    let mut rules = message(family, GETRULE, NLM_F_DUMP);
    rules.attr_str(RULE_TABLE, family.table());
    rules
}

/// A set, or with `data` a map. `id` tells it from the others of its transaction.
pub(super) fn add_set(
    (family, name): (Family, &str),
    id: u32,
    key: &Layout,
    data: Option<&Layout>,
    interval: bool,
    userdata: &[u8],
) -> Message {
    let mut flags = 0;
    if interval {
        flags |= SET_INTERVAL;
    }
    if data.is_some() {
        flags |= SET_MAP;
    }
    let mut set = message(family, NEWSET, NLM_F_CREATE);
    set.attr_str(SET_TABLE, family.table())
        .attr_str(SET_NAME, name)
        .attr_be32(SET_FLAGS, flags)
        .attr_be32(SET_KEY_TYPE, key.kind)
        .attr_be32(SET_KEY_LEN, key.length);
    if let Some(data) = data {
        set.attr_be32(SET_DATA_TYPE, data.kind).attr_be32(SET_DATA_LEN, data.length);
    }
    set.attr_be32(SET_ID, id).attr(SET_USERDATA, userdata);
    set
}

/// How often the tables have changed.
pub(super) fn get_generation() -> Message {
    message(Family::Inet, GETGEN, 0)
}

pub(super) fn add_elements(family: Family, set: &str, build: impl FnOnce(&mut Message)) -> Message {
    elements(family, message(family, NEWSETELEM, NLM_F_CREATE), set, build)
}

pub(super) fn delete_elements(family: Family, set: &str, build: impl FnOnce(&mut Message)) -> Message {
    elements(family, message(family, DELSETELEM, 0), set, build)
}

pub(super) fn get_elements(family: Family, set: &str, build: impl FnOnce(&mut Message)) -> Message {
    elements(family, message(family, GETSETELEM, 0), set, build)
}

pub(super) fn dump_elements(family: Family, set: &str) -> Message {
    of_set(family, message(family, GETSETELEM, NLM_F_DUMP), set)
}

/// Deletes every element.
pub(super) fn flush_set(family: Family, set: &str) -> Message {
    of_set(family, message(family, DELSETELEM, 0), set)
}

fn elements(family: Family, message: Message, set: &str, build: impl FnOnce(&mut Message)) -> Message {
    let mut elements = of_set(family, message, set);
    elements.nest(ELEM_LIST_ELEMENTS, build);
    elements
}

fn of_set(family: Family, mut message: Message, set: &str) -> Message {
    message.attr_str(ELEM_LIST_TABLE, family.table()).attr_str(ELEM_LIST_SET, set);
    message
}
