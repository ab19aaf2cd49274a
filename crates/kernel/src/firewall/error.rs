//! Errors of nfnetlink in the words of the plan.

use linkspan_plan::{Failure, KernelError};
use nix::errno::Errno;

use crate::error::Refusal;
use crate::netlink::Error;

/// That `what` was refused with `error`.
pub(super) fn refused(what: impl Into<String>, error: &Error) -> KernelError {
    let mut refusal = Refusal::from(error.clone());
    if matches!(error.errno, Errno::EMSGSIZE | Errno::ENOBUFS) {
        refusal = refusal.hint(Failure::Other, "raise the sysctl net.core.wmem_max, or run it as root");
    }
    refusal.of(what.into())
}

/// That `what` needs the table of bridges, which the kernel cannot have.
pub(super) fn without_bridges(what: impl Into<String>) -> KernelError {
    let refusal = Refusal::new(Failure::Unsupported, "the kernel has no nf_tables for what passes a bridge");
    refusal.hint(Failure::Unsupported, "use a kernel that has CONFIG_NF_TABLES_BRIDGE").of(what.into())
}

/// What the kernel is built without if it does not know these kinds of expression.
pub(super) fn missing(expressions: &[&'static str]) -> Option<String> {
    let options: Vec<String> = expressions.iter().filter_map(|name| option_of(name)).collect();
    (!options.is_empty()).then(|| {
        format!("the kernel lacks {}: load the module, or use a kernel that has it", options.join(" or "))
    })
}

/// The kernel's build option behind a kind of expression, with the module's name.
fn option_of(expression: &str) -> Option<String> {
    let (option, module) = match expression {
        "nat" => ("CONFIG_NFT_NAT", "nft_chain_nat"),
        "masq" => ("CONFIG_NFT_MASQ", "nft_masq"),
        "fib" => ("CONFIG_NFT_FIB_INET", "nft_fib_inet"),
        "ct" => ("CONFIG_NFT_CT", "nft_ct"),
        _ => return None,
    };
    Some(format!("{option} ({module})"))
}

#[cfg(test)]
mod tests {
    use super::missing;

    #[test]
    fn a_missing_feature_is_named_by_its_build_option() {
        assert!(missing(&["meta", "fib"]).unwrap().contains("CONFIG_NFT_FIB_INET (nft_fib_inet)"));
        assert_eq!(missing(&["meta", "cmp"]), None);
    }
}
