//! The notes of threads on records of an Odoo server: posted when their runs are over, or when Odoo answers again.

use std::sync::Arc;

use triggerbox_model::{call::Call, error::ErrorKind};
use triggerbox_odoo::{Backend, CommitError, OdooError};

use super::{
    Engine,
    odoo::{refused, unavailable},
};
use crate::{
    error::EngineError,
    threads::mirror::{self, NAMED, Note},
};

impl Engine {
    /// Posts the notes that are to be posted there. Of one that Odoo refuses, for its record has no chatter or is gone, there is
    /// no more word; while Odoo does not answer, notes wait, and so does one whose record others are changing.
    pub(super) async fn mirror_there(&self) -> Result<(), EngineError> {
        let Some(backend) = self.odoo() else { return Ok(()) };
        let notes = mirror::wanted(&*self.database().snapshot()?, &self.config().links)?;
        for (run, note) in notes {
            let posted = match note {
                None => false,
                Some(note) => match self.post_there(backend, note).await {
                    Ok(()) => true,
                    Err(EngineError::Refused(error)) if error.kind == ErrorKind::Conflict => continue,
                    Err(EngineError::Refused(_)) => false,
                    // It would fail again with each look, and keep the others from their turn.
                    Err(EngineError::Backend(fault)) if fault.needs_a_person() || is_its_own(&fault) => false,
                    Err(error) => return Err(error),
                },
            };
            self.committer().commit(move |conn| mirror::settle(conn, run, posted)).await?;
        }
        Ok(())
    }

    /// Posts a note with the rights of the user whose run it is about. A second request of its name changes nothing.
    async fn post_there(&self, backend: &Arc<Backend>, note: Note) -> Result<(), EngineError> {
        let Note { key, author, target, message, .. } = note;
        let mut session = self.session_there(backend, author, self.clock().now()).await?;
        session.call(Call::PostNote { target, message }).await.map_err(unavailable)?.map_err(refused)?;
        match session.commit(&format!("{key}{NAMED}")).await {
            Ok(_) => Ok(()),
            Err(CommitError::Refused(error) | CommitError::Conflict(error)) => Err(refused(error)),
            Err(CommitError::Backend(fault) | CommitError::Unclear(fault)) => Err(unavailable(fault)),
        }
    }
}

/// Whether Odoo failed in code of its own: it is there, and answers.
fn is_its_own(fault: &OdooError) -> bool {
    matches!(fault, OdooError::Failed { class, .. } if !class.is_empty()) && !fault.is_away()
}
