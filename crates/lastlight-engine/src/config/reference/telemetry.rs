//! The log, and the export of spans.

use super::{Group, anything};
use crate::config::{
    declaration::{Choice, Given, Number, Text},
    values::{LogFormat, is_log_level},
};

pub(super) static GROUP: Group = Group {
    title: "Log and spans",
    about: "Spans are exported by OTLP over HTTP if a collector is set; the other `OTEL_*` settings are read only then. \
            [TRACING.md](TRACING.md) describes the spans.",
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
    allowed: "error, warn, info, debug or trace (also critical and warning), in any case, or a filter such as \
              info,lastlight=debug",
    is_allowed: is_log_level,
    meaning: "The log level.",
};

pub(in crate::config) static LOG_FORMAT: Choice<LogFormat> = Choice {
    name: "LOG_FORMAT",
    default: ("auto", LogFormat::Auto),
    others: &[("json", LogFormat::Json), ("text", LogFormat::Text)],
    what: "a log format",
    meaning: "The log format: `auto` is text on a terminal and JSON elsewhere.",
};

pub(in crate::config) static OTLP_ENDPOINT: Given = Given {
    name: "OTEL_EXPORTER_OTLP_ENDPOINT",
    allowed: "an address such as `https://collector.example:4318`; plain HTTP only to this machine",
    is_secret: false,
    meaning: "The address of the collector; `v1/traces` is appended. If not set, no spans are exported.",
};

pub(in crate::config) static OTLP_HEADERS: Given = Given {
    name: "OTEL_EXPORTER_OTLP_HEADERS",
    allowed: "`name=value,name=value`, with characters other than letters and digits in values percent-encoded",
    is_secret: true,
    meaning: "HTTP headers for the collector, usually keys.",
};

pub(in crate::config) static OTLP_TIMEOUT: Number<u64> = Number {
    name: "OTEL_EXPORTER_OTLP_TIMEOUT",
    default: 10_000,
    min: 1,
    max: 60_000,
    unit: "milliseconds",
    meaning: "Timeout of one request to the collector.",
};

pub(in crate::config) static OTEL_SERVICE_NAME: Text = Text {
    name: "OTEL_SERVICE_NAME",
    default: "lastlight",
    what: "a name",
    allowed: "any text",
    is_allowed: anything,
    meaning: "The service name in the spans. If not set, `WEBSITE_SITE_NAME` is used.",
};

pub(in crate::config) static WEBSITE_SITE_NAME: Given = Given {
    name: "WEBSITE_SITE_NAME",
    allowed: "any text",
    is_secret: false,
    meaning: "The app's name, set by Azure. If set, sign-in by identity uses the app's managed identity.",
};

/// Whether the caller's sampling decision is followed, and the ratio of sampled traces; `None`: the
/// ratio is `OTEL_TRACES_SAMPLER_ARG`.
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
    meaning: "Which traces are sampled. `traceidratio` takes its ratio from `OTEL_TRACES_SAMPLER_ARG`; `parentbased_` \
              samplers follow the caller's sampling decision for its trace.",
};

pub(in crate::config) static OTEL_TRACES_SAMPLER_ARG: Number<f64> = Number {
    name: "OTEL_TRACES_SAMPLER_ARG",
    default: 1.0,
    min: 0.0,
    max: 1.0,
    unit: "",
    meaning: "The ratio of traces that `traceidratio` samples.",
};
