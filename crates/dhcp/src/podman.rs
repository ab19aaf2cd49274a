//! The leases of Podman's containers, as the proxy is called for them.

use std::sync::Arc;

use linkspan_model::Mac;
use linkspan_plan::Failure;
use tonic::Status;

use crate::keeper::Place;
use crate::lease::Lease;
use crate::leases::{Asked, Lacking, Leases};
use crate::message::Identity;
use crate::wire::{Calls, LeaseMessage, NetworkConfig, OperationResponse, Pending};

impl Asked for NetworkConfig {
    type Told = LeaseMessage;

    const GIVES: bool = true;

    fn place(&self) -> Place {
        Place { netns: self.ns_path.clone().into(), ifname: self.container_iface.clone() }
    }

    /// Servers know a container by its identity, also when it comes with another MAC.
    fn identity(&self) -> Identity {
        let mac: Mac = self.container_mac_addr.parse().unwrap_or_default();
        // The types of RFC 2132, 9.14: 0 is for what is no hardware address, 1 for Ethernet.
        let client_id = match self.container_id.as_bytes() {
            [] => [&[1], &mac.bytes()[..]].concat(),
            id => [&[0], &id[..id.len().min(254)]].concat(),
        };
        Identity {
            mac,
            client_id,
            host_name: Some(self.host_name.clone()).filter(|name| !name.is_empty()),
            options: Vec::new(),
            asked: Vec::new(),
            broadcast: false,
        }
    }

    fn told(&self, lease: &Lease) -> LeaseMessage {
        LeaseMessage::new(lease, self.container_mac_addr.parse().unwrap_or_default(), &self.domain_name)
    }
}

/// Leases by the MACs of their interfaces.
pub type Containers = Leases<NetworkConfig>;

impl Calls for Containers {
    fn setup(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>> {
        let busy = self.busy();
        Box::pin(async move {
            let _busy = busy;
            let mac = mac(&config.container_mac_addr)?.to_string();
            match config.version {
                0 => {}
                1 => return Err(Status::invalid_argument("ipv6 not yet supported")),
                _ => return Err(Status::invalid_argument("invalid protocol version")),
            }
            let config = NetworkConfig { container_mac_addr: mac.clone(), ..config };
            self.obtain(mac, config).await.map_err(status)
        })
    }

    fn teardown(self: Arc<Self>, config: NetworkConfig) -> Pending<Result<LeaseMessage, Status>> {
        let busy = self.busy();
        Box::pin(async move {
            let _busy = busy;
            // Of what never was there, nothing is to be given back.
            let Ok(mac) = mac(&config.container_mac_addr) else { return Ok(LeaseMessage::default()) };
            Ok(self.release(&mac.to_string()).await.map_err(status)?.unwrap_or_default())
        })
    }

    fn clean(self: Arc<Self>) -> Pending<Result<OperationResponse, Status>> {
        let busy = self.busy();
        Box::pin(async move {
            let _busy = busy;
            for key in self.keys() {
                self.release(&key).await.map_err(status)?;
            }
            Ok(OperationResponse { success: true })
        })
    }
}

/// Reads a MAC; refusals are in words that tests of others look for.
fn mac(text: &str) -> Result<Mac, Status> {
    let digits = |digits| u8::from_str_radix(digits, 16);
    let bytes: Result<Vec<u8>, _> = text.split([':', '-']).map(digits).collect();
    let unparsed = |error| Status::invalid_argument(format!("unable to parse mac address {text}: {error}"));
    let bytes = <[u8; 6]>::try_from(bytes.map_err(unparsed)?);
    let too_long = |_| Status::invalid_argument(format!("invalid mac length for address: {text}"));
    Ok(Mac::from_bytes(bytes.map_err(too_long)?))
}

fn status(lacking: Lacking) -> Status {
    match lacking {
        Lacking::Interface(error) => {
            let text = format!("{error}: {}", error.cause);
            match error.failure {
                Failure::NotFound => Status::invalid_argument(text),
                _ => Status::internal(text),
            }
        }
        Lacking::Server(patience) => {
            let seconds = patience.as_secs();
            Status::aborted(format!("no DHCP server has given a lease within {seconds} seconds"))
        }
        Lacking::File(error) => Status::internal(format!("Error caching the lease: {error}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn macs_are_read_in_the_words_that_others_know() {
        assert_eq!(mac("02-00-00-00-00-0A").unwrap().to_string(), "02:00:00:00:00:0a");
        let refused = |text| mac(text).unwrap_err().message().to_owned();
        assert_eq!(refused(""), "unable to parse mac address : cannot parse integer from empty string");
        assert!(refused("123").starts_with("unable to parse mac address 123: "));
        assert_eq!(refused("02:00"), "invalid mac length for address: 02:00");
    }

    #[test]
    fn a_container_is_known_by_its_identity() {
        let mut config = NetworkConfig {
            container_mac_addr: "02:00:00:00:00:01".to_owned(),
            container_id: "c1".to_owned(),
            ..NetworkConfig::default()
        };
        assert_eq!(config.identity().client_id, b"\0c1");
        config.container_id.clear();
        assert_eq!(config.identity().client_id, [1, 2, 0, 0, 0, 0, 1]);
    }
}
