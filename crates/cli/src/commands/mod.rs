//! One module for each command.

mod agent;
mod cni;
mod guard;
mod install;
mod lab;
mod network;
mod page;
mod process;
mod repair;
mod sandbox;
mod tap;

use crate::Outcome;
use crate::args::{Args, CniCommand, Command, NetavarkCommand, NetworkCommand, SandboxCommand};
use crate::context::{engine, engine_to_change};
use crate::deferred::Deferred;
use crate::demo::demo;

/// Carries out a command.
pub fn run(args: Args) -> Outcome {
    let global = &args.global;
    match args.command {
        Command::Network(Deferred(command)) => match command {
            NetworkCommand::Create(Deferred(request)) => network::create(global, request),
            NetworkCommand::Ls => network::list(engine(global)?, global.format),
            NetworkCommand::Inspect { names } => network::inspect(engine(global)?, &names),
            NetworkCommand::Rm { names } => network::remove(engine_to_change(global)?, &names),
            NetworkCommand::Guard { name } => guard::guard(global, &name),
            NetworkCommand::Confirm { name } => network::confirm(engine_to_change(global)?, &name),
            NetworkCommand::Prune => network::prune(engine_to_change(global)?),
            NetworkCommand::Connect(Deferred(request)) => {
                network::connect(engine_to_change(global)?, request, global.format)
            }
            NetworkCommand::Disconnect { force, network, sandbox } => {
                network::disconnect(engine_to_change(global)?, &network, &sandbox, force)
            }
        },
        Command::Sandbox(Deferred(command)) => match command {
            SandboxCommand::Create(request) => {
                sandbox::create(engine_to_change(global)?, request.0, global.format)
            }
            SandboxCommand::Ls => sandbox::list(engine(global)?, global.format),
            SandboxCommand::Inspect { names } => sandbox::inspect(engine(global)?, &names),
            SandboxCommand::Rm { force, names } => sandbox::remove(engine_to_change(global)?, &names, force),
            SandboxCommand::Exec(request) => process::exec(engine_to_change(global)?, &request),
        },
        Command::Exec(request) => process::exec(engine_to_change(global)?, &request),
        Command::Run(Deferred(request)) => process::run(engine_to_change(global)?, request),
        Command::Port { sandbox } => sandbox::ports(engine(global)?, &sandbox, global.format),
        Command::Plan(args) => lab::plan(global, &args),
        Command::Apply(args) => lab::apply(global, &args),
        Command::Delete(args) => lab::delete(global, &args),
        Command::Repair { dry_run } => repair::repair(engine_to_change(global)?, dry_run, global.format),
        Command::Cni(Deferred(command)) => match command {
            CniCommand::Install(links) => {
                let plugins = linkspan_cni::ALL.iter().map(|plugin| plugin.name());
                install::install(&links.directory, plugins, links.force, global.format)
            }
            CniCommand::Migrate { cache, dry_run } => {
                cni::migrate(engine_to_change(global)?, &cache, dry_run, global.format)
            }
        },
        Command::Agent { given } => agent::agent(global, given),
        Command::AardvarkDns { words } => Ok(linkspan_aardvark::run(words)),
        Command::Netavark(Deferred(NetavarkCommand::Install(links))) => {
            install::install(&links.directory, linkspan_netavark::NAMES, links.force, global.format)
        }
        Command::Demo => demo(global),
        Command::Completion { shell } => page::completion(shell),
        Command::Man { dir } => page::manual(dir.as_deref()),
        Command::Version => page::version(),
    }
}
