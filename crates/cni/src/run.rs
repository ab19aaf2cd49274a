//! A plugin from its start to its end.

use std::io::Read;
use std::path::Path;

use linkspan_kernel::netns::Namespace;
use serde::Serialize;

use crate::call::Letter;
use crate::error::Code;
use crate::{Call, CniError, Environment, Host, Plugin, Verb, Version, print};

/// What a plugin's process says.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Answer {
    /// For standard output; may be empty.
    pub out: String,
    /// For standard error; may be empty.
    pub err: String,
    /// Whether it is a success.
    pub is_success: bool,
}

/// Does what the environment and `stdin` say with `plugin`.
pub fn answer(plugin: &dyn Plugin, environment: &Environment, stdin: impl Read) -> Answer {
    let said = |out: String| Answer { out, err: String::new(), is_success: true };
    match environment.command().as_deref() {
        None => Answer { err: about(plugin), ..said(String::new()) },
        Some("VERSION") => said(versions(plugin)),
        Some(_) => match call(plugin, environment, stdin) {
            Ok(out) => said(out),
            Err((error, version)) => Answer { is_success: false, ..said(error.print(version)) },
        },
    }
}

/// The verb's output, or an error with the version to tell it in.
fn call(
    plugin: &dyn Plugin,
    environment: &Environment,
    stdin: impl Read,
) -> Result<String, (CniError, Version)> {
    let letter = Letter::read(environment, stdin).map_err(|error| (error, Version::NEWEST))?;
    let version = letter.version();
    let call = letter.call(environment, plugin.versions());
    call.and_then(|call| carry_out(plugin, &call, &mut Host::new())).map_err(|error| (error, version))
}

fn carry_out(plugin: &dyn Plugin, call: &Call, host: &mut Host) -> Result<String, CniError> {
    match call.verb {
        Verb::Add => {
            // Before anything is made there; the reference library looks only when all is done.
            not_own(call)?;
            // What cannot be told in an old version is there all the same, as with the reference library: the runtime
            // calls DEL after an error.
            plugin.add(call, host)?.print(call.version)
        }
        Verb::Del => {
            plugin.del(call, host)?;
            not_own(call).map(|()| String::new())
        }
        Verb::Check => plugin.check(call, host).map(|()| String::new()),
        Verb::Gc => plugin.gc(call, host).map(|()| String::new()),
        Verb::Status => plugin.status(call, host).map(|()| String::new()),
    }
}

/// That the container's namespace is not the plugin's own. One that cannot be opened is none.
fn not_own(call: &Call) -> Result<(), CniError> {
    let path = call.netns.as_deref().filter(|_| !call.may_be_own);
    let Some(namespace) = path.and_then(|path: &Path| Namespace::open(path).ok()) else { return Ok(()) };
    let own = Namespace::own()
        .map_err(|error| CniError::new(Code::NETNS, "cannot open the plugin's own netns").because(error))?;
    if namespace.is(&own) {
        let what = "plugin's netns and netns from CNI_NETNS should not be the same";
        return Err(CniError::new(Code::NETNS, what).because("CNI_NETNS_OVERRIDE=1 lets them be"));
    }
    Ok(())
}

fn about(plugin: &dyn Plugin) -> String {
    let versions: Vec<&str> = plugin.versions().iter().map(|version| version.as_str()).collect();
    format!(
        "CNI {} plugin of linkspan {}\nCNI protocol versions supported: {}\n",
        plugin.name(),
        env!("CARGO_PKG_VERSION"),
        versions.join(", ")
    )
}

fn versions(plugin: &dyn Plugin) -> String {
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Versions {
        cni_version: &'static str,
        supported_versions: Vec<&'static str>,
    }
    print::pretty(&Versions {
        cni_version: Version::NEWEST.as_str(),
        supported_versions: plugin.versions().iter().map(|version| version.as_str()).collect(),
    })
}
