//! Names that are asked for: whoever answers is told in time, and sandboxes ask there.

use std::sync::{Arc, Mutex};

use linkspan_engine::{Answerer, Engine};
use linkspan_model::Name;
use linkspan_plan::Inside;

use crate::attachments::native;
use crate::machine::Machine;

use crate::site::{Site, sandbox, to};

/// What was told, a line each.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<String>>>);

impl Told {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Answerer for Told {
    fn changed(&mut self, sandbox: Option<&Name>, asks: bool) -> Result<(), String> {
        let who = sandbox.map_or("all", Name::as_str);
        self.0.lock().unwrap().push(format!("{who}{}", if asks { " asks" } else { "" }));
        if who == "late" { Err("it takes its time".to_owned()) } else { Ok(()) }
    }

    fn left(&mut self, sandbox: &Name) {
        self.0.lock().unwrap().push(format!("{sandbox} left"));
    }
}

fn engine(site: &Site, told: &Told) -> Engine<Machine> {
    let mut engine = site.engine();
    engine.answer_by(told.clone());
    engine
}

#[test]
fn who_answers_is_told_of_what_has_names() {
    let (site, told) = (Site::with_networks(), Told::default());
    engine(&site, &told).create_sandbox(&sandbox("web", &["lab"])).unwrap();
    assert_eq!(told.take(), ["web asks"]);
    engine(&site, &told).connect(&to("wide"), "web").unwrap();
    assert_eq!(told.take(), ["web asks"]);
    engine(&site, &told).revise_sandbox(&sandbox("web", &["lab"])).unwrap();
    assert_eq!(told.take(), ["web asks"]);
    engine(&site, &told).disconnect("lab", "web", false).unwrap();
    assert_eq!(told.take(), ["web left", "web asks"]);
    engine(&site, &told).repair(false).unwrap();
    assert_eq!(told.take(), ["all asks"]);
    engine(&site, &told).disconnect("wide", "web", false).unwrap();
    assert_eq!(told.take(), ["web left", "web"]);
    engine(&site, &told).connect(&to("lab"), "web").unwrap();
    told.take();
    engine(&site, &told).remove_sandbox("web", false).unwrap();
    assert_eq!(told.take(), ["web left"]);
}

#[test]
fn who_answers_is_not_told_of_what_has_none() {
    let (site, told) = (Site::with_networks(), Told::default());
    for (name, net) in [("plain", "bridge"), ("host", "host"), ("alone", "none")] {
        engine(&site, &told).create_sandbox(&sandbox(name, &[net])).unwrap();
        engine(&site, &told).remove_sandbox(name, false).unwrap();
    }
    site.machine.with(|fake| fake.foreign.insert("/run/netns/c1".into(), Inside::default()));
    let mut nameless = native("c1", "/run/netns/c1");
    nameless.named = false;
    engine(&site, &told).attach(&nameless).unwrap();
    engine(&site, &told).detach(&nameless.attachment).unwrap();
    assert_eq!(told.take(), Vec::<String>::new());
}

#[test]
fn who_answers_too_late_is_in_the_way_of_nothing() {
    let (site, told) = (Site::with_networks(), Told::default());
    engine(&site, &told).create_sandbox(&sandbox("late", &["lab"])).unwrap();
    assert!(
        site.notes
            .lock()
            .unwrap()
            .iter()
            .any(|note| note.contains("'late'") && note.contains("takes its time"))
    );
    site.assert_in_order();
}

#[test]
fn a_sandbox_asks_there_as_long_as_it_is_on_a_network_with_names() {
    let site = Site::with_networks();
    site.write_resolv_conf("search example.org\nnameserver 192.0.2.1\noptions edns0\n");
    let mut web = sandbox("web", &["bridge"]);
    web.dns = vec!["192.0.2.9".parse().unwrap()];
    site.engine().create_sandbox(&web).unwrap();
    let own = "search example.org\noptions edns0\nnameserver 192.0.2.9\n";
    assert_eq!(site.file("web", "resolv.conf"), own);
    site.engine().connect(&to("lab"), "web").unwrap();
    let answered = "search example.org\noptions edns0\nnameserver 127.0.0.11\noptions ndots:0\n";
    assert_eq!(site.file("web", "resolv.conf"), answered);
    site.engine().disconnect("lab", "web", false).unwrap();
    assert_eq!(site.file("web", "resolv.conf"), own);
    site.write_resolv_conf("options ndots:3\n");
    site.engine().connect(&to("lab"), "web").unwrap();
    assert_eq!(site.file("web", "resolv.conf"), "options ndots:3\nnameserver 127.0.0.11\n");
}
