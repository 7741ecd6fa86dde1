//! The log, and spans sent to a collector. Set up once by the process; the other modules only use
//! `tracing`, and `join` and `outgoing` where a span continues an incoming trace or a message
//! carries one.
//!
//! Independent of jobs, queues and the database. Nothing here may make work fail or wait.

mod log;
mod otlp;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{LevelFilter, Targets},
    layer::SubscriberExt,
    util::SubscriberInitExt,
};

pub use self::log::{JsonOrText, LogLayer};
pub use otlp::{Exporter, ExporterError};

use crate::{
    config::{LogFormat, LogSettings},
    model::TraceParent,
};

/// Libraries whose spans are not exported, and which log only warnings. All others are lastlight and
/// the app.
const LIBRARIES: [&str; 11] = [
    "azure_core",
    "azure_identity",
    "h2",
    "hyper",
    "opentelemetry",
    "reqwest",
    "rustls",
    "sqlx",
    "tokio",
    "tower",
    "typespec",
];

/// Starts logging to standard output, from which the host takes log lines, and exporting spans if
/// there is an exporter. Only the first call in a process has an effect.
pub fn start(log: &LogSettings, exporter: Option<&Exporter>) {
    use std::io::IsTerminal;
    let is_terminal = std::io::stdout().is_terminal();
    let form = match log.format {
        LogFormat::Json => JsonOrText::Json,
        LogFormat::Auto if !is_terminal => JsonOrText::Json,
        LogFormat::Auto | LogFormat::Text => JsonOrText::Text { color: is_terminal },
    };
    let level = &log.level;
    // The level was validated with the settings; these libraries log only warnings unless the level
    // names them.
    let libraries = LIBRARIES.map(|library| format!("{library}=warn")).join(",");
    let filter =
        EnvFilter::try_new(format!("{libraries},{level}")).or_else(|_| EnvFilter::try_new(level));
    let log = LogLayer::new(form, std::io::stdout).with_filter(filter.unwrap_or_default());
    // Not those of the libraries: an exporter that traced its own requests would never finish.
    let spans = exporter.map(|exporter| {
        tracing_opentelemetry::layer()
            .with_tracer(exporter.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(
                Targets::new()
                    .with_default(tracing::Level::INFO)
                    .with_targets(LIBRARIES.map(|library| (library, LevelFilter::OFF))),
            )
    });
    let _ = tracing_subscriber::registry().with(log).with(spans).try_init();
}

/// The current span, if spans are exported.
fn current() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| span.clone())
    })
}

/// Makes `span` continue `trace`, unless the surrounding span is already in that trace.
pub(crate) fn join(span: &Span, trace: Option<TraceParent>) {
    let Some(remote) = trace.filter(|_| !span.is_disabled()).and_then(|trace| remote(&trace))
    else {
        return;
    };
    if current().is_some_and(|current| current.trace_id() == remote.trace_id()) {
        return;
    }
    // This fails without an exporter, which needs no report.
    let _ = span.set_parent(Context::new().with_remote_span_context(remote));
}

/// The `traceparent` of a message of a job in `trace`: the sending span if it is in that trace,
/// else the job's.
pub(crate) fn outgoing(trace: Option<TraceParent>) -> Option<TraceParent> {
    let trace = trace?;
    Some(
        current()
            .and_then(|current| written(&current))
            .filter(|current| current.trace_id() == trace.trace_id())
            .unwrap_or(trace),
    )
}

/// The trace of a submission: the current span, else the caller's trace, else a new one.
pub(crate) fn submitted_in(caller: Option<TraceParent>) -> TraceParent {
    current().and_then(|current| written(&current)).or(caller).unwrap_or_else(TraceParent::generate)
}

fn remote(trace: &TraceParent) -> Option<SpanContext> {
    let flags = if trace.is_sampled() { TraceFlags::SAMPLED } else { TraceFlags::default() };
    Some(SpanContext::new(
        TraceId::from_hex(trace.trace_id()).ok()?,
        SpanId::from_hex(trace.span_id()).ok()?,
        flags,
        true,
        TraceState::default(),
    ))
}

fn written(span: &SpanContext) -> Option<TraceParent> {
    TraceParent::read(&format!(
        "00-{:032x}-{:016x}-{:02x}",
        span.trace_id(),
        span.span_id(),
        u8::from(span.is_sampled())
    ))
}
