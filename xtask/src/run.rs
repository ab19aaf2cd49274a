//! Starting programs, and where the project's own are.

use std::env;
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::Value;

use crate::failure::{Doing as _, Failure, Result};

/// Runs a program to its end; its standard output, or its standard error as the failure.
pub fn output<S: AsRef<OsStr>>(program: &str, arguments: &[S]) -> Result<String> {
    let output = Command::new(program).args(arguments).stdin(Stdio::null()).output();
    let output = output.doing(format!("cannot start {program}"))?;
    let shown =
        || arguments.iter().map(|argument| argument.as_ref().to_string_lossy()).collect::<Vec<_>>().join(" ");
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        let cause = format!("{}\n{}", output.status, String::from_utf8_lossy(&output.stderr).trim());
        Err(Failure::new(format!("{program} {} failed", shown())).cause(cause))
    }
}

/// The checkout.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Where a program is, as a shell would find it, or among root's programs.
pub fn find(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let directories = env::split_paths(&path).chain(["/usr/sbin", "/sbin"].map(PathBuf::from));
    directories.map(|directory| directory.join(program)).find(|candidate| candidate.is_file())
}

/// Sees to it that programs are there: installs their packages if it may, says which are missing if not.
pub fn need(programs: &[(&str, &str)]) -> Result<()> {
    let lacking = || programs.iter().filter(|(program, _)| find(program).is_none()).collect::<Vec<_>>();
    let missing = lacking();
    if missing.is_empty() {
        return Ok(());
    }
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    let install = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if is_root() && find("apt-get").is_some() {
        eprintln!("installing: {}", packages.join(" "));
        let arguments: Vec<&str> =
            ["install", "-y", "-q", "--no-install-recommends"].into_iter().chain(packages).collect();
        output("apt-get", &arguments).or_else(|_| {
            output("apt-get", &["update", "-q"])?;
            output("apt-get", &arguments)
        })?;
    }
    match lacking().first() {
        None => Ok(()),
        Some((program, _)) => {
            Err(Failure::new(format!("there is no {program} here")).hint(format!("as root: {install}")))
        }
    }
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|metadata| std::os::unix::fs::MetadataExt::uid(&metadata) == 0)
}

/// A test binary, and the directory that cargo runs it in.
pub struct TestBinary {
    /// The package's directory.
    pub directory: PathBuf,
    /// The executable.
    pub executable: PathBuf,
}

/// Builds the tests of the default members; every test binary.
pub fn test_binaries() -> Result<Vec<TestBinary>> {
    let messages = cargo(&["test", "--no-run", "--message-format=json-render-diagnostics"])?;
    let binary = |message: Value| {
        let is_test = message["profile"]["test"].as_bool()?;
        let executable = PathBuf::from(message["executable"].as_str()?);
        let directory = Path::new(message["manifest_path"].as_str()?).parent()?.to_path_buf();
        is_test.then_some(TestBinary { directory, executable })
    };
    Ok(messages.into_iter().filter_map(binary).collect())
}

/// Builds `linkspan` as it is shipped; its path.
pub fn linkspan() -> Result<PathBuf> {
    let messages =
        cargo(&["build", "--release", "--bin", "linkspan", "--message-format=json-render-diagnostics"])?;
    let executable = messages.iter().find_map(|message| message["executable"].as_str());
    executable.map(PathBuf::from).ok_or_else(|| Failure::new("cargo built no linkspan"))
}

/// Runs cargo in the checkout with its progress shown; the messages that it prints.
fn cargo(arguments: &[&str]) -> Result<Vec<Value>> {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    let output =
        command.args(arguments).current_dir(root()).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.doing("cannot start cargo")?;
    if !output.status.success() {
        return Err(Failure::new(format!("cargo {} failed", arguments.join(" "))).cause(output.status));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

/// A directory that goes with the value.
pub struct Scratch(PathBuf);

impl Scratch {
    /// Makes one below `parent`. Its name has the time, as process numbers repeat in namespaces.
    pub fn new(parent: &Path, name: &str) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let path = parent.join(format!("{name}-{now:x}"));
        fs::create_dir(&path).doing(format!("cannot make {}", path.display()))?;
        Ok(Self(path))
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
