//! What a plugin does to the engine: its part of an endpoint comes, is compared, and goes.

use std::collections::BTreeMap;
use std::path::Path;

use ipnet::IpNet;
use linkspan_engine::{FitRequest, Footing};
use linkspan_model::{Attachment, Guests, IfName, Invalid, Lease, Name, Part};

use crate::{Call, CniError, CniResult, Host, Interface};

/// The label that says which container a sandbox is; its name may be shorter.
const CONTAINER: &str = "linkspan.cni.container";
/// What Kubernetes says of a pod in CNI_ARGS, each with the label that it becomes.
const POD: [(&str, &str); 3] = [
    ("K8S_POD_NAMESPACE", "io.kubernetes.pod.namespace"),
    ("K8S_POD_NAME", "io.kubernetes.pod.name"),
    ("K8S_POD_UID", "io.kubernetes.pod.uid"),
];

impl Call {
    /// How the runtime calls what this is about.
    ///
    /// # Errors
    /// If the network's name or the interface's is not one that Linkspan can keep.
    pub fn attachment(&self) -> Result<Attachment, CniError> {
        Ok(Attachment {
            network: self.network()?,
            container: self.container.clone(),
            ifname: self.ifname.parse::<IfName>().map_err(unusable)?,
        })
    }

    /// The name of the network.
    ///
    /// # Errors
    /// If it is longer than Linkspan's may be.
    pub fn network(&self) -> Result<Name, CniError> {
        self.name.parse().map_err(unusable)
    }

    /// What a sandbox is labelled with that is made for this call.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let mut labels: BTreeMap<_, _> = [(CONTAINER.to_owned(), self.container.clone())].into();
        let pairs = self.args.as_str().split(';').filter_map(|pair| pair.split_once('='));
        for (key, value) in pairs {
            if let Some((_, label)) = POD.iter().find(|(known, _)| *known == key) {
                labels.insert((*label).to_owned(), value.to_owned());
            }
        }
        labels
    }

    /// Makes a plugin's `part`. `footing` is what the endpoint stands on: of the plugin's own making with `is_main`, else
    /// as found in the result so far, for the case that somebody else's plugin made it.
    ///
    /// # Errors
    /// If the engine refuses; nothing of the part is left then.
    pub fn fit(
        &self,
        host: &mut Host,
        (part, guests): (Part, Guests),
        footing: Footing,
        is_main: bool,
    ) -> Result<(), CniError> {
        let request = FitRequest {
            attachment: self.attachment()?,
            netns: self.netns()?.clone(),
            footing,
            is_main,
            part,
            guests,
            labels: self.labels(),
        };
        if let Some(request) = host.gather(request) {
            host.engine()?.fit(&request)?;
        }
        Ok(())
    }

    /// Takes away the part of the plugin `owner`, wherever the namespace has gone; whether there was any.
    ///
    /// # Errors
    /// If the kernel does not let it go.
    pub fn unfit(&self, host: &mut Host, owner: &str) -> Result<bool, CniError> {
        if host.found().is_some() {
            return Ok(false);
        }
        let attachment = self.attachment()?;
        let engine = host.engine()?;
        if engine.unfit(&attachment, owner)? {
            return Ok(true);
        }
        match self.renamed(host, &attachment, owner)? {
            Some(former) => Ok(host.engine()?.unfit(&former, owner)?),
            None => Ok(false),
        }
    }

    /// How what this call is about was called, if the network has another name now.
    fn renamed(
        &self,
        host: &mut Host,
        attachment: &Attachment,
        owner: &str,
    ) -> Result<Option<Attachment>, CniError> {
        let Some(netns) = &self.netns else { return Ok(None) };
        Ok(host.engine()?.renamed(attachment, owner, netns)?)
    }

    /// That what the plugin `owner` made is as it made it.
    ///
    /// # Errors
    /// Naming what differs.
    pub fn compare(&self, host: &mut Host, owner: &str) -> Result<(), CniError> {
        let mut attachment = self.attachment()?;
        if host.engine()?.attachment(&attachment)?.is_none() {
            attachment = self.renamed(host, &attachment, owner)?.unwrap_or(attachment);
        }
        let said = self.prev.as_ref().and_then(|prev| inside(self, prev)?.1.mac.as_ref()?.parse().ok());
        let lacking = host.engine()?.lacking(&attachment, owner, said)?;
        match lacking.split_first() {
            None => Ok(()),
            Some((first, others)) => {
                let error = CniError::other(format!("{attachment} is not as {owner} made it: {first}"));
                Err(others.iter().fold(error, CniError::because))
            }
        }
    }

    /// Detaches whatever of this network the runtime knows no more, with what all plugins made for it.
    ///
    /// # Errors
    /// The first failure, after everything was tried.
    pub fn collect(&self, host: &mut Host) -> Result<(), CniError> {
        let Some(valid) = self.valid_attachments()? else { return Ok(()) };
        let network = self.network()?;
        let engine = host.engine()?;
        let known = |attachment: &Attachment| {
            let ifname = attachment.ifname.as_str();
            valid.iter().any(|valid| valid.container == attachment.container && valid.ifname == ifname)
        };
        let mut failure = Ok(());
        for attachment in engine.attachments_on(&network)?.iter().filter(|attachment| !known(attachment)) {
            let gone = engine.detach(attachment);
            failure = failure.and(gone.map(drop));
        }
        Ok(failure?)
    }
}

/// What an endpoint stands on that the plugins before this one made, by their result: the interface that this call is about
/// and its addresses, and `host`, the device on the host by which it is reached.
pub fn found(call: &Call, prev: &CniResult, host: Option<IfName>) -> Footing {
    let interface = inside(call, prev).map(|(_, interface)| interface);
    let mac = interface.and_then(|interface| interface.mac.as_ref()?.parse().ok());
    Footing { mac, host, leases: leases(call, prev) }
}

/// The interface in the container that a call is about, with its place in the list.
pub fn inside<'a>(call: &Call, prev: &'a CniResult) -> Option<(usize, &'a Interface)> {
    let is_it = |interface: &Interface| interface.sandbox.is_some() && interface.name == call.ifname;
    prev.interfaces.iter().enumerate().find(|(_, interface)| is_it(interface))
}

/// The addresses of that interface, and those that are said to be on none.
pub fn leases(call: &Call, prev: &CniResult) -> Vec<Lease> {
    let index = inside(call, prev).map(|(index, _)| index as i64);
    let ours = prev.ips.iter().filter(|ip| ip.interface.is_none() || ip.interface == index);
    ours.map(|ip| lease(ip.address, ip.gateway)).collect()
}

/// An address as endpoints have it.
pub fn lease(address: IpNet, gateway: Option<std::net::IpAddr>) -> Lease {
    Lease { subnet: address.trunc(), address: address.addr(), gateway, reused: false }
}

/// The namespace, as results name it.
pub fn sandbox_of(netns: &Path) -> Option<String> {
    Some(netns.to_string_lossy().into_owned())
}

fn unusable(invalid: Invalid) -> CniError {
    let error = CniError::config(invalid.what);
    invalid.cause.into_iter().chain(invalid.hint).fold(error, CniError::because)
}
