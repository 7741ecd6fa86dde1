//! The log: one line per event, with the fields of the surrounding spans, flattened. JSON for
//! machines, text for terminals.

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

/// The format of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JsonOrText {
    Json,
    /// `time LEVEL target: message name=value …`.
    Text {
        /// Whether the level is coloured.
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
    /// Writes lines in this format to `writer`, each in one write.
    pub fn new(form: JsonOrText, writer: W) -> Self {
        Self { form, writer }
    }
}

/// The fields of a span, stored with it, or of an event.
#[derive(Default)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    /// Sets a field; the last value of a name wins.
    fn put(&mut self, field: &Field, value: Value) {
        // Remove the prefix of raw identifiers.
        let name = field.name().trim_start_matches("r#");
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.0.push((name, value)),
        }
    }

    fn into_map(self) -> Map<String, Value> {
        self.0.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value.into());
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value.into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.put(field, format!("{value:?}").into());
    }
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
                // `otel.name` and similar fields are for the exporter.
                let told = fields.iter().filter(|(name, _)| !name.contains('.'));
                around.extend(told.map(|(name, value)| ((*name).to_owned(), value.clone())));
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
        let mut own = own.into_map();
        let message = match own.remove("message") {
            Some(Value::String(message)) => message,
            _ => String::new(),
        };
        let metadata = event.metadata();
        let line = match self.form {
            JsonOrText::Json => json(metadata.level(), metadata.target(), message, own, around),
            JsonOrText::Text { color } => {
                text(metadata.level(), metadata.target(), &message, &own, &around, color)
            }
        };
        // There is no way to report a failed write.
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
    // The event's own fields win.
    around.extend(own);
    // These four names are reserved: they replace fields of the same name.
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
    // Text shows only the job and the task of the spans; the ids of invocations and spans are in
    // JSON.
    let told = ["job_id", "stage", "task_id", "attempt"]
        .into_iter()
        .filter_map(|name| around.get_key_value(name))
        .filter(|(name, _)| !own.contains_key(*name));
    for (name, value) in own.iter().chain(told) {
        // Writing to a string never fails.
        let _ = match value {
            Value::String(text) => write!(line, " {name}={}", on_one_line(text)),
            value => write!(line, " {name}={value}"),
        };
    }
    line.push('\n');
    line
}

/// Escapes control characters, so that a value with line breaks or terminal escapes cannot imitate
/// log lines.
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

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn said(form: JsonOrText, say: impl FnOnce()) -> String {
        let lines = Lines::default();
        let writer = lines.clone();
        let layer = LogLayer::new(form, move || writer.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), say);
        String::from_utf8(lines.0.lock().unwrap().clone()).unwrap()
    }

    fn say() {
        let invocation = tracing::info_span!(
            "invocation",
            otel.name = "x",
            invocation_id = "i-1",
            job_id = "outer"
        );
        let _invocation = invocation.enter();
        let task = tracing::info_span!(
            "task",
            job_id = "inner",
            stage = 2,
            outcome = tracing::field::Empty
        );
        let _task = task.enter();
        task.record("outcome", "failed");
        tracing::warn!(
            reason = "line 1\nline \u{1b}[2J2",
            level = 7,
            r#type = true,
            "what\nhappened"
        );
    }

    #[test]
    fn a_json_line_is_flat_and_inner_spans_win() {
        let lines = said(JsonOrText::Json, say);
        assert_eq!(lines.matches('\n').count(), 1);
        let mut line: Value = serde_json::from_str(&lines).unwrap();
        assert!(line.as_object_mut().unwrap().remove("timestamp").unwrap().is_string());
        let wanted = serde_json::json!({
            "level": "warn", "target": "lastlight_engine::telemetry::log::tests", "message": "what\nhappened",
            "reason": "line 1\nline \u{1b}[2J2", "type": true,
            "invocation_id": "i-1", "job_id": "inner", "stage": 2, "outcome": "failed",
        });
        assert_eq!(line, wanted);
    }

    #[test]
    fn no_value_can_break_or_colour_a_text_line() {
        let line = said(JsonOrText::Text { color: false }, say);
        let (_, line) = line.split_once(' ').unwrap();
        assert_eq!(
            line,
            " WARN lastlight_engine::telemetry::log::tests: what\\nhappened level=7 reason=line 1\\nline \\u{1b}[2J2 type=true \
             job_id=inner stage=2\n"
        );
    }

    #[test]
    fn an_event_without_a_span_has_its_own_fields() {
        let lines = said(JsonOrText::Json, || tracing::info!(n = 1, "alone"));
        let line: Value = serde_json::from_str(&lines).unwrap();
        let mut names: Vec<_> = line.as_object().unwrap().keys().cloned().collect();
        names.sort();
        assert_eq!(names, ["level", "message", "n", "target", "timestamp"]);
    }
}
