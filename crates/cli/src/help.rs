//! What stands below the flags in a help that needs more than examples.

/// Of `netavark`.
pub const NETAVARK: &str = "Anything else behind `linkspan netavark` is what Podman says to its backend:
  linkspan netavark firewall-reload    put the firewall back, e.g. after `nft flush ruleset`
  linkspan netavark dhcp-proxy         keep the leases of networks whose addresses come by DHCP

Examples:
  linkspan netavark install /usr/local/libexec/podman
  linkspan netavark version";

/// Of `network create`.
pub const NETWORK_CREATE: &str = "Examples:
  linkspan network create lab
  linkspan network create --subnet 10.7.0.0/16 --ip-range 10.7.5.0/24 --gateway 10.7.0.1 lab
  linkspan network create --subnet 192.168.0.0/24 --aux-address DefaultGatewayIPv4=192.168.0.2 flat
  linkspan network create -o com.docker.network.bridge.enable_icc=false --internal vault
  linkspan network create -o linkspan.uplink=eth0 --ip-range 192.168.0.64/27 lan
  linkspan network create -o linkspan.uplink=network:lab floor1
  linkspan network create -d macvlan -o parent=eth0.10 --subnet 10.1.0.0/24 --gateway 10.1.0.1 lan

Options of driver bridge, each as -o KEY=VALUE:
  com.docker.network.bridge.name                  the bridge's device
  com.docker.network.bridge.enable_icc            false: sandboxes do not reach each other
  com.docker.network.bridge.enable_ip_masquerade  false: they keep their addresses outside
  com.docker.network.bridge.host_binding_ipv4     where ports are published by default
  com.docker.network.driver.mtu                   in bytes; 1500 by default
  com.docker.network.container_iface_prefix       of interface names inside; eth by default
  linkspan.uplink                                 IFACE, network:NAME or ovs:BRIDGE: what the
                                                  bridge is plugged into
  linkspan.uplink.confirm                         30s: a card is put back, unless `network
                                                  confirm` comes within that time
  linkspan.stp                                    true: speak the spanning tree protocol

Options of drivers macvlan and ipvlan, beside MTU and prefix:
  parent                 the device below; eth0.10 makes the 802.1Q sub-interface
  macvlan_mode           bridge, private, vepa, passthru or source
  ipvlan_mode            l2, l3 or l3s
  ipvlan_flag            bridge, private or vepa
  linkspan.host-access   true: the host and its sandboxes there reach each other";

#[cfg(test)]
mod tests {
    use linkspan_model::{BridgeOptions, Driver, Invalid, OptionMap, ParentOptions};

    use super::NETWORK_CREATE;

    /// The keys that a driver's error for an unknown one names.
    fn known<T>(parse: impl FnOnce(&OptionMap) -> Result<T, Invalid>) -> Vec<String> {
        let unlike_any = [("§".to_owned(), String::new())].into();
        let hint = parse(&unlike_any).err().and_then(|error| error.hint).unwrap_or_default();
        hint.trim_start_matches("known options: ").split(", ").map(str::to_owned).collect()
    }

    #[test]
    fn every_option_is_in_the_help() {
        let bridge = known(BridgeOptions::parse);
        let macvlan = known(|options| ParentOptions::parse(Driver::Macvlan, options));
        let ipvlan = known(|options| ParentOptions::parse(Driver::Ipvlan, options));
        for keys in [bridge, macvlan, ipvlan] {
            assert!(keys.len() > 4, "{keys:?}");
            for key in keys {
                assert!(NETWORK_CREATE.contains(&format!("\n  {key} ")), "{key} is not in the help");
            }
        }
    }
}
