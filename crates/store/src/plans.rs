//! That no query of the short path reads a table from end to end.

use std::cell::RefCell;

use linkspan_model::{Endpoint, Holder, Id, Mac, PortRange, Protocol, Published, Reservation, Shaping, Wire};
use rusqlite::Connection;
use rusqlite::trace::{TraceEvent, TraceEventCodes};

use crate::{Object, StoreError, Tx, open};

thread_local! {
    static STATEMENTS: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) };
}

fn endpoint(id: Id, address: &str) -> Endpoint {
    let range = PortRange { first: 80, last: 90 };
    let address = address.parse().unwrap();
    Endpoint {
        id,
        network: id,
        sandbox: id,
        ifname: "eth0".parse().unwrap(),
        mac: Mac::for_ip(address),
        access: 0,
        addresses_of: None,
        leases: vec![linkspan_model::Lease {
            subnet: "10.0.0.0/8".parse().unwrap(),
            address,
            gateway: None,
            reused: false,
        }],
        aliases: Vec::new(),
        named: false,
        gw_priority: 0,
        wire: Wire::Veth,
        shaping: Shaping::default(),
        parts: Vec::new(),
        published: [range, PortRange::single(70)]
            .map(|host| Published { protocol: Protocol::Tcp, host_ip: address, host, target: host })
            .into(),
    }
}

/// Everything that create, attach, detach and remove ask for.
fn short_path(tx: &Tx<'_>) -> Result<(), StoreError> {
    let id = Id::from_bytes([0xab; 32]);
    let name = "web".parse().unwrap();
    let subnet = "10.0.0.0/8".parse().unwrap();
    let entry = tx.begin(&Object::Sandbox("web".parse().unwrap()), "create", "")?;
    for key in ["web", "abab"] {
        tx.network(key)?;
        tx.sandbox(key)?;
    }
    tx.network_by_id(id)?;
    tx.sandbox_by_id(id)?;
    tx.sandboxes_in(&name)?;
    tx.insert_endpoint(&endpoint(id, "10.0.0.2"))?;
    tx.update_endpoint(&endpoint(id, "10.0.0.3"))?;
    tx.endpoints_of_sandbox(id)?;
    tx.endpoints_of_network(id)?;
    tx.endpoint_count(id)?;
    tx.bridge_with_room(id, 1)?;
    tx.access_bridges(id)?;
    tx.network_in_use(id)?;
    tx.lease_holder(id, "10.0.0.2".parse().unwrap())?;
    tx.note_taken(id, "10.0.0.4".parse().unwrap())?;
    tx.was_used(id, "10.0.0.2".parse().unwrap())?;
    tx.set_fresh_cursor(id, &subnet, "10.0.0.2".parse().unwrap())?;
    tx.fresh_cursor(id, &subnet)?;
    tx.oldest_released(id, "10.0.0.1".parse().unwrap(), "10.0.0.9".parse().unwrap())?;
    tx.delete_endpoint(id)?;
    tx.delete_sandbox(id)?;
    tx.delete_network(id)?;
    tx.record_sysctl("a", "b", "c")?;
    let holder = Holder { container: "c".to_owned(), ifname: "eth0".to_owned() };
    tx.reserve("/d", &Reservation { address: "10.0.0.2".parse().unwrap(), holder: holder.clone() })?;
    tx.reserved_for("/d", &holder)?;
    tx.was_served_by_another("/d", &holder)?;
    tx.formerly_reserved("/d")?;
    tx.set_last_reserved("/d", 0, "10.0.0.2".parse().unwrap())?;
    tx.last_reserved("/d", 0)?;
    tx.unreserve("/d", "10.0.0.2".parse().unwrap())?;
    tx.end(entry)
}

#[test]
fn the_short_path_uses_indexes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("linkspan.db");
    let connection = open::database(dir.path(), &path, &dir.path().join("lock")).unwrap();
    connection.trace_v2(TraceEventCodes::SQLITE_TRACE_STMT, Some(record));
    short_path(&Tx::new(&connection, &path, true)).unwrap();
    connection.trace_v2(TraceEventCodes::empty(), None);

    let statements = STATEMENTS.take();
    assert!(statements.len() > 25, "{statements:#?}");
    for sql in statements {
        for step in plan(&connection, &sql) {
            let is_flat = !step.contains("SCAN") && !step.contains("TEMP B-TREE");
            // The prefix of an identity fits few rows; they are put in order of their names.
            let is_small = sql.contains("id >= ") && step.contains("TEMP B-TREE");
            assert!(is_flat || is_small, "{step}: {sql}");
        }
    }
}

#[test]
fn documents_do_not_lie_among_the_keys() {
    let dir = tempfile::tempdir().unwrap();
    let connection =
        open::database(dir.path(), &dir.path().join("linkspan.db"), &dir.path().join("lock")).unwrap();
    let sql =
        "SELECT count(*), sum(sql LIKE '%WITHOUT ROWID') FROM sqlite_schema WHERE sql LIKE '% doc TEXT%'";
    let found: (i32, i32) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    assert_eq!(found, (3, 0), "tables with documents, and those of them whose rows spill over");
}

fn record(event: TraceEvent<'_>) {
    if let TraceEvent::Stmt(_, sql) = event {
        STATEMENTS.with_borrow_mut(|all| all.push(sql.to_owned()));
    }
}

fn plan(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
    // A plan does not depend on the parameters, which stay NULL.
    let steps = statement.raw_query().mapped(|row| row.get("detail"));
    steps.collect::<Result<_, _>>().unwrap()
}
