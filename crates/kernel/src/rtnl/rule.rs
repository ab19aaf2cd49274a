//! Rules that choose a routing table (linux/fib_rules.h).

use ipnet::IpNet;
use libc::{RTM_DELRULE, RTM_GETRULE, RTM_NEWRULE};

use super::{NLM_F_CREATE_EXCLUSIVE, NLM_F_DUMP, address_bytes, address_from, family_number};
use crate::netlink::{Attrs, Message};

const FRA_SRC: u16 = 2;
const FRA_TABLE: u16 = 15;
const FR_ACT_TO_TBL: u8 = 1;
/// Length of `struct fib_rule_hdr`.
const FIB_RULE_HDR: usize = 12;

/// `struct fib_rule_hdr`: family, prefix lengths of destination and source, TOS, table, two reserved, action, flags.
fn message(kind: u16, flags: u16, from: IpNet, table: u32) -> Message {
    let mut header = [0; FIB_RULE_HDR];
    header[0] = family_number(from.addr());
    header[2] = from.prefix_len();
    header[4] = u8::try_from(table).unwrap_or_default();
    header[7] = FR_ACT_TO_TBL;
    let mut message = Message::new(kind, flags, &header);
    if from.prefix_len() > 0 {
        message.attr(FRA_SRC, &address_bytes(from.addr()));
    }
    message.attr_u32(FRA_TABLE, table);
    message
}

/// Has what comes from a source looked up in a table.
pub(crate) fn add(from: IpNet, table: u32) -> Message {
    message(RTM_NEWRULE, NLM_F_CREATE_EXCLUSIVE, from, table)
}

/// Removes such a rule.
pub(crate) fn delete(from: IpNet, table: u32) -> Message {
    message(RTM_DELRULE, 0, from, table)
}

/// Asks for the rules of both families.
pub(crate) fn dump() -> Message {
    Message::new(RTM_GETRULE, NLM_F_DUMP, &[0; FIB_RULE_HDR])
}

/// The source and the table, out of the body of an RTM_NEWRULE; none if it is of another make.
pub(crate) fn parse(body: &[u8]) -> Option<(IpNet, u32)> {
    let attrs = Attrs::new(body.get(FIB_RULE_HDR..)?);
    let from = IpNet::new(address_from(attrs.get(FRA_SRC)?)?, *body.get(2)?).ok()?;
    Some((from, table(body)?))
}

/// The table that a rule leads to, out of the body of an RTM_NEWRULE.
pub(crate) fn table(body: &[u8]) -> Option<u32> {
    let attrs = Attrs::new(body.get(FIB_RULE_HDR..)?);
    attrs.u32(FRA_TABLE).or_else(|| body.get(4).copied().map(u32::from))
}

#[cfg(test)]
mod tests {
    use super::{add, parse};

    #[test]
    fn a_rule_reads_back() {
        for (from, table) in [("10.1.0.2/32", 100), ("fd00::2/128", 70_000)] {
            let from = from.parse().unwrap();
            assert_eq!(parse(&add(from, table).finish(1, 0)[16..]), Some((from, table)));
        }
    }
}
