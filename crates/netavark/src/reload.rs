//! `firewall-reload` and `firewalld-reload`: the firewall, put back as the running containers need it.

use crate::firewall::{Firewall, required};
use crate::{Error, Global, Host};

/// Puts it back once.
///
/// # Errors
/// If the kernel refuses.
pub fn once(global: &Global) -> Result<(), Error> {
    let mut firewall = Firewall::named(global.firewall.as_deref())?;
    if !firewall.has_rules() {
        return Ok(());
    }
    let mut host = Host::new(global);
    let engine = host.engine()?;
    engine.reload_firewall()?;
    for guests in engine.networks()?.into_iter().filter_map(|network| network.guests) {
        firewall.trust(&guests.trusted);
    }
    Ok(())
}

/// Puts it back now, since firewalld may just have been started, and whenever firewalld has read its configuration anew. Ends
/// with the bus.
///
/// # Errors
/// If the bus is not there, or goes.
pub fn forever(global: &Global) -> Result<(), Error> {
    let mut firewalld = required()?;
    let gone = |cause| Error::io("listen to firewalld", &cause);
    firewalld.subscribe().map_err(gone)?;
    loop {
        if let Err(error) = once(global) {
            eprintln!("error: failed to reload firewall rules: {error}");
        }
        firewalld.wait_for_reload().map_err(gone)?;
    }
}
