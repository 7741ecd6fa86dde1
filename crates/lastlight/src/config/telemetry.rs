//! What is said and to whom: the log's level and form, and the collector that spans go to, by
//! OpenTelemetry's own names.

use std::time::Duration;

use http::{HeaderName, HeaderValue};
use percent_encoding::percent_decode_str;
use url::Url;

use super::{
    Env, Secret,
    endpoint::checked,
    reference as setting,
    values::{LogFormat, log_level},
};

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
        Self {
            level: log_level(&env.text(&setting::LOG_LEVEL)),
            format: env.choice(&setting::LOG_FORMAT),
        }
    }
}

impl OtlpSettings {
    /// `None` where no collector is named. The rest is checked only then.
    pub(super) fn from_env(env: &mut Env) -> Option<Self> {
        let text = env.get(&setting::OTLP_ENDPOINT).map(str::to_owned)?;
        let endpoint = match checked("it", &text)
            .and_then(|url| url.join("v1/traces").map_err(|e| e.to_string()))
        {
            Ok(endpoint) => Some(endpoint),
            Err(problem) => {
                env.problem(
                        setting::OTLP_ENDPOINT.name,
                        problem,
                        "Set it to the collector's address, https://collector.example:4318; keys belong into \
                     OTEL_EXPORTER_OTLP_HEADERS. Leave it out to send no spans.",
                    );
                None
            }
        };
        let headers = headers(env);
        let timeout = Duration::from_millis(env.number(&setting::OTLP_TIMEOUT));
        let site = env.get(&setting::WEBSITE_SITE_NAME).map(str::to_owned);
        let service_name = env.text_or(
            &setting::OTEL_SERVICE_NAME,
            site.as_deref().unwrap_or(setting::OTEL_SERVICE_NAME.default),
        );
        let sampler = sampler(env);
        Some(Self { endpoint: endpoint?, headers, timeout, service_name, sampler })
    }
}

/// `name=value,name=value`, values percent-encoded. No part of it is shown: any may be a key.
fn headers(env: &mut Env) -> Vec<(String, Secret)> {
    let text = env.get(&setting::OTLP_HEADERS).unwrap_or_default().to_owned();
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
                setting::OTLP_HEADERS.name,
                format!("its entry number {} is not name=value (the value is a secret)", number + 1),
                "Write it as name=value,name=value, with what is not a letter or a digit in a value percent-encoded.",
            ),
        }
    }
    headers
}

fn sampler(env: &mut Env) -> SamplerSettings {
    let said = env.number(&setting::OTEL_TRACES_SAMPLER_ARG);
    let (asks_parent, share) = env.choice(&setting::OTEL_TRACES_SAMPLER);
    SamplerSettings { asks_parent, share: share.unwrap_or(said) }
}
