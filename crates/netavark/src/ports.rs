//! Published ports: many lines of Podman's become as few ranges as they can.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use linkspan_model::{Family, PortRange, Protocol, Published};

use crate::{Error, PortMapping};

/// What `mappings` publish of a container that has the `families`.
///
/// # Errors
/// If one means nothing.
pub fn published(mappings: &[PortMapping], families: &[Family]) -> Result<Vec<Published>, Error> {
    let mut all = Vec::new();
    for mapping in mappings {
        let hosts = hosts(mapping)?;
        let (host, target) = (range(mapping.host_port, mapping)?, range(mapping.container_port, mapping)?);
        for protocol in mapping.protocol.split(',') {
            let protocol: Protocol = protocol.trim().to_ascii_lowercase().parse()?;
            let ours = hosts.iter().filter(|host_ip| families.contains(&Family::of(**host_ip)));
            all.extend(ours.map(|host_ip| Published { protocol, host_ip: *host_ip, host, target }));
        }
    }
    Ok(merged(all))
}

/// The host's addresses that a mapping is for.
fn hosts(mapping: &PortMapping) -> Result<Vec<IpAddr>, Error> {
    let PortMapping { host_ip, host_port, .. } = mapping;
    if host_ip.is_empty() {
        return Ok(vec![Ipv4Addr::UNSPECIFIED.into(), Ipv6Addr::UNSPECIFIED.into()]);
    }
    let wrong = |_| Error::new(format!("invalid host ip {host_ip:?} provided for port {host_port}"));
    Ok(vec![host_ip.parse().map_err(wrong)?])
}

fn range(first: u16, mapping: &PortMapping) -> Result<PortRange, Error> {
    let last = first.checked_add(mapping.range.max(1) - 1).filter(|_| first > 0);
    let wrong = || {
        let PortMapping { host_port, container_port, range, .. } = mapping;
        Error::new(format!("invalid port range: {range} ports from {host_port} to {container_port}"))
    };
    Ok(PortRange { first, last: last.ok_or_else(wrong)? })
}

/// The same with those in a row as one, and of those that are there twice the first.
fn merged(mut all: Vec<Published>) -> Vec<Published> {
    all.sort_by_key(|published| (published.protocol.number(), published.host_ip, published.host.first));
    let mut merged: Vec<Published> = Vec::new();
    for mut next in all {
        let last = merged
            .last_mut()
            .filter(|last| (last.protocol.number(), last.host_ip) == (next.protocol.number(), next.host_ip));
        let Some(last) = last else {
            merged.push(next);
            continue;
        };
        if next.host.last <= last.host.last {
            continue;
        }
        if let Some(cut) = (last.host.last + 1).checked_sub(next.host.first) {
            next.host.first += cut;
            next.target.first += cut;
        }
        let goes_on = |last: PortRange, next: PortRange| last.last.checked_add(1) == Some(next.first);
        if goes_on(last.host, next.host) && goes_on(last.target, next.target) {
            (last.host.last, last.target.last) = (next.host.last, next.target.last);
        } else {
            merged.push(next);
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapping(text: &str) -> PortMapping {
        serde_json::from_str(text).unwrap()
    }

    fn texts(mappings: &[PortMapping], families: &[Family]) -> Vec<String> {
        published(mappings, families).unwrap().iter().map(ToString::to_string).collect()
    }

    fn one(host: u16, container: u16, range: u16, host_ip: &str) -> PortMapping {
        mapping(&format!(
            r#"{{"host_ip":"{host_ip}","container_port":{container},"host_port":{host},"range":{range},"protocol":"tcp"}}"#
        ))
    }

    #[test]
    fn an_address_goes_with_its_family() {
        let both = [Family::V4, Family::V6];
        assert_eq!(texts(&[one(8080, 80, 0, "")], &both), ["0.0.0.0:8080 -> 80/tcp", "[::]:8080 -> 80/tcp"]);
        assert_eq!(texts(&[one(8080, 80, 1, "::")], &both), ["[::]:8080 -> 80/tcp"]);
        assert!(texts(&[one(8080, 80, 1, "::1")], &both[..1]).is_empty());
        let several = r#"{"container_port":53,"host_port":53,"protocol":"tcp,udp"}"#;
        assert_eq!(texts(&[mapping(several)], &both[..1]), ["0.0.0.0:53 -> 53/tcp", "0.0.0.0:53 -> 53/udp"]);
    }

    #[test]
    fn ports_in_a_row_are_one_range() {
        let v4 = [Family::V4];
        let singles: Vec<_> = (0..3000).rev().map(|n| one(10_000 + n, 1000 + n, 1, "")).collect();
        assert_eq!(texts(&singles, &v4), ["0.0.0.0:10000-12999 -> 1000-3999/tcp"]);
        let apart = [one(80, 80, 1, ""), one(81, 90, 2, ""), one(83, 92, 1, "127.0.0.1")];
        assert_eq!(
            texts(&apart, &v4),
            ["0.0.0.0:80 -> 80/tcp", "0.0.0.0:81-82 -> 90-91/tcp", "127.0.0.1:83 -> 92/tcp"]
        );
    }

    #[test]
    fn a_port_leads_to_one_place() {
        let v4 = [Family::V4];
        let twice = [one(80, 80, 3, ""), one(81, 90, 1, ""), one(82, 95, 3, ""), one(80, 80, 1, "")];
        assert_eq!(texts(&twice, &v4), ["0.0.0.0:80-82 -> 80-82/tcp", "0.0.0.0:83-84 -> 96-97/tcp"]);
    }

    #[test]
    fn what_means_nothing_is_refused() {
        let words = |mapping| published(&[mapping], &[Family::V4]).unwrap_err().to_string();
        assert_eq!(words(one(8080, 80, 1, "abcd")), r#"invalid host ip "abcd" provided for port 8080"#);
        assert!(words(one(65_535, 80, 2, "")).contains("invalid port range"));
        assert!(words(one(0, 80, 1, "")).contains("invalid port range"));
        let icmp = r#"{"container_port":1,"host_port":1,"protocol":"icmp"}"#;
        assert!(words(mapping(icmp)).contains("icmp"));
    }
}
