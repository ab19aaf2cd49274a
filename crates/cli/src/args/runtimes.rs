//! The flags of what makes this program a part of container runtimes.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand};

#[derive(Subcommand, Debug)]
pub enum CniCommand {
    /// Link this program under the names of the CNI plugins that it serves.
    #[command(after_help = "Examples:
  linkspan cni install /opt/cni/bin
  linkspan cni install --force /usr/lib/cni     in place of the reference plugins")]
    Install(LinkArgs),
    /// Take over containers that other plugins attached, without a break.
    #[command(after_help = "Examples:
  linkspan cni migrate --dry-run                         what would be taken over, and what not
  linkspan cni migrate && linkspan cni install --force /usr/lib/cni")]
    Migrate {
        /// Where the runtime's library keeps what it attached.
        #[arg(long, value_name = "DIR", default_value = linkspan_cni::CACHE)]
        cache: PathBuf,
        /// Only print what would be done.
        #[arg(long)]
        dry_run: bool,
    },
}

#[derive(Subcommand, Debug)]
pub enum NetavarkCommand {
    /// Link this program as `netavark` and `aardvark-dns`, as Podman calls its network backend and its DNS server.
    #[command(after_help = "Examples:
  linkspan netavark install /usr/local/libexec/podman
  linkspan netavark install --force /usr/lib/podman     in place of the package's")]
    Install(LinkArgs),
}

#[derive(ClapArgs, Debug)]
pub struct LinkArgs {
    /// Also in place of files that are not Linkspan's.
    #[arg(short, long)]
    pub force: bool,
    /// Where the runtime looks for them.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
}
