//! The firewall's table: what `nft` reads in it, and what becomes of steps.

use std::collections::BTreeSet;
use std::thread;

use linkspan_kernel::firewall::Firewall;
use linkspan_lab as lab;
use linkspan_model::Protocol;
use linkspan_plan::{Element, Elements, Failure, Step};

use crate::net::{bridge, created, guest, home, publish_to as publish, range, sh, spoof};

fn one_of_each() -> Vec<Element> {
    let network = || "br-1".parse().unwrap();
    vec![
        bridge("br-1"),
        bridge("br-2"),
        Element::Masquerade(network()),
        Element::Internal(network()),
        Element::ForeignGateway(network()),
        Element::Apart(network()),
        guest("veth1"),
        home("10.88.0.0/16"),
        home("10.88.7.0/24"),
        home("fd00:88::/64"),
        home("255.255.255.0/24"),
        Element::MasqueradeFrom("10.88.0.2".parse().unwrap()),
        Element::MasqueradeFrom("fd00:88::2".parse().unwrap()),
        Element::MasqueradeTo("10.88.0.3".parse().unwrap()),
        Element::MasqueradeTo("fd00:88::3".parse().unwrap()),
        Element::Closed(network()),
        Element::Sealed(network()),
        Element::Segment(network()),
        Element::Isolated(network()),
        Element::Strict(network()),
        Element::Outbound { bridge: network(), address: "192.0.2.1".parse().unwrap() },
        Element::Outbound { bridge: network(), address: "2001:db8::1".parse().unwrap() },
        spoof("veth1", "02:42:0a:58:00:02"),
        publish("0.0.0.0", 8080, "172.18.0.2:80"),
        publish("192.0.2.1", 8081, "172.18.0.2:80"),
        publish("::", 8080, "[fd00::2]:80"),
        publish("2001:db8::1", 8081, "[fd00::2]:80"),
        range(Protocol::Tcp, 8000, 8010, "172.18.0.2"),
        range(Protocol::Tcp, 8011, 8020, "172.18.0.3"),
        range(Protocol::Udp, 60000, 65535, "172.18.0.2"),
        range(Protocol::Sctp, 7, 8, "172.18.0.2"),
        range(Protocol::Tcp, 8000, 8010, "fd00::2"),
        range(Protocol::Udp, 1, 1, "fd00::2"),
        range(Protocol::Sctp, 65535, 65535, "fd00::2"),
    ]
}

fn all(firewall: &mut Firewall) -> Option<BTreeSet<Element>> {
    firewall.observe(&Elements::All).unwrap()
}

#[test]
fn nft_reads_the_tables_as_they_are_meant() {
    lab::run(lab::here!(), || {
        created(&one_of_each());
        let listed = sh("for family in inet ip6 bridge; do nft list table $family linkspan; done");
        let golden = include_str!("table.nft");
        assert!(listed == golden, "nft lists:\n{listed}");
    });
}

#[test]
fn nft_takes_back_what_it_lists() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&one_of_each());
        sh("nft list ruleset | nft -c -f -");
        sh("for family in ip6 bridge; do nft list table $family linkspan | nft -c -f -; done");
        assert!(sh("nft -j list ruleset").contains("publish4_any"));
        sh("nft list ruleset > /tmp/rules.$$ && nft flush ruleset && nft -f /tmp/rules.$$; rm /tmp/rules.$$");
        assert_eq!(all(&mut firewall), Some(one_of_each().into_iter().collect()));
    });
}

#[test]
fn what_is_added_is_observed_and_what_is_deleted_is_not() {
    lab::run(lab::here!(), || {
        let mut firewall = Firewall::open().unwrap();
        let elements: BTreeSet<Element> = one_of_each().into_iter().collect();
        let these = Elements::These(elements.clone());
        assert_eq!(firewall.observe(&these).unwrap(), None);
        assert_eq!(all(&mut firewall), None);
        let mut firewall = created(&one_of_each());
        assert_eq!(firewall.observe(&these).unwrap().as_ref(), Some(&elements));
        assert_eq!(all(&mut firewall), Some(elements.clone()));
        for element in &elements {
            firewall.apply(&[Step::DeleteElement(element.clone())]).unwrap();
            let one = Elements::These([element.clone()].into());
            assert_eq!(firewall.observe(&one).unwrap(), Some([].into()), "{element}");
        }
        assert_eq!(all(&mut firewall), Some([].into()));
        firewall.apply(&[Step::DeleteFirewall]).unwrap();
        assert_eq!(all(&mut firewall), None);
    });
}

#[test]
fn an_element_with_other_data_is_not_the_same() {
    lab::run(lab::here!(), || {
        let mut firewall =
            created(&[publish("0.0.0.0", 80, "10.0.0.2:80"), range(Protocol::Tcp, 7, 9, "10.0.0.2")]);
        let others = [publish("0.0.0.0", 80, "10.0.0.3:80"), range(Protocol::Tcp, 7, 9, "10.0.0.3")];
        let wanted = Elements::These(others.iter().cloned().collect());
        assert_eq!(firewall.observe(&wanted).unwrap(), Some([].into()));
        for (other, holder) in others.into_iter().zip(["tcp . 80 : 10.0.0.2 . 80", "7-9 : 10.0.0.2"]) {
            let steps = [Step::AddElement(bridge("br-1")), Step::AddElement(other.clone())];
            let error = firewall.apply(&steps).unwrap_err();
            assert_eq!((error.failure, error.what), (Failure::Exists, steps[1].to_string()));
            assert!(error.cause.contains(holder), "{}", error.cause);
        }
        assert!(
            !all(&mut firewall).unwrap().contains(&bridge("br-1")),
            "nothing of a failed transaction holds"
        );
    });
}

#[test]
fn the_one_that_is_taken_is_named_among_many() {
    lab::run(lab::here!(), || {
        let many: Vec<Element> = (1..=200).map(|port| publish("0.0.0.0", port, "10.0.0.2:80")).collect();
        let mut firewall = created(&[publish("0.0.0.0", 150, "10.0.0.3:80")]);
        let steps: Vec<Step> = many.into_iter().map(Step::AddElement).collect();
        let error = firewall.apply(&steps).unwrap_err();
        assert_eq!(error.what, "add element publish4_any { tcp . 150 : 10.0.0.2 . 80 }");
        assert!(
            error.cause.starts_with("publish4_any { tcp . 150 : 10.0.0.3 . 80 } is there"),
            "{}",
            error.cause
        );
        let overlapping = Step::AddElement(range(Protocol::Tcp, 5, 10, "10.0.0.2"));
        firewall.apply(&[overlapping]).unwrap();
        let overlapping = Step::AddElement(range(Protocol::Tcp, 8, 12, "10.0.0.3"));
        let error = firewall.apply(std::slice::from_ref(&overlapping)).unwrap_err();
        assert_eq!((error.failure, error.what), (Failure::Exists, overlapping.to_string()));
        assert!(error.cause.contains("5-10 : 10.0.0.2"), "{}", error.cause);
    });
}

#[test]
fn doing_it_twice_is_no_error() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&one_of_each());
        let add: Vec<Step> = one_of_each().into_iter().map(Step::AddElement).collect();
        firewall.apply(&add).unwrap();
        let create: Vec<Step> = [Step::CreateFirewall].into_iter().chain(add[..2].to_vec()).collect();
        firewall.apply(&create).unwrap();
        let everything: BTreeSet<Element> = one_of_each().into_iter().collect();
        assert_eq!(all(&mut firewall), Some(everything), "a table of our version is kept");
        let mut delete: Vec<Step> = one_of_each().into_iter().map(Step::DeleteElement).collect();
        firewall.apply(&delete[..3]).unwrap();
        firewall.apply(&delete).unwrap();
        firewall.apply(&delete).unwrap();
        assert_eq!(all(&mut firewall), Some([].into()));
        delete.push(Step::DeleteFirewall);
        firewall.apply(&delete).unwrap();
        firewall.apply(&delete).unwrap();
        assert_eq!(all(&mut firewall), None);
        let error = firewall.apply(&add).unwrap_err();
        assert_eq!(error.failure, Failure::NotFound);
    });
}

#[test]
fn an_element_deleted_by_half_is_deleted_and_mended() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[bridge("br-1")]);
        sh("nft delete element inet linkspan same_bridge '{ \"br-1\" . \"br-1\" }'");
        assert_eq!(all(&mut firewall), Some([].into()));
        firewall.apply(&[Step::AddElement(bridge("br-1"))]).unwrap();
        assert_eq!(all(&mut firewall), Some([bridge("br-1")].into()));
        sh("nft delete element inet linkspan bridges '{ \"br-1\" }'");
        firewall.apply(&[Step::DeleteElement(bridge("br-1"))]).unwrap();
        assert!(!sh("nft list table inet linkspan").contains("br-1"));
    });
}

#[test]
fn an_element_can_change_where_it_leads_in_one_transaction() {
    lab::run(lab::here!(), || {
        let (old, new) = (publish("0.0.0.0", 80, "10.0.0.2:80"), publish("0.0.0.0", 80, "10.0.0.3:80"));
        let mut firewall = created(std::slice::from_ref(&old));
        firewall.apply(&[Step::DeleteElement(old), Step::AddElement(new.clone())]).unwrap();
        assert_eq!(all(&mut firewall), Some([new].into()));
    });
}

#[test]
fn a_table_of_another_version_is_replaced() {
    lab::run(lab::here!(), || {
        sh("nft 'add table inet linkspan { comment \"linkspan 0\"; set bridges { type inet_service; }; }'");
        let mut firewall = Firewall::open().unwrap();
        assert_eq!(all(&mut firewall), None);
        let wanted = Elements::These([bridge("br-1")].into());
        assert_eq!(firewall.observe(&wanted).unwrap(), None);
        firewall.apply(&[Step::CreateFirewall, Step::AddElement(bridge("br-1"))]).unwrap();
        assert_eq!(all(&mut firewall), Some([bridge("br-1")].into()));
    });
}

#[test]
fn it_is_made_anew_after_a_flush() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[bridge("br-1")]);
        sh("nft flush ruleset");
        assert_eq!(all(&mut firewall), None);
        let steps = [
            Step::DeleteElement(bridge("br-1")),
            Step::CreateFirewall,
            Step::AddElement(bridge("br-2")),
            Step::DeleteElement(bridge("br-3")),
        ];
        firewall.apply(&steps).unwrap();
        assert_eq!(all(&mut firewall), Some([bridge("br-2")].into()));
    });
}

/// The tables that there are.
fn tables() -> Vec<String> {
    sh("nft list tables").lines().map(str::to_owned).collect()
}

#[test]
fn a_table_that_the_kernel_cannot_have_is_not_missed() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[bridge("br-1")]);
        let note = "s/comment \"linkspan [0-9]*/&, no bridge/";
        sh(&format!(
            "nft list table inet linkspan | sed '{note}' > /run/table; nft delete table inet linkspan"
        ));
        sh("nft -f /run/table; nft delete table bridge linkspan");
        assert_eq!(all(&mut firewall), Some([bridge("br-1")].into()));
        let own_mac = spoof("veth1", "02:42:0a:58:00:02");
        firewall.apply(&[Step::DeleteElement(own_mac.clone())]).unwrap();
        let step = Step::AddElement(own_mac);
        let error = firewall.apply(&[Step::AddElement(bridge("br-2")), step.clone()]).unwrap_err();
        assert_eq!((error.failure, error.what), (Failure::Unsupported, step.to_string()));
        assert!(error.hint.unwrap().contains("CONFIG_NF_TABLES_BRIDGE"));
        assert_eq!(all(&mut firewall), Some([bridge("br-1")].into()));
        sh("nft delete table ip6 linkspan");
        assert_eq!(all(&mut firewall), None);
    });
}

#[test]
fn the_other_tables_come_and_go_with_the_first() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[bridge("br-1")]);
        let rules = sh("nft -s list ruleset");
        let all = ["table inet linkspan", "table ip6 linkspan", "table bridge linkspan"];
        assert_eq!(BTreeSet::from_iter(tables()), all.map(str::to_owned).into());
        firewall.apply(&[Step::DeleteFirewall]).unwrap();
        assert!(tables().is_empty());

        let broken = [
            "nft flush ruleset",
            "nft delete table bridge linkspan",
            "nft delete table ip6 linkspan",
            "nft delete table inet linkspan",
            "nft delete table inet linkspan; nft flush table bridge linkspan; nft flush table ip6 linkspan",
            "nft flush chain inet linkspan forward",
            "nft flush table ip6 linkspan",
            "nft flush table bridge linkspan",
            "nft delete table inet linkspan; nft delete table bridge linkspan; nft delete table ip6 linkspan;
             nft 'add table inet linkspan { comment \"linkspan 1\"; }'",
        ];
        for breaks in broken {
            created(&[bridge("br-1")]);
            sh(breaks);
            assert_eq!(firewall.observe(&Elements::All).unwrap(), None, "{breaks}");
            firewall.apply(&[Step::CreateFirewall, Step::AddElement(bridge("br-1"))]).unwrap();
            assert_eq!(sh("nft -s list ruleset"), rules, "{breaks}");
        }

        sh("nft delete table bridge linkspan; nft delete table ip6 linkspan");
        firewall.apply(&[Step::DeleteElement(bridge("br-1")), Step::DeleteFirewall]).unwrap();
        assert!(tables().is_empty());
    });
}

#[test]
fn thousands_of_elements_go_without_privileges() {
    lab::run(lab::here!(), || {
        let many = |host: &str, to: &str| -> Vec<Element> {
            (1..=20_000).map(|port| publish(host, port, to)).collect()
        };
        let mut elements = many("0.0.0.0", "172.18.0.2:80");
        elements.extend(many("2001:db8::1", "[fd00::2]:80"));
        let mut firewall = created(&elements);
        let everything: BTreeSet<Element> = elements.iter().cloned().collect();
        assert_eq!(all(&mut firewall).as_ref(), Some(&everything));
        assert_eq!(firewall.observe(&Elements::These(everything.clone())).unwrap(), Some(everything));
        let delete: Vec<Step> = elements.into_iter().map(Step::DeleteElement).collect();
        firewall.apply(&delete[..100]).unwrap();
        firewall.apply(&delete).unwrap();
        assert_eq!(all(&mut firewall), Some([].into()));
    });
}

#[test]
fn steps_of_others_and_mixed_families_are_refused() {
    lab::run(lab::here!(), || {
        let mut firewall = created(&[]);
        let step = Step::DeleteBridge("br-1".parse().unwrap());
        assert_eq!(firewall.apply(&[step]).unwrap_err().what, "delete bridge br-1");
        let mixed = publish("0.0.0.0", 80, "[fd00::2]:80");
        assert_eq!(firewall.observe(&Elements::These([mixed.clone()].into())).unwrap(), Some([].into()));
        let error = firewall.apply(&[Step::AddElement(mixed)]).unwrap_err();
        assert!(error.cause.contains("address family"), "{error}");
    });
}

#[test]
fn who_may_not_is_told_so() {
    lab::run(lab::here!(), || {
        sh(
            "setpriv --bounding-set=-all --inh-caps=-all /proc/$PPID/exe --exact --ignored table::without_privileges",
        );
    });
}

#[test]
#[ignore = "run by the test above"]
fn without_privileges() {
    let mut firewall = Firewall::open().unwrap();
    let these = Elements::These([bridge("br-1")].into());
    let errors = [
        firewall.observe(&these).unwrap_err(),
        firewall.observe(&Elements::All).unwrap_err(),
        firewall.apply(&[Step::CreateFirewall]).unwrap_err(),
        firewall.apply(&[Step::DeleteElement(bridge("br-1"))]).unwrap_err(),
    ];
    for error in errors {
        assert_eq!(error.failure, Failure::Privilege, "{error:?}");
        assert!(error.hint.is_some());
    }
}

#[test]
fn subnets_that_overlap_come_and_go_at_once_and_none_is_lost() {
    lab::run(lab::here!(), || {
        created(&[bridge("br-1")]);
        let workers = (1..=4).map(|number| {
            thread::spawn(move || {
                let mut firewall = Firewall::open().unwrap();
                let own = [home(&format!("10.0.0.0/{}", 12 + number)), home(&format!("10.0.{number}.0/24"))];
                for _ in 0..50 {
                    firewall.apply(&own.clone().map(Step::AddElement)).unwrap();
                    firewall.apply(&[Step::DeleteElement(own[0].clone())]).unwrap();
                }
                own[1].clone()
            })
        });
        let workers: Vec<_> = workers.collect();
        let left: BTreeSet<Element> = workers.into_iter().map(|worker| worker.join().unwrap()).collect();
        let mut firewall = Firewall::open().unwrap();
        assert_eq!(all(&mut firewall).unwrap(), &left | &[bridge("br-1")].into());
        sh("nft flush set inet linkspan home4");
        assert_eq!(all(&mut firewall), Some([bridge("br-1")].into()));
        let steps: Vec<Step> = left.into_iter().map(Step::AddElement).collect();
        firewall.apply(&steps[..1]).unwrap();
        assert_eq!(all(&mut firewall).unwrap().len(), 5, "one mends them all");
    });
}

#[test]
fn many_make_the_table_at_once_and_none_loses_anything() {
    lab::run(lab::here!(), || {
        for _ in 0..20 {
            let workers = (1..=8).map(|number| {
                thread::spawn(move || {
                    let own = bridge(&format!("br-{number}"));
                    let mut firewall = created(std::slice::from_ref(&own));
                    for port in 1..=20 {
                        let element = publish(&format!("192.0.2.{number}"), port, "172.18.0.2:80");
                        firewall.apply(&[Step::AddElement(element.clone())]).unwrap();
                        assert!(all(&mut firewall).unwrap().is_superset(&[own.clone(), element].into()));
                    }
                })
            });
            workers.collect::<Vec<_>>().into_iter().for_each(|worker| worker.join().unwrap());
            let mut firewall = Firewall::open().unwrap();
            assert_eq!(all(&mut firewall).unwrap().len(), 8 + 8 * 20);
            firewall.apply(&[Step::DeleteFirewall]).unwrap();
        }
    });
}
