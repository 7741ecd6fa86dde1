//! What is said about the work: the log, and spans to a collector. Set up once, by the process; the
//! rooms only use `tracing`, and `join` and `outgoing` where a span goes on with a trace that
//! came in or goes out.
//!
//! Knows no job, no queue and no database. Nothing here may fail or hold up work.

mod log;
mod otlp;

use opentelemetry::{
    Context,
    trace::{SpanContext, SpanId, TraceContextExt, TraceFlags, TraceId, TraceState},
};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{
    EnvFilter, Layer, filter::Targets, layer::SubscriberExt, util::SubscriberInitExt,
};

pub use self::log::{JsonOrText, LogLayer};
pub use otlp::{Exporter, ExporterError};

use crate::{
    config::{LogFormat, LogSettings},
    model::TraceParent,
};

/// Begins to log on standard output, where the host makes log lines of it, and to export spans if
/// there is an exporter. The first call in a process counts.
pub fn start(log: &LogSettings, exporter: Option<&Exporter>) {
    use std::io::IsTerminal;
    let is_terminal = std::io::stdout().is_terminal();
    let form = match log.format {
        LogFormat::Json => JsonOrText::Json,
        LogFormat::Auto if !is_terminal => JsonOrText::Json,
        LogFormat::Auto | LogFormat::Text => JsonOrText::Text { color: is_terminal },
    };
    let level = &log.level;
    // The settings have checked the level; sqlx and the HTTP client are only of interest when asked
    // for.
    let filter = EnvFilter::try_new(format!("warn,lastlight={level}"))
        .or_else(|_| EnvFilter::try_new(level));
    let log = LogLayer::new(form, std::io::stdout).with_filter(filter.unwrap_or_default());
    // Spans of the house alone: an exporter that traced its own requests would never be done.
    let spans = exporter.map(|exporter| {
        tracing_opentelemetry::layer()
            .with_tracer(exporter.tracer())
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target("lastlight", tracing::Level::INFO))
    });
    let _ = tracing_subscriber::registry().with(log).with(spans).try_init();
}

/// The span that runs here, if spans are exported.
fn current() -> Option<SpanContext> {
    Context::map_current(|context| {
        let span = context.span();
        let span = span.span_context();
        span.is_valid().then(|| span.clone())
    })
}

/// Makes `span` go on with `trace`, unless the span around it is in that trace already.
pub(crate) fn join(span: &Span, trace: Option<TraceParent>) {
    let Some(remote) = trace.filter(|_| !span.is_disabled()).and_then(|trace| remote(&trace))
    else {
        return;
    };
    if current().is_some_and(|current| current.trace_id() == remote.trace_id()) {
        return;
    }
    // Without an exporter there is nothing to tell.
    let _ = span.set_parent(Context::new().with_remote_span_context(remote));
}

/// What a message of a job in `trace` says: the span that sends it if that is in the trace, else
/// what the job says.
pub(crate) fn outgoing(trace: Option<TraceParent>) -> Option<TraceParent> {
    let trace = trace?;
    Some(
        current()
            .and_then(|current| written(&current))
            .filter(|current| current.trace_id() == trace.trace_id())
            .unwrap_or(trace),
    )
}

/// The trace that a submission begins or goes on with: the span that runs here, else the caller's,
/// else a new one.
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
