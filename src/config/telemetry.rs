//! What is said and to whom: the log's level and form, and the collector that spans go to, by OpenTelemetry's own names.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{Env, Secret, endpoint::checked, env::shown};

/// `LOG_FORMAT`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Text on a terminal, JSON elsewhere.
    #[default]
    Auto,
    /// One object a line.
    Json,
    /// For people.
    Text,
}

/// What the log says, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `LOG_LEVEL`: error, warn, info, debug or trace, or a filter such as `info,lastlight=debug`.
    pub level: String,
    /// `LOG_FORMAT`.
    pub format: LogFormat,
}

/// The collector that spans go to: OTLP over HTTP, protobuf.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` with `v1/traces`.
    pub endpoint: Url,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: keys, usually.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: one request.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: SamplerSettings,
}

/// Which traces are recorded.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerSettings {
    /// What the caller says of its trace counts.
    pub asks_parent: bool,
    /// The share of traces that begin here, or of all: 0 to 1.
    pub share: f64,
}

impl LogSettings {
    pub(super) fn from_env(env: &mut Env) -> Self {
        let level = level(env);
        let given = env.get_or("LOG_FORMAT", "auto");
        let format = match given.to_ascii_lowercase().as_str() {
            "auto" => LogFormat::Auto,
            "json" => LogFormat::Json,
            "text" => LogFormat::Text,
            _ => {
                env.problem(
                    "LOG_FORMAT",
                    format!("{} is not a form of the log", shown(&given)),
                    "Set it to json or text, or leave it out for text on a terminal and json elsewhere.",
                );
                LogFormat::Auto
            }
        };
        Self { level, format }
    }
}

fn level(env: &mut Env) -> String {
    let given = env.get_or("LOG_LEVEL", "info");
    let level = given.to_ascii_lowercase();
    // Python's names for the same.
    let level = match level.as_str() {
        "warning" => "warn".to_owned(),
        "critical" => "error".to_owned(),
        _ => level,
    };
    if level.parse::<tracing_subscriber::EnvFilter>().is_err() {
        env.problem(
            "LOG_LEVEL",
            format!("{} is not a log level", shown(&given)),
            "Set it to info, debug or warning.",
        );
    }
    level
}

impl OtlpSettings {
    /// `None` where no collector is named. The rest is checked only then.
    pub(super) fn from_env(env: &mut Env) -> Option<Self> {
        const ENDPOINT: &str = "OTEL_EXPORTER_OTLP_ENDPOINT";
        let text = env.get(ENDPOINT).map(str::to_owned)?;
        let endpoint =
            match checked("it", &text).and_then(|url| url.join("v1/traces").map_err(|e| e.to_string())) {
                Ok(endpoint) => Some(endpoint),
                Err(problem) => {
                    env.problem(
                        ENDPOINT,
                        problem,
                        "Set it to the collector's address, https://collector.example:4318; keys belong into \
                     OTEL_EXPORTER_OTLP_HEADERS. Leave it out to send no spans.",
                    );
                    None
                }
            };
        let headers = headers(env);
        let timeout = Duration::from_millis(env.number("OTEL_EXPORTER_OTLP_TIMEOUT", 10_000, 1, 60_000));
        let site = env.get_or("WEBSITE_SITE_NAME", "lastlight");
        let service_name = env.get_or("OTEL_SERVICE_NAME", &site);
        let sampler = sampler(env);
        Some(Self {
            endpoint: endpoint?,
            headers,
            timeout,
            service_name,
            sampler,
        })
    }
}

/// `name=value,name=value`, values percent-encoded. No part of it is shown: any may be a key.
fn headers(env: &mut Env) -> Vec<(String, Secret)> {
    const HEADERS: &str = "OTEL_EXPORTER_OTLP_HEADERS";
    let text = env.get_or(HEADERS, "");
    let mut headers = Vec::new();
    for (number, pair) in text.split(',').map(str::trim).enumerate() {
        if pair.is_empty() {
            continue;
        }
        let header = pair.split_once('=').and_then(|(name, value)| {
            let value = percent_decode_str(value.trim()).decode_utf8().ok()?;
            HeaderValue::from_str(&value).ok()?;
            let name: HeaderName = name.trim().parse().ok()?;
            Some((name.to_string(), Secret::new(value.into_owned())))
        });
        match header {
            Some(header) => headers.push(header),
            None => env.problem(
                HEADERS,
                format!("its entry number {} is not name=value (the value is a secret)", number + 1),
                "Write it as name=value,name=value, with what is not a letter or a digit in a value percent-encoded.",
            ),
        }
    }
    headers
}

fn sampler(env: &mut Env) -> SamplerSettings {
    const SAMPLER: &str = "OTEL_TRACES_SAMPLER";
    let share = env.number("OTEL_TRACES_SAMPLER_ARG", 1.0, 0.0, 1.0);
    let name = env.get_or(SAMPLER, "parentbased_always_on");
    let (asks_parent, share) = match name.to_ascii_lowercase().as_str() {
        "always_on" => (false, 1.0),
        "always_off" => (false, 0.0),
        "traceidratio" => (false, share),
        "parentbased_always_on" => (true, 1.0),
        "parentbased_always_off" => (true, 0.0),
        "parentbased_traceidratio" => (true, share),
        _ => {
            env.problem(
                SAMPLER,
                format!("{} is not a sampler", shown(&name)),
                "Set it to always_on, always_off or traceidratio, or one of these with parentbased_ before it; \
                 traceidratio takes its share, 0 to 1, from OTEL_TRACES_SAMPLER_ARG.",
            );
            (true, 1.0)
        }
    };
    SamplerSettings { asks_parent, share }
}
