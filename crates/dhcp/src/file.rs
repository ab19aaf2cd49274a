//! The file that the proxy's leases are in: an object with a list of one lease for each MAC, as others read it, and beside
//! that what a proxy needs that is started again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkspan_model::Mac;
use serde::{Deserialize, Serialize};

use crate::lease::Lease;
use crate::wire::{LeaseMessage, NetworkConfig};

/// A lease of the file.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    /// As whoever asked for it was told.
    #[serde(flatten)]
    pub told: LeaseMessage,
    /// What it takes to go on with it; missing if another proxy wrote the file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept>,
}

/// What it takes to go on with a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept {
    /// What was asked.
    pub config: NetworkConfig,
    /// What is leased.
    pub lease: Lease,
    /// The time since the epoch that it counts from.
    pub since: Duration,
    /// The MAC of the server, or of the router before it.
    pub server_mac: Option<Mac>,
}

/// All leases by MAC.
pub type Records = BTreeMap<String, Record>;

/// The leases of a file; none if it is not there.
///
/// # Errors
/// If it cannot be read.
pub fn read(path: &Path) -> io::Result<Records> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Records::new()),
        // One that a proxy has opened and not written yet.
        Ok(text) if text.is_empty() => return Ok(Records::new()),
        text => text?,
    };
    let lists: BTreeMap<String, Vec<Record>> = serde_json::from_slice(&text)?;
    Ok(lists.into_iter().filter_map(|(mac, list)| Some((mac, list.into_iter().next()?))).collect())
}

/// Puts `records` in the place of what is in a file. Whoever reads it meanwhile finds all of either.
///
/// # Errors
/// If it cannot be written.
pub fn write<'a>(path: &Path, records: impl Iterator<Item = (&'a String, &'a Record)>) -> io::Result<()> {
    let lists: BTreeMap<&String, [&Record; 1]> = records.map(|(mac, record)| (mac, [record])).collect();
    let aside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    fs::write(&aside, serde_json::to_vec(&lists)?)?;
    fs::rename(&aside, path).inspect_err(|_| _ = fs::remove_file(&aside))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_others_find_their_keys() {
        let path = std::env::temp_dir().join(format!("linkspan-leases-{}", std::process::id()));
        assert_eq!(read(&path).unwrap(), Records::new());
        let told = LeaseMessage { yiaddr: "10.1.2.50".to_owned(), ..LeaseMessage::default() };
        let kept = Kept {
            config: NetworkConfig { ns_path: "/run/netns/c1".to_owned(), ..NetworkConfig::default() },
            lease: Lease {
                address: "10.1.2.50/24".parse().unwrap(),
                server: [10, 1, 2, 1].into(),
                next_server: [10, 1, 2, 1].into(),
                seconds: 120,
                renewal: 60,
                rebinding: 105,
                routers: Vec::new(),
                routes: vec![("10.9.0.0/16".parse().unwrap(), [10, 1, 2, 1].into())],
                dns: Vec::new(),
                domain: None,
                host_name: None,
                broadcast: None,
                mtu: None,
                ntp: Vec::new(),
            },
            since: Duration::from_millis(1500),
            server_mac: Some("02:00:00:00:00:09".parse().unwrap()),
        };
        let mac = "02:00:00:00:00:01".to_owned();
        let records = Records::from([(mac, Record { told, kept: Some(kept) })]);
        write(&path, records.iter()).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["02:00:00:00:00:01"][0]["yiaddr"], "10.1.2.50");
        fs::write(&path, r#"{"aa":[{"t1":60,"yiaddr":"10.1.2.3","is_v6":false}]}"#).unwrap();
        assert_eq!(read(&path).unwrap()["aa"].kept, None);
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), Records::new());
        fs::remove_file(&path).unwrap();
    }
}
