//! `linkspan cni`: what makes this program the plugins of a container runtime, but for the links.

use std::path::Path;
use std::process::ExitCode;

use linkspan_cni::{Fate, Host, Migrated, migrate as take_over};
use linkspan_engine::Engine;
use linkspan_kernel::Host as Kernel;

use crate::Outcome;
use crate::args::Format;
use crate::output::{self, Problem};

/// Takes over what other plugins attached and the runtime remembers in `cache`.
pub fn migrate(engine: Engine<Kernel>, cache: &Path, is_dry: bool, format: Format) -> Outcome {
    let migrated = take_over(&mut Host::over(engine), cache, is_dry).map_err(|error| {
        Problem::new(error.msg)
            .because(error.details)
            .hint("--cache names the directory where the runtime keeps results")
    })?;
    match format {
        Format::Json => output::json(&migrated)?,
        Format::Table => {
            let row = |one: &Migrated| {
                let fate = match one.fate {
                    Fate::Taken if is_dry => "would be taken over",
                    Fate::Taken => "taken over",
                    Fate::Known => "known",
                    Fate::Left => "left",
                };
                let (plugins, notes) = (one.plugins.join(","), one.notes.join("; "));
                let [network, container, ifname] =
                    [&one.network, &one.container, &one.ifname].map(Clone::clone);
                vec![network, container, ifname, fate.to_owned(), plugins, one.rules.to_string(), notes]
            };
            let heads = ["NETWORK", "CONTAINER", "INTERFACE", "STATE", "PLUGINS", "RULES REMOVED", "NOTES"];
            output::table(&heads, migrated.iter().map(row).collect());
        }
    }
    Ok(ExitCode::SUCCESS)
}
