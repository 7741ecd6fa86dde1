//! The log: one line an event, with the fields of the spans around it, flat. JSON for machines, text for people.

use std::{
    fmt::{Debug, Write as _},
    io::Write as _,
};

use opentelemetry::trace::TraceContextExt;
use serde_json::{Map, Value};
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{Layer, fmt::MakeWriter, layer::Context, registry::LookupSpan};

use crate::model::{clock, timestamp};

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonOrText {
    /// An object.
    Json,
    /// `time LEVEL target: message name=value …`.
    Text {
        /// The level is coloured.
        color: bool,
    },
}

/// Writes events as lines.
#[derive(Debug)]
pub struct LogLayer<W> {
    form: JsonOrText,
    writer: W,
}

impl<W> LogLayer<W> {
    /// Lines of this form go to `writer`, each in one write.
    pub fn new(form: JsonOrText, writer: W) -> Self {
        Self { form, writer }
    }
}

/// A span's fields, kept with it.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.0.insert(name(field), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.0.insert(name(field), value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.0.insert(name(field), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.0.insert(name(field), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(name(field), value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(name(field), format!("{value:?}").into());
    }
}

/// Raw identifiers lose their mark.
fn name(field: &Field) -> String {
    field.name().trim_start_matches("r#").to_owned()
}

impl<S, W> Layer<S> for LogLayer<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let mut around = Map::new();
        let spans = context.event_scope(event).map(|scope| scope.from_root());
        for span in spans.into_iter().flatten() {
            if let Some(Fields(fields)) = span.extensions().get::<Fields>() {
                // `otel.name` and the like are for the exporter.
                let told = fields.iter().filter(|(name, _)| !name.contains('.'));
                around.extend(told.map(|(name, value)| (name.clone(), value.clone())));
            }
        }
        opentelemetry::Context::map_current(|current| {
            let span = current.span();
            let span = span.span_context();
            if span.is_valid() {
                around.insert("trace_id".to_owned(), span.trace_id().to_string().into());
                around.insert("span_id".to_owned(), span.span_id().to_string().into());
            }
        });
        let Fields(mut own) = own;
        let message = match own.remove("message") {
            Some(Value::String(message)) => message,
            _ => String::new(),
        };
        let metadata = event.metadata();
        let line = match self.form {
            JsonOrText::Json => json(metadata.level(), metadata.target(), message, own, around),
            JsonOrText::Text { color } => text(
                metadata.level(),
                metadata.target(),
                &message,
                &own,
                &around,
                color,
            ),
        };
        // Nobody to tell if this fails.
        let _ = self.writer.make_writer_for(metadata).write_all(line.as_bytes());
    }
}

fn json(
    level: &Level,
    target: &str,
    message: String,
    own: Map<String, Value>,
    mut around: Map<String, Value>,
) -> String {
    // What the event itself says wins.
    around.extend(own);
    // These four are the line's own, whatever a field is called.
    around.insert("timestamp".to_owned(), timestamp::write(clock::now()).into());
    around.insert("level".to_owned(), level.as_str().to_ascii_lowercase().into());
    around.insert("target".to_owned(), target.into());
    around.insert("message".to_owned(), message.into());
    let mut line = Value::Object(around).to_string();
    line.push('\n');
    line
}

fn text(
    level: &Level,
    target: &str,
    message: &str,
    own: &Map<String, Value>,
    around: &Map<String, Value>,
    color: bool,
) -> String {
    let time = timestamp::write(clock::now());
    let (on, off) = match *level {
        _ if !color => ("", ""),
        Level::ERROR => ("\u{1b}[31m", "\u{1b}[0m"),
        Level::WARN => ("\u{1b}[33m", "\u{1b}[0m"),
        Level::INFO => ("\u{1b}[32m", "\u{1b}[0m"),
        _ => ("\u{1b}[2m", "\u{1b}[0m"),
    };
    let mut line = format!("{time} {on}{level:>5}{off} {target}: {}", on_one_line(message));
    // People look for the job and the task; the ids of invocations and spans are for machines.
    let told = ["job_id", "stage", "task_id", "attempt"]
        .into_iter()
        .filter_map(|name| around.get_key_value(name))
        .filter(|(name, _)| !own.contains_key(*name));
    for (name, value) in own.iter().chain(told) {
        // A string refuses nothing.
        let _ = match value {
            Value::String(text) => write!(line, " {name}={}", on_one_line(text)),
            value => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

/// A value of many lines, or with a terminal's control characters in it, must not look like lines of ours.
fn on_one_line(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            c if c.is_control() => shown.extend(c.escape_default()),
            c => shown.push(c),
        }
    }
    shown
}
