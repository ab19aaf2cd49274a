//! What a virtual machine has to know of its tap.

use anstream::println;
use linkspan_model::Endpoint;
use serde::Serialize;

use crate::args::Format;
use crate::output::{self, Problem};

/// A tap as JSON.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TapJson {
    device: String,
    mac_address: String,
    addresses: Vec<String>,
    gateways: Vec<String>,
    qemu: [String; 4],
}

/// Prints the device that the machine opens, what it has to configure inside, and how qemu is told.
pub fn show(endpoint: &Endpoint, format: Format) -> Result<(), Problem> {
    let tap = TapJson {
        device: endpoint.ifname.to_string(),
        mac_address: endpoint.mac.to_string(),
        addresses: endpoint.leases.iter().map(|lease| lease.interface_address().to_string()).collect(),
        gateways: endpoint.leases.iter().filter_map(|lease| lease.gateway).map(|ip| ip.to_string()).collect(),
        qemu: qemu(endpoint),
    };
    if format == Format::Json {
        return output::json(&tap);
    }
    let qemu = tap.qemu.join(" ");
    let row = vec![tap.device, tap.mac_address, tap.addresses.join(","), tap.gateways.join(",")];
    output::table(&["DEVICE", "MAC", "ADDRESS", "GATEWAY"], vec![row]);
    println!("\nqemu-system-x86_64 ... {qemu}");
    Ok(())
}

/// The arguments of qemu for it.
fn qemu(endpoint: &Endpoint) -> [String; 4] {
    let (device, mac) = (&endpoint.ifname, endpoint.mac);
    [
        "-netdev".to_owned(),
        format!("tap,id={device},ifname={device},script=no,downscript=no"),
        "-device".to_owned(),
        format!("virtio-net-pci,netdev={device},mac={mac}"),
    ]
}
