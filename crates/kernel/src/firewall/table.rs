//! The tables `inet linkspan`, `ip6 linkspan` and `bridge linkspan`: everything in them but the elements of sets, and
//! all of that never changes.

use std::net::Ipv6Addr;

use crate::netlink::Message;

use super::expr::{Checksum, Ct, Meta, Rule};
use super::matches::{NFPROTO_IPV4, NFPROTO_IPV6};
use super::nft::{Base, Family, Hook, add_chain};
use super::set::SETS;
use super::userdata;

/// The comment of the tables: with another one they are of another version, and are replaced.
pub(super) const VERSION: &str = "linkspan 6";

// linux/netfilter/nf_conntrack_common.h: NF_CT_STATE_BIT(IP_CT_ESTABLISHED), of IP_CT_RELATED, IPS_DST_NAT
const ESTABLISHED: u32 = 1 << 1;
const RELATED: u32 = 1 << 2;
const DNAT: u32 = 1 << 5;
// net/flow.h: LOOPBACK_IFINDEX, the same in every network namespace
const LOOPBACK_INDEX: u32 = 1;
// linux/if_ether.h
const ETH_P_IP: u16 = 0x0800;
const ETH_P_IPV6: u16 = 0x86dd;
const ETH_P_8021Q: u16 = 0x8100;
const ETH_P_8021AD: u16 = 0x88a8;
// linux/in.h
const TCP: u8 = 6;
const UDP: u8 = 17;
const SCTP: u8 = 132;
// RFC 1035
const DNS: u16 = 53;
// RFC 4861
const ND_ROUTER_ADVERT: u8 = 134;
const ND_REDIRECT: u8 = 137;

const PUBLISH4: [&str; 5] = ["publish4", "publish4_any", "range4_tcp", "range4_udp", "range4_sctp"];
const PUBLISH6: [&str; 5] = ["publish6", "publish6_any", "range6_tcp", "range6_udp", "range6_sctp"];
const PORTS4: [&str; 5] = ["ports4", "ports4_any", "ranges4_tcp", "ranges4_udp", "ranges4_sctp"];
const PORTS6: [&str; 5] = ["ports6", "ports6_any", "ranges6_tcp", "ranges6_udp", "ranges6_sctp"];

/// The families whose tables come and go with that of inet, where the kernel has them.
pub(super) const OPTIONAL: [Family; 2] = [Family::Ip6, Family::Bridge];

/// The comment of the table of inet, which says of which families there are no others to be looked for.
pub(super) fn comment(lacking: &[Family]) -> String {
    OPTIONAL.iter().filter(|family| lacking.contains(family)).fold(VERSION.to_owned(), |text, family| {
        let name = if *family == Family::Ip6 { "ip6" } else { "bridge" };
        text + &format!(", no {name}")
    })
}

/// One thing to make, and what it needs of the kernel.
pub(super) struct Part {
    /// What it is, in the words of `nft`.
    pub(super) what: String,
    /// The kinds of expression in it that a kernel may lack.
    pub(super) needs: Vec<&'static str>,
    /// The message that makes it.
    pub(super) message: Message,
}

/// What makes the table of `family`, after the table itself, with what elsewhere is of use only with it.
pub(super) fn parts(family: Family) -> Vec<Part> {
    let chains = chains_of(family);
    let sets = SETS.iter().zip(1..).filter(|(set, _)| set.family == family).map(|(set, id)| Part {
        what: format!("set {}", set.name),
        needs: Vec::new(),
        message: set.create(id),
    });
    let bare = chains.iter().map(|chain| Part {
        what: format!("chain {}", chain.name),
        needs: chain.base.iter().filter(|base| base.kind == "nat").map(|_| "nat").collect(),
        message: add_chain(family, chain.name, chain.base.as_ref(), &userdata::of_chain(chain.comment)),
    });
    let part = |rule: &Rule, family, chain| Part {
        what: format!("a rule of chain {chain}"),
        needs: rule.expressions().collect(),
        message: rule.append_to(family, chain),
    };
    let rules = chains.iter().flat_map(|chain| chain.rules.iter().map(|rule| part(rule, family, chain.name)));
    let elsewhere = (family == Family::Ip6).then(|| part(&from_loopback(), Family::Inet, "output"));
    sets.chain(bare).chain(rules).chain(elsewhere).collect()
}

/// How many rules the table of `family` has at least.
pub(super) fn rules(family: Family) -> usize {
    chains_of(family).iter().map(|chain| chain.rules.len()).sum()
}

struct Chain {
    name: &'static str,
    comment: &'static str,
    base: Option<Base>,
    rules: Vec<Rule>,
}

fn chains_of(family: Family) -> Vec<Chain> {
    match family {
        Family::Inet => chains().into(),
        Family::Ip6 => loopback().into(),
        Family::Bridge => vec![advertisements(), macs()],
        Family::Backend => backend().into(),
        Family::Ip => Vec::new(),
    }
}

fn chains() -> [Chain; 10] {
    [
        Chain {
            name: "guard",
            comment: "127.0.0.0/8 and ::1 stay inside the host",
            base: base("filter", Hook::Prerouting, -300),
            rules: guard(),
        },
        Chain {
            name: "outsiders",
            comment: "who is not the host, but would speak with its loopback or as it",
            base: None,
            rules: outsiders(),
        },
        Chain {
            name: "prerouting",
            comment: "from the wire to a published port",
            base: base("nat", Hook::Prerouting, -100),
            rules: prerouting(),
        },
        Chain {
            name: "output",
            comment: "from the host itself to a published port",
            base: base("nat", Hook::Output, -100),
            rules: output(),
        },
        Chain { name: "publish4", comment: "published ports, IPv4", base: None, rules: publish4(PUBLISH4) },
        Chain { name: "publish6", comment: "published ports, IPv6", base: None, rules: publish6(PUBLISH6) },
        Chain {
            name: "forward",
            comment: "networks are apart, and only what is published can be entered",
            base: base("filter", Hook::Forward, 0),
            rules: forward(),
        },
        Chain {
            name: "closed",
            comment: "from one closed bridge into one",
            base: None,
            rules: vec![rule().iifname_oifname_not("same_closed").drop(), rule().iifname("sealed").drop()],
        },
        Chain { name: "segments", comment: "from one segment into one", base: None, rules: segments() },
        Chain {
            name: "postrouting",
            comment: "addresses are kept where the reply can come back",
            base: base("nat", Hook::Postrouting, 100),
            rules: postrouting(),
        },
    ]
}

/// Of the frames between the ports of a bridge; what the host sends or takes itself goes another way. Kernels may
/// lack a match for the bridge (CONFIG_NFT_BRIDGE_META), so our ports are known by their group.
fn advertisements() -> Chain {
    Chain {
        name: "advertisements",
        comment: "only the host tells sandboxes of IPv6 routers",
        base: base("filter", Hook::Forward, -200),
        rules: vec![
            rule().protocol(ETH_P_IP).accept(),
            rule().protocol(ETH_P_IPV6).icmpv6_type(ND_ROUTER_ADVERT).oifgroup_ours().drop(),
            rule().protocol(ETH_P_IPV6).icmpv6_type(ND_REDIRECT).oifgroup_ours().drop(),
            // Who receives them takes such tags off, however many there are; the rules above see through one.
            rule().vlan_zero(ETH_P_8021Q).oifgroup_ours().drop(),
            rule().vlan_zero(ETH_P_8021AD).oifgroup_ours().drop(),
        ],
    }
}

fn macs() -> Chain {
    Chain {
        name: "macs",
        comment: "who enters by a guarded port does so with its own MAC",
        base: base("filter", Hook::Prerouting, -200),
        rules: vec![rule().iifname("guarded").iifname_ether_saddr_not("own_mac").drop()],
    }
}

const fn base(kind: &'static str, hook: Hook, priority: i32) -> Option<Base> {
    Some(Base { kind, hook, priority })
}

// Where netfilter sees what bridges forward (net.bridge.bridge-nf-call-iptables), a packet that crosses a switch would be
// tracked there first, and nothing could be translated any more on the bridge above.
fn guard() -> Vec<Rule> {
    vec![
        rule().iifgroup_switches().notrack(),
        rule().ip_daddr_loopback().goto("outsiders"),
        rule().ip_saddr_loopback().goto("outsiders"),
        rule().ip6_daddr_loopback().goto("outsiders"),
        rule().ip6_saddr_loopback().goto("outsiders"),
    ]
}

fn outsiders() -> Vec<Rule> {
    vec![
        rule().iifname("bridges").drop(),
        rule().iifname("guests").drop(),
        // Bridges plugged into a card of the host are in none of the sets that keep networks apart, only in this one.
        rule().iifname("foreign_gateway").drop(),
    ]
}

// What is no address of the host is nobody's published port, and to loopback only the host itself may send.
fn prerouting() -> Vec<Rule> {
    vec![
        rule().ip_daddr_not_loopback().daddr_local().goto("publish4"),
        rule().ip6_daddr_not_loopback().daddr_local().goto("publish6"),
    ]
}

fn output() -> Vec<Rule> {
    vec![
        rule().nfproto(NFPROTO_IPV4).daddr_local().goto("publish4"),
        rule().ip6_daddr_not_loopback().daddr_local().goto("publish6"),
    ]
}

/// At the end of `output`. Without the table that leads the answers back, a client at ::1 has to be refused at once, and
/// goes on to 127.0.0.1.
fn from_loopback() -> Rule {
    rule().ip6_daddr_loopback().goto("publish6")
}

/// The kernel takes nothing for ::1 that comes in by another device than lo (`ip6_rcv_core`, `rt6_need_strict`). Answers
/// of a sandbox to ::1, which conntrack has just told to be some, are brought there: a copy goes through lo.
/// A copy is not tracked, so its source is set back by hand.
fn loopback() -> [Chain; 2] {
    let port = |protocol| rule().l4proto(protocol).ct_original(Ct::ProtoDst, 0);
    [
        Chain {
            name: "prerouting",
            comment: "what a published port answers to ::1",
            base: base("filter", Hook::Prerouting, -90),
            rules: vec![rule().daddr_loopback().ct_reply().ct(Ct::Status).any_of(DNAT).goto("answer")],
        },
        Chain {
            name: "answer",
            comment: "from the address and port that were asked, by way of lo",
            base: None,
            rules: vec![
                port(TCP).set_source_port(16, Checksum::Internet),
                port(UDP).set_source_port(6, Checksum::Internet),
                port(SCTP).set_source_port(8, Checksum::Sctp),
                rule().ct_original(Ct::DstIp6, 0).set_ip6_saddr(),
                rule()
                    .value(0, Ipv6Addr::LOCALHOST.octets())
                    .value(4, LOOPBACK_INDEX.to_ne_bytes())
                    .dup(0, 4),
                rule().drop(),
            ],
        },
    ]
}

/// The chains of the table that users of Podman know, with the names that they look for there. Whatever they let the host
/// take in by it (a policy of drop), names are asked for of the host.
fn backend() -> [Chain; 5] {
    let names =
        |protocol| rule().iifname("named").l4proto(protocol).dport(0).equal(DNS.to_be_bytes()).accept();
    [
        Chain {
            name: "INPUT",
            comment: "containers ask the host for names",
            base: base("filter", Hook::Input, 0),
            rules: vec![names(UDP), names(TCP)],
        },
        Chain {
            name: "PREROUTING",
            comment: "from the wire to a published port",
            base: base("nat", Hook::Prerouting, -100),
            rules: prerouting(),
        },
        Chain {
            name: "OUTPUT",
            comment: "from the host itself to a published port",
            base: base("nat", Hook::Output, -100),
            rules: output(),
        },
        Chain { name: "publish4", comment: "published ports, IPv4", base: None, rules: publish4(PORTS4) },
        Chain { name: "publish6", comment: "published ports, IPv6", base: None, rules: publish6(PORTS6) },
    ]
}

/// Published ports by the maps of one table: for one address of the host, for all, and ranges of TCP, UDP and SCTP.
fn publish4([one, any, tcp, udp, sctp]: [&'static str; 5]) -> Vec<Rule> {
    let dnat_to = |rule: Rule, map| rule.map(map).dnat(NFPROTO_IPV4, Some(1));
    let range = |protocol, map| rule().l4proto(protocol).dport(0).map(map).dnat(NFPROTO_IPV4, None);
    vec![
        dnat_to(rule().nfproto(NFPROTO_IPV4).ip_daddr().meta(Meta::L4proto, 1).dport(2), one),
        dnat_to(rule().meta(Meta::L4proto, 0).dport(1), any),
        range(TCP, tcp),
        range(UDP, udp),
        range(SCTP, sctp),
    ]
}

fn publish6([one, any, tcp, udp, sctp]: [&'static str; 5]) -> Vec<Rule> {
    let dnat_to = |rule: Rule, map| rule.map(map).dnat(NFPROTO_IPV6, Some(4));
    let range = |protocol, map| rule().l4proto(protocol).dport(0).map(map).dnat(NFPROTO_IPV6, None);
    vec![
        dnat_to(rule().nfproto(NFPROTO_IPV6).ip6_daddr().meta(Meta::L4proto, 4).dport(5), one),
        dnat_to(rule().meta(Meta::L4proto, 0).dport(1), any),
        range(TCP, tcp),
        range(UDP, udp),
        range(SCTP, sctp),
    ]
}

// Between closed bridges not even what was begun before goes on. Then comes the rule that nearly every packet ends at. An
// accept here does not keep other tables from dropping.
fn forward() -> Vec<Rule> {
    vec![
        rule().iifname("closed").oifname("closed").jump("closed"),
        rule().ct(Ct::State).any_of(ESTABLISHED | RELATED).accept(),
        rule().iifname("segments").oifname("segments").jump("segments"),
        rule().iifname_not("bridges").oifname_not("bridges").accept(),
        rule().iifname_not("apart").iifname_oifname("same_bridge").accept(),
        rule().iifname("internal").drop(),
        rule().oifname("internal").drop(),
        rule().ct(Ct::Status).any_of(DNAT).accept(),
        rule().oifname("bridges").drop(),
    ]
}

fn segments() -> Vec<Rule> {
    vec![
        rule().iifname_oifname("same_bridge").accept(),
        rule().ct(Ct::Status).any_of(DNAT).accept(),
        rule().iifname("strict").drop(),
        rule().oifname("strict").drop(),
        rule().iifname("isolated").oifname("isolated").drop(),
    ]
}

// With br_netfilter a redirected packet may go straight from port to port of its bridge: then it has no input
// device here, as those of the host have none.
fn postrouting() -> Vec<Rule> {
    vec![
        rule().ct(Ct::Status).any_of(DNAT).iifname_oifname("same_bridge").masquerade(),
        rule().ct(Ct::Status).any_of(DNAT).no_iif().oifname("bridges").saddr_not_local().masquerade(),
        rule().ct(Ct::Status).any_of(DNAT).no_iif().oifname("guests").saddr_not_local().masquerade(),
        rule().ip_saddr_loopback().oifname("bridges").masquerade(),
        rule().ip_saddr_loopback().oifname("guests").masquerade(),
        rule().ip6_saddr_loopback().oifname("bridges").masquerade(),
        rule().ip6_saddr_loopback().oifname("guests").masquerade(),
        rule().ct(Ct::Status).any_of(DNAT).oifname("foreign_gateway").masquerade(),
        rule().ct(Ct::Status).any_of(DNAT).ip_daddr_within("masquerade_to4").masquerade(),
        rule().ct(Ct::Status).any_of(DNAT).ip6_daddr_within("masquerade_to6").masquerade(),
        rule().nfproto(NFPROTO_IPV4).ip_daddr_to_one().outbound("outbound4").snat(NFPROTO_IPV4),
        rule().nfproto(NFPROTO_IPV6).ip6_daddr_to_one().outbound("outbound6").snat(NFPROTO_IPV6),
        rule().iifname("masqueraded").nfproto(NFPROTO_IPV4).ip_daddr_to_one().leaves().masquerade(),
        rule().iifname("masqueraded").nfproto(NFPROTO_IPV6).ip6_daddr_to_one().leaves().masquerade(),
        rule().ip_saddr_within("masquerade4").ip_daddr_to_one().ip_daddr_not_within("home4").masquerade(),
        rule().ip6_saddr_within("masquerade6").ip6_daddr_to_one().ip6_daddr_not_within("home6").masquerade(),
    ]
}

fn rule() -> Rule {
    Rule::default()
}
