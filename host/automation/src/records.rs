//! Where a run's records live, as far as the rest of a run needs to know: in the embedded store, or on an Odoo server.

use triggerbox_model::{
    allowance::Allowance,
    call::{Call, Reply},
    error::Error,
    event::Outcome,
    schema::Schema,
};
use triggerbox_odoo::OdooError;
use triggerbox_sandbox::HostFault;
use triggerbox_store::{db::DbError, session::Session};

/// One run's view of its records, and what it has staged.
#[async_trait::async_trait]
pub trait Records: Send + 'static {
    /// What was staged at a moment.
    type Mark: Send;

    /// Fails when an outcome holds the number of a record that exists only in this run.
    ///
    /// # Errors
    /// `provisional-id`
    fn check_outcome(&self, outcome: &Outcome) -> Result<(), Error>;

    /// What is staged now, to go back to.
    fn mark(&self) -> Self::Mark;

    /// Forgets what was staged since.
    ///
    /// # Errors
    /// When the backend cannot be used, or the run must start again; when there is no time for it.
    fn undo(&mut self, mark: Self::Mark, may: Allowance) -> Result<(), HostFault>;

    /// Makes sure that the models that a call reaches are known. The inner error is for the script.
    ///
    /// # Errors
    /// When the backend cannot be used.
    async fn learn(&mut self, call: &Call) -> Result<Result<(), Error>, HostFault>;

    /// The models that are known.
    fn schema(&self) -> &Schema;

    /// Answers a call that rights allow, with what it did besides ([`Answer::Extra`](triggerbox_model::call::Answer)). Of an
    /// answer that holds more than the call may bring, only so much is there that this can be seen.
    ///
    /// # Errors
    /// When the backend cannot be used; [`HostFault::Over`].
    async fn answer(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault>;

    /// Answers at once a method that rights allow and that the grants say changes nothing.
    ///
    /// # Errors
    /// As [`Records::answer`].
    async fn ask_method(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault>;

    /// The run waits for somebody else, which may take long: nothing is to be held meanwhile.
    ///
    /// # Errors
    /// When the backend cannot be used.
    fn rest(&mut self) -> Result<(), HostFault>;

    /// Why the run must start again, if it must.
    fn outdated(&self) -> Option<&Error>;

    /// Why the run was ended, if that was Odoo.
    fn fault(&self) -> Option<OdooError> {
        None
    }

    /// What the backend itself told of its errors, for administrators alone.
    fn tracebacks(&self) -> Vec<String> {
        Vec::new()
    }
}

#[async_trait::async_trait]
impl Records for Session {
    type Mark = triggerbox_store::session::Mark;

    fn check_outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        Session::check_outcome(self, outcome)
    }

    fn mark(&self) -> Self::Mark {
        Session::mark(self)
    }

    fn undo(&mut self, mark: Self::Mark, may: Allowance) -> Result<(), HostFault> {
        self.in_time(may.until, |session| session.undo(mark)).map_err(fault)
    }

    async fn learn(&mut self, _call: &Call) -> Result<Result<(), Error>, HostFault> {
        Ok(Ok(()))
    }

    fn schema(&self) -> &Schema {
        &self.env().schema
    }

    async fn answer(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        let reply = self.call_within(call, may).map_err(fault)?;
        Ok(reply.map(|answer| answer.with(self.extra())))
    }

    async fn ask_method(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        Session::ask_method(self, call, may).map_err(fault)
    }

    fn rest(&mut self) -> Result<(), HostFault> {
        Session::rest(self).map_err(fault)
    }

    fn outdated(&self) -> Option<&Error> {
        Session::outdated(self)
    }
}

/// Why the embedded store could not go on with a run.
fn fault(error: DbError) -> HostFault {
    error.limit().map_or_else(|| HostFault::new(error.to_string()), HostFault::Over)
}

#[async_trait::async_trait]
impl Records for triggerbox_odoo::Session {
    type Mark = triggerbox_odoo::session::Mark;

    fn check_outcome(&self, outcome: &Outcome) -> Result<(), Error> {
        triggerbox_odoo::Session::check_outcome(self, outcome)
    }

    fn mark(&self) -> Self::Mark {
        triggerbox_odoo::Session::mark(self)
    }

    fn undo(&mut self, mark: Self::Mark, _may: Allowance) -> Result<(), HostFault> {
        triggerbox_odoo::Session::undo(self, mark);
        Ok(())
    }

    async fn learn(&mut self, call: &Call) -> Result<Result<(), Error>, HostFault> {
        triggerbox_odoo::Session::learn(self, call).await.map_err(|fault| HostFault::new(fault.to_string()))
    }

    fn schema(&self) -> &Schema {
        triggerbox_odoo::Session::schema(self)
    }

    async fn answer(&mut self, call: Call, may: Allowance) -> Result<Reply, HostFault> {
        self.call_within(call, may).await.map_err(|fault| HostFault::new(fault.to_string()))
    }

    /// How much a method of Odoo's answers only Odoo knows; the client bounds every answer.
    async fn ask_method(&mut self, call: Call, _may: Allowance) -> Result<Reply, HostFault> {
        triggerbox_odoo::Session::ask_method(self, call).await.map_err(|fault| HostFault::new(fault.to_string()))
    }

    /// Nothing is held between two requests.
    fn rest(&mut self) -> Result<(), HostFault> {
        Ok(())
    }

    /// Seen only at the commit.
    fn outdated(&self) -> Option<&Error> {
        None
    }

    fn fault(&self) -> Option<OdooError> {
        triggerbox_odoo::Session::fault(self)
    }

    fn tracebacks(&self) -> Vec<String> {
        triggerbox_odoo::Session::tracebacks(self)
    }
}
