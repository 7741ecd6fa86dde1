//! Carries out each operation: reads its parameters, calls the engine and writes the answer.

use std::{collections::BTreeMap, time::Duration};

use axum::{
    body::Bytes,
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    super::{BrokerError, Faults, faults::Verdict, http_time::http_time},
    QueueMessage, StorageAccount, StorageQueues,
    engine::Created,
    operation::{Operation, Query},
    refusal::Refusal,
    xml::{self, Shape},
};

/// In seconds: seven days, as in the service.
const DEFAULT_TIME_TO_LIVE: i64 = 7 * 24 * 60 * 60;
/// In seconds: seven days.
const LONGEST_VISIBILITY: i64 = 7 * 24 * 60 * 60;
/// In seconds.
const DEFAULT_VISIBILITY: i64 = 30;
/// Maximum number of messages that one request may receive or peek.
const MOST_MESSAGES: i64 = 32;
/// Default page size of a list of queues.
const LONGEST_LIST: i64 = 5000;

/// The state that answers requests.
#[derive(Clone)]
pub(super) struct Context {
    pub(super) queues: StorageQueues,
    pub(super) account: StorageAccount,
    pub(super) faults: Faults,
}

pub(super) fn answer(
    context: &Context,
    operation: Operation<'_>,
    query: &Query,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, Refusal> {
    let queues = &context.queues;
    match operation {
        Operation::ListQueues => list(context, query),
        Operation::CreateQueue(queue) => {
            match queues.create_with_metadata(queue, metadata(&parts.headers)) {
                Created::Now => Ok(StatusCode::CREATED.into_response()),
                Created::Before => Ok(StatusCode::NO_CONTENT.into_response()),
                Created::BeforeWithOtherMetadata => Err(Refusal::QueueAlreadyExists),
            }
        }
        Operation::DeleteQueue(queue) => done(queues.delete_queue(queue)),
        Operation::GetMetadata(queue) => describe(queues, queue),
        Operation::SetMetadata(queue) => done(queues.set_metadata(queue, metadata(&parts.headers))),
        Operation::Put(queue) => put(context, queue, query, parts, body),
        Operation::Get(queue) => get(context, queue, query),
        Operation::Peek(queue) => {
            let peeked = queues.peek(queue, count(query)?)?;
            Ok(as_xml(StatusCode::OK, xml::messages(&peeked, Shape::Peeked)))
        }
        Operation::Clear(queue) => done(queues.clear(queue)),
        Operation::Delete { queue, id } => {
            done(queues.delete(queue, id, required(query, "popreceipt")?))
        }
        Operation::Update { queue, id } => update(queues, queue, id, query, body),
    }
}

fn list(context: &Context, query: &Query) -> Result<Response, Refusal> {
    let said = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
    let (prefix, marker) = (said("prefix"), said("marker"));
    let most = usize::try_from(number(query, "maxresults", LONGEST_LIST, 1, i64::from(i32::MAX))?)
        .unwrap_or(1);
    let mut names = context.queues.queue_names();
    names.retain(|name| name.starts_with(prefix) && name.as_str() >= marker);
    // The marker is the first name of the next page.
    let next = names.get(most).cloned().unwrap_or_default();
    names.truncate(most);
    let with_metadata = said("include").eq_ignore_ascii_case("metadata");
    let entries = names.into_iter().map(|name| {
        let metadata = with_metadata.then(|| context.queues.metadata(&name).unwrap_or_default());
        (name, metadata)
    });
    let xml = xml::queues(&format!("/{}", context.account.name), prefix, entries, &next);
    Ok(as_xml(StatusCode::OK, xml))
}

fn describe(queues: &StorageQueues, queue: &str) -> Result<Response, Refusal> {
    let mut response = StatusCode::OK.into_response();
    let headers = response.headers_mut();
    headers.insert("x-ms-approximate-messages-count", queues.counts(queue)?.into());
    for (name, value) in queues.metadata(queue)? {
        let name = HeaderName::try_from(format!("x-ms-meta-{name}"));
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            headers.insert(name, value);
        }
    }
    Ok(response)
}

fn put(
    context: &Context,
    queue: &str,
    query: &Query,
    parts: &Parts,
    body: &Bytes,
) -> Result<Response, Refusal> {
    let delay = number(query, "visibilitytimeout", 0, 0, LONGEST_VISIBILITY)?;
    let lives = number(query, "messagettl", DEFAULT_TIME_TO_LIVE, i64::MIN, i64::MAX)?;
    let lives = match lives {
        -1 => None,
        ..1 => return Err(Refusal::InvalidParameter("messagettl")),
        lives if query.contains_key("messagettl") && delay >= lives => {
            return Err(Refusal::InvalidParameter("visibilitytimeout"));
        }
        lives => Some(seconds(lives)),
    };
    let text = xml::message_text(body)
        .map_err(Refusal::InvalidXml)?
        .ok_or_else(|| Refusal::InvalidXml("MessageText is missing".to_owned()))?;
    let verdict = context.faults.judge(1);
    match verdict {
        Verdict::Throttle => return Err(Refusal::TooManyRequests),
        Verdict::Refuse => return Err(Refusal::ServerBusy),
        Verdict::Go | Verdict::StoreAndLoseAnswer => {}
    }
    let fate = context.faults.fates(1).and_then(|mut fates| fates.pop());
    let message = match fate {
        None => context.queues.put(queue, text, seconds(delay), lives)?,
        Some(fate) => put_as_fated(context, queue, &text, seconds(delay), lives, &fate)?,
    };
    Ok(match verdict {
        Verdict::StoreAndLoseAnswer => context.faults.lose_answer(&parts.extensions),
        _ => as_xml(StatusCode::CREATED, xml::messages(&[message], Shape::Put)),
    })
}

/// Stores the copies of a message with their delays; returns the first copy.
fn put_as_fated(
    context: &Context,
    queue: &str,
    text: &str,
    delay: Duration,
    lives: Option<Duration>,
    fate: &[Duration],
) -> Result<QueueMessage, BrokerError> {
    let put = |late| context.queues.put(queue, text.to_owned(), delay + late, lives);
    let Some((first, others)) = fate.split_first() else {
        // The message is lost: the sender gets an answer, but no receiver ever gets the message.
        let message = put(seconds(LONGEST_VISIBILITY))?;
        context.queues.delete(queue, &message.id, &message.pop_receipt)?;
        return Ok(message);
    };
    let message = put(*first)?;
    for late in others {
        put(*late)?;
    }
    Ok(message)
}

fn get(context: &Context, queue: &str, query: &Query) -> Result<Response, Refusal> {
    let count = count(query)?;
    let visibility = number(query, "visibilitytimeout", DEFAULT_VISIBILITY, 1, LONGEST_VISIBILITY)?;
    if !context.faults.spend(1) {
        return Err(Refusal::TooManyRequests);
    }
    let received = context.queues.receive(queue, count, seconds(visibility))?;
    Ok(as_xml(StatusCode::OK, xml::messages(&received, Shape::Received)))
}

fn update(
    queues: &StorageQueues,
    queue: &str,
    id: &str,
    query: &Query,
    body: &Bytes,
) -> Result<Response, Refusal> {
    let receipt = required(query, "popreceipt")?;
    required(query, "visibilitytimeout")?;
    let visibility = number(query, "visibilitytimeout", 0, 0, LONGEST_VISIBILITY)?;
    // Without a document, or without a text in it, the message keeps its text.
    let text = match body.is_empty() {
        true => None,
        false => xml::message_text(body).map_err(Refusal::InvalidXml)?,
    };
    let message = queues.update(queue, id, receipt, seconds(visibility), text)?;
    let mut response = StatusCode::NO_CONTENT.into_response();
    let headers = response.headers_mut();
    if let Ok(receipt) = HeaderValue::try_from(message.pop_receipt) {
        headers.insert("x-ms-popreceipt", receipt);
    }
    if let Ok(time) = HeaderValue::try_from(http_time(message.next_visible_time)) {
        headers.insert("x-ms-time-next-visible", time);
    }
    Ok(response)
}

fn done(result: Result<(), BrokerError>) -> Result<Response, Refusal> {
    result?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn metadata(headers: &HeaderMap) -> BTreeMap<String, String> {
    headers
        .iter()
        .filter_map(|(name, value)| {
            let name = name.as_str().strip_prefix("x-ms-meta-")?;
            Some((name.to_owned(), value.to_str().ok()?.to_owned()))
        })
        .collect()
}

fn count(query: &Query) -> Result<usize, Refusal> {
    let count = number(query, "numofmessages", 1, 1, MOST_MESSAGES)?;
    Ok(usize::try_from(count).unwrap_or(1))
}

fn required<'a>(query: &'a Query, name: &'static str) -> Result<&'a str, Refusal> {
    query.get(name).map(String::as_str).ok_or(Refusal::MissingParameter(name))
}

fn number(
    query: &Query,
    name: &'static str,
    default: i64,
    min: i64,
    max: i64,
) -> Result<i64, Refusal> {
    let Some(text) = query.get(name) else {
        return Ok(default);
    };
    let number: i64 = text.parse().map_err(|_| Refusal::InvalidParameter(name))?;
    if !(min..=max).contains(&number) {
        return Err(Refusal::OutOfRangeParameter(name));
    }
    Ok(number)
}

/// Converts a parameter that was checked to be non-negative.
fn seconds(number: i64) -> Duration {
    Duration::from_secs(number.unsigned_abs())
}

fn as_xml(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/xml")], body).into_response()
}
