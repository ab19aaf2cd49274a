//! The rules by which the reference plugins publish, masquerade and let pass, as far as nf_tables has them.

use std::fs;
use std::net::IpAddr;

use linkspan_kernel::firewall::{ForeignFamily, ForeignRule, ForeignTable};

use super::Cached;
use crate::{CniError, Host};

/// Tables of iptables over nf_tables.
const IPTABLES: [ForeignTable; 4] = [
    ForeignTable { family: ForeignFamily::Ip, name: "nat" },
    ForeignTable { family: ForeignFamily::Ip6, name: "nat" },
    ForeignTable { family: ForeignFamily::Ip, name: "filter" },
    ForeignTable { family: ForeignFamily::Ip6, name: "filter" },
];
/// Tables of the plugins' own.
const HOSTPORTS: ForeignTable = ForeignTable { family: ForeignFamily::Inet, name: "cni_hostport" };
const MASQUERADE: ForeignTable = ForeignTable { family: ForeignFamily::Inet, name: "cni_plugins_masquerade" };
/// Where `firewall` lets containers' packets pass.
const FORWARD: &str = "CNI-FORWARD";
/// Tables that iptables has where it does not use nf_tables, a line each.
const LEGACY: [(&str, &str); 2] =
    [("/proc/net/ip_tables_names", "iptables"), ("/proc/net/ip6_tables_names", "ip6tables")];
/// The digits of a hash in a chain's name, at least.
const HASH: usize = 20;

/// All rules that there may be something among.
pub struct Rules {
    all: Vec<ForeignRule>,
    /// The programs that have rules which are not nf_tables'.
    legacy: Vec<&'static str>,
}

/// What of them is of one attachment.
pub struct Own<'a> {
    rules: Vec<&'a ForeignRule>,
    chains: Vec<(ForeignTable, String)>,
    /// What is left alone, each with what to do about it.
    pub notes: Vec<String>,
}

impl Rules {
    /// Reads them.
    ///
    /// # Errors
    /// If the kernel cannot be asked.
    pub fn read(host: &mut Host) -> Result<Self, CniError> {
        let kernel = host.engine()?.kernel();
        let mut all = Vec::new();
        for table in IPTABLES.into_iter().chain([HOSTPORTS, MASQUERADE]) {
            all.extend(kernel.foreign_rules(table)?);
        }
        let has_tables = |file: &str| fs::read_to_string(file).is_ok_and(|names| !names.trim().is_empty());
        let legacy = LEGACY.into_iter().filter(|(file, _)| has_tables(file)).map(|(_, program)| program);
        Ok(Self { all, legacy: legacy.collect() })
    }

    /// Those that were made for `cached`; what lets its packets pass only if that was taken over too.
    pub fn of(&self, cached: &Cached, lets_pass: bool) -> Own<'_> {
        let Cached { network, container, ifname, .. } = cached;
        let comment = format!("name: \"{network}\" id: \"{container}\"");
        let masquerade = format!("net: {network}, if: {ifname}, id: {container}\0");
        let addresses: Vec<IpAddr> = cached.result.ips.iter().map(|ip| ip.address.addr()).collect();
        let hostport = comment_of(container);
        let mut own = Own { rules: Vec::new(), chains: Vec::new(), notes: Vec::new() };
        for rule in &self.all {
            let is_own = match rule.table {
                HOSTPORTS => rule.says(&hostport),
                MASQUERADE => rule.says(masquerade.as_bytes()),
                _ if rule.chain == FORWARD => {
                    lets_pass && addresses.iter().any(|address| rule.compares(*address))
                }
                _ => rule.says(comment.as_bytes()),
            };
            if is_own {
                own.chains.extend(chains(rule));
                own.rules.push(rule);
            }
        }
        own.chains.sort_by(|one, other| one.1.cmp(&other.1));
        own.chains.dedup();
        let inside = self.all.iter().filter(|rule| own.chains.contains(&(rule.table, rule.chain.clone())));
        let more: Vec<_> = inside.filter(|rule| !own.rules.contains(rule)).collect();
        own.rules.extend(more);
        own.notes.extend(self.legacy.iter().map(|program| legacy(program, container)));
        own
    }
}

impl Own<'_> {
    /// How many rules they are.
    pub const fn len(&self) -> usize {
        self.rules.len()
    }

    /// Removes them, all or none.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn remove(&self, host: &mut Host) -> Result<(), CniError> {
        Ok(host.engine()?.kernel().remove_foreign(&self.rules, &self.chains)?)
    }
}

/// A rule's comment as nft keeps it: type, length with the NUL, text.
fn comment_of(text: &str) -> Vec<u8> {
    let length = u8::try_from(text.len() + 1).unwrap_or(u8::MAX);
    [&[0, length], text.as_bytes(), &[0]].concat()
}

/// The chains that are one container's by their names: the rule's own, and those that it jumps to.
fn chains(rule: &ForeignRule) -> Vec<(ForeignTable, String)> {
    let mut chains = rule.words("CNI-");
    chains.push(rule.chain.clone());
    chains.retain(|chain| is_of_one(chain));
    chains.into_iter().map(|chain| (rule.table, chain)).collect()
}

/// Whether a chain ends in a hash, as those of one container do; others serve all of them.
fn is_of_one(chain: &str) -> bool {
    let Some(rest) = chain.strip_prefix("CNI-") else { return false };
    let hash = ["DN-", "SN-"].iter().find_map(|prefix| rest.strip_prefix(prefix)).unwrap_or(rest);
    hash.len() >= HASH && hash.bytes().all(|byte| byte.is_ascii_hexdigit() && !byte.is_ascii_uppercase())
}

fn legacy(program: &str, container: &str) -> String {
    format!(
        "rules of {program}-legacy are left alone: `{program}-legacy-save | grep -v 'id: \"{container}\"' | \
         {program}-legacy-restore` removes the container's"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_of_one_container_end_in_a_hash() {
        for (chain, one) in [
            ("CNI-DN-0123456789abcdef01234", true),
            ("CNI-0123456789abcdef01234567", true),
            ("CNI-HOSTPORT-DNAT", false),
            ("CNI-FORWARD", false),
            ("CNI-0123456789ABCDEF01234567", false),
            ("POSTROUTING", false),
        ] {
            assert_eq!(is_of_one(chain), one, "{chain}");
        }
    }

    #[test]
    fn comments_are_whole() {
        assert_eq!(comment_of("web"), b"\x00\x04web\x00");
    }
}
