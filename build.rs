//! Has the program carry the few functions that walk the stack of a panic, instead of looking for the shared library of the
//! compiler, mapping and binding it at each start: a tenth of the time in which a container gets its network.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let is = |key: &str, value: &str| std::env::var(key).is_ok_and(|found| found == value);
    if is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu") {
        println!("cargo::rustc-link-lib=static:-bundle=gcc_eh");
    }
}
