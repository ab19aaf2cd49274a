//! `cargo xtask vm`: a command under Debian's stock kernel, which has every module that a feature may need
//! (ipvlan, 802.1Q, WireGuard, netem, ...), on this machine's file system. What it writes stays in memory.

mod cpio;
mod image;

use std::env;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::io::{self, IsTerminal as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};

use crate::failure::{Doing as _, Failure, Result};
use crate::flags::Flags;
use crate::run::{self, Scratch};

const TOOLS: &[(&str, &str)] = &[
    ("qemu-system-x86_64", "qemu-system-x86"),
    ("busybox", "busybox-static"),
    ("depmod", "kmod"),
    ("timeout", "coreutils"),
];

/// Variables that belong to the shell that called us, not to the command.
const NOT_PASSED_ON: &[&str] = &["PWD", "OLDPWD", "_", "SHLVL"];

/// Runs the command given, or the built tests.
pub fn run(arguments: &[String]) -> Result<ExitCode> {
    let valued = ["memory", "cpus", "timeout", "share", "append", "only"];
    let flags = Flags::parse(arguments, &valued, &["if-possible"])?;
    let kernel = match run::need(TOOLS).and_then(|()| image::kernel()) {
        Err(failure) if flags.has("if-possible") => {
            println!("skipped: no virtual machine: {}", failure.to_string().replace('\n', "; "));
            return Ok(ExitCode::SUCCESS);
        }
        found => found?,
    };
    let words: Vec<&str> =
        flags.text("only").unwrap_or_default().split(',').filter(|w| !w.is_empty()).collect();
    let command = if flags.command.is_empty() { tests(&words)? } else { shell_line(&flags.command) };
    boot(&kernel, &command, &flags)
}

/// Writes what the tests' machine on a network boots: `vmlinuz` and `initrd`.
pub fn guest(arguments: &[String]) -> Result<ExitCode> {
    let flags = Flags::parse(arguments, &["into"], &["if-possible"])?;
    let kernel = match run::need(TOOLS).and_then(|()| image::kernel()) {
        Err(failure) if flags.has("if-possible") => {
            println!("skipped: no machine to boot on a network: {}", failure.to_string().replace('\n', "; "));
            return Ok(ExitCode::SUCCESS);
        }
        found => found?,
    };
    let directory = flags.text("into").map_or_else(|| image::cache().join("guest"), Into::into);
    fs::create_dir_all(&directory).doing(format!("cannot make {}", directory.display()))?;
    let image = fs::read(&kernel.image).doing(format!("cannot read {}", kernel.image.display()))?;
    for (name, content) in [("vmlinuz", image), ("initrd", image::guest_files(&kernel)?)] {
        // Under its name only when it is whole: a test may boot it meanwhile.
        let (half, whole) = (directory.join(format!("half-{name}")), directory.join(name));
        fs::write(&half, content)
            .and_then(|()| fs::rename(&half, &whole))
            .doing(format!("cannot write {name}"))?;
    }
    println!("{}", directory.display());
    Ok(ExitCode::SUCCESS)
}

fn boot(kernel: &image::Kernel, command: &str, flags: &Flags) -> Result<ExitCode> {
    let share = match flags.text("share") {
        None => String::new(),
        Some(directory) => {
            fs::canonicalize(directory).doing(format!("no {directory}"))?.to_string_lossy().into_owned()
        }
    };
    let scratch = Scratch::new(&env::temp_dir(), "linkspan-vm")?;
    let first_files = scratch.path().join("initrd");
    fs::write(&first_files, image::first_files(kernel, &share)?).doing("cannot write the initrd")?;
    let exchange = scratch.path().join("exchange");
    write_exchange(&exchange, command)?;

    eprintln!("booting {}", kernel.release);
    let mut machine = Command::new("timeout");
    machine.args(["-k", "5", &flags.number("timeout", 1800_u32)?.to_string()]);
    machine.args([
        "qemu-system-x86_64",
        "-accel",
        "tcg,thread=multi",
        "-cpu",
        "max",
        "-nodefaults",
        "-no-reboot",
    ]);
    machine.args(["-display", "none", "-device", "virtio-rng-pci"]);
    machine.args(["-smp", &flags.number("cpus", 2_u32)?.to_string()]);
    machine.args(["-m", &flags.number("memory", 2048_u32)?.to_string()]);
    machine.arg("-kernel").arg(&kernel.image).arg("-initrd").arg(&first_files);
    let more = flags.text("append").unwrap_or_default();
    machine.arg("-append");
    machine.arg(format!("console=ttyS0 panic=-1 quiet loglevel=1 random.trust_cpu=on {more}"));
    let console = scratch.path().join("console");
    machine.arg("-serial").arg(format!("file:{}", console.display())).args(["-serial", "stdio"]);
    machine.args(["-virtfs", "local,path=/,mount_tag=root,security_model=none,readonly=on,multidevs=remap"]);
    machine.args(["-virtfs", &shared("exchange", &exchange.to_string_lossy())]);
    if !share.is_empty() {
        machine.args(["-virtfs", &shared("share", &share)]);
    }
    machine.stdin(Stdio::null()).status().doing("cannot start qemu")?;
    status(&exchange, &console)
}

/// A directory that the machine may write to.
fn shared(tag: &str, path: &str) -> String {
    format!("local,path={},mount_tag={tag},security_model=none,multidevs=remap", path.replace(',', ",,"))
}

fn status(exchange: &Path, console: &Path) -> Result<ExitCode> {
    let status = fs::read_to_string(exchange.join("status")).unwrap_or_default();
    let console = fs::read_to_string(console).unwrap_or_default();
    let status = status.trim().parse::<u8>();
    status.map(ExitCode::from).map_err(|_| {
        let failure = Failure::new("the machine ended without the command's exit status").cause(console);
        failure.hint("the kernel died, or --timeout was too short, or --memory too little")
    })
}

/// What the machine reads when it is up: the command, where to run it, and the environment.
fn write_exchange(exchange: &Path, command: &str) -> Result<()> {
    let mut environment = String::new();
    let text =
        |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    for (name, value) in env::vars_os().filter_map(text) {
        let has_plain_name = name.chars().all(|char| char.is_ascii_alphanumeric() || char == '_');
        if has_plain_name && !NOT_PASSED_ON.contains(&name.as_str()) {
            let _ = writeln!(environment, "export {name}={}", quoted(&value));
        }
    }
    if !io::stdout().is_terminal() {
        // The machine's output is a terminal to what runs there.
        environment.push_str("export TERM=dumb NO_COLOR=1\n");
    }
    let directory = env::current_dir().doing("cannot tell the working directory")?;
    let directory = directory.to_string_lossy();
    fs::create_dir_all(exchange).doing("cannot make the exchange directory")?;
    let files = [
        ("guest", include_str!("guest.sh")),
        ("environment", &environment),
        ("directory", &directory),
        ("command", command),
    ];
    for (name, content) in files {
        fs::write(exchange.join(name), content).doing(format!("cannot write {name}"))?;
    }
    Ok(())
}

/// A script that runs the tests with one of `words` in their names, or all, each binary in its package's directory,
/// and fails if one does.
fn tests(words: &[&str]) -> Result<String> {
    let mut script = String::from("status=0\n");
    let filters = words.iter().map(|word| format!(" {}", quoted(word))).collect::<String>();
    let mut found = words.is_empty();
    for binary in run::test_binaries()? {
        if !words.is_empty() && !has_tests(&binary.executable, words)? {
            continue;
        }
        found = true;
        let (directory, executable) =
            (binary.directory.to_string_lossy(), binary.executable.to_string_lossy());
        let (directory, executable) = (quoted(&directory), quoted(&executable));
        let run = format!("(cd {directory} && {executable}{filters}) || status=1");
        let _ = writeln!(script, "echo; echo --- {executable}\n{run}");
    }
    if !found {
        return Err(Failure::new(format!("no test has one of these in its name: {}", words.join(", "))));
    }
    script.push_str("exit $status\n");
    Ok(script)
}

/// Whether a test binary has a test with one of `words` in its name.
fn has_tests(executable: &Path, words: &[&str]) -> Result<bool> {
    let arguments: Vec<&str> = words.iter().copied().chain(["--list", "--format", "terse"]).collect();
    Ok(!run::output(&executable.to_string_lossy(), &arguments)?.trim().is_empty())
}

fn shell_line(words: &[String]) -> String {
    words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
}

/// A word as a shell reads it back.
fn quoted(word: &str) -> String {
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests_of_quoting {
    use super::*;

    #[test]
    fn words_survive_the_shell() {
        let words = ["it's", "$HOME", "two words", ""].map(str::to_owned);
        let line = format!("printf '<%s>' {}", shell_line(&words));
        assert_eq!(run::output("sh", &["-c", &line]).unwrap(), "<it's><$HOME><two words><>");
    }
}
