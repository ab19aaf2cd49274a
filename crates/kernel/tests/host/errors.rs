//! What is refused, and in whose words.

use linkspan_kernel::Host;
use linkspan_lab::{self as lab, sh};
use linkspan_plan::{Failure, Kernel, KernelError, Scope, Step};

use crate::steps::{bridge, create, device, host, name, namespace, port, route, sandbox};

fn refused(host: &mut Host, steps: &[Step]) -> KernelError {
    host.apply(steps).unwrap_err()
}

#[test]
fn the_kernels_extended_words_are_there() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let Step::AddRoute(old) = route(2, "10.0.0.1") else { return };
        let error = refused(&mut host, &[Step::DeleteRoute(old), route(2, "192.0.2.1")]);
        assert_eq!(error.what, "add route in box2 default via 192.0.2.1 dev eth0");
        assert_eq!(error.cause, "Nexthop has invalid gateway (ENETUNREACH: Network is unreachable)");
    });
}

#[test]
fn making_twice_is_refused_and_changes_nothing() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let look = || {
            sh(
                "ip link; ip address; bridge -d link show dev veth2; ip -n box2 link; ip -n box2 address; ip -n box2 route",
            )
        };
        let before = look();
        for step in [
            bridge(1400, &["10.5.0.1/24"]),
            create(port(2, &["10.0.0.2/24"])),
            route(2, "10.0.0.1"),
            route(2, "10.0.0.3"),
            namespace("box2"),
        ] {
            let line = step.to_string();
            let error = refused(&mut host, &[step]);
            assert_eq!((error.what, error.failure), (line, Failure::Exists));
        }
        assert_eq!(look(), before);
    });
}

#[test]
fn what_is_missing_is_named() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[namespace("box2")]).unwrap();
        let cases = [
            (create(port(2, &[])), "there is no device br0"),
            (route(2, "10.0.0.1"), "there is no device eth0"),
            (route(3, "10.0.0.1"), "no network namespace is pinned at /run/netns/box3"),
            (Step::AddAddress(device("br0"), "10.0.0.1/24".parse().unwrap()), "there is no device br0"),
        ];
        for (step, cause) in cases {
            let error = refused(&mut host, &[step]);
            assert_eq!((error.cause.as_str(), error.failure), (cause, Failure::NotFound));
        }
        host.apply(&[bridge(1500, &[])]).unwrap();
        let error = refused(&mut host, &[create(port(3, &[]))]);
        assert_eq!(error.cause, "no network namespace is pinned at /run/netns/box3");
    });
}

#[test]
fn the_step_that_failed_is_the_one_named() {
    lab::run(lab::here!(), || {
        let mut host = host(&[]);
        let mut steps = sandbox(2);
        steps[2] = route(2, "192.0.2.1");
        let error = refused(&mut host, &steps);
        assert_eq!(error.what, steps[2].to_string());
        assert!(error.cause.contains("gateway"), "{}", error.cause);
        sh("ip -n box2 address show eth0 | grep -q 10.0.0.2/24");
    });
}

#[test]
fn a_device_of_another_kind_is_in_the_way() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        sh("ip link add br0 type veth peer name veth2 && ip link add veth3 type bridge");
        let bridges = Scope { bridges: [device("br0")].into(), ..Scope::default() };
        let error = host.observe(&bridges).unwrap_err();
        assert_eq!(
            (error.failure, error.cause.as_str()),
            (Failure::Exists, "br0 exists and is no bridge but a veth")
        );
        let ports =
            Scope { ports: [(device("veth3"), (name("box"), device("eth0")))].into(), ..Scope::default() };
        assert_eq!(host.observe(&ports).unwrap_err().cause, "veth3 exists and is no veth but a bridge");
    });
}

#[test]
fn a_sysctl_that_cannot_be_set_is_named() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let set = |key: &str, value: &str| Step::SetSysctl { key: key.to_owned(), value: value.to_owned() };
        host.apply(&[set("net/ipv4/ip_forward", "1")]).unwrap();
        let scope = Scope { sysctls: ["net/ipv4/ip_forward".to_owned()].into(), ..Scope::default() };
        assert_eq!(host.observe(&scope).unwrap().sysctls["net/ipv4/ip_forward"], "1");
        let error = refused(&mut host, &[set("net/ipv4/no_such_key", "1")]);
        assert_eq!(
            (error.failure, error.cause.as_str()),
            (Failure::NotFound, "/proc/sys/net/ipv4/no_such_key: ENOENT: No such file or directory")
        );
        assert_eq!(refused(&mut host, &[set("net/ipv4/ip_forward", "x")]).failure, Failure::Other);
    });
}

#[test]
fn a_port_needs_a_bridge_to_be_plugged_into() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        sh("ip link add br0 type veth peer name other");
        host.apply(&[namespace("box2")]).unwrap();
        let error = refused(&mut host, &[create(port(2, &[]))]);
        assert_eq!(error.cause, "br0 exists and is no bridge but a veth");
    });
}

#[test]
fn a_full_bridge_is_called_full() {
    lab::run(lab::here!(), || {
        let mut host = host(&[2]);
        let fill = "for i in $(seq 1022); do echo link add p$i master br0 type veth peer name q$i; done | ip -batch -";
        sh(fill);
        let error = refused(&mut host, &sandbox(3));
        assert!(
            error.hint.as_deref().is_some_and(|hint| hint.starts_with("br0 has 1023 ports")),
            "{error:?}"
        );
    });
}
