//! Hosts and sandboxes: network namespaces, wires between them, and work done inside.

use std::fs::File;
use std::path::Path;
use std::thread;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

use crate::tool::sh;

/// A network namespace.
#[derive(Debug)]
pub struct Net {
    name: String,
    file: File,
}

impl Net {
    /// A new one with lo up, pinned under `name` as `ip netns add` does.
    pub fn new(name: &str) -> Self {
        sh(&format!("ip netns add {name} && ip -n {name} link set lo up"));
        Self::pinned(name)
    }

    /// The one pinned under `name`.
    pub fn pinned(name: &str) -> Self {
        Self::open(name, Path::new("/run/netns").join(name).as_path())
    }

    /// That of a process.
    pub fn of_process(name: &str, pid: u32) -> Self {
        Self::open(name, Path::new(&format!("/proc/{pid}/ns/net")))
    }

    /// The calling thread's.
    pub fn here() -> Self {
        Self::open("here", Path::new("/proc/thread-self/ns/net"))
    }

    fn open(name: &str, path: &Path) -> Self {
        let file = File::open(path).unwrap_or_else(|error| panic!("open namespace {name}: {error}"));
        Self { name: name.to_owned(), file }
    }

    /// The name that it is pinned under.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Does `work` on a thread inside, and waits for it.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = scope.spawn(|| {
                setns(&self.file, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
                work()
            });
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Does `work` on a thread inside that goes on by itself.
    pub(crate) fn detach(&self, work: impl FnOnce() + Send + 'static) {
        let file = self.file.try_clone().expect("another descriptor");
        thread::spawn(move || {
            setns(file, CloneFlags::CLONE_NEWNET).expect("enter a namespace");
            work();
        });
    }

    /// Runs a shell command inside; gives what it prints.
    pub fn sh(&self, command: &str) -> String {
        self.enter(|| sh(command))
    }

    /// Runs a shell command inside; whether it succeeds.
    pub fn succeeds(&self, command: &str) -> bool {
        self.enter(|| crate::tool::run(command).0)
    }
}

/// Connects two namespaces: each end with its device's name and its address with prefix length. Packets pass from then on: on a
/// busy machine the kernel may take a second to act upon a carrier.
pub fn wire(a: (&Net, &str, &str), b: (&Net, &str, &str)) {
    let pair = format!("ip link add {} type veth peer name {} netns {}", a.1, b.1, b.0.name());
    a.0.sh(&pair);
    for (net, device, address) in [a, b] {
        net.sh(&format!("ip address add {address} dev {device} && ip link set {device} up"));
    }
    for (net, device, _) in [a, b] {
        while !net.sh(&format!("ip -o link show {device}")).contains("state UP") {
            thread::sleep(Duration::from_millis(10));
        }
    }
}
