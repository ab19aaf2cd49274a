//! Linkspan: gives Linux network namespaces their network, and explains it.

fn main() -> std::process::ExitCode {
    linkspan_cli::main()
}
