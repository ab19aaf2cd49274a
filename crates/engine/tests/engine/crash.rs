//! Steps that fail and processes that die, at every step and every call.

use std::panic::{AssertUnwindSafe, catch_unwind};

use linkspan_engine::{Engine, Error};
use linkspan_kernel::fake::Fault;

use crate::attachments::{self, CONTAINER, FILE, attachment, chained_part, main_part, native, unfit};
use crate::ground;
use crate::machine::{Death, Machine};
use crate::patched::below;
use crate::site::{Picture, Site, in_ovs, limited, network, on_lan, on_parent, publishing, sandbox, tap, to};

pub type Command = fn(&mut Engine<Machine>) -> Result<(), Error>;

/// What is done, on what, and what undoes it.
struct Story {
    what: &'static str,
    site: fn() -> Site,
    make: Command,
    unmake: Command,
}

const STORIES: [Story; 19] = [
    Story {
        what: "the first network",
        site: Site::new,
        make: |engine| engine.create_network(network("new", "10.9.0.0/24")).map(drop),
        unmake: |engine| engine.remove_network("new").map(drop),
    },
    Story {
        what: "one more network",
        site: with_neighbour,
        make: |engine| engine.create_network(network("new", "10.9.0.0/24")).map(drop),
        unmake: |engine| engine.prune_networks().map(drop),
    },
    Story {
        what: "a network in Open vSwitch",
        site: with_switch,
        make: |engine| engine.create_network(in_ovs("new", "10.9.0.0/24")).map(drop),
        unmake: |engine| engine.remove_network("new").map(drop),
    },
    Story {
        what: "a network on a LAN, with an address of its own there",
        site: with_flat_card,
        make: |engine| {
            let mut request = on_lan("new", &[]);
            request.ipam.subnets = vec!["192.168.0.0/24".parse().unwrap()];
            request.ipam.gateways = vec!["192.168.0.1".parse().unwrap()];
            engine.create_network(request).map(drop)
        },
        unmake: |engine| engine.remove_network("new").map(drop),
    },
    Story {
        what: "a sandbox on a LAN with a published port",
        site: with_flat,
        make: |engine| engine.create_sandbox(&publishing("x", &["lan"], &["8081:80"])).map(drop),
        unmake: |engine| engine.remove_sandbox("x", false),
    },
    Story {
        what: "a network patched into another",
        site: with_neighbour,
        make: |engine| engine.create_network(below("new", "lab", &[])).map(drop),
        unmake: |engine| engine.remove_network("new").map(drop),
    },
    Story {
        what: "a sandbox on two networks with published ports",
        site: with_neighbour,
        make: |engine| engine.create_sandbox(&publishing("x", &["lab", "wide"], PORTS)).map(drop),
        unmake: |engine| engine.remove_sandbox("x", false),
    },
    Story {
        what: "an attachment that takes the default route",
        site: with_publisher,
        make: |engine| engine.connect(&limited(to("alpha")), "x").map(drop),
        unmake: |engine| engine.disconnect("alpha", "x", false),
    },
    Story {
        what: "a sandbox that shares another's namespace",
        site: with_publisher,
        make: |engine| engine.create_sandbox(&sandbox("debug", &["container:x"])).map(drop),
        unmake: |engine| engine.remove_sandbox("debug", false),
    },
    Story {
        what: "a virtual machine with one tap",
        site: with_neighbour,
        make: |engine| engine.connect(&tap("lab"), "vm").map(drop),
        unmake: |engine| engine.disconnect("lab", "vm", false),
    },
    Story {
        what: "one more tap, with limits",
        site: with_machine,
        make: |engine| engine.connect(&limited(tap("wide")), "vm").map(drop),
        unmake: |engine| engine.disconnect("wide", "vm", false),
    },
    Story {
        what: "a network on a new sub-interface",
        site: || with_neighbour().with_card(),
        make: |engine| engine.create_network(on_parent("lan", "eth1.10", "192.0.2.0/24")).map(drop),
        unmake: |engine| engine.remove_network("lan").map(drop),
    },
    Story {
        what: "a sandbox on a card",
        site: with_lan,
        make: |engine| engine.create_sandbox(&sandbox("x", &["lan", "lab"])).map(drop),
        unmake: |engine| engine.remove_sandbox("x", false),
    },
    Story {
        what: "an attachment to a card",
        site: with_lan,
        make: |engine| engine.connect(&to("lan"), "keep").map(drop),
        unmake: |engine| engine.disconnect("lan", "keep", false),
    },
    Story {
        what: "a runtime's container",
        site: attachments::site,
        make: |engine| engine.attach(&native(CONTAINER, FILE)).map(drop),
        unmake: |engine| engine.detach(&attachment(CONTAINER, "eth0")).map(drop),
    },
    Story {
        what: "an interface that a plugin makes",
        site: attachments::with_record,
        make: |engine| engine.fit(&main_part(CONTAINER, FILE)).map(drop),
        unmake: |engine| unfit(engine, "bridge"),
    },
    Story {
        what: "a plugin's part of it",
        site: attachments::with_main,
        make: |engine| engine.fit(&chained_part(CONTAINER, FILE)).map(drop),
        unmake: |engine| unfit(engine, "portmap"),
    },
    Story {
        what: "the first container on a network with a bridge of its own",
        site: attachments::site,
        make: |engine| engine.fit(&ground::place("one", CONTAINER, FILE)).map(drop),
        unmake: ground::leave_one,
    },
    Story {
        what: "a second network of a container, where its port has to wait",
        site: || {
            let site = attachments::site();
            site.engine().fit(&ground::place("two", CONTAINER, FILE)).unwrap();
            site
        },
        make: |engine| engine.fit(&ground::place("one", CONTAINER, FILE)).map(drop),
        unmake: ground::leave_one,
    },
];

const PORTS: &[&str] = &["8080:80", "127.0.0.1:5353:53/udp", "9000-9099:9000-9099", "7000-7002:8000-8002"];

fn with_neighbour() -> Site {
    let site = Site::with_networks();
    site.engine().create_sandbox(&publishing("keep", &["lab", "wide"], &["80:80"])).unwrap();
    site
}

fn with_lan() -> Site {
    let site = with_neighbour().with_card();
    site.engine().create_network(on_parent("lan", "eth1.10", "192.0.2.0/24")).unwrap();
    site.engine().create_sandbox(&sandbox("there", &["lan"])).unwrap();
    site
}

fn with_flat_card() -> Site {
    let site = with_neighbour();
    site.give_card("eth1", &["192.168.0.5/24", "192.168.0.6/24"]);
    site
}

fn with_flat() -> Site {
    let site = with_flat_card();
    site.engine().create_network(on_lan("lan", &[])).unwrap();
    site.engine().create_sandbox(&sandbox("warm", &["lan"])).unwrap();
    site.engine().remove_sandbox("warm", false).unwrap();
    site
}

fn with_switch() -> Site {
    let site = with_neighbour();
    site.machine.with(|fake| fake.ovs = Some(["br-int".to_owned()].into()));
    site
}

fn with_machine() -> Site {
    let site = with_neighbour();
    site.engine().connect(&tap("lab"), "vm").unwrap();
    site
}

fn with_publisher() -> Site {
    let site = with_neighbour();
    site.engine().create_network(network("alpha", "10.6.0.0/24")).unwrap();
    site.engine().create_sandbox(&sandbox("a", &["alpha"])).unwrap();
    site.engine().create_sandbox(&publishing("x", &["wide"], PORTS)).unwrap();
    site
}

/// What the next process does that comes along.
#[derive(Clone, Copy, Debug)]
enum Next {
    Repair,
    AnyCommand,
}

impl Next {
    fn come(self, site: &Site) {
        match self {
            Self::Repair => drop(site.engine().repair(false).unwrap()),
            Self::AnyCommand => {
                site.engine().remove_sandbox("nobody", true).unwrap();
            }
        }
        let notes = std::mem::take(&mut *site.notes.lock().unwrap());
        assert!(!notes.iter().any(|note| note.contains("cannot be settled")), "{notes:?}");
    }
}

#[test]
fn a_step_that_fails_leaves_everything_as_it_was() {
    for story in &STORIES {
        let site = (story.site)();
        let before = site.picture();
        let mut steps = 0;
        loop {
            site.machine.with(|fake| fake.fault = Some(Fault::Refuse(steps)));
            let outcome = (story.make)(&mut site.engine());
            if site.machine.with(|fake| fake.fault.take()).is_some() {
                outcome.unwrap();
                break;
            }
            let error = outcome.expect_err("a step failed");
            assert!(error.causes().iter().any(|cause| cause.starts_with("EIO")), "{}: {error}", story.what);
            assert_same(&site.picture(), &before, &format!("{}, step {steps} refused", story.what));
            steps += 1;
        }
        assert!(steps > 0, "{} takes {steps} steps", story.what);
        site.assert_in_order();
    }
}

#[test]
fn a_removal_that_fails_is_finished_by_whoever_comes_next() {
    for story in &STORIES {
        for next in [Next::Repair, Next::AnyCommand] {
            let mut steps = 0;
            loop {
                let site = (story.site)();
                let before = site.picture();
                (story.make)(&mut site.engine()).unwrap();
                site.machine.with(|fake| fake.fault = Some(Fault::Refuse(steps)));
                let outcome = (story.unmake)(&mut site.engine());
                if site.machine.with(|fake| fake.fault.take()).is_some() {
                    outcome.unwrap();
                    break;
                }
                outcome.expect_err("a step failed");
                next.come(&site);
                assert_same(
                    &site.picture(),
                    &before,
                    &format!("{}, step {steps} refused, then {next:?}", story.what),
                );
                site.assert_in_order();
                steps += 1;
            }
        }
    }
}

/// Runs a command whose process dies as `fault` and `death` say; whether it did.
fn dies(site: &Site, command: Command, fault: Option<Fault>, death: Option<Death>) -> bool {
    site.machine.with(|fake| fake.fault = fault);
    site.machine.doom(death);
    let outcome = catch_unwind(AssertUnwindSafe(|| command(&mut site.engine())));
    let lives = site.machine.doom(None) || death.is_none();
    let fault = site.machine.with(|fake| fake.fault.take());
    let died = !lives || (fault == Some(Fault::Die(0)) && !matches!(outcome, Ok(Ok(()))));
    if !died {
        outcome.expect("it lives").expect("it succeeds");
    }
    died
}

/// When a process dies, as the kernel counts steps and as it counts calls.
type Way = fn(usize) -> (Option<Fault>, Option<Death>);

/// Every way to die, in order of time, for as long as the command has not ended before.
pub fn each_death(site: impl Fn() -> Site, command: Command, mut after: impl FnMut(&Site, String)) {
    let ways: [Way; 3] = [
        |n| (Some(Fault::Die(n)), None),
        |n| (None, Some(Death::Before(n))),
        |n| (None, Some(Death::After(n))),
    ];
    for way in ways {
        for n in 0.. {
            let site = site();
            let (fault, death) = way(n);
            let died = dies(&site, command, fault, death);
            if !died {
                assert!(n > 0, "it does nothing");
                break;
            }
            after(&site, format!("{fault:?} {death:?}"));
        }
    }
}

#[test]
fn a_process_that_dies_while_it_makes_something_is_undone() {
    for story in &STORIES {
        for next in [Next::Repair, Next::AnyCommand] {
            let before = std::cell::RefCell::new(None);
            let site = || {
                let site = (story.site)();
                *before.borrow_mut() = Some(site.picture());
                site
            };
            each_death(site, story.make, |site, how| {
                next.come(site);
                let before = before.borrow_mut().take().unwrap();
                assert_same(&site.picture(), &before, &format!("{}, {how}, then {next:?}", story.what));
                site.assert_in_order();
            });
        }
    }
}

#[test]
fn a_process_that_dies_while_it_removes_something_is_finished() {
    for story in &STORIES {
        for next in [Next::Repair, Next::AnyCommand] {
            let before = std::cell::RefCell::new(None);
            let site = || {
                let site = (story.site)();
                let picture = site.picture();
                (story.make)(&mut site.engine()).unwrap();
                *before.borrow_mut() = Some((picture, site.picture()));
                site
            };
            each_death(site, story.unmake, |site, how| {
                next.come(site);
                let (without, with) = before.borrow_mut().take().unwrap();
                let now = site.picture();
                if now != with {
                    assert_same(&now, &without, &format!("{} removed, {how}, then {next:?}", story.what));
                }
                site.assert_in_order();
            });
        }
    }
}

#[test]
fn repair_may_die_too() {
    for story in &STORIES[2..5] {
        for steps in 0.. {
            let site = (story.site)();
            let before = site.picture();
            assert!(dies(&site, story.make, Some(Fault::Die(2)), None));
            let repaired =
                !dies(&site, |engine| engine.repair(false).map(drop), Some(Fault::Die(steps)), None);
            Next::Repair.come(&site);
            assert_same(
                &site.picture(),
                &before,
                &format!("{}, repair died after {steps} steps", story.what),
            );
            if repaired {
                break;
            }
        }
    }
}

#[track_caller]
fn assert_same(now: &Picture, before: &Picture, when: &str) {
    assert!(now == before, "{when}:\nnow    {now:#?}\nbefore {before:#?}");
}

/// Other ports, names and labels for `x`, of which one port stays.
fn revise(engine: &mut Engine<Machine>) -> Result<(), Error> {
    let mut request = publishing("x", &[], &["8080:80", "127.0.0.1:5353:54/udp"]);
    request.hostname = Some("renamed".to_owned());
    request.labels = [("tier".to_owned(), "two".to_owned())].into();
    engine.revise_sandbox(&request)
}

#[test]
fn a_revision_that_fails_changes_nothing() {
    let site = with_publisher();
    let before = site.picture();
    for steps in 0.. {
        site.machine.with(|fake| fake.fault = Some(Fault::Refuse(steps)));
        let outcome = revise(&mut site.engine());
        if site.machine.with(|fake| fake.fault.take()).is_some() {
            outcome.unwrap();
            assert!(steps > 0);
            break;
        }
        outcome.expect_err("a step failed");
        assert_same(&site.picture(), &before, &format!("step {steps} refused"));
    }
    site.assert_in_order();
}

#[test]
fn a_revision_whose_process_dies_is_finished() {
    for next in [Next::Repair, Next::AnyCommand] {
        let before = std::cell::RefCell::new(None);
        let site = || {
            let site = with_publisher();
            *before.borrow_mut() = Some(site.picture());
            site
        };
        each_death(site, revise, |site, how| {
            next.come(site);
            site.assert_in_order();
            let now = site.picture();
            revise(&mut site.engine()).unwrap();
            if Some(&now) != before.borrow().as_ref() {
                assert_same(&site.picture(), &now, &format!("{how}, then {next:?}"));
            }
        });
    }
}

#[test]
fn a_port_goes_on_whenever_the_process_dies_that_takes_its_network_away() {
    for next in [Next::Repair, Next::AnyCommand] {
        each_death(ground::on_both, ground::leave_one, |site, how| {
            next.come(site);
            let there = ground::leads_to(site);
            assert_eq!(there.len(), 1, "{how}, then {next:?}: {there:?}");
            site.assert_in_order();
            ground::leave_one(&mut site.engine()).unwrap();
            assert_eq!(ground::leads_to(site), [std::net::IpAddr::from([10, 82, 0, 2])], "{how}");
        });
    }
}
