//! Messages about the table `filter` of iptables over nf_tables. Numbers from linux/netfilter/nf_tables.h unless another
//! header is named.

use linkspan_model::IfName;

use crate::netlink::{Attrs, Message};

use super::nft::{Family, LIST_ELEM, message};

const TABLE: &str = "filter";

const NEWTABLE: u16 = 0;
const NEWCHAIN: u16 = 3;
const GETCHAIN: u16 = 4;
const DELCHAIN: u16 = 5;
const NEWRULE: u16 = 6;
const GETRULE: u16 = 7;
const DELRULE: u16 = 8;

const TABLE_NAME: u16 = 1;

const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
/// NFTA_CHAIN_POLICY.
pub(super) const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
/// NFTA_CHAIN_USERDATA.
pub(super) const CHAIN_USERDATA: u16 = 12;
const HOOK_HOOKNUM: u16 = 1;
const HOOK_PRIORITY: u16 = 2;

const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
/// NFTA_RULE_HANDLE.
pub(super) const RULE_HANDLE: u16 = 3;
/// NFTA_RULE_EXPRESSIONS.
pub(super) const RULE_EXPRESSIONS: u16 = 4;
/// NFTA_RULE_COMPAT, with the protocol that a match of iptables is for.
const RULE_COMPAT: u16 = 5;
const COMPAT_PROTO: u16 = 1;
const COMPAT_FLAGS: u16 = 2;
/// NFTA_RULE_USERDATA.
pub(super) const RULE_USERDATA: u16 = 7;

const EXPR_NAME: u16 = 1;
const EXPR_DATA: u16 = 2;
const DATA_VALUE: u16 = 1;
const DATA_VERDICT: u16 = 2;
const VERDICT_CODE: u16 = 1;
const VERDICT_CHAIN: u16 = 2;
const IMMEDIATE_DATA: u16 = 2;

const REG_VERDICT: u32 = 0;
const REG_1: u32 = 1;
const META_IIFNAME: u32 = 6;
const META_OIFNAME: u32 = 7;
const META_L4PROTO: u32 = 16;
const CMP_EQ: u32 = 0;
const NFT_JUMP: i32 = -3;

// linux/netfilter.h
/// A policy.
pub(super) const NF_DROP: u32 = 0;
const NF_ACCEPT: u32 = 1;
const NF_INET_LOCAL_IN: u32 = 1;
const NF_INET_FORWARD: u32 = 2;

// linux/netlink.h
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_APPEND: u16 = 0x800;

// linux/netfilter/xt_conntrack.h
const CONNTRACK_REVISION: u32 = 3;
/// The length of `struct xt_conntrack_mtinfo3`, and where its flags and states are.
const CONNTRACK_INFO: usize = 168;
const CONNTRACK_FLAGS: usize = 146;
const CONNTRACK_STATES: usize = 150;
/// XT_CONNTRACK_STATE
const CONNTRACK_STATE: u16 = 1;
// XT_CONNTRACK_STATE_BIT(IP_CT_ESTABLISHED), of IP_CT_RELATED, XT_CONNTRACK_STATE_DNAT
const ESTABLISHED: u16 = 1 << 1;
const RELATED: u16 = 1 << 2;
const DNAT: u16 = 1 << 7;

// linux/in.h
const TCP: u8 = 6;
const UDP: u8 = 17;
/// The length of `struct xt_udp` and of `struct xt_tcp`, aligned as matches are.
const TCPUDP_INFO: usize = 16;

pub(super) fn add_table(family: Family) -> Message {
    let mut table = message(family, NEWTABLE, NLM_F_CREATE);
    table.attr_str(TABLE_NAME, TABLE);
    table
}

pub(super) fn get_chain(family: Family, name: &str) -> Message {
    of_chain(message(family, GETCHAIN, 0), name)
}

pub(super) fn delete_chain(family: Family, name: &str) -> Message {
    of_chain(message(family, DELCHAIN, 0), name)
}

pub(super) fn add_chain(family: Family, name: &str, userdata: &[u8]) -> Message {
    let mut chain = of_chain(message(family, NEWCHAIN, NLM_F_CREATE), name);
    chain.attr(CHAIN_USERDATA, userdata);
    chain
}

/// A base chain as iptables makes it: of what is for the host, or of what is forwarded.
pub(super) fn add_base(family: Family, name: &str, is_input: bool) -> Message {
    let hook = if is_input { NF_INET_LOCAL_IN } else { NF_INET_FORWARD };
    let mut chain = of_chain(message(family, NEWCHAIN, NLM_F_CREATE), name);
    chain.attr_str(CHAIN_TYPE, TABLE).attr_be32(CHAIN_POLICY, NF_ACCEPT).nest(CHAIN_HOOK, |at| {
        at.attr_be32(HOOK_HOOKNUM, hook).attr_be32(HOOK_PRIORITY, 0);
    });
    chain
}

fn of_chain(mut message: Message, name: &str) -> Message {
    message.attr_str(CHAIN_TABLE, TABLE).attr_str(CHAIN_NAME, name);
    message
}

pub(super) fn dump_rules(family: Family, chain: &str) -> Message {
    of_rule(message(family, GETRULE, NLM_F_DUMP), chain)
}

pub(super) fn delete_rule(family: Family, chain: &str, handle: u64) -> Message {
    let mut rule = of_rule(message(family, DELRULE, 0), chain);
    rule.attr(RULE_HANDLE, &handle.to_be_bytes());
    rule
}

/// A rule at the head of `chain` that leads to another.
pub(super) fn jump_first(family: Family, chain: &str, to: &str, userdata: &[u8]) -> Message {
    let mut rule = of_rule(message(family, NEWRULE, NLM_F_CREATE), chain);
    rule.nest(RULE_EXPRESSIONS, |list| {
        expression(list, "counter", |_| {});
        verdict(list, NFT_JUMP.cast_unsigned(), Some(to));
    });
    rule.attr(RULE_USERDATA, userdata);
    rule
}

/// Rules at the end of `chain` that accept all that comes from `device`, and what goes there if that answers, or was sent
/// there by a published port.
pub(super) fn pass(family: Family, chain: &str, device: &IfName, userdata: &[u8]) -> [Message; 3] {
    let rule = |key: u32, states: Option<u16>| {
        let mut rule = of_rule(message(family, NEWRULE, NLM_F_CREATE | NLM_F_APPEND), chain);
        rule.nest(RULE_EXPRESSIONS, |list| {
            by_device(list, key, device);
            if let Some(states) = states {
                conntrack(list, states);
            }
            expression(list, "counter", |_| {});
            verdict(list, NF_ACCEPT, None);
        });
        rule.attr(RULE_USERDATA, userdata);
        rule
    };
    [
        rule(META_IIFNAME, None),
        rule(META_OIFNAME, Some(RELATED | ESTABLISHED)),
        rule(META_OIFNAME, Some(DNAT)),
    ]
}

/// Rules at the end of `chain` that accept what comes from a device for a port of the host, of TCP and UDP.
pub(super) fn serve(
    family: Family,
    chain: &str,
    (device, port): (&IfName, u16),
    userdata: &[u8],
) -> [Message; 2] {
    [("udp", UDP), ("tcp", TCP)].map(|(name, protocol)| {
        let mut rule = of_rule(message(family, NEWRULE, NLM_F_CREATE | NLM_F_APPEND), chain);
        rule.nest(RULE_EXPRESSIONS, |list| {
            by_device(list, META_IIFNAME, device);
            expression(list, "meta", |meta| _ = meta.attr_be32(1, REG_1).attr_be32(2, META_L4PROTO));
            expression(list, "cmp", |cmp| {
                cmp.attr_be32(1, REG_1).attr_be32(2, CMP_EQ);
                cmp.nest(3, |data| _ = data.attr(DATA_VALUE, &[protocol]));
            });
            to_port(list, name, port);
            expression(list, "counter", |_| {});
            verdict(list, NF_ACCEPT, None);
        });
        rule.nest(RULE_COMPAT, |compat| {
            compat.attr_be32(COMPAT_PROTO, protocol.into()).attr_be32(COMPAT_FLAGS, 0);
        });
        rule.attr(RULE_USERDATA, userdata);
        rule
    })
}

/// `-m udp --dport PORT`, or of TCP, whose two structures begin alike (linux/netfilter/xt_tcpudp.h): the first and last source
/// port, then the first and last destination port.
fn to_port(list: &mut Message, protocol: &str, port: u16) {
    let mut info = [0; TCPUDP_INFO];
    for (field, value) in info.chunks_exact_mut(2).zip([0, u16::MAX, port, port]) {
        field.copy_from_slice(&value.to_ne_bytes());
    }
    expression(list, "match", |matched| {
        matched.attr_str(1, protocol).attr_be32(2, 0).attr(3, &info);
    });
}

/// The chain that an expression leads to, if it is a verdict that leads to one.
pub(super) fn chain_of(expression: Attrs<'_>) -> Option<String> {
    let data = expression.nested(EXPR_DATA).nested(IMMEDIATE_DATA).nested(DATA_VERDICT);
    data.text(VERDICT_CHAIN).filter(|_| expression.text(EXPR_NAME).as_deref() == Some("immediate"))
}

fn of_rule(mut message: Message, chain: &str) -> Message {
    message.attr_str(RULE_TABLE, TABLE).attr_str(RULE_CHAIN, chain);
    message
}

fn expression(list: &mut Message, name: &str, data: impl FnOnce(&mut Message)) {
    list.nest(LIST_ELEM, |expression| _ = expression.attr_str(EXPR_NAME, name).nest(EXPR_DATA, data));
}

fn by_device(list: &mut Message, key: u32, device: &IfName) {
    expression(list, "meta", |meta| _ = meta.attr_be32(1, REG_1).attr_be32(2, key));
    // With the NUL, or it would be all names that begin so.
    let name = [device.as_str().as_bytes(), &[0]].concat();
    expression(list, "cmp", |cmp| {
        cmp.attr_be32(1, REG_1).attr_be32(2, CMP_EQ);
        cmp.nest(3, |data| _ = data.attr(DATA_VALUE, &name));
    });
}

fn conntrack(list: &mut Message, states: u16) {
    let mut info = [0; CONNTRACK_INFO];
    for (at, value) in [(CONNTRACK_FLAGS, CONNTRACK_STATE), (CONNTRACK_STATES, states)] {
        if let Some(field) = info.get_mut(at..at + 2) {
            field.copy_from_slice(&value.to_ne_bytes());
        }
    }
    expression(list, "match", |matched| {
        matched.attr_str(1, "conntrack").attr_be32(2, CONNTRACK_REVISION).attr(3, &info);
    });
}

fn verdict(list: &mut Message, code: u32, chain: Option<&str>) {
    expression(list, "immediate", |immediate| {
        immediate.attr_be32(1, REG_VERDICT).nest(IMMEDIATE_DATA, |data| {
            data.nest(DATA_VERDICT, |verdict| {
                verdict.attr_be32(VERDICT_CODE, code);
                if let Some(chain) = chain {
                    verdict.attr_str(VERDICT_CHAIN, chain);
                }
            });
        });
    });
}
