//! The contract's imports: each call becomes data, is metered and answered, and the answer is turned back.

use std::time::{Duration, Instant};

use triggerbox_model::{
    call::{Answer, Call, RUN_SCRIPT},
    limits::Limit,
};
use wasmtime::{StoreContextMut, component::Linker};

use crate::{
    bindings::{
        Automation,
        triggerbox::automation::{
            budget, calendar, chatter, events, http, llm, log,
            records::{
                self, Command, Domain, Field, FieldDetails, FieldInfo, Group, GroupPage, Link, Operation, Page,
                RecordRef, Row,
            },
            state as kept, types,
        },
    },
    calendar as zones,
    convert::{IntoModel, IntoWit},
    inspect::full_name,
    state::{Fuel, State, wrong_answer},
};

type Answered<T> = wasmtime::Result<Result<T, types::Error>>;

/// Asks the host and takes the kind of answer that belongs to the call.
macro_rules! ask {
    ($self:ident, $name:literal, $call:expr, $answer:pat => $value:expr) => {{
        #[allow(clippy::redundant_closure_call, reason = "a `try` block: conversions inside end it with `?`")]
        let call = (|| Ok($call))();
        match $self.ask(call).await? {
            Ok($answer) => Ok(Ok($value)),
            Ok(_) => Err(wrong_answer($name)),
            Err(error) => Ok(Err(error.into_wit())),
        }
    }};
}

/// Links the contract's imports.
pub(crate) fn link(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    Automation::add_to_linker::<State, wasmtime::component::HasSelf<State>>(linker, |state| state)?;
    // What is left of the fuel only the store knows.
    linker.allow_shadowing(true);
    linker.instance(&full_name("budget"))?.func_wrap(
        "remaining",
        |mut store: StoreContextMut<'_, State>, (limit,): (String,)| {
            let fuel = store.get_fuel().unwrap_or_default();
            Ok((remaining(store.data_mut(), &limit, fuel)?,))
        },
    )?;
    linker.instance(&full_name("records"))?.func_wrap_async(
        "call",
        |mut store: StoreContextMut<'_, State>,
         (model, ids, method, arguments_json): (String, Vec<u32>, String, String)| {
            Box::new(async move {
                // A script that is run by this call computes on this run's fuel.
                store.data_mut().fuel = Fuel { left: store.get_fuel().unwrap_or_default(), spent: 0 };
                let answer = records::Host::call(store.data_mut(), model, ids, method, arguments_json).await?;
                let Fuel { left, spent } = store.data().fuel;
                if spent > 0 {
                    store.set_fuel(left.saturating_sub(spent))?;
                }
                Ok((answer,))
            })
        },
    )?;
    linker.allow_shadowing(false);
    Ok(())
}

#[allow(clippy::cast_precision_loss, reason = "the contract answers in f64; no limit is near 2^53")]
fn remaining(state: &mut State, name: &str, fuel: u64) -> wasmtime::Result<Option<f64>> {
    state.meter_own(name.len())?;
    let Some(limit) = Limit::from_name(name) else { return Ok(None) };
    let max = state.meter.limits().get(limit);
    let milliseconds = |time: Duration| max.saturating_sub(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let left = match limit {
        Limit::Fuel => fuel,
        Limit::Memory => max.saturating_sub(state.limiter.memory_peak()),
        Limit::TableElements => max.saturating_sub(state.limiter.table_peak()),
        Limit::WallTime => {
            let left = milliseconds(state.clock.times().wall(Instant::now()));
            state.host.measured(limit, left)
        }
        Limit::CpuTime => {
            let left = milliseconds(state.clock.times().guest(Instant::now()));
            state.host.measured(limit, left)
        }
        // In euros, as scripts see money.
        Limit::LlmCost => return Ok(Some(state.meter.remaining(limit) as f64 / 1e6)),
        _ => state.meter.remaining(limit),
    };
    Ok(Some(left as f64))
}

impl types::Host for State {}
impl events::Host for State {}

impl records::Host for State {
    async fn search(&mut self, model: String, domain: Domain, page: Page) -> Answered<Vec<u32>> {
        ask!(self, "search", Call::Search { model, domain: domain.into_model()?, page: page.into_model()? }, Answer::Ids(ids) => ids)
    }

    async fn search_read(
        &mut self,
        model: String,
        domain: Domain,
        fields: Vec<String>,
        page: Page,
    ) -> Answered<Vec<Row>> {
        ask!(self, "search-read", Call::SearchRead { model, domain: domain.into_model()?, fields, page: page.into_model()? }, Answer::Rows(rows) => rows.into_wit())
    }

    async fn search_count(&mut self, model: String, domain: Domain) -> Answered<u32> {
        ask!(self, "search-count", Call::SearchCount { model, domain: domain.into_model()? }, Answer::Count(count) => count)
    }

    async fn read(&mut self, model: String, ids: Vec<u32>, fields: Vec<String>) -> Answered<Vec<Row>> {
        ask!(self, "read", Call::Read { model, ids, fields }, Answer::Rows(rows) => rows.into_wit())
    }

    async fn read_group(
        &mut self,
        model: String,
        domain: Domain,
        group_by: Vec<String>,
        aggregates: Vec<String>,
        page: GroupPage,
    ) -> Answered<Vec<Group>> {
        ask!(self, "read-group", Call::ReadGroup { model, domain: domain.into_model()?, group_by, aggregates, page: page.into_model()? }, Answer::Groups(groups) => groups.into_wit())
    }

    async fn name_search(&mut self, model: String, text: String, limit: u32) -> Answered<Vec<Link>> {
        ask!(self, "name-search", Call::NameSearch { model, text, limit }, Answer::Links(links) => links.into_wit())
    }

    async fn fields_get(&mut self, model: String, fields: Vec<String>) -> Answered<Vec<FieldInfo>> {
        ask!(self, "fields-get", Call::FieldsGet { model, fields }, Answer::Fields(fields) => fields.into_wit())
    }

    async fn describe_fields(&mut self, model: String, fields: Vec<String>) -> Answered<Vec<FieldDetails>> {
        ask!(self, "describe-fields", Call::DescribeFields { model, fields }, Answer::Details(fields) => fields.into_wit())
    }

    async fn has_access(&mut self, model: String, ids: Vec<u32>, operation: Operation) -> Answered<bool> {
        ask!(self, "has-access", Call::HasAccess { model, ids, operation: operation.into_model()? }, Answer::Flag(flag) => flag)
    }

    async fn resolve_xmlid(&mut self, xmlid: String) -> Answered<RecordRef> {
        ask!(self, "resolve-xmlid", Call::ResolveXmlid { xmlid }, Answer::Record(record) => record.into_wit())
    }

    async fn create(&mut self, model: String, values: Vec<Vec<Field>>) -> Answered<Vec<u32>> {
        ask!(self, "create", Call::Create { model, values: values.into_model()? }, Answer::Ids(ids) => ids)
    }

    async fn ensure(&mut self, model: String, keys: Vec<String>, values: Vec<Field>) -> Answered<u32> {
        ask!(self, "ensure", Call::Ensure { model, keys, values: values.into_model()? }, Answer::Id(id) => id)
    }

    async fn write(&mut self, model: String, ids: Vec<u32>, values: Vec<Field>) -> Answered<()> {
        ask!(self, "write", Call::Write { model, ids, values: values.into_model()? }, Answer::Done => ())
    }

    async fn relate(&mut self, target: RecordRef, field: String, commands: Vec<Command>) -> Answered<()> {
        ask!(self, "relate", Call::Relate { target: target.into_model()?, field, commands: commands.into_model()? }, Answer::Done => ())
    }

    async fn unlink(&mut self, model: String, ids: Vec<u32>) -> Answered<()> {
        ask!(self, "unlink", Call::Unlink { model, ids }, Answer::Done => ())
    }

    async fn copy(&mut self, target: RecordRef, values: Vec<Field>) -> Answered<u32> {
        ask!(self, "copy", Call::Copy { target: target.into_model()?, values: values.into_model()? }, Answer::Id(id) => id)
    }

    async fn call(
        &mut self,
        model: String,
        ids: Vec<u32>,
        method: String,
        arguments_json: String,
    ) -> Answered<Option<String>> {
        let (begin, runs_script) = (Instant::now(), method == RUN_SCRIPT);
        if runs_script {
            self.lend();
        }
        match self.ask(Ok(Call::CallMethod { model, ids, method, arguments_json })).await? {
            Ok(Answer::OptionalText(text)) => Ok(Ok(text)),
            Ok(Answer::Ran(ran)) if runs_script => {
                self.absorb(&ran, begin.elapsed())?;
                Ok(ran.result.map_err(IntoWit::into_wit))
            }
            Ok(_) => Err(wrong_answer("call")),
            Err(error) => Ok(Err(error.into_wit())),
        }
    }

    async fn mention(&mut self, target: RecordRef) -> Answered<String> {
        ask!(self, "mention", Call::Mention { target: target.into_model()? }, Answer::Text(text) => text)
    }
}

impl chatter::Host for State {
    async fn post_message(&mut self, target: RecordRef, message: chatter::Message) -> Answered<()> {
        ask!(self, "post-message", Call::PostMessage { target: target.into_model()?, message: message.into_model()? }, Answer::Done => ())
    }

    async fn post_note(&mut self, target: RecordRef, message: chatter::Message) -> Answered<()> {
        ask!(self, "post-note", Call::PostNote { target: target.into_model()?, message: message.into_model()? }, Answer::Done => ())
    }

    async fn schedule_activity(&mut self, target: RecordRef, activity: chatter::Activity) -> Answered<()> {
        ask!(self, "schedule-activity", Call::ScheduleActivity { target: target.into_model()?, activity: activity.into_model()? }, Answer::Done => ())
    }

    async fn complete_activities(
        &mut self,
        target: RecordRef,
        kind: String,
        feedback: Option<String>,
    ) -> Answered<u32> {
        ask!(self, "complete-activities", Call::CompleteActivities { target: target.into_model()?, kind, feedback }, Answer::Count(count) => count)
    }

    async fn add_followers(&mut self, target: RecordRef, partner_ids: Vec<u32>) -> Answered<()> {
        ask!(self, "add-followers", Call::AddFollowers { target: target.into_model()?, partner_ids }, Answer::Done => ())
    }

    async fn remove_followers(&mut self, target: RecordRef, partner_ids: Vec<u32>) -> Answered<()> {
        ask!(self, "remove-followers", Call::RemoveFollowers { target: target.into_model()?, partner_ids }, Answer::Done => ())
    }

    async fn read_messages(&mut self, target: RecordRef, limit: u32) -> Answered<Vec<chatter::Posted>> {
        ask!(self, "read-messages", Call::ReadMessages { target: target.into_model()?, limit }, Answer::Messages(messages) => messages.into_wit())
    }
}

impl llm::Host for State {
    async fn complete(&mut self, request: llm::Request) -> Answered<llm::Completion> {
        ask!(self, "complete", Call::Complete { request: request.into_model()? }, Answer::Completion(completion) => completion.into_wit())
    }
}

impl http::Host for State {
    async fn send(&mut self, request: http::Request) -> Answered<http::Response> {
        ask!(self, "send", Call::Send { request: request.into_model()? }, Answer::Response(response) => response.into_wit())
    }
}

impl kept::Host for State {
    async fn get(&mut self, key: String) -> Answered<Option<String>> {
        ask!(self, "get", Call::StateGet { key }, Answer::OptionalText(json) => json)
    }

    async fn set(&mut self, key: String, json: Option<String>) -> Answered<()> {
        ask!(self, "set", Call::StateSet { key, json }, Answer::Done => ())
    }
}

impl calendar::Host for State {
    fn to_local(&mut self, utc: String, tz: String) -> Answered<String> {
        self.meter_own(utc.len() + tz.len())?;
        Ok(zones::to_local(&utc, &tz).map_err(IntoWit::into_wit))
    }

    fn to_utc(&mut self, local: String, tz: String) -> Answered<String> {
        self.meter_own(local.len() + tz.len())?;
        Ok(zones::to_utc(&local, &tz).map_err(IntoWit::into_wit))
    }
}

impl budget::Host for State {
    fn remaining(&mut self, limit: String) -> wasmtime::Result<Option<f64>> {
        // Shadowed in `link`, where the fuel is known.
        remaining(self, &limit, 0)
    }
}

impl log::Host for State {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        self.meter_own(message.len())?;
        self.console.log(level.into_model_level(), &message, &mut self.meter, &mut *self.host);
        Ok(())
    }
}

impl log::Level {
    fn into_model_level(self) -> crate::host::LogLevel {
        use crate::host::LogLevel;
        match self {
            Self::Debug => LogLevel::Debug,
            Self::Info => LogLevel::Info,
            Self::Warning => LogLevel::Warning,
            Self::Error => LogLevel::Error,
        }
    }
}
