//! Namespaces that are somebody else's: what is in them stays as it is, and they outlive their sandbox.

use linkspan_model::{Endpoint, Family, IfName, NamespaceSource, Network, Sandbox};
use linkspan_plan::{Inside, Kernel};

use crate::{Engine, Error};

impl<K: Kernel> Engine<K> {
    /// What is in the namespace that a sandbox is to be made in; nothing is in a new one. The host's own is refused: what a
    /// sandbox is given there, the host would have.
    pub(crate) fn look_into(&mut self, source: &NamespaceSource) -> Result<Inside, Error> {
        let NamespaceSource::Path(path) = source else { return Ok(Inside::default()) };
        let inside = self.kernel.look_into(path)?;
        if inside.is_host {
            let path = path.display();
            return Err(Error::refused(format!("cannot use namespace {path}"))
                .because(format!("{path} stands for the host's own namespace"))
                .hinting("use --net host"));
        }
        Ok(inside)
    }

    /// The same of the namespace that `sandbox` has, if it is somebody else's.
    pub(crate) fn look_around(&mut self, sandbox: &Sandbox) -> Result<Inside, Error> {
        match sandbox.namespace {
            NamespaceSource::Path(_) => Ok(self.kernel.look_into(&sandbox.pin())?),
            _ => Ok(Inside::default()),
        }
    }

    /// Whether `sandbox` alone keeps the namespace that it was given: whoever gave it has gone, nobody is in it, and no
    /// other sandbox shares it.
    pub(crate) fn is_deserted(&mut self, sandbox: &Sandbox) -> Result<bool, Error> {
        let NamespaceSource::Path(source) = &sandbox.namespace else { return Ok(false) };
        Ok(self.kernel.is_deserted(sandbox.netns_name(), source)?
            && self.store.read(|tx| tx.sandboxes_in(&sandbox.name))?.is_empty())
    }

    /// Tells why a new endpoint has no default route.
    pub(crate) fn tell_kept(
        &mut self,
        sandbox: &Sandbox,
        (endpoint, network): &(Endpoint, Network),
        inside: &Inside,
    ) {
        for lease in endpoint.leases.iter().filter(|lease| lease.gateway.is_none() && !network.internal) {
            let family = Family::of(lease.address);
            if let Some(device) = leads_away(inside, family, &[]) {
                self.note(format!(
                    "sandbox '{}' keeps the {family} default route that its namespace has, through {device}",
                    sandbox.name
                ));
            }
        }
    }
}

/// The device by which a default route of `family` leaves that is none of ours, which leave by those of `attached`.
pub fn leads_away<'a>(
    inside: &'a Inside,
    family: Family,
    attached: &[(Endpoint, Network)],
) -> Option<&'a IfName> {
    let ours = |device: &IfName| attached.iter().any(|(endpoint, _)| endpoint.ifname == *device);
    let mut found = inside.default_routes.iter();
    found.find(|(other, device)| *other == family && !ours(device)).map(|(_, device)| device)
}
