//! The settings of the log (level and format), and of the collector of spans, under the names that
//! OpenTelemetry defines.

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

/// The level and the format of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// `LOG_LEVEL`: error, warn, info, debug or trace, or a filter such as `info,lastlight=debug`.
    pub level: String,
    /// `LOG_FORMAT`.
    pub format: LogFormat,
}

/// The collector of spans: OTLP over HTTP, protobuf.
#[derive(Debug, Clone)]
pub struct OtlpSettings {
    /// `OTEL_EXPORTER_OTLP_ENDPOINT` with `v1/traces`.
    pub endpoint: Url,
    /// `OTEL_EXPORTER_OTLP_HEADERS`: usually keys.
    pub headers: Vec<(String, Secret)>,
    /// `OTEL_EXPORTER_OTLP_TIMEOUT`: the timeout of one request.
    pub timeout: Duration,
    /// `OTEL_SERVICE_NAME`.
    pub service_name: String,
    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`.
    pub sampler: SamplerSettings,
}

/// Which traces are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SamplerSettings {
    /// Whether the caller's sampling decision is followed.
    pub asks_parent: bool,
    /// The ratio of sampled traces, of those that start here or of all: 0 to 1.
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
    /// `None` if no collector is set; the other settings are checked only if one is.
    pub(super) fn from_env(env: &mut Env) -> Option<Self> {
        let text = env.get(&setting::OTLP_ENDPOINT).map(str::to_owned)?;
        let endpoint = match checked("the address", &text)
            .and_then(|url| url.join("v1/traces").map_err(|e| e.to_string()))
        {
            Ok(endpoint) => Some(endpoint),
            Err(problem) => {
                env.problem(
                        setting::OTLP_ENDPOINT.name,
                        problem,
                        "Set it to the collector's address, such as https://collector.example:4318; put keys into \
                     OTEL_EXPORTER_OTLP_HEADERS. Omit it to send no spans.",
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

/// Parses `name=value,name=value`, with percent-encoded values. Messages contain no part of it,
/// since any may be a key.
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
                "Write it as name=value,name=value, with characters other than letters and digits in values percent-encoded.",
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
