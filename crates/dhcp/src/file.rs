//! The file that leases are in: an object with a list of one lease for each key, as others read that of Podman's proxy, and
//! beside it what whoever keeps them needs when it is started again.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use linkspan_model::Mac;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::lease::Lease;

/// A lease of the file: what was asked as `A`, and what was told as `T`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record<A, T> {
    /// As whoever asked for it was told.
    #[serde(flatten)]
    pub told: T,
    /// What it takes to go on with it; missing if another program wrote the file.
    #[serde(default = "none", skip_serializing_if = "Option::is_none")]
    pub kept: Option<Kept<A>>,
}

const fn none<A>() -> Option<Kept<A>> {
    None
}

/// What it takes to go on with a lease.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Kept<A> {
    /// What was asked.
    pub asked: A,
    /// What is leased.
    pub lease: Lease,
    /// The time since the epoch that it counts from.
    pub since: Duration,
    /// The MAC of the server, or of the router before it.
    pub server_mac: Option<Mac>,
}

/// All leases by key.
pub type Records<A, T> = BTreeMap<String, Record<A, T>>;

/// The leases of a file; none if it is not there.
///
/// # Errors
/// If it cannot be read.
pub fn read<A: DeserializeOwned, T: DeserializeOwned>(path: &Path) -> io::Result<Records<A, T>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Records::new()),
        // One that a proxy has opened and not written yet.
        Ok(text) if text.is_empty() => return Ok(Records::new()),
        text => text?,
    };
    let lists: BTreeMap<String, Vec<Record<A, T>>> = serde_json::from_slice(&text)?;
    Ok(lists.into_iter().filter_map(|(mac, list)| Some((mac, list.into_iter().next()?))).collect())
}

/// Puts `records` in the place of what is in a file. Whoever reads it meanwhile finds all of either.
///
/// # Errors
/// If it cannot be written.
pub fn write<'a, A: Serialize + 'a, T: Serialize + 'a>(
    path: &Path,
    records: impl Iterator<Item = (&'a String, &'a Record<A, T>)>,
) -> io::Result<()> {
    let lists: BTreeMap<&String, [&Record<A, T>; 1]> = records.map(|(key, record)| (key, [record])).collect();
    let aside = PathBuf::from(format!("{}.{}", path.display(), std::process::id()));
    fs::write(&aside, serde_json::to_vec(&lists)?)?;
    fs::rename(&aside, path).inspect_err(|_| _ = fs::remove_file(&aside))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::{LeaseMessage, NetworkConfig};

    type Podmans = Records<NetworkConfig, LeaseMessage>;

    #[test]
    fn what_is_written_is_read_again_and_others_find_their_keys() {
        let path = std::env::temp_dir().join(format!("linkspan-leases-{}", std::process::id()));
        assert_eq!(read(&path).unwrap(), Podmans::new());
        let told = LeaseMessage { yiaddr: "10.1.2.50".to_owned(), ..LeaseMessage::default() };
        let kept = Kept {
            asked: NetworkConfig { ns_path: "/run/netns/c1".to_owned(), ..NetworkConfig::default() },
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
        let records = Podmans::from([(mac, Record { told, kept: Some(kept) })]);
        write(&path, records.iter()).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let json: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        assert_eq!(json["02:00:00:00:00:01"][0]["yiaddr"], "10.1.2.50");
        fs::write(&path, r#"{"aa":[{"t1":60,"yiaddr":"10.1.2.3","is_v6":false}]}"#).unwrap();
        assert_eq!(read::<NetworkConfig, LeaseMessage>(&path).unwrap()["aa"].kept, None);
        fs::write(&path, "").unwrap();
        assert_eq!(read(&path).unwrap(), Podmans::new());
        fs::remove_file(&path).unwrap();
    }
}
