//! What other programs attached as a runtime's plugins, and Linkspan's plugins look after from now on.

use linkspan_model::{Endpoint, Fixture, Part};
use linkspan_plan::{Kernel, State, desired};
use linkspan_store::{Mode, Object};

use crate::attachments::{enter, extended, join, refuse_attached};
use crate::berth::Berth;
use crate::wires::refuse_pending;
use crate::{Attached, Engine, Error, FitRequest, PATIENCE};

impl<K: Kernel> Engine<K> {
    /// Takes over an endpoint: what plugins would have asked for had they made it, in their order. Of that only is made what
    /// stays when a part goes, and what Linkspan itself adds; the rest is there, and is written down last. So until then it
    /// is nobody's: if this fails or its process dies, removal leaves it alone.
    ///
    /// # Errors
    /// If the endpoint is known already, the namespace is not there, a port is taken, or something is in the way.
    pub fn adopt(&mut self, requests: &[FitRequest]) -> Result<Attached, Error> {
        self.settle()?;
        self.persist(|engine| engine.try_adopt(requests))
    }

    fn try_adopt(&mut self, requests: &[FitRequest]) -> Result<Attached, Error> {
        let Some(FitRequest { attachment, netns, labels, .. }) = requests.first() else {
            return Err(Error::refused("there is nothing to take over"));
        };
        let Berth { sandbox, is_new, .. } = self.berth(&attachment.container, netns, labels, true)?;
        let object = Object::Sandbox(sandbox.name.clone());
        let _network =
            self.store.lock(&Object::Network(attachment.network.clone()), Mode::Shared, PATIENCE)?;
        let _lock = self.store.lock(&object, Mode::Exclusive, PATIENCE)?;
        self.still_there(&sandbox, is_new)?;
        let Self { store, kernel, .. } = self;
        let (endpoint, network, journal) = store.write(|tx| {
            enter(tx, &sandbox, is_new)?;
            refuse_pending(tx, &sandbox, None)?;
            refuse_attached(tx, attachment)?;
            let mut written = None;
            for request in requests {
                written = Some(extended(tx, kernel, &sandbox, &without_what_goes(request))?);
            }
            let (endpoint, (network, _), _) = written.ok_or(Error::Overtaken)?;
            let journal = tx.begin(&object, "connect", &endpoint.id.to_string())?;
            Ok::<_, Error>((endpoint, network, journal))
        })?;
        let mut wanted = desired::network(&network);
        wanted.merge(desired::pin(&sandbox));
        endpoint.parts.iter().for_each(|part| wanted.merge(desired::part(&sandbox, &endpoint, part)));
        if let Err(error) = self.converge(wanted, &State::default()) {
            self.undo(|engine| engine.erase_endpoint(&sandbox, endpoint.id));
            return Err(error);
        }
        let endpoint = Endpoint { parts: whole(requests), ..endpoint };
        self.store.write(|tx| {
            tx.update_endpoint(&endpoint)?;
            tx.end(journal)
        })?;
        Ok((endpoint, sandbox, network))
    }
}

/// What may be made twice, or nobody else makes; all else is there.
fn without_what_goes(request: &FitRequest) -> FitRequest {
    let is_made = |fixture: &&Fixture| match fixture {
        Fixture::Announce { .. } => false,
        Fixture::Admitted(_) | Fixture::Isolated { .. } => true,
        other => other.stays(),
    };
    let fixtures = request.part.fixtures.iter().filter(is_made).cloned().collect();
    let part = Part { fixtures, ..request.part.clone() };
    FitRequest { is_main: false, part, ..request.clone() }
}

/// The parts as their plugins want them.
fn whole(requests: &[FitRequest]) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for FitRequest { part, .. } in requests {
        match parts.iter_mut().find(|known| known.owner == part.owner) {
            Some(known) => join(known, part),
            None => parts.push(part.clone()),
        }
    }
    parts
}
