//! Pinned namespaces.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::thread;

use linkspan_kernel::{Host, netns};
use linkspan_lab::{self as lab, Net, run_tool, sh};
use linkspan_plan::{Failure, Kernel, Namespace, Scope, State, Step};

use crate::steps::{apply_and_see, name, namespace};

fn inode(path: &str) -> u64 {
    fs::metadata(path).unwrap().ino()
}

fn own() -> u64 {
    inode("/proc/thread-self/ns/net")
}

#[test]
fn a_new_one_has_loopback_up_and_ip_netns_sees_it() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let before = own();
        apply_and_see(&mut host, &[namespace("box")]);
        assert_eq!(own(), before);
        assert_ne!(inode("/run/netns/box"), before);
        assert_eq!(sh("ip netns list").trim(), "box");
        sh("ip netns exec box ping -c 1 -W 1 127.0.0.1");
        netns::Namespace::open(&netns::pin_path(&name("box"))).unwrap();

        let delete = [Step::DeleteNamespace(name("box"))];
        host.apply(&delete).unwrap();
        host.apply(&delete).unwrap();
        assert!(!Path::new("/run/netns/box").exists());
    });
}

#[test]
fn pins_are_shared_between_mount_namespaces_as_ip_netns_shares_them() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[namespace("one")]).unwrap();
        sh("ip netns add two");
        assert_eq!(sh("findmnt -no PROPAGATION /run/netns").trim(), "shared");
        // Removed here, it is gone there too, so nothing keeps it alive.
        let script = "unshare -m --propagation unchanged sh -c 'touch /run/there; sleep 0.4; mountpoint -q /run/netns/one' & \
             while ! test -e /run/there; do :; done; umount /run/netns/one; wait $!";
        assert!(!run_tool(script).0);
    });
}

#[test]
fn the_directory_is_mounted_once_however_many_come_first() {
    lab::run(lab::here!(), || {
        thread::scope(|scope| {
            for number in 0..8 {
                scope.spawn(move || {
                    Host::open().unwrap().apply(&[namespace(&format!("box{number}"))]).unwrap()
                });
            }
        });
        assert_eq!(sh("grep -c ' /run/netns ' /proc/self/mountinfo").trim(), "1");
        assert_eq!(sh("ip netns list | wc -l").trim(), "8");
    });
}

#[test]
fn others_can_be_pinned() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        let pin = |text: &str, origin| Step::CreateNamespace(name(text), origin);
        host.apply(&[
            namespace("box"),
            pin("twin", Namespace::Pinned(name("box"))),
            pin("host", Namespace::Host),
            pin("path", Namespace::Path("/run/netns/box".into())),
        ])
        .unwrap();
        let box_itself = inode("/run/netns/box");
        assert_eq!((inode("/run/netns/twin"), inode("/run/netns/path")), (box_itself, box_itself));
        assert_eq!(inode("/run/netns/host"), own());
        let names = ["box", "twin", "host"].map(name);
        let seen = host.observe(&Scope { namespaces: names.clone().into(), ..Scope::default() }).unwrap();
        let wanted = names.into_iter().zip([Namespace::New, Namespace::New, Namespace::Host]).collect();
        assert_eq!(seen, State { namespaces: wanted, ..State::default() });
    });
}

#[test]
fn what_cannot_be_pinned_is_refused_with_the_reason() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        Net::new("box");
        let (taken, before) = (inode("/run/netns/box"), own());
        let step = Step::CreateNamespace(name("own"), Namespace::Path("/proc/self/ns/net".into()));
        assert!(host.apply(&[step]).unwrap_err().hint.unwrap().contains("--net host"));
        sh("mkfifo /run/pipe");
        let error = host.apply(&[namespace("box")]).unwrap_err();
        assert_eq!((error.failure, error.what.as_str()), (Failure::Exists, "create namespace box"));
        assert!(error.hint.unwrap().contains("--netns /run/netns/box"));
        assert_eq!((inode("/run/netns/box"), own()), (taken, before));

        for (path, failure) in [
            ("/etc/passwd", Failure::Other),
            ("/run/pipe", Failure::Other),
            ("/proc/self/ns/mnt", Failure::Other),
            ("/none", Failure::NotFound),
        ] {
            let step = Step::CreateNamespace(name("new"), Namespace::Path(path.into()));
            let error = host.apply(&[step]).unwrap_err();
            assert!(error.failure == failure && error.cause.contains(path), "{error:?}");
            assert!(!Path::new("/run/netns/new").exists());
        }
    });
}

#[test]
fn a_half_made_pin_is_seen_and_removed() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        host.apply(&[namespace("other")]).unwrap();
        fs::write("/run/netns/box", "").unwrap();
        let scope = Scope { namespaces: [name("box")].into(), ..Scope::default() };
        let stale = Namespace::Path("/run/netns/box".into());
        assert_eq!(host.observe(&scope).unwrap().namespaces, [(name("box"), stale)].into());
        host.apply(&[Step::DeleteNamespace(name("box"))]).unwrap();
        assert!(!Path::new("/run/netns/box").exists());
    });
}

#[test]
fn a_pin_that_was_made_anew_is_not_mistaken_for_the_old() {
    lab::run(lab::here!(), || {
        let mut host = Host::open().unwrap();
        apply_and_see(&mut host, &[namespace("box")]);
        sh(
            "ip netns delete box && ip netns add box && ip -n box link set lo up && ip -n box route add default via 127.0.0.2 dev lo",
        );
        let scope = Scope { namespaces: [name("box")].into(), ..Scope::default() };
        assert_eq!(host.observe(&scope).unwrap().routes.len(), 1);
    });
}
