//! Linkspan: gives Linux network namespaces their network, and explains it.

fn main() -> std::process::ExitCode {
    linkspan_cni::main()
        .or_else(linkspan_netavark::main)
        .or_else(linkspan_aardvark::main)
        .unwrap_or_else(linkspan_cli::main)
}
