//! Names that are asked for over DNS. Who answers is another process; it reads the store, and is told of each change.

use linkspan_model::{Endpoint, Name, Network, Sandbox};
use linkspan_plan::Kernel;

use crate::{Engine, Error};

/// The way to whoever answers.
pub trait Answerer {
    /// Tells that a sandbox is new or has changed, or with none that anything may have; returns when that is what is
    /// answered, or there is nobody to answer. With `asks` there has to be somebody.
    ///
    /// # Errors
    /// Why it is not answered yet.
    fn changed(&mut self, sandbox: Option<&Name>, asks: bool) -> Result<(), String>;

    /// Tells whoever is there that a sandbox has changed or is gone, without waiting.
    fn left(&mut self, sandbox: &Name);
}

type Attached = [(Endpoint, Network)];

fn is_named(attached: &Attached) -> bool {
    attached.iter().any(|(endpoint, _)| endpoint.named)
}

fn asks(sandbox: &Sandbox, attached: &Attached) -> bool {
    sandbox.is_answered(attached.iter().map(|(endpoint, _)| endpoint))
}

impl<K: Kernel> Engine<K> {
    /// Has changes of what has a name told to `answerer`.
    pub fn answer_by(&mut self, answerer: impl Answerer + 'static) {
        self.answerer = Some(Box::new(answerer));
    }

    /// Has `sandbox`, as it is now, answered before anything else happens.
    pub(crate) fn answer(&mut self, sandbox: &Sandbox, attached: &Attached) {
        if is_named(attached) {
            self.answer_for(&sandbox.name, asks(sandbox, attached));
        }
    }

    /// The same of a sandbox that had a name, and may be gone by now.
    pub(crate) fn answer_again(&mut self, sandbox: &Name) -> Result<(), Error> {
        let view = self.sandbox_named(sandbox)?;
        self.answer_for(sandbox, view.is_some_and(|view| asks(&view.sandbox, &view.attached)));
        Ok(())
    }

    fn answer_for(&mut self, sandbox: &Name, asks: bool) {
        let told = self.answerer.as_mut().map(|answerer| answerer.changed(Some(sandbox), asks));
        if let Some(Err(why)) = told {
            self.note(format!("names of sandbox '{sandbox}' are not answered yet: {why}"));
        }
    }

    /// Tells that `sandbox`, which had these endpoints, has changed or is gone.
    pub(crate) fn stop_answering(&mut self, sandbox: &Sandbox, attached: &Attached) {
        if let Some(answerer) = self.answerer.as_mut().filter(|_| is_named(attached)) {
            answerer.left(&sandbox.name);
        }
    }

    /// Has everything answered that is to be.
    pub(crate) fn answer_all(&mut self) -> Result<(), Error> {
        if self.answerer.is_none() {
            return Ok(());
        }
        let views = self.sandboxes()?;
        let asks = views.iter().any(|view| asks(&view.sandbox, &view.attached));
        let told = self.answerer.as_mut().map(|answerer| answerer.changed(None, asks));
        if let Some(Err(why)) = told {
            self.note(format!("names of sandboxes are not answered: {why}"));
        }
        Ok(())
    }
}
