//! Open vSwitch, by way of its database: which ports its bridges have (RFC 7047; ovs-vswitchd.conf.db(5)).

mod client;
mod frame;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use linkspan_plan::Failure;
use serde_json::{Value, json};

use crate::error::{Refusal, Result};
use client::{Client, Fault};

/// Where its sockets are unless OVS_RUNDIR says otherwise, as for its own tools.
const RUN_DIR: &str = "/var/run/openvswitch";
const DATABASE: &str = "Open_vSwitch";
/// The key in `external_ids` of a port that Linkspan made; its value is the network's id.
const OWNER: &str = "linkspan-network";
const PATIENCE: Duration = Duration::from_secs(10);
const NO_WAIT: Duration = Duration::ZERO;

/// A connection to the database of the host's Open vSwitch.
#[derive(Debug)]
pub(crate) struct Switch {
    client: Client,
    socket: PathBuf,
    /// How long ovs-vswitchd may take to do what its database says.
    patience: Duration,
}

impl Switch {
    const fn over(client: Client, socket: PathBuf) -> Self {
        Self { client, socket, patience: PATIENCE }
    }

    /// Connects to it; none if it does not run.
    ///
    /// # Errors
    /// If it runs and cannot be spoken to.
    pub(crate) fn find() -> Result<Option<Self>> {
        let socket = socket();
        match Client::connect(&socket) {
            Ok(client) => Ok(Some(Self::over(client, socket))),
            Err(Fault::Absent(_)) => Ok(None),
            Err(fault) => Err(refusal(fault, &socket)),
        }
    }

    /// Connects to it, where it has to run.
    ///
    /// # Errors
    /// As for [`find`](Self::find), and [`Failure::Unsupported`] if it does not run.
    pub(crate) fn open() -> Result<Self> {
        Self::find()?.ok_or_else(|| {
            let cause = format!("Open vSwitch does not run: nothing listens at {}", socket().display());
            Refusal::new(Failure::Unsupported, cause).hint(
                Failure::Unsupported,
                "start it (package openvswitch-switch), or set OVS_RUNDIR to where its db.sock is",
            )
        })
    }

    /// The kind of the bridge called `name`, as `netdev`; empty for the one in the kernel.
    ///
    /// # Errors
    /// [`Failure::NotFound`] if there is none.
    pub(crate) fn bridge_kind(&mut self, name: &str) -> Result<String> {
        let found = self.select("Bridge", &json!(["name", "==", name]), &["datapath_type"])?;
        let Some(bridge) = found.first() else {
            let cause = format!("Open vSwitch has no bridge {name}");
            let hint =
                format!("make it: `ovs-vsctl add-br {name}`; `ovs-vsctl list-br` lists those there are");
            return Err(Refusal::new(Failure::NotFound, cause).hint(Failure::NotFound, hint));
        };
        Ok(bridge["datapath_type"].as_str().unwrap_or_default().to_owned())
    }

    /// The bridge that has the port `port`; none if there is no such port.
    ///
    /// # Errors
    /// If it cannot be asked.
    pub(crate) fn bridge_of(&mut self, port: &str) -> Result<Option<String>> {
        let Some(port) = self.port(port)? else { return Ok(None) };
        let bridges = self.select("Bridge", &json!(["ports", "includes", port]), &["name"])?;
        Ok(bridges.first().and_then(|bridge| bridge["name"].as_str()).map(str::to_owned))
    }

    /// Makes the device `port` a port of `bridge`, on behalf of the network with this id, and waits until it is one.
    ///
    /// # Errors
    /// If there is no such bridge, it has a port of this name, or ovs-vswitchd does not take it. It may be in the
    /// database then.
    pub(crate) fn add_port(&mut self, bridge: &str, port: &str, network: &str) -> Result<()> {
        let owner = json!(["map", [[OWNER, network]]]);
        let is_bridge = json!(["name", "==", bridge]);
        let results = self.transact(
            vec![
                // Fails if there is no such bridge; the mutation would change nothing and succeed.
                json!({ "op": "wait", "table": "Bridge", "where": [is_bridge], "columns": ["name"],
                        "until": "==", "rows": [{ "name": bridge }], "timeout": 0 }),
                json!({ "op": "insert", "table": "Interface", "uuid-name": "interface",
                        "row": { "name": port, "external_ids": owner } }),
                json!({ "op": "insert", "table": "Port", "uuid-name": "port",
                        "row": { "name": port, "interfaces": ["named-uuid", "interface"], "external_ids": owner } }),
                json!({ "op": "mutate", "table": "Bridge", "where": [is_bridge],
                        "mutations": [["ports", "insert", ["named-uuid", "port"]]] }),
                next_configuration(),
                json!({ "op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"] }),
                comment(&format!("add port {port} to {bridge}")),
            ],
            NO_WAIT,
        )?;
        let target = results.get(5).and_then(|result| result["rows"][0]["next_cfg"].as_i64());
        self.await_configuration(target.unwrap_or_default(), port)?;
        self.check_port(bridge, port)
    }

    /// Waits until ovs-vswitchd has done all that its database says, which a port has to that comes back under the name of
    /// one that went: seen together, the two are one to ovs-vswitchd, which keeps listening to the device of before.
    ///
    /// # Errors
    /// If ovs-vswitchd takes too long.
    pub(crate) fn catch_up(&mut self, port: &str) -> Result<()> {
        let rows =
            self.rows(json!({ "op": "select", "table": DATABASE, "where": [], "columns": ["next_cfg"] }))?;
        let target = rows.first().and_then(|row| row["next_cfg"].as_i64()).unwrap_or_default();
        self.await_configuration(target, port)
    }

    /// Takes the port `port` from whichever bridge has it. Rows that no bridge refers to go by themselves.
    ///
    /// # Errors
    /// If it cannot be taken away.
    pub(crate) fn remove_port(&mut self, name: &str) -> Result<()> {
        let Some(port) = self.port(name)? else { return Ok(()) };
        let change = json!({ "op": "mutate", "table": "Bridge", "where": [["ports", "includes", port]],
                             "mutations": [["ports", "delete", port]] });
        let operations = vec![change, next_configuration(), comment(&format!("remove port {name}"))];
        self.transact(operations, NO_WAIT).map(drop)
    }

    /// The row of a port, as `["uuid", "..."]`.
    fn port(&mut self, name: &str) -> Result<Option<Value>> {
        let rows = self.select("Port", &json!(["name", "==", name]), &["_uuid"])?;
        Ok(rows.first().map(|row| row["_uuid"].clone()))
    }

    /// Waits until ovs-vswitchd has done everything up to the configuration `target`.
    fn await_configuration(&mut self, target: i64, port: &str) -> Result<()> {
        let deadline = Instant::now() + self.patience;
        loop {
            let rows =
                self.rows(json!({ "op": "select", "table": DATABASE, "where": [], "columns": ["cur_cfg"] }))?;
            let current = rows.first().and_then(|row| row["cur_cfg"].as_i64()).unwrap_or_default();
            if current >= target {
                return Ok(());
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                let cause =
                    format!("ovs-vswitchd has not looked at port {port} for {} s", self.patience.as_secs());
                let hint = "see whether it runs: `systemctl status openvswitch-switch`";
                return Err(Refusal::new(Failure::Other, cause).hint(Failure::Other, hint));
            }
            let change = json!({ "op": "wait", "table": DATABASE, "where": [], "columns": ["cur_cfg"], "until": "!=",
                                 "rows": [{ "cur_cfg": current }], "timeout": left.as_millis() as u64 });
            match self.client.transact(DATABASE, vec![change], left) {
                Err(Fault::Refused { error, .. }) if error == "timed out" => {}
                outcome => drop(outcome.map_err(|fault| refusal(fault, &self.socket))?),
            }
        }
    }

    /// That ovs-vswitchd found nothing wrong with a new port.
    fn check_port(&mut self, bridge: &str, port: &str) -> Result<()> {
        let mut trouble = None;
        // The bridge has an interface of its own name: where that fails, no port of it works.
        for name in [port, bridge] {
            let rows = self.select("Interface", &json!(["name", "==", name]), &["ofport", "error"])?;
            // Of an optional column an empty set says that there is no value.
            match rows.first().map(|row| (row["error"].as_str(), row["ofport"].as_i64())) {
                Some((None, Some(0..))) if name == port => return Ok(()),
                Some((Some(error), _)) => trouble = Some(format!("{name}: {error}")),
                _ => {}
            }
        }
        let trouble = trouble.unwrap_or_else(|| format!("{port}: it gives it no port number"));
        Err(Refusal::new(Failure::Other, format!("ovs-vswitchd cannot make a port of {trouble}"))
            .hint(Failure::Other, "its log has more: /var/log/openvswitch/ovs-vswitchd.log"))
    }

    fn select(&mut self, table: &str, condition: &Value, columns: &[&str]) -> Result<Vec<Value>> {
        self.rows(json!({ "op": "select", "table": table, "where": [condition], "columns": columns }))
    }

    fn rows(&mut self, select: Value) -> Result<Vec<Value>> {
        let mut results = self.transact(vec![select], NO_WAIT)?;
        match results.pop().map(|mut result| result["rows"].take()) {
            Some(Value::Array(rows)) => Ok(rows),
            _ => Err(refusal(Fault::Nonsense("it answers without rows".to_owned()), &self.socket)),
        }
    }

    fn transact(&mut self, operations: Vec<Value>, wait: Duration) -> Result<Vec<Value>> {
        self.client.transact(DATABASE, operations, wait).map_err(|fault| refusal(fault, &self.socket))
    }
}

/// Tells ovs-vswitchd that there is something new; it writes the number to `cur_cfg` when it has done it.
fn next_configuration() -> Value {
    json!({ "op": "mutate", "table": DATABASE, "where": [], "mutations": [["next_cfg", "+=", 1]] })
}

/// What the database's log says of a transaction (`ovsdb-tool show-log`).
fn comment(text: &str) -> Value {
    json!({ "op": "comment", "comment": format!("linkspan: {text}") })
}

fn socket() -> PathBuf {
    let directory = std::env::var_os("OVS_RUNDIR").filter(|directory| !directory.is_empty());
    PathBuf::from(directory.unwrap_or_else(|| RUN_DIR.into())).join("db.sock")
}

fn refusal(fault: Fault, socket: &Path) -> Refusal {
    let failure = match &fault {
        Fault::Absent(_) => Failure::NotFound,
        Fault::Broken(error) if error.kind() == std::io::ErrorKind::PermissionDenied => Failure::Privilege,
        _ => Failure::Other,
    };
    let who = match &fault {
        Fault::Refused { .. } => "Open vSwitch's database refuses".to_owned(),
        _ => format!("Open vSwitch's database at {}", socket.display()),
    };
    Refusal::new(failure, format!("{who}: {fault}")).hint(Failure::Privilege, "run it as root")
}
