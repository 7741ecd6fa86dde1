//! Reads the fields of each type of node.

use std::{collections::HashSet, time::Duration};

use serde_json::Map;

use super::{
    draft::{
        DraftBranch, DraftConditional, DraftFanOut, DraftKind, DraftParams, DraftSource, DraftTask,
    },
    reader::{Fields, NAME, Placed, Reader, is_name},
};
use crate::{
    Aggregation, Condition, Gate, Policy, Retry, Tolerate,
    condition::ALLOWED as CONDITIONS,
    limits::{ATTEMPTS, ITEMS, LONGEST_HANDLER, PAUSE, PER_MESSAGE, TOLERATED},
    names::shown,
    reference::{
        AGGREGATIONS, BACKOFFS, BRANCH, FINALIZE, GATE_TYPES, ITEM_TASK, ON_TIMEOUT, RETRY,
        TOLERATE,
    },
    yaml::{Content, Key, Located, mapping_to_json},
};

/// The number of items of a fan-out that says nothing.
const USUAL_ITEMS: u32 = 500;

const PATH: &str = "a path, such as params.a.b or the name of a node and keys of its output";

/// A task.
pub(super) fn task<'a>(reader: &mut Reader, fields: &Fields<'a>) -> DraftTask<'a> {
    DraftTask {
        handler: handler(reader, fields),
        params: params(reader, fields, "params"),
        constants: mapping_to_json(reader.mapping(
            fields,
            "constants",
            "a mapping of names to values",
        )),
        receives: receives(reader, fields),
        policy: policy(reader, fields),
    }
}

/// The field `finalize` of a workflow.
pub(super) fn finalize<'a>(reader: &mut Reader, fields: &Fields<'a>) -> DraftKind<'a> {
    reader.deny_unknown(fields, &FINALIZE);
    let mut task = task(reader, fields);
    if fields.get("params").is_none() {
        task.params = DraftParams::All;
    }
    DraftKind::Finalize(task)
}

/// A job.
pub(super) fn job<'a>(reader: &mut Reader, fields: &Fields<'a>) -> DraftKind<'a> {
    let job_type = reader.required_text(fields, "job_type", NAME, is_name);
    let parameters = params(reader, fields, "parameters");
    let job_type = job_type.map(|job_type| job_type.value).unwrap_or_default();
    DraftKind::Job { job_type, parameters }
}

/// A gate.
pub(super) fn gate(reader: &mut Reader, fields: &Fields<'_>) -> Gate {
    let gate_type = reader.choice(fields, "gate_type", &GATE_TYPES);
    let timeout = reader.timeout(fields);
    let on_timeout = reader.choice(fields, "on_timeout", &ON_TIMEOUT);
    if on_timeout.is_some() && fields.get("timeout_seconds").is_none() {
        let message =
            format!("{} has on_timeout, but no timeout_seconds: it waits for ever", fields.what);
        reader.problem(fields.place_of("on_timeout"), message);
    }
    Gate {
        gate_type: gate_type.unwrap_or_default(),
        timeout,
        on_timeout: on_timeout.unwrap_or_default(),
    }
}

/// What a fan-in makes of outputs.
pub(super) fn aggregation(reader: &mut Reader, fields: &Fields<'_>) -> Aggregation {
    reader.choice(fields, "aggregation", &AGGREGATIONS).unwrap_or_default()
}

/// A conditional.
pub(super) fn conditional<'a>(reader: &mut Reader, fields: &Fields<'a>) -> DraftConditional<'a> {
    let condition = reader.required_text(fields, "condition", PATH, |_| true);
    let what = "a list of two or more branches, exactly one of them with default: true";
    if fields.get("branches").is_none() {
        reader.missing(fields, "branches", what);
        return DraftConditional { condition, branches: Vec::new() };
    }
    let items = reader.list(fields, "branches", what);
    let read: Vec<_> = items.iter().map(|item| branch(reader, fields, item)).collect();
    let branches: Vec<DraftBranch<'_>> = read.into_iter().flatten().collect();
    // Branches that cannot be read are no reason to miss a default.
    if branches.len() == items.len() {
        let defaults = branches.iter().filter(|branch| branch.is_default).count();
        if branches.len() < 2 || defaults != 1 {
            let message = format!(
                "branches of {} must be {what}, not {} with {defaults} of them",
                fields.what,
                branches.len()
            );
            reader.problem(fields.place_of("branches"), message);
        }
    }
    let mut names = HashSet::new();
    for branch in &branches {
        if !names.insert(branch.name) {
            let message = format!("two branches of {} are named {:?}", fields.what, branch.name);
            reader.problem(branch.place, message);
        }
    }
    DraftConditional { condition, branches }
}

fn branch<'a>(
    reader: &mut Reader,
    conditional: &Fields<'_>,
    item: &'a Located,
) -> Option<DraftBranch<'a>> {
    let whose = format!("a branch of {}", conditional.what);
    let fields = reader.fields(item, whose, item.place)?;
    let is_text = |text: &str| !text.is_empty() && text.chars().count() <= 100;
    let name = reader.required_text(&fields, "name", "text of 1 to 100 characters", is_text);
    let fields = match name {
        Some(name) => fields.called(format!("branch {:?} of {}", name.value, conditional.what)),
        None => fields,
    };
    reader.deny_unknown(&fields, &BRANCH);
    let is_default = reader.flag(&fields, "default");
    let condition = branch_condition(reader, &fields, is_default);
    let nodes = "a list of names of nodes, which may be empty";
    if fields.get("next").is_none() {
        reader.missing(&fields, "next", nodes);
    }
    let next = reader.texts(&fields, "next", "the name of a node");
    let (place, name) = name.map(|name| (name.place, name.value))?;
    Some(DraftBranch { name, place, is_default, condition, next })
}

fn branch_condition(
    reader: &mut Reader,
    fields: &Fields<'_>,
    is_default: bool,
) -> Option<Condition> {
    let Some(text) = reader.text(fields, "condition", CONDITIONS, |_| true) else {
        if !is_default && fields.get("condition").is_none() {
            let allowed = format!("{CONDITIONS}; only the default has none");
            reader.missing(fields, "condition", &allowed);
        }
        return None;
    };
    if is_default {
        let message = format!(
            "condition of {} is not looked at: the default is chosen if no other branch is",
            fields.what
        );
        reader.warning(text.place, message);
        return None;
    }
    match Condition::parse(text.value) {
        Ok(condition) => Some(condition),
        Err(reason) => {
            let shown = shown(&text.value.into());
            let message = format!("condition {shown} of {}: {reason}", fields.what);
            reader.problem(text.place, message);
            None
        }
    }
}

/// A fan-out.
pub(super) fn fan_out<'a>(reader: &mut Reader, fields: &Fields<'a>) -> DraftFanOut<'a> {
    let source = source(reader, fields);
    let max_fan_out = reader.whole(fields, "max_fan_out", ITEMS);
    let tasks_per_message = reader.whole(fields, "tasks_per_message", PER_MESSAGE);
    let tolerate = tolerate(reader, fields);
    let task = item_task(reader, fields);
    DraftFanOut {
        source,
        max_fan_out: max_fan_out.and_then(|n| u32::try_from(n).ok()).unwrap_or(USUAL_ITEMS),
        task,
        tasks_per_message: tasks_per_message.and_then(|n| u16::try_from(n).ok()).unwrap_or(1),
        tolerate,
    }
}

fn source<'a>(reader: &mut Reader, fields: &Fields<'a>) -> Option<DraftSource<'a>> {
    let array = reader.text(fields, "source", PATH, |_| true);
    let file = reader.text(fields, "source_file", PATH, |_| true);
    match (fields.get("source"), fields.get("source_file")) {
        (Some(_), Some(_)) => {
            let message =
                format!("{} must have either source or source_file, not both", fields.what);
            reader.problem(fields.place_of("source_file"), message);
            None
        }
        (None, None) => {
            let allowed = "the path of an array; or the field source_file: the path of the address \
                           of a blob with JSON lines";
            reader.missing(fields, "source", allowed);
            None
        }
        _ => array.map(DraftSource::Array).or(file.map(DraftSource::File)),
    }
}

fn item_task<'a>(reader: &mut Reader, fan_out: &Fields<'a>) -> Option<DraftTask<'a>> {
    let Some(value) = fan_out.get("task") else {
        reader.missing(fan_out, "task", "a mapping with handler, params, retry, timeout_seconds");
        return None;
    };
    let place = fan_out.place_of("task");
    let fields = reader.fields(value, format!("task of {}", fan_out.what), place)?;
    reader.deny_unknown(&fields, &ITEM_TASK);
    let handler = handler(reader, &fields);
    let params = reader.mapping(&fields, "params", "a mapping of names to templates or literals");
    let policy = policy(reader, &fields);
    let params = DraftParams::Mapping(params);
    let (constants, receives) = (Map::new(), Vec::new());
    Some(DraftTask { handler, params, constants, receives, policy })
}

fn tolerate(reader: &mut Reader, fields: &Fields<'_>) -> Tolerate {
    const ALLOWED: &str = "either share (a number from 0 to 1) or count (a whole number)";
    let Some(value) = fields.get("tolerate") else { return Tolerate::Nothing };
    let what = format!("tolerate of {}", fields.what);
    let Some(fields) = reader.fields(value, what.clone(), value.place) else {
        return Tolerate::Nothing;
    };
    reader.deny_unknown(&fields, &TOLERATE);
    match (fields.get("share"), fields.get("count")) {
        (None, Some(_)) => {
            reader.whole(&fields, "count", TOLERATED).map_or(Tolerate::Nothing, Tolerate::Count)
        }
        (Some(share), None) => {
            let number = share.to_json().as_f64().filter(|share| (0.0..=1.0).contains(share));
            if number.is_none() {
                reader.must_be(share, &format!("share of {what}"), "a number from 0 to 1");
            }
            number.map_or(Tolerate::Nothing, Tolerate::Share)
        }
        (Some(_), Some(_)) | (None, None) => {
            reader.must_be(value, &what, ALLOWED);
            Tolerate::Nothing
        }
    }
}

/// The handler; empty if it cannot be read, which is a problem already.
fn handler<'a>(reader: &mut Reader, fields: &Fields<'a>) -> &'a str {
    let is_handler = |text: &str| {
        (1..=LONGEST_HANDLER).contains(&text.chars().count())
            && !text.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    let allowed =
        format!("the name of a handler, 1 to {LONGEST_HANDLER} characters without blanks");
    let handler = reader.required_text(fields, "handler", &allowed, is_handler);
    handler.map(|handler| handler.value).unwrap_or_default()
}

fn params<'a>(reader: &mut Reader, fields: &Fields<'a>, name: &str) -> DraftParams<'a> {
    let Some(value) = fields.get(name) else { return DraftParams::Names(Vec::new()) };
    match &value.content {
        Content::Mapping(entries) => DraftParams::Mapping(entries),
        Content::List(_) => {
            let names = reader.texts(fields, name, "the name of a parameter");
            let mut unique = HashSet::new();
            let is_first = |name: &Placed<&'a str>| {
                let is_first = unique.insert(name.value);
                if !is_first {
                    let message = format!("params of {} has {:?} twice", fields.what, name.value);
                    reader.warning(name.place, message);
                }
                is_first
            };
            DraftParams::Names(names.into_iter().filter(is_first).collect())
        }
        _ => {
            let what = format!("{name} of {}", fields.what);
            let allowed = "a list of names of parameters, or a mapping of names to templates or \
                           literals";
            reader.must_be(value, &what, allowed);
            DraftParams::Names(Vec::new())
        }
    }
}

fn receives<'a>(reader: &mut Reader, fields: &Fields<'a>) -> Vec<(&'a Key, Placed<&'a str>)> {
    let entries = reader.mapping(fields, "receives", "a mapping of names to paths");
    let mut receives = Vec::with_capacity(entries.len());
    for (key, value) in entries {
        let what = format!("receives.{} of {}", key.text, fields.what);
        if let Some(path) = reader.text_of(value, &what, PATH, |_| true) {
            receives.push((key, path));
        }
    }
    receives
}

fn policy(reader: &mut Reader, fields: &Fields<'_>) -> Policy {
    Policy { retry: retry(reader, fields), timeout: reader.timeout(fields) }
}

fn retry(reader: &mut Reader, fields: &Fields<'_>) -> Option<Retry> {
    let value = fields.get("retry")?;
    let place = fields.place_of("retry");
    let fields = reader.fields(value, format!("retry of {}", fields.what), place)?;
    reader.deny_unknown(&fields, &RETRY);
    let usual = Retry::default();
    let attempts = reader.whole(&fields, "max_attempts", ATTEMPTS);
    let backoff = reader.choice(&fields, "backoff", &BACKOFFS);
    let initial = reader.whole(&fields, "initial_delay_seconds", PAUSE);
    let max = reader.whole(&fields, "max_delay_seconds", PAUSE);
    let retry = Retry {
        max_attempts: attempts.and_then(|n| u8::try_from(n).ok()).unwrap_or(usual.max_attempts),
        backoff: backoff.unwrap_or(usual.backoff),
        initial_delay: initial.map_or(usual.initial_delay, Duration::from_secs),
        max_delay: max.map_or(usual.max_delay, Duration::from_secs),
    };
    if retry.initial_delay > retry.max_delay {
        let message = format!(
            "initial_delay_seconds of {} must be at most its max_delay_seconds ({}), not {}",
            fields.what,
            retry.max_delay.as_secs(),
            retry.initial_delay.as_secs()
        );
        let field = if initial.is_some() { "initial_delay_seconds" } else { "max_delay_seconds" };
        reader.problem(fields.place_of(field), message);
    }
    Some(retry)
}
