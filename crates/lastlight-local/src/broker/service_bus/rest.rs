//! The REST endpoint: send one message or a batch, peek-lock, renew, complete, abandon, receive and
//! delete, and the description of a queue. The protocol cannot dead-letter, defer or browse.

use std::time::Duration;

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use percent_encoding::percent_decode_str;
use tokio::time::Instant;

use super::{
    super::{
        BrokerError, Faults,
        faults::{Fate, Verdict},
    },
    LockedMessage, NewMessage, ServiceBus, ServiceBusAccess,
    delivered::{Mode, delivered},
    sas, sent,
};

/// Maximum size of a request, in bytes: the envelope of a batch may be larger than its messages.
const LARGEST_REQUEST: usize = 2 * 1024 * 1024;

/// Default and maximum time that a receive waits for a message.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

const ATOM: &str = "application/atom+xml;type=entry;charset=utf-8";

#[derive(Clone)]
struct Context {
    bus: ServiceBus,
    access: ServiceBusAccess,
    faults: Faults,
}

/// An error answer.
struct Refusal(StatusCode, String);

impl From<BrokerError> for Refusal {
    fn from(error: BrokerError) -> Self {
        let status = match error {
            BrokerError::QueueNotFound { .. } => StatusCode::GONE,
            BrokerError::MessageNotFound { .. }
            | BrokerError::LockLost
            | BrokerError::PopReceiptMismatch => StatusCode::NOT_FOUND,
            BrokerError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
        };
        Self(status, error.to_string())
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let xml = format!(
            "<Error><Code>{}</Code><Detail>{}</Detail></Error>",
            self.0.as_u16(),
            quick_xml::escape::escape(&self.1)
        );
        (self.0, [(header::CONTENT_TYPE, "application/xml; charset=utf-8")], xml).into_response()
    }
}

/// The routes of the endpoint for `bus`.
pub fn router(bus: ServiceBus, access: ServiceBusAccess, faults: Faults) -> Router {
    // Queue names may contain '/', so the path is parsed here and not by the router.
    Router::new().fallback(handle).with_state(Context { bus, access, faults })
}

async fn handle(State(context): State<Context>, request: Request) -> Response {
    context.faults.delay().await;
    let (parts, body) = request.into_parts();
    let authorization =
        parts.headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    if let Err(problem) = sas::check(&context.access, authorization) {
        return Refusal(StatusCode::UNAUTHORIZED, problem.to_string()).into_response();
    }
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return Refusal(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("the request has more than {LARGEST_REQUEST} bytes, or ended early"),
        )
        .into_response();
    };
    route(&context, &parts, body).await.unwrap_or_else(Refusal::into_response)
}

async fn route(context: &Context, parts: &Parts, body: Bytes) -> Result<Response, Refusal> {
    let path = percent_decode_str(parts.uri.path()).decode_utf8_lossy();
    let path = path.trim_matches('/');
    let Some((queue, rest)) = messages_of(path) else {
        return match parts.method {
            Method::GET => describe(&context.bus, path),
            _ => Err(no_such_operation()),
        };
    };
    match (&parts.method, rest) {
        (&Method::POST, "") => send(context, queue, parts, body),
        (&Method::POST, "head") => peek_lock(context, queue, parts).await,
        (&Method::DELETE, "head") => receive_and_delete(context, queue, parts.uri.query()).await,
        // A message id may contain '/'; a lock token does not.
        (method, message) => match message.rsplit_once('/') {
            Some((_, token)) => settle(&context.bus, method, queue, token),
            None => Err(no_such_operation()),
        },
    }
}

/// Splits a path of the messages of a queue into the queue and the part after `messages`.
fn messages_of(path: &str) -> Option<(&str, &str)> {
    if let Some(queue) = path.strip_suffix("/messages") {
        return Some((queue, ""));
    }
    path.split_once("/messages/")
}

fn no_such_operation() -> Refusal {
    Refusal(StatusCode::NOT_FOUND, "the service has no such operation".to_owned())
}

fn throttled() -> Refusal {
    Refusal(
        StatusCode::TOO_MANY_REQUESTS,
        "SubCode=50009. The request was terminated because the namespace is being throttled."
            .to_owned(),
    )
}

fn send(context: &Context, queue: &str, parts: &Parts, body: Bytes) -> Result<Response, Refusal> {
    let messages = sent::messages(&parts.headers, body)
        .map_err(|problem| Refusal(StatusCode::BAD_REQUEST, problem))?;
    let verdict = context.faults.judge(messages.len());
    match verdict {
        Verdict::Throttle => return Err(throttled()),
        Verdict::Refuse => {
            return Err(Refusal(
                StatusCode::SERVICE_UNAVAILABLE,
                "SubCode=50002. The server is busy.".to_owned(),
            ));
        }
        Verdict::Go | Verdict::StoreAndLoseAnswer => {}
    }
    match context.faults.fates(messages.len()) {
        None => context.bus.send(queue, messages)?,
        Some(fates) => send_as_fated(&context.bus, queue, &messages, &fates)?,
    }
    Ok(match verdict {
        Verdict::StoreAndLoseAnswer => context.faults.lose_answer(&parts.extensions),
        _ => StatusCode::CREATED.into_response(),
    })
}

/// Stores the copies of each message with their delays: all first copies first, so that no send is
/// larger than the requested one.
fn send_as_fated(
    bus: &ServiceBus,
    queue: &str,
    messages: &[NewMessage],
    fates: &[Fate],
) -> Result<(), BrokerError> {
    let now = bus.now();
    let most = fates.iter().map(Vec::len).max().unwrap_or_default();
    for copy in 0..most {
        let copies = messages.iter().zip(fates).filter_map(|(message, fate)| {
            let late = *fate.get(copy)?;
            let moment = message.scheduled.unwrap_or(now).max(now) + late;
            Some(NewMessage { scheduled: Some(moment), ..message.clone() })
        });
        bus.send(queue, copies.collect())?;
    }
    Ok(())
}

async fn peek_lock(context: &Context, queue: &str, parts: &Parts) -> Result<Response, Refusal> {
    let Some(message) = receive(context, queue, parts.uri.query()).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let location = location(&parts.headers, queue, &message);
    let mut response = delivered(message, Mode::PeekLock);
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// The URL at which the receiver settles the message.
fn location(headers: &HeaderMap, queue: &str, message: &LockedMessage) -> String {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    format!("http://{host}/{queue}/messages/{}/{}", message.sequence_number, message.lock_token)
}

async fn receive_and_delete(
    context: &Context,
    queue: &str,
    query: Option<&str>,
) -> Result<Response, Refusal> {
    let Some(message) = receive(context, queue, query).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    context.bus.complete(queue, &message.lock_token)?;
    Ok(delivered(message, Mode::ReceiveAndDelete))
}

async fn receive(
    context: &Context,
    queue: &str,
    query: Option<&str>,
) -> Result<Option<LockedMessage>, Refusal> {
    let until = Instant::now() + wait(query)?;
    if !context.faults.spend(1) {
        return Err(throttled());
    }
    loop {
        if let Some(message) = context.bus.receive(queue, 1)?.pop() {
            return Ok(Some(message));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(None);
        }
        context.bus.wait_for_message(queue, left).await;
    }
}

fn wait(query: Option<&str>) -> Result<Duration, Refusal> {
    let asked =
        query.and_then(|query| query.split('&').find_map(|pair| pair.strip_prefix("timeout=")));
    let Some(asked) = asked else {
        return Ok(LONGEST_WAIT);
    };
    let seconds: u64 = asked.parse().map_err(|_| {
        Refusal(StatusCode::BAD_REQUEST, format!("timeout {asked:?} is not a number of seconds"))
    })?;
    Ok(Duration::from_secs(seconds).min(LONGEST_WAIT))
}

fn settle(
    bus: &ServiceBus,
    method: &Method,
    queue: &str,
    token: &str,
) -> Result<Response, Refusal> {
    match *method {
        Method::DELETE => bus.complete(queue, token)?,
        Method::PUT => bus.abandon(queue, token)?,
        Method::POST => bus.renew(queue, token).map(drop)?,
        _ => return Err(no_such_operation()),
    }
    Ok(StatusCode::OK.into_response())
}

/// The part of the management API that is read most: the properties and message counts of a queue.
/// For a missing queue the service answers with success and an empty list.
fn describe(bus: &ServiceBus, queue: &str) -> Result<Response, Refusal> {
    let (Ok(counts), Ok(options)) = (bus.counts(queue), bus.options(queue)) else {
        let nothing = "<feed xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">Publicly Listed Services</title></feed>";
        return Ok(([(header::CONTENT_TYPE, ATOM)], nothing).into_response());
    };
    let window = options.duplicate_detection.unwrap_or(Duration::from_secs(600));
    let xml = format!(
        "<entry xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">{}</title><content type=\"application/xml\">\
         <QueueDescription xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">\
         <LockDuration>PT{}S</LockDuration>\
         <RequiresDuplicateDetection>{}</RequiresDuplicateDetection>\
         <RequiresSession>false</RequiresSession>\
         <DuplicateDetectionHistoryTimeWindow>PT{}S</DuplicateDetectionHistoryTimeWindow>\
         <MaxDeliveryCount>{}</MaxDeliveryCount>\
         <MessageCount>{}</MessageCount>\
         <Status>Active</Status>\
         <CountDetails xmlns:d2p1=\"http://schemas.microsoft.com/netservices/2011/06/servicebus\">\
         <d2p1:ActiveMessageCount>{}</d2p1:ActiveMessageCount>\
         <d2p1:DeadLetterMessageCount>{}</d2p1:DeadLetterMessageCount>\
         <d2p1:ScheduledMessageCount>{}</d2p1:ScheduledMessageCount>\
         <d2p1:TransferMessageCount>0</d2p1:TransferMessageCount>\
         <d2p1:TransferDeadLetterMessageCount>0</d2p1:TransferDeadLetterMessageCount></CountDetails>\
         </QueueDescription></content></entry>",
        quick_xml::escape::escape(queue),
        options.lock_duration.as_secs(),
        options.duplicate_detection.is_some(),
        window.as_secs(),
        options.max_delivery_count,
        counts.active + counts.scheduled + counts.dead_letter,
        counts.active,
        counts.dead_letter,
        counts.scheduled,
    );
    Ok(([(header::CONTENT_TYPE, ATOM)], xml).into_response())
}
