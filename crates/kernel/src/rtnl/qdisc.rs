//! Queues, filters and the devices to queue in (linux/pkt_sched.h, linux/pkt_cls.h).

use libc::{RTM_DELQDISC, RTM_GETQDISC, RTM_GETTFILTER, RTM_NEWQDISC, RTM_NEWTFILTER};
use linkspan_model::{Limit, Mac, Rate, Size};

use super::NLM_F_DUMP;
use crate::netlink::{Attrs, Message};

const NLM_F_ECHO: u16 = 0x8;
const NLM_F_CREATE: u16 = 0x400;
const NLM_F_REPLACE: u16 = 0x100;

const TCA_KIND: u16 = 1;
const TCA_OPTIONS: u16 = 2;
const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;
const TCA_TBF_BURST: u16 = 6;
const TCA_U32_SEL: u16 = 5;
const TCA_U32_ACT: u16 = 7;
const TCA_ACT_KIND: u16 = 1;
const TCA_ACT_OPTIONS: u16 = 2;
const TCA_MIRRED_PARMS: u16 = 2;

const TC_H_ROOT: u32 = 0xffff_ffff;
const TC_H_CLSACT: u32 = 0xffff_fff1;
/// What comes in at a device with clsact.
const TC_H_CLSACT_INGRESS: u32 = 0xffff_fff2;
const TC_LINKLAYER_ETHERNET: u8 = 1;
const TC_U32_TERMINAL: u8 = 1;
const TC_ACT_STOLEN: i32 = 4;
const TCA_EGRESS_REDIR: i32 = 1;
const TCA_INGRESS_REDIR: i32 = 3;
// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;

/// Handle of the token bucket, `1:`.
const BUCKET: u32 = 1 << 16;
/// Handle of clsact, `ffff:`.
const CLSACT: u32 = 0xffff << 16;
const ETH_P_ALL: u16 = 3;
/// Length of `struct tcmsg`.
const TCMSG: usize = 20;
/// What filters on what comes in at a device with `ingress` belong to.
const INGRESS: u32 = CLSACT;
/// How long a packet may wait in a bucket's queue.
const QUEUE_MILLISECONDS: u64 = 50;
/// A tick of the packet scheduler (include/net/pkt_sched.h).
const TICK_NANOSECONDS: u64 = 64;
const NANOSECONDS: u64 = 1_000_000_000;

/// `struct tcmsg`: family, padding, device, handle, parent, info.
fn tcmsg(device: u32, handle: u32, parent: u32, info: u32) -> [u8; TCMSG] {
    let mut header = [0; TCMSG];
    header[4..8].copy_from_slice(&device.to_ne_bytes());
    header[8..12].copy_from_slice(&handle.to_ne_bytes());
    header[12..16].copy_from_slice(&parent.to_ne_bytes());
    header[16..20].copy_from_slice(&info.to_ne_bytes());
    header
}

/// Has a device send no faster than `limit`: a token bucket (TBF) as its queue, in place of whatever is its queue now.
pub(crate) fn token_bucket(device: u32, limit: Limit) -> Message {
    token_bucket_of(device, limit, QUEUE_MILLISECONDS)
}

/// As [`token_bucket`], where a packet may wait for so many milliseconds.
pub(crate) fn token_bucket_of(device: u32, limit: Limit, milliseconds: u64) -> Message {
    let header = tcmsg(device, BUCKET, TC_H_ROOT, 0);
    let mut message = Message::new(RTM_NEWQDISC, NLM_F_CREATE | NLM_F_REPLACE, &header);
    message.attr_str(TCA_KIND, "tbf");
    message.nest(TCA_OPTIONS, |options| {
        options.attr(TCA_TBF_PARMS, &tc_tbf_qopt(limit, milliseconds));
        options.attr_u32(TCA_TBF_BURST, limit.burst.bytes());
        if u32::try_from(limit.rate.bytes()).is_err() {
            options.attr(TCA_TBF_RATE64, &limit.rate.bytes().to_ne_bytes());
        }
    });
    message
}

/// `struct tc_tbf_qopt`: rate, peak rate (none), bytes in the queue, and what the attributes say better.
fn tc_tbf_qopt(limit: Limit, milliseconds: u64) -> [u8; 36] {
    let waiting = limit.rate.bytes().saturating_mul(milliseconds) / 1000;
    let queue = u32::try_from(waiting.saturating_add(limit.burst.bytes().into())).unwrap_or(u32::MAX);
    let mut bytes = [0; 36];
    // `struct tc_ratespec`: one byte before it would be for a table of times, which kernels do without.
    bytes[1] = TC_LINKLAYER_ETHERNET;
    bytes[8..12].copy_from_slice(&u32::try_from(limit.rate.bytes()).unwrap_or(u32::MAX).to_ne_bytes());
    bytes[24..28].copy_from_slice(&queue.to_ne_bytes());
    bytes
}

/// Gives a device the hook for filters on what comes in.
pub(crate) fn create_clsact(device: u32) -> Message {
    let mut message = Message::new(RTM_NEWQDISC, NLM_F_CREATE, &tcmsg(device, CLSACT, TC_H_CLSACT, 0));
    message.attr_str(TCA_KIND, "clsact");
    message
}

/// Gives a device the older hook for filters on what comes in, which other tools look for.
pub(crate) fn create_ingress(device: u32) -> Message {
    let mut message = Message::new(RTM_NEWQDISC, NLM_F_CREATE, &tcmsg(device, CLSACT, TC_H_CLSACT, 0));
    message.attr_str(TCA_KIND, "ingress");
    message
}

/// Sends what comes in at a device with clsact out of `to` instead. An ifb puts it back when it has waited.
///
/// The filter is a u32 without a key, which every kernel with filters has; the action is mirred's.
pub(crate) fn redirect(device: u32, to: u32) -> Message {
    lead_away((device, TC_H_CLSACT_INGRESS), (1, ETH_P_ALL), &[], TCA_EGRESS_REDIR, to)
}

/// As [`redirect`], for a device with `ingress`.
pub(crate) fn redirect_ingress(device: u32, to: u32) -> Message {
    lead_away((device, INGRESS), (1, ETH_P_ALL), &[], TCA_EGRESS_REDIR, to)
}

/// Takes IP packets that come in at a device with clsact and are for the Ethernet address `mac` as come in at `to`.
pub(crate) fn divert(device: u32, mac: Mac, to: u32) -> [Message; 2] {
    let [a, b, c, d, e, f] = mac.bytes();
    // The packet begins behind its Ethernet header, of which this is the start.
    let keys = [([0, 0, 0xff, 0xff], [0, 0, a, b], -16), ([0xff; 4], [c, d, e, f], -12)];
    [(1, ETH_P_IP), (2, ETH_P_IPV6)]
        .map(|order| lead_away((device, TC_H_CLSACT_INGRESS), order, &keys, TCA_INGRESS_REDIR, to))
}

/// A filter of a priority and protocol on what comes in, with keys of a mask, a value and a place.
fn lead_away(
    (device, hook): (u32, u32),
    (priority, protocol): (u32, u16),
    keys: &[([u8; 4], [u8; 4], i32)],
    way: i32,
    to: u32,
) -> Message {
    let header = tcmsg(device, 0, hook, priority << 16 | u32::from(protocol.to_be()));
    let mut message = Message::new(RTM_NEWTFILTER, NLM_F_CREATE, &header);
    // `struct tc_u32_sel`, then a `struct tc_u32_key` each.
    let mut select = vec![0; 16];
    (select[0], select[2]) = (TC_U32_TERMINAL, keys.len() as u8);
    for (mask, value, at) in keys {
        select.extend([mask.as_slice(), value, &at.to_ne_bytes(), &[0; 4]].concat());
    }
    // `struct tc_mirred`: index, capabilities, action, two counts; what to do, the device.
    let mut mirred = [0; 28];
    mirred[8..12].copy_from_slice(&TC_ACT_STOLEN.to_ne_bytes());
    mirred[20..24].copy_from_slice(&way.to_ne_bytes());
    mirred[24..28].copy_from_slice(&to.to_ne_bytes());
    message.attr_str(TCA_KIND, "u32");
    message.nest(TCA_OPTIONS, |options| {
        options.attr(TCA_U32_SEL, &select);
        options.nest(TCA_U32_ACT, |actions| {
            actions.nest(1, |action| {
                action.attr_str(TCA_ACT_KIND, "mirred");
                action.nest(TCA_ACT_OPTIONS, |options| _ = options.attr(TCA_MIRRED_PARMS, &mirred));
            });
        });
    });
    message
}

/// Takes a device's own queue away; the kernel's default comes back.
pub(crate) fn delete_root(device: u32) -> Message {
    Message::new(RTM_DELQDISC, 0, &tcmsg(device, 0, TC_H_ROOT, 0))
}

/// Takes the hook for filters away, and them with it.
pub(crate) fn delete_clsact(device: u32) -> Message {
    Message::new(RTM_DELQDISC, 0, &tcmsg(device, 0, TC_H_CLSACT, 0))
}

/// Asks for a device's queue. One that the kernel chose by itself may have no answer.
pub(crate) fn get_root(device: u32) -> Message {
    Message::new(RTM_GETQDISC, NLM_F_ECHO, &tcmsg(device, 0, TC_H_ROOT, 0))
}

/// Asks for a device's hook for filters on what comes in, be it clsact or the older one.
pub(crate) fn get_ingress(device: u32) -> Message {
    Message::new(RTM_GETQDISC, NLM_F_ECHO, &tcmsg(device, 0, TC_H_CLSACT, 0))
}

/// The kind that the body of an RTM_NEWQDISC is of, unless the kernel chose it by itself: it has no handle then.
pub(crate) fn given(body: &[u8]) -> Option<String> {
    let handle = body.get(8..12)?;
    if handle == [0; 4] { None } else { Attrs::new(body.get(TCMSG..)?).text(TCA_KIND) }
}

/// Asks for the filters on what comes in at a device with clsact.
pub(crate) fn dump_filters(device: u32) -> Message {
    Message::new(RTM_GETTFILTER, NLM_F_DUMP, &tcmsg(device, 0, TC_H_CLSACT_INGRESS, 0))
}

/// As [`dump_filters`], of a device with `ingress`.
pub(crate) fn dump_ingress_filters(device: u32) -> Message {
    Message::new(RTM_GETTFILTER, NLM_F_DUMP, &tcmsg(device, 0, INGRESS, 0))
}

/// Whether the body of an RTM_NEWQDISC is of a token bucket that keeps `limit`, as exactly as the kernel counts.
pub(crate) fn keeps(body: &[u8], wanted: Limit) -> bool {
    let ticks = |limit: Limit| {
        let time = u128::from(limit.burst.bytes()) * u128::from(NANOSECONDS) / u128::from(TICK_NANOSECONDS);
        time / u128::from(limit.rate.bytes().max(1))
    };
    // What is read back was rounded down to a byte.
    let byte = ticks(Limit { burst: Size::from_bytes(1), ..wanted });
    limit(body).is_some_and(|found| {
        found.rate == wanted.rate && ticks(found).abs_diff(ticks(wanted)) <= 2 + byte + ticks(wanted) / 1000
    })
}

/// The limit that a token bucket keeps, out of the body of an RTM_NEWQDISC; none if it is no token bucket. The burst
/// is what comes back of it: the kernel keeps the time that it takes.
pub(crate) fn limit(body: &[u8]) -> Option<Limit> {
    let attrs = Attrs::new(body.get(TCMSG..)?);
    if attrs.text(TCA_KIND)? != "tbf" {
        return None;
    }
    let options = attrs.nested(TCA_OPTIONS);
    let parameters = options.get(TCA_TBF_PARMS)?;
    let number =
        |at: usize| Some(u64::from(u32::from_ne_bytes(parameters.get(at..at + 4)?.try_into().ok()?)));
    let wide = options.get(TCA_TBF_RATE64).and_then(|rate| rate.try_into().ok()).map(u64::from_ne_bytes);
    let rate = wide.unwrap_or(number(8)?);
    let burst = u128::from(rate) * u128::from(number(28)? * TICK_NANOSECONDS) / u128::from(NANOSECONDS);
    let burst = Size::from_bytes(u32::try_from(burst).unwrap_or(u32::MAX));
    Some(Limit { rate: Rate::from_bytes(rate), burst })
}

/// Whether the body of an RTM_NEWTFILTER is of a filter that [`redirect`] makes.
pub(crate) fn is_redirect(body: &[u8]) -> bool {
    let attrs = body.get(TCMSG..).map(Attrs::new);
    let acts = |attrs: Attrs<'_>| attrs.nested(TCA_OPTIONS).get(TCA_U32_ACT).is_some();
    attrs.is_some_and(|attrs| attrs.text(TCA_KIND).as_deref() == Some("u32") && acts(attrs))
}

#[cfg(test)]
mod tests {
    use super::{TCMSG, limit, token_bucket};

    #[test]
    fn a_limit_is_read_as_it_is_written() {
        for rate in ["8kbit", "10mbit", "100gbit"] {
            let wanted = linkspan_model::Limit::new(rate.parse().unwrap());
            let bytes = token_bucket(7, wanted).finish(1, 0);
            let found = limit(&bytes[16..]).unwrap();
            assert_eq!(found.rate, wanted.rate);
        }
        assert_eq!(limit(&[0; TCMSG]), None);
    }
}
