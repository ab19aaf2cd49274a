//! The demo's voice: scenes, paragraphs, pictures and tables.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use anstream::println;
use anstyle::{AnsiColor, Style};
use linkspan_engine::SandboxView;
use linkspan_kernel::tables::{NeighbourEntry, RouteEntry, Tables};
use linkspan_plan::Element;

use super::address;
use crate::output::{Problem, table};

const SCENE: Style = Style::new().bold().underline();
const COMMAND: Style = AnsiColor::Green.on_default().bold();
const RESULT: Style = AnsiColor::Cyan.on_default();
const STEP: Style = AnsiColor::BrightBlack.on_default();
const WIDTH: usize = 92;

/// Begins a scene.
pub fn scene(title: &str) {
    println!("\n{SCENE}{title}{SCENE:#}\n");
}

/// A paragraph.
pub fn say(text: &str) {
    let mut line = String::new();
    for word in text.split_whitespace() {
        if line.len() + word.len() >= WIDTH {
            println!("{line}");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    println!("{line}\n");
}

/// What one would type.
pub fn command(line: &str) {
    println!("{COMMAND}$ {line}{COMMAND:#}");
}

/// A change of the kernel.
pub fn step(step: &impl std::fmt::Display) {
    println!("{STEP}+ {step}{STEP:#}");
}

/// What came of it.
pub fn result(text: &str) {
    println!("{RESULT}{text}{RESULT:#}");
}

/// A picture, indented in the source as the code around it.
pub fn picture(text: &str) {
    let lines: Vec<_> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let margin = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or_default();
    lines.iter().for_each(|line| println!("    {}", &line[margin..]));
    println!();
}

/// A request with its answer.
pub fn exchange(who: &str, address: SocketAddr, how: &str, answer: &str) {
    println!("{how}");
    println!("  {COMMAND}{who:>8} $ curl http://{address}/{COMMAND:#}");
    println!("           {RESULT}{answer}{RESULT:#}\n");
}

/// Which device of the host is the other end of which sandbox's.
pub fn veth_pairs(views: &[SandboxView]) {
    heading("veth pairs: each end names the other by its number (as `ip link` and `ethtool -S` do)");
    let row = |view: &SandboxView| {
        let (endpoint, _) = view.attached.first()?;
        let facts = view.links.first().copied().flatten()?;
        Some(vec![
            format!("{} (number {})", endpoint.host_ifname(), facts.host_index?),
            format!("{} (number {})", endpoint.ifname, facts.sandbox_index?),
            view.sandbox.name.to_string(),
            address(view),
            endpoint.mac.to_string(),
        ])
    };
    table(&["ON THE HOST", "INSIDE", "SANDBOX", "ADDRESS", "MAC"], views.iter().filter_map(row).collect());
}

/// A bridge's ports, and what it has learned.
pub fn bridge(name: &str) -> Result<(), Problem> {
    let mut tables = Tables::open()?;
    heading(&format!("the ports of {name}"));
    let links = tables.links();
    let ports = links.iter().filter(|link| link.bridge.as_deref() == Some(name));
    let port = |link: &linkspan_kernel::tables::LinkEntry| {
        vec![link.index.to_string(), link.name.clone(), link.mac.clone()]
    };
    table(&["NUMBER", "PORT", "MAC"], ports.map(port).collect());
    heading(&format!("what {name} knows of MACs (its FDB): the sandboxes' were learned from their frames"));
    let entry = |entry: NeighbourEntry| {
        let how = if entry.own { "its own" } else { "learned" };
        vec![entry.mac, entry.device, how.to_owned()]
    };
    table(&["MAC", "BEHIND", ""], tables.fdb(name)?.into_iter().map(entry).collect());
    Ok(())
}

/// Which MAC has which address.
pub fn neighbours() -> Result<(), Problem> {
    heading("which MAC an address has (the host's ARP table)");
    let row = |entry: NeighbourEntry| vec![entry.address, entry.mac, entry.device];
    table(&["ADDRESS", "MAC", "ON"], Tables::open()?.neighbours()?.into_iter().map(row).collect());
    Ok(())
}

/// The routes where this is called, which is in web.
pub fn routes_of_web() -> Result<(), Problem> {
    routes_of("web")
}

/// The host's routes.
pub fn routes() -> Result<(), Problem> {
    routes_of("the host")
}

fn routes_of(whose: &str) -> Result<(), Problem> {
    heading(&format!("the routes of {whose}"));
    let row = |route: RouteEntry| {
        let via = if route.via.is_empty() { "directly".to_owned() } else { format!("via {}", route.via) };
        vec![route.destination, via, route.device]
    };
    table(&["TO", "", "OUT OF"], Tables::open()?.routes()?.into_iter().map(row).collect());
    Ok(())
}

/// What the firewall's sets and maps hold.
pub fn firewall(elements: &BTreeSet<Element>) {
    heading("NAT and isolation: what is in the sets and maps of table inet linkspan");
    let meaning = |element: &Element| match element {
        Element::Bridge(_) => "nothing new comes in here unless it was published",
        Element::Masquerade(_) => "what leaves from here takes the host's address",
        Element::Internal(_) => "reaches nothing outside",
        Element::ForeignGateway(_) => "published flows into here take the bridge's address",
        Element::Apart(_) => "its sandboxes reach each other only where one publishes",
        Element::Guest(_) => "a runtime's containers are behind it",
        Element::Home(_) => "addresses of a runtime's containers",
        Element::MasqueradeFrom(_) => "what leaves from this address takes the host's",
        Element::MasqueradeTo(_) => "published flows to this address come from the host's",
        Element::Closed(_) => "nothing goes from here to another closed bridge",
        Element::Sealed(_) => "nothing goes back in here",
        Element::Segment(_) => "is kept from other segments, as far as either wants it",
        Element::Isolated(_) => "does not meet other isolated segments",
        Element::Strict(_) => "does not meet any other segment",
        Element::Outbound { .. } => "what leaves from here takes this address",
        Element::Named(_) => "who is on it asks the host for names",
        Element::Spoof { .. } => "only this MAC enters by this port",
        Element::Publish { .. } | Element::PublishRange { .. } | Element::Backend(_) => {
            "a published port, and where it leads"
        }
    };
    let row = |element: &Element| vec![element.to_string(), meaning(element).to_owned()];
    table(&["ELEMENT", "MEANING"], elements.iter().map(row).collect());
}

/// The names of all devices here.
pub fn link_names() -> Result<Vec<String>, Problem> {
    Ok(Tables::open()?.links().into_iter().map(|link| link.name).collect())
}

fn heading(text: &str) {
    println!("\n{RESULT}{text}{RESULT:#}");
}
