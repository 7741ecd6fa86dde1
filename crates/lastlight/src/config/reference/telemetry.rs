//! What is logged, and where spans go.

use super::{Group, anything};
use crate::config::{
    declaration::{Choice, Given, Number, Text},
    values::{LogFormat, is_log_level},
};

pub(super) static GROUP: Group = Group {
    title: "Log and spans",
    about: "Spans go to a collector, OTLP over HTTP, where one is named; the other `OTEL_*` are read only then. \
            [TRACING.md](TRACING.md) says what they hold.",
    settings: &[
        &LOG_LEVEL,
        &LOG_FORMAT,
        &OTLP_ENDPOINT,
        &OTLP_HEADERS,
        &OTLP_TIMEOUT,
        &OTEL_SERVICE_NAME,
        &WEBSITE_SITE_NAME,
        &OTEL_TRACES_SAMPLER,
        &OTEL_TRACES_SAMPLER_ARG,
    ],
};

pub(in crate::config) static LOG_LEVEL: Text = Text {
    name: "LOG_LEVEL",
    default: "info",
    what: "a log level",
    allowed: "error, warn, info, debug or trace in any case (critical and warning, too), or a filter such as \
              info,lastlight=debug",
    is_allowed: is_log_level,
    meaning: "What the log says.",
};

pub(in crate::config) static LOG_FORMAT: Choice<LogFormat> = Choice {
    name: "LOG_FORMAT",
    default: ("auto", LogFormat::Auto),
    others: &[("json", LogFormat::Json), ("text", LogFormat::Text)],
    what: "a form of the log",
    meaning: "`auto` is text on a terminal and JSON elsewhere.",
};

pub(in crate::config) static OTLP_ENDPOINT: Given = Given {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    allowed: "`https://collector.example:4318`; plain HTTP on this machine alone",
    is_secret: false,
    meaning: "The collector; `v1/traces` is added. Without it there are no spans.",
};

pub(in crate::config) static OTLP_HEADERS: Given = Given {
    name: "OTEL_EXPORTER_OTLP_HEADERS",
    allowed: "`name=value,name=value`, with what is not a letter or a digit in a value percent-encoded",
    is_secret: true,
    meaning: "What the collector wants to see: keys, usually.",
};

pub(in crate::config) static OTLP_TIMEOUT: Number<u64> = Number {
    name: "OTEL_EXPORTER_OTLP_TIMEOUT",
    default: 10_000,
    min: 1,
    max: 60_000,
    unit: "milliseconds",
    meaning: "How long one request to the collector may take.",
};

pub(in crate::config) static OTEL_SERVICE_NAME: Text = Text {
    name: "OTEL_SERVICE_NAME",
    default: "lastlight",
    what: "a name",
    allowed: "any text",
    is_allowed: anything,
    meaning: "The service that the spans name. Without it, `WEBSITE_SITE_NAME` counts.",
};

pub(in crate::config) static WEBSITE_SITE_NAME: Given = Given {
    name: "WEBSITE_SITE_NAME",
    allowed: "any text",
    is_secret: false,
    meaning: "The app's name. Azure sets it; with it, sign-in by identity is the app's managed identity.",
};

/// Whether the caller's word counts, and the share of traces; `None`: `OTEL_TRACES_SAMPLER_ARG`
/// says it.
pub(in crate::config) static OTEL_TRACES_SAMPLER: Choice<(bool, Option<f64>)> = Choice {
    name: "OTEL_TRACES_SAMPLER",
    default: ("parentbased_always_on", (true, Some(1.0))),
    others: &[
        ("parentbased_always_off", (true, Some(0.0))),
        ("parentbased_traceidratio", (true, None)),
        ("always_on", (false, Some(1.0))),
        ("always_off", (false, Some(0.0))),
        ("traceidratio", (false, None)),
    ],
    what: "a sampler",
    meaning: "Which traces are recorded. `traceidratio` takes its share from `OTEL_TRACES_SAMPLER_ARG`; with `parentbased_` \
              what the caller says of its own trace counts.",
};

pub(in crate::config) static OTEL_TRACES_SAMPLER_ARG: Number<f64> = Number {
    name: "OTEL_TRACES_SAMPLER_ARG",
    default: 1.0,
    min: 0.0,
    max: 1.0,
    unit: "",
    meaning: "The share of traces that `traceidratio` records.",
};
