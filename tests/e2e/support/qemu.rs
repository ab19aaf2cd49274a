//! A virtual machine in qemu, run as Linkspan says that it is to be run.
#![allow(clippy::disallowed_methods, reason = "qemu is what a tap is for")]

use std::env;
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use linkspan_lab::skip;
use serde_json::Value;

/// What the machine prints goes here.
const CONSOLE: &str = "/run/console";
/// How long it may take to boot: emulated, it is some ten times slower than the host, which may be busy.
const BOOT: Duration = Duration::from_secs(150);

/// A machine that runs until this is dropped.
pub struct Qemu(Child);

impl Qemu {
    /// Boots a machine on the tap that `network connect --tap --format json` has `told` of, with further arguments for
    /// its first process; none if there is nothing to boot, which the test says.
    pub fn boot(told: &Value, arguments: &str) -> Option<Self> {
        let directory = directory();
        let [kernel, initrd] = ["vmlinuz", "initrd"].map(|name| directory.join(name));
        if !kernel.exists() || !initrd.exists() {
            skip(&format!("there is no machine to boot in {} (cargo xtask guest)", directory.display()));
            return None;
        }
        let first = |field: &str| told[field][0].as_str().unwrap().to_owned();
        let (address, gateway) = (first("Addresses"), first("Gateways"));
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            "tcg",
            "-cpu",
            "max",
            "-m",
            "256",
            "-nodefaults",
            "-no-reboot",
            "-display",
            "none",
        ]);
        qemu.arg("-kernel")
            .arg(kernel)
            .arg("-initrd")
            .arg(initrd)
            .args(["-serial", &format!("file:{CONSOLE}")]);
        qemu.args(["-append", &format!("console=ttyS0 panic=-1 quiet random.trust_cpu=on linkspan.address={address} linkspan.gateway={gateway} {arguments}")]);
        qemu.args(told["Qemu"].as_array().unwrap().iter().map(|argument| argument.as_str().unwrap()));
        let child = qemu.stdin(Stdio::null()).spawn().expect("start qemu");
        Some(Self(child))
    }

    /// Waits until it has said that it is ready; gives everything that it has said.
    pub fn said(&mut self) -> String {
        let deadline = Instant::now() + BOOT;
        loop {
            let text = fs::read_to_string(CONSOLE).unwrap_or_default().replace('\r', "");
            if text.contains("guest: ready") {
                return text;
            }
            let ended = self.0.try_wait().expect("ask for qemu");
            assert!(
                ended.is_none() && Instant::now() < deadline,
                "the machine is not ready ({ended:?}):\n{text}"
            );
            sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Qemu {
    fn drop(&mut self) {
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Where `cargo xtask guest` puts its files, or LINKSPAN_GUEST says that they are.
fn directory() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| "/var/tmp".into(), PathBuf::from);
    let cache = || env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    let kept = || env::var_os("LINKSPAN_VM_CACHE").map_or_else(|| cache().join("linkspan-vm"), PathBuf::from);
    env::var_os("LINKSPAN_GUEST").map_or_else(|| kept().join("guest"), PathBuf::from)
}
