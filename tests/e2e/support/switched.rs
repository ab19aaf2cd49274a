//! A host that is one of several on a switch.

use linkspan_lab::{Net, sh};

/// The host, a machine called outside, and the switch between them.
///
/// | machine | device | address |
/// |---|---|---|
/// | the host, whose default route is outside | lan0 | 192.0.2.1/24, 2001:db8::1/64 |
/// | outside | lan0 | 192.0.2.9/24, 2001:db8::9/64 |
pub struct Switched {
    pub host: Net,
    pub outside: Net,
    switch: Net,
}

impl Switched {
    pub fn new() -> Self {
        let lan = Self { host: Net::here(), outside: Net::new("outside"), switch: Net::new("switch") };
        lan.switch.sh("ip link add name br0 type bridge mcast_snooping 0 && ip link set br0 up");
        for (machine, number) in [(&lan.host, 1), (&lan.outside, 9)] {
            lan.plug(machine, "lan0", &format!("p{number}"));
            machine.sh(&format!("ip address add 192.0.2.{number}/24 dev lan0"));
        }
        lan.host.sh("ip route add default via 192.0.2.9");
        lan
    }

    /// Plugs a machine into the switch by a new device, and waits until frames pass.
    pub fn plug(&self, machine: &Net, device: &str, port: &str) {
        machine.sh(&format!("ip link add {device} type veth peer name {port} netns switch"));
        machine.sh(&format!("ip link set {device} up"));
        self.switch.sh(&format!(
            "ip link set {port} master br0 up && \
             until bridge link show dev {port} | grep -q 'LOWER_UP.*state forwarding'; do sleep 0.01; done"
        ));
        machine.sh(&format!("until ip link show {device} | grep -q 'state UP'; do sleep 0.01; done"));
    }

    /// Has IPv6 on the LAN too. The settings of new devices are as on a host that looks for duplicates.
    pub fn ipv6(self) -> Self {
        for (machine, number) in [(&self.host, 1), (&self.outside, 9)] {
            machine.sh(&format!("ip -6 address add 2001:db8::{number}/64 dev lan0 nodad"));
        }
        self.host.sh("until ip -6 route get 2001:db8::1 | grep -q ^local; do sleep 0.01; done");
        self
    }

    /// Has the switch send frames back by the port of the host, as for VEPA (IEEE 802.1Qbg).
    pub fn reflect(&self) {
        self.switch.sh("bridge link set dev p1 hairpin on");
    }

    /// Whom outside takes for the host: the MAC.
    pub fn host_as_seen(&self) -> String {
        self.outside
            .sh("ping -n -c 1 -W 1 192.0.2.1 >/dev/null; ip neigh show 192.0.2.1")
            .replace(['\n', ' '], " ")
    }
}

/// Whether the kernel can make devices of a kind on lan0.
pub fn kernel_has(kind: &str) -> bool {
    let made = linkspan_lab::run_tool(&format!("ip link add link lan0 name probe0 {kind}")).0;
    if made {
        sh("ip link delete probe0");
    }
    made
}
