//! The REST endpoint: send one or a batch, peek-lock, renew, complete, abandon, receive and delete, and the queue's
//! description.

use std::time::Duration;

use axum::{
    Router,
    body::{Bytes, to_bytes},
    extract::{Request, State},
    http::{HeaderMap, Method, StatusCode, header},
    response::{IntoResponse, Response},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use time::{OffsetDateTime, PrimitiveDateTime, macros::format_description};

use super::{
    super::{BrokerError, Faults, faults::Verdict},
    LockedMessage, NewMessage, ServiceBus, sas,
};

const BATCH: &str = "application/vnd.microsoft.servicebus.json";

/// A batch's envelope may be larger than the messages in it.
const LARGEST_REQUEST: usize = 2 * 1024 * 1024;

/// The one shared access policy of the local namespace.
#[derive(Debug, Clone)]
pub struct ServiceBusAccess {
    /// `SharedAccessKeyName`.
    pub key_name: String,
    /// `SharedAccessKey`.
    pub key: String,
}

#[derive(Clone)]
struct Context {
    bus: ServiceBus,
    access: ServiceBusAccess,
    faults: Faults,
}

/// The endpoint over `bus`.
pub fn router(bus: ServiceBus, access: ServiceBusAccess, faults: Faults) -> Router {
    // Queue names may hold '/', so the path is taken apart here rather than by the router.
    Router::new()
        .fallback(handle)
        .with_state(Context { bus, access, faults })
}

async fn handle(State(context): State<Context>, request: Request) -> Response {
    context.faults.delay().await;
    let (parts, body) = request.into_parts();
    let authorization = parts
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if let Err(problem) = sas::check(&context.access, authorization) {
        return error(StatusCode::UNAUTHORIZED, &problem);
    }
    let Ok(body) = to_bytes(body, LARGEST_REQUEST).await else {
        return error(StatusCode::PAYLOAD_TOO_LARGE, "the request is too large");
    };
    let path = percent_encoding::percent_decode_str(parts.uri.path())
        .decode_utf8_lossy()
        .into_owned();
    let path = path.trim_matches('/');
    let Some((queue, rest)) = path.split_once("/messages") else {
        return if parts.method == Method::GET {
            describe(&context.bus, path)
        } else {
            no_such_route()
        };
    };
    match (&parts.method, rest.trim_matches('/')) {
        (&Method::POST, "") => send(&context, queue, &parts.headers, &body),
        (&Method::POST, "head") => peek_lock(&context, queue, parts.uri.query()).await,
        (&Method::DELETE, "head") => receive_and_delete(&context, queue, parts.uri.query()).await,
        (method, message) => match message.split_once('/') {
            Some((_, token)) => settle(&context.bus, method, queue, token),
            None => no_such_route(),
        },
    }
}

fn no_such_route() -> Response {
    error(StatusCode::NOT_FOUND, "no such operation")
}

fn send(context: &Context, queue: &str, headers: &HeaderMap, body: &Bytes) -> Response {
    let messages = match messages(headers, body) {
        Ok(messages) => messages,
        Err(problem) => return error(StatusCode::BAD_REQUEST, &problem),
    };
    let verdict = context.faults.judge(messages.len());
    match verdict {
        Verdict::Throttle => {
            return error(
                StatusCode::TOO_MANY_REQUESTS,
                "SubCode=50009. The namespace is throttled",
            );
        }
        Verdict::Refuse => return error(StatusCode::SERVICE_UNAVAILABLE, "ServerBusy"),
        Verdict::Go | Verdict::StoreAndLoseAnswer => {}
    }
    match context.bus.send(queue, messages) {
        Ok(()) if verdict == Verdict::StoreAndLoseAnswer => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the answer was lost on request",
        ),
        Ok(()) => StatusCode::CREATED.into_response(),
        Err(refused) => refuse(&refused),
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct BatchEntry {
    body: String,
    #[serde(default)]
    broker_properties: SentProperties,
    #[serde(default)]
    user_properties: Map<String, Value>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct SentProperties {
    message_id: Option<String>,
    correlation_id: Option<String>,
    content_type: Option<String>,
    label: Option<String>,
    scheduled_enqueue_time_utc: Option<String>,
    /// Seconds.
    time_to_live: Option<f64>,
    /// `[d.]hh:mm:ss`.
    time_to_live_time_span: Option<String>,
}

fn messages(headers: &HeaderMap, body: &Bytes) -> Result<Vec<NewMessage>, String> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if text("content-type") == Some(BATCH) {
        let entries: Vec<BatchEntry> = serde_json::from_slice(body)
            .map_err(|error| format!("the batch is not a JSON array of messages: {error}"))?;
        return entries
            .into_iter()
            .map(|entry| new_message(entry.body, entry.broker_properties, entry.user_properties))
            .collect();
    }
    let properties = match text("brokerproperties") {
        Some(json) => serde_json::from_str(json).map_err(|error| format!("BrokerProperties: {error}"))?,
        None => SentProperties::default(),
    };
    let body = String::from_utf8(body.to_vec()).map_err(|_| "the body is not UTF-8".to_owned())?;
    let mut message = new_message(body, properties, Map::new())?;
    message.content_type = message
        .content_type
        .or_else(|| text("content-type").map(str::to_owned));
    Ok(vec![message])
}

fn new_message(
    body: String,
    sent: SentProperties,
    application_properties: Map<String, Value>,
) -> Result<NewMessage, String> {
    let scheduled = match &sent.scheduled_enqueue_time_utc {
        None => None,
        Some(text) => {
            Some(rfc_1123(text).ok_or_else(|| format!("ScheduledEnqueueTimeUtc {text:?} is not RFC 1123"))?)
        }
    };
    let span = sent.time_to_live_time_span.as_deref().and_then(time_span);
    let time_to_live = span.or_else(|| Duration::try_from_secs_f64(sent.time_to_live?).ok());
    Ok(NewMessage {
        body,
        message_id: sent.message_id,
        correlation_id: sent.correlation_id,
        content_type: sent.content_type,
        label: sent.label,
        application_properties,
        scheduled,
        time_to_live,
    })
}

fn rfc_1123(text: &str) -> Option<OffsetDateTime> {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    PrimitiveDateTime::parse(text, format)
        .ok()
        .map(PrimitiveDateTime::assume_utc)
}

fn time_span(text: &str) -> Option<Duration> {
    let (days, clock) = match text.split_once('.') {
        Some((days, clock)) if clock.contains(':') => (days.parse::<u64>().ok()?, clock),
        _ => (0, text),
    };
    let mut parts = clock.split(':');
    let (hours, minutes) = (
        parts.next()?.parse::<u64>().ok()?,
        parts.next()?.parse::<u64>().ok()?,
    );
    let seconds = parts.next()?.parse::<f64>().ok()?;
    Some(
        Duration::from_secs(days * 86_400 + hours * 3600 + minutes * 60)
            + Duration::try_from_secs_f64(seconds).ok()?,
    )
}

async fn receive(
    context: &Context,
    queue: &str,
    query: Option<&str>,
) -> Result<Option<LockedMessage>, BrokerError> {
    let timeout = query
        .and_then(|query| {
            query
                .split('&')
                .find_map(|pair| pair.strip_prefix("timeout=")?.parse::<u64>().ok())
        })
        .unwrap_or(60);
    let mut received = context.bus.receive(queue, 1)?;
    if received.is_empty() {
        context
            .bus
            .wait_for_message(queue, Duration::from_secs(timeout.min(60)))
            .await;
        received = context.bus.receive(queue, 1)?;
    }
    Ok(received.pop())
}

async fn peek_lock(context: &Context, queue: &str, query: Option<&str>) -> Response {
    match receive(context, queue, query).await {
        Err(refused) => refuse(&refused),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Ok(Some(message)) => {
            let location = format!(
                "/{queue}/messages/{}/{}",
                message.sequence_number, message.lock_token
            );
            let mut response = delivered(StatusCode::CREATED, &message);
            if let Ok(location) = location.parse() {
                response.headers_mut().insert(header::LOCATION, location);
            }
            response
        }
    }
}

async fn receive_and_delete(context: &Context, queue: &str, query: Option<&str>) -> Response {
    match receive(context, queue, query).await {
        Err(refused) => refuse(&refused),
        Ok(None) => StatusCode::NO_CONTENT.into_response(),
        Ok(Some(message)) => match context.bus.complete(queue, &message.lock_token) {
            Ok(()) => delivered(StatusCode::OK, &message),
            Err(refused) => refuse(&refused),
        },
    }
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeliveredProperties<'a> {
    message_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlation_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
    delivery_count: u32,
    lock_token: &'a str,
    locked_until_utc: String,
    sequence_number: i64,
    enqueued_time_utc: String,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    dead_letter_reason: Option<&'a str>,
}

fn delivered(status: StatusCode, message: &LockedMessage) -> Response {
    let format = format_description!(
        "[weekday repr:short], [day] [month repr:short] [year] [hour]:[minute]:[second] GMT"
    );
    let time = |moment: OffsetDateTime| moment.format(format).unwrap_or_default();
    let properties = DeliveredProperties {
        message_id: &message.message_id,
        correlation_id: message.correlation_id.as_deref(),
        label: message.label.as_deref(),
        delivery_count: message.delivery_count,
        lock_token: &message.lock_token,
        locked_until_utc: time(message.locked_until),
        sequence_number: message.sequence_number,
        enqueued_time_utc: time(message.enqueued_time),
        state: "Active",
        dead_letter_reason: message.dead_letter_reason.as_deref(),
    };
    let mut response = (status, message.body.clone()).into_response();
    let headers = response.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    let json = serde_json::to_string(&properties).unwrap_or_default();
    if let Ok(value) = json.parse() {
        headers.insert("BrokerProperties", value);
    }
    if let Some(Ok(value)) = message.content_type.as_deref().map(str::parse) {
        headers.insert(header::CONTENT_TYPE, value);
    }
    for (name, value) in &message.application_properties {
        let name = axum::http::HeaderName::try_from(name.as_str());
        if let (Ok(name), Ok(value)) = (name, value.to_string().parse()) {
            headers.insert(name, value);
        }
    }
    response
}

fn settle(bus: &ServiceBus, method: &Method, queue: &str, token: &str) -> Response {
    let result = match *method {
        Method::DELETE => bus.complete(queue, token),
        Method::PUT => bus.abandon(queue, token),
        Method::POST => bus.renew(queue, token).map(drop),
        _ => return no_such_route(),
    };
    match result {
        Ok(()) => StatusCode::OK.into_response(),
        Err(refused) => refuse(&refused),
    }
}

fn describe(bus: &ServiceBus, queue: &str) -> Response {
    match bus.counts(queue) {
        Err(refused) => refuse(&refused),
        Ok(counts) => {
            let xml = format!(
                "<entry xmlns=\"http://www.w3.org/2005/Atom\"><title type=\"text\">{}</title>\
                 <content type=\"application/xml\"><QueueDescription \
                 xmlns=\"http://schemas.microsoft.com/netservices/2010/10/servicebus/connect\">\
                 <MessageCount>{}</MessageCount><CountDetails>\
                 <ActiveMessageCount>{}</ActiveMessageCount><DeadLetterMessageCount>{}</DeadLetterMessageCount>\
                 <ScheduledMessageCount>{}</ScheduledMessageCount></CountDetails></QueueDescription></content></entry>",
                quick_xml::escape::escape(queue),
                counts.active + counts.scheduled + counts.dead_letter,
                counts.active,
                counts.dead_letter,
                counts.scheduled
            );
            (
                [(
                    header::CONTENT_TYPE,
                    "application/atom+xml;type=entry;charset=utf-8",
                )],
                xml,
            )
                .into_response()
        }
    }
}

fn refuse(refused: &BrokerError) -> Response {
    let status = match refused {
        BrokerError::QueueNotFound { .. } | BrokerError::MessageNotFound { .. } => StatusCode::NOT_FOUND,
        BrokerError::LockLost | BrokerError::PopReceiptMismatch => StatusCode::GONE,
        BrokerError::TooLarge { .. } => StatusCode::PAYLOAD_TOO_LARGE,
    };
    error(status, &refused.to_string())
}

fn error(status: StatusCode, detail: &str) -> Response {
    let xml = format!(
        "<Error><Code>{}</Code><Detail>{}</Detail></Error>",
        status.as_u16(),
        quick_xml::escape::escape(detail)
    );
    (
        status,
        [(header::CONTENT_TYPE, "application/xml; charset=utf-8")],
        xml,
    )
        .into_response()
}
