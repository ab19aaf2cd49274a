//! Drivers of third parties: programs that do for their networks what this backend does for its own.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use linkspan_kernel::ask::ask;
use serde::{Deserialize, Serialize};

use crate::{Error, Network, PluginRequest, Status};

/// Above this, exit codes stand for the signal that ended a program.
const KILLED: i32 = 128;

/// The program of the driver `name`, in the first directory that has one.
pub fn find(directories: &[PathBuf], name: &str) -> Option<PathBuf> {
    let is_program = |path: &PathBuf| {
        fs::metadata(path).is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    let paths = directories.iter().filter(|_| !name.contains('/')).map(|directory| directory.join(name));
    paths.into_iter().find(is_program)
}

/// Has the driver of `network` complete and check it.
///
/// # Errors
/// Its own; if there is none.
pub fn create(directories: &[PathBuf], network: &Network) -> Result<Network, Error> {
    if directories.is_empty() {
        return Err(Error::new("plugin directory not provided"));
    }
    let driver = &network.driver;
    let program = find(directories, driver).ok_or_else(|| {
        Error::new(format!("plugin for driver \"{driver}\" not found in plugin directories"))
    })?;
    let output = run(&program, &["create".into()], network)?;
    serde_json::from_slice(&output).map_err(|error| Error::new(error.to_string()))
}

/// Has `program` attach a container whose namespace is at `netns`.
///
/// # Errors
/// Its own.
pub fn setup(program: &Path, netns: &Path, request: &PluginRequest<'_>) -> Result<Status, Error> {
    let attach = || -> Result<Status, Error> {
        let output = run(program, &["setup".into(), netns.into()], request)?;
        serde_json::from_slice(&output).map_err(|error| Error::new(error.to_string()))
    };
    attach().map_err(|error| failed(program, &error))
}

/// Has `program` detach a container whose namespace is, or was, at `netns`.
///
/// # Errors
/// Its own.
pub fn teardown(program: &Path, netns: &Path, request: &PluginRequest<'_>) -> Result<(), Error> {
    let done = run(program, &["teardown".into(), netns.into()], request);
    done.map(drop).map_err(|error| failed(program, &error))
}

fn failed(program: &Path, error: &Error) -> Error {
    Error::new(format!("plugin {:?} failed: {error}", name(program)))
}

fn name(program: &Path) -> &OsStr {
    program.file_name().unwrap_or_default()
}

/// What it printed.
fn run(program: &Path, args: &[OsString], input: &impl Serialize) -> Result<Vec<u8>, Error> {
    #[derive(Deserialize)]
    struct Told {
        error: String,
    }
    let input = serde_json::to_vec(input).map_err(|error| Error::new(error.to_string()))?;
    let reply = ask(program, args, &[], &input)?;
    match reply.code {
        0 => Ok(reply.output),
        code if code > KILLED && reply.output.is_empty() => {
            Err(Error::new(format!("plugin {:?} killed by signal {}", name(program), code - KILLED)))
        }
        code => Err(Error::new(match serde_json::from_slice::<Told>(&reply.output) {
            Ok(Told { error }) => format!("exit code {code}, message: {error}"),
            Err(error) => format!("plugin {:?}: exit code {code}, parse error: {error}", name(program)),
        })),
    }
}

#[cfg(test)]
mod tests {
    use std::slice::from_ref;

    use super::*;
    use crate::PerNetwork;

    /// A directory with one driver, which goes with it.
    struct Drivers(PathBuf);

    impl Drivers {
        fn new(name: &str, script: &str) -> Self {
            let directory = std::env::temp_dir().join(format!("linkspan-{name}-{}", std::process::id()));
            fs::create_dir_all(&directory).unwrap();
            let path = directory.join(name);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            Self(directory)
        }
    }

    impl Drop for Drivers {
        fn drop(&mut self) {
            _ = fs::remove_dir_all(&self.0);
        }
    }

    fn of_driver(driver: &str) -> Network {
        Network { name: "n".to_owned(), driver: driver.to_owned(), ..Network::default() }
    }

    fn attach(script: &str, driver: &str) -> Result<Status, String> {
        let drivers = Drivers::new(driver, script);
        let program = find(from_ref(&drivers.0), driver).unwrap();
        let (network, options) = (of_driver(driver), PerNetwork::default());
        let request = PluginRequest {
            container_id: "c",
            container_name: "n",
            port_mappings: None,
            network: &network,
            network_options: &options,
        };
        setup(&program, Path::new("/run/netns/x"), &request).map_err(|error| error.to_string())
    }

    #[test]
    fn a_driver_is_asked_and_answers() {
        let script = r#"[ "$1 $2" = "setup /run/netns/x" ] && grep -q '"container_id":"c"' &&
            echo '{"interfaces":{"eth0":{"mac_address":"02:00:00:00:00:01"}}}'"#;
        let status = attach(script, "linkspan-answers").unwrap();
        assert!(status.interfaces.unwrap().contains_key("eth0"));
    }

    #[test]
    fn what_it_prints_of_its_failure_is_passed_on() {
        let told = attach(r#"echo '{"error":"no luck"}'; exit 3"#, "linkspan-tells").unwrap_err();
        assert_eq!(told, r#"plugin "linkspan-tells" failed: exit code 3, message: no luck"#);
        let silent = attach("exit 3", "linkspan-silent").unwrap_err();
        assert!(silent.contains("exit code 3, parse error: "), "{silent}");
        let killed = attach("kill -9 $$", "linkspan-killed").unwrap_err();
        assert!(killed.contains("killed by signal 9"), "{killed}");
        assert!(attach("echo x", "linkspan-mad").is_err());
    }

    #[test]
    fn a_driver_completes_a_network() {
        let drivers = Drivers::new("linkspan-creates", r#"sed 's/"internal":false/"internal":true/'"#);
        let made = create(from_ref(&drivers.0), &of_driver("linkspan-creates")).unwrap();
        assert!(made.internal);
        let message = |directories: &[PathBuf], driver: &str| {
            create(directories, &of_driver(driver)).unwrap_err().to_string()
        };
        assert_eq!(message(&[], "x"), "plugin directory not provided");
        assert!(message(from_ref(&drivers.0), "../linkspan-creates").contains("not found"));
        assert_eq!(
            message(from_ref(&drivers.0), "x"),
            "plugin for driver \"x\" not found in plugin directories"
        );
    }
}
