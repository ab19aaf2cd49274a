//! Linkspan: gives Linux network namespaces their network, and explains it.

fn main() -> std::process::ExitCode {
    linkspan_cni::main().unwrap_or_else(linkspan_cli::main)
}
