//! Others at work at the same time.

use std::collections::BTreeSet;
use std::thread::{scope, sleep, spawn};
use std::time::Duration;

use linkspan_engine::Error;
use linkspan_model::Endpoint;
use linkspan_plan::State;
use linkspan_store::{Mode, Object};

use crate::site::{Site, network, publishing, sandbox, to, told};

/// Long enough for a thread to come to the lock that bars it.
const A_WHILE: Duration = Duration::from_millis(150);
const CROWD: usize = 32;

fn object(text: &str) -> Object {
    text.parse().unwrap()
}

#[test]
fn a_crowd_gets_as_many_addresses_and_leaves_nothing() {
    let site = Site::with_networks();
    let before = site.picture();
    let addresses: BTreeSet<_> = scope(|scope| {
        let create =
            |n| site.engine().create_sandbox(&publishing(&format!("s{n}"), &["lab"], &["80"])).unwrap();
        let threads: Vec<_> = (0..CROWD).map(|n| scope.spawn(move || create(n))).collect();
        let views = threads.into_iter().map(|thread| thread.join().unwrap());
        views.map(|view| view.attached[0].0.leases[0].address).collect()
    });
    assert_eq!(addresses.len(), CROWD);
    site.assert_in_order();
    scope(|scope| {
        for n in 0..CROWD {
            let site = &site;
            scope.spawn(move || site.engine().remove_sandbox(&format!("s{n}"), false).unwrap());
        }
    });
    assert!(site.picture() == before);
}

#[test]
fn the_last_networks_take_the_table_with_them_even_at_once() {
    for _ in 0..10 {
        let site = Site::with_networks();
        scope(|scope| {
            for name in ["lab", "wide"] {
                let site = &site;
                scope.spawn(move || site.engine().remove_network(name).unwrap());
            }
        });
        assert_eq!(State { sysctls: [].into(), ..site.machine.state() }, State::default());
    }
}

#[test]
fn repair_lets_a_command_finish() {
    let site = Site::with_networks();
    let (rival, notes) = (site.again(), site.notes.clone());
    site.machine.meanwhile(move || {
        spawn(move || {
            let repair = rival.engine().repair(false).unwrap();
            notes.lock().unwrap().push(format!("{repair:?}"));
        });
        sleep(A_WHILE);
    });
    site.engine().create_sandbox(&publishing("web", &["lab"], &["8080:80"])).unwrap();
    sleep(4 * A_WHILE);
    let told = site.notes.lock().unwrap().pop();
    assert_eq!(told.as_deref(), Some("Repair { finished: [], steps: [], files: [] }"));
    site.assert_in_order();
}

#[test]
fn repair_keeps_its_hands_off_what_others_are_at_work_on() {
    let site = Site::with_networks();
    let store = &mut site.store();
    for name in ["made", "gone"] {
        site.engine().create_sandbox(&publishing(name, &["lab"], &["80"])).unwrap();
        store.write(|tx| tx.begin(&object(&format!("sandbox {name}")), "create", "").map(drop)).unwrap();
    }
    let _at_work = ["made", "gone"]
        .map(|name| store.try_lock(&object(&format!("sandbox {name}")), Mode::Exclusive).unwrap().unwrap());
    // One is whole in the kernel already, of the other there is nothing yet.
    site.machine.with(|fake| {
        let theirs = |name: &str| name == "gone";
        fake.state.namespaces.retain(|name, _| !theirs(name.as_str()));
        fake.state.ports.retain(|_, port| !theirs(port.peer.as_ref().unwrap().namespace.as_str()));
        fake.state.routes.retain(|route| !theirs(route.namespace.as_str()));
        let gone =
            fake.state.firewall.as_ref().unwrap().iter().rfind(|element| !element.is_policy()).cloned();
        fake.state.firewall.as_mut().unwrap().remove(&gone.unwrap());
    });
    let before = site.machine.state();
    let repair = site.engine().repair(false).unwrap();
    assert!(repair.is_empty(), "{repair:?}");
    assert_eq!(site.machine.state(), before);
}

#[test]
fn a_sandbox_removed_while_it_was_waited_for_is_not_connected() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    let mut store = site.store();
    let lock = store.try_lock(&object("sandbox web"), Mode::Exclusive).unwrap().unwrap();
    let outcome = scope(|scope| {
        let late = scope.spawn(|| site.engine().connect(&to("wide"), "web"));
        sleep(A_WHILE);
        let sandbox = store.read(|tx| tx.sandbox("web")).unwrap().unwrap();
        let endpoints: Vec<Endpoint> = store.read(|tx| tx.endpoints_of_sandbox(sandbox.id)).unwrap();
        store
            .write(|tx| {
                endpoints.iter().try_for_each(|endpoint| tx.delete_endpoint(endpoint.id))?;
                tx.delete_sandbox(sandbox.id)
            })
            .unwrap();
        drop(lock);
        late.join().unwrap()
    });
    assert!(matches!(outcome, Err(Error::Unknown { .. })), "{outcome:?}");
    assert!(store.read(|tx| tx.endpoints()).unwrap().is_empty(), "an endpoint of nobody is left");
}

#[test]
fn a_network_removed_while_it_was_waited_for_is_not_removed_again() {
    let site = Site::with_networks();
    let on_bridge = |name: &str| {
        let mut request = network(name, "10.9.0.0/24");
        request.options.insert("com.docker.network.bridge.name".to_owned(), "br9".to_owned());
        request
    };
    let first = site.engine().create_network(on_bridge("first")).unwrap();
    let mut store = site.store();
    let lock = store.try_lock(&object("network first"), Mode::Exclusive).unwrap().unwrap();
    let (outcome, after) = scope(|scope| {
        let late = scope.spawn(|| site.engine().remove_network("first"));
        sleep(A_WHILE);
        store.write(|tx| tx.delete_network(first.id)).unwrap();
        site.engine().repair(false).unwrap();
        site.machine.with(|fake| fake.state.bridges.remove(&first.bridge_name()));
        site.engine().create_network(on_bridge("second")).unwrap();
        let after = site.picture();
        drop(lock);
        (late.join().unwrap(), after)
    });
    assert!(matches!(outcome, Err(Error::Unknown { .. })), "{outcome:?}");
    assert!(site.picture() == after, "the removal of one network hit another");
}

#[test]
fn what_died_while_it_was_waited_for_is_undone_first() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab", "wide"])).unwrap();
    let mut store = site.store();
    let lock = store.try_lock(&object("sandbox web"), Mode::Exclusive).unwrap().unwrap();
    scope(|scope| {
        let late = scope.spawn(|| site.engine().disconnect("wide", "web", false));
        sleep(A_WHILE);
        let sandbox = store.read(|tx| tx.sandbox("web")).unwrap().unwrap();
        let lab = store.read(|tx| tx.endpoints_of_sandbox(sandbox.id)).unwrap().remove(0);
        // Somebody began to disconnect the other network, and dies.
        store
            .write(|tx| tx.begin(&object("sandbox web"), "disconnect", &lab.id.to_string()).map(drop))
            .unwrap();
        drop(lock);
        late.join().unwrap().unwrap();
    });
    assert!(site.engine().sandbox("web").unwrap().attached.is_empty());
    site.assert_in_order();
}

#[test]
fn a_namespace_whose_owner_goes_is_not_shared() {
    let site = Site::with_networks();
    site.engine().create_sandbox(&sandbox("web", &["lab"])).unwrap();
    let mut store = site.store();
    let lock = store.try_lock(&object("sandbox web"), Mode::Exclusive).unwrap().unwrap();
    let outcome = scope(|scope| {
        let late = scope.spawn(|| site.engine().create_sandbox(&sandbox("debug", &["container:web"])));
        sleep(A_WHILE);
        // Somebody began to remove it, and dies.
        store.write(|tx| tx.begin(&object("sandbox web"), "remove", "").map(drop)).unwrap();
        drop(lock);
        late.join().unwrap()
    });
    assert!(told(&outcome.unwrap_err()).contains("no sandbox 'web'"));
    assert!(site.machine.state().namespaces.is_empty());
    site.assert_in_order();
}

#[test]
fn attaching_and_pruning_at_once_both_succeed() {
    for _ in 0..10 {
        let site = Site::new();
        site.engine().create_sandbox(&sandbox("first", &[])).unwrap();
        site.engine().remove_sandbox("first", false).unwrap();
        scope(|scope| {
            scope.spawn(|| site.engine().prune_networks().unwrap());
            scope.spawn(|| site.engine().create_sandbox(&sandbox("web", &[])).unwrap());
        });
        assert_eq!(site.engine().sandbox("web").unwrap().attached[0].1.name.as_str(), "bridge");
        site.assert_in_order();
    }
}
