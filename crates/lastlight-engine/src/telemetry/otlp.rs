//! Export of spans to a collector: OTLP over HTTP, in batches, from a separate thread, through a
//! bounded queue. If the collector is unavailable, only spans are lost; this is logged once, and
//! once more when it is available again.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use http::header::RETRY_AFTER;
use opentelemetry::{KeyValue, trace::TracerProvider};
use opentelemetry_http::{HttpClient, HttpError, Request, Response};
use opentelemetry_otlp::{Protocol, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::{
    Resource,
    error::OTelSdkResult,
    trace::{
        BatchConfigBuilder, BatchSpanProcessor, Sampler, SdkTracer, SdkTracerProvider, SpanData,
        SpanExporter,
    },
};
use tokio::runtime::Handle;

use crate::config::{OtlpSettings, SamplerSettings};

/// Maximum number of waiting spans; further spans are dropped.
const QUEUE: usize = 8192;

/// Maximum number of spans per request.
const BATCH: usize = 512;

/// Interval between requests while there are few spans.
const EVERY: Duration = Duration::from_secs(2);

/// Time for the last spans when the process stops.
const LAST: Duration = Duration::from_secs(3);

/// Maximum number of bytes read from a response body.
const LARGEST_ANSWER: usize = 64 * 1024;

/// The exporter cannot be set up.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("spans cannot be exported: {0}")]
pub struct ExporterError(String);

/// Collects spans and sends them.
#[derive(Debug, Clone)]
pub struct Exporter(SdkTracerProvider);

impl Exporter {
    /// Starts the exporter. Must be called within a tokio runtime.
    ///
    /// # Errors
    /// The client cannot be set up.
    pub fn start(settings: &OtlpSettings) -> Result<Self, ExporterError> {
        let headers = settings
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect();
        let exporter = opentelemetry_otlp::SpanExporter::builder()
            .with_http()
            .with_http_client(Client::new(settings)?)
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(settings.endpoint.as_str())
            .with_timeout(settings.timeout)
            .with_headers(headers)
            .build()
            .map_err(|error| ExporterError(error.to_string()))?;
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(QUEUE)
            .with_max_export_batch_size(BATCH)
            .with_scheduled_delay(EVERY)
            .build();
        let exporter = SaidOnce { exporter, is_away: AtomicBool::new(false) };
        let resource = Resource::builder_empty()
            .with_attributes([
                KeyValue::new("service.name", settings.service_name.clone()),
                KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
                KeyValue::new("process.pid", i64::from(std::process::id())),
            ])
            .build();
        let provider = SdkTracerProvider::builder()
            .with_sampler(sampler(settings.sampler))
            .with_resource(resource)
            .with_span_processor(
                BatchSpanProcessor::builder(exporter).with_batch_config(batches).build(),
            )
            .build();
        Ok(Self(provider))
    }

    pub(super) fn tracer(&self) -> SdkTracer {
        self.0.tracer("lastlight")
    }

    /// Sends the waiting spans, for at most a few seconds.
    pub async fn stop(self) {
        let stopped = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(LAST));
        let _ = tokio::time::timeout(LAST + Duration::from_secs(1), stopped).await;
    }
}

fn sampler(SamplerSettings { asks_parent, share }: SamplerSettings) -> Sampler {
    let own = Sampler::TraceIdRatioBased(share);
    if asks_parent { Sampler::ParentBased(Box::new(own)) } else { own }
}

/// Adapts reqwest to the exporter's HTTP client trait. The exporter's thread has no runtime, so
/// requests run on the runtime of the process.
#[derive(Debug)]
struct Client {
    http: reqwest::Client,
    runtime: Handle,
}

impl Client {
    fn new(settings: &OtlpSettings) -> Result<Self, ExporterError> {
        let http = reqwest::Client::builder()
            // A redirect would leak the keys to another host.
            .redirect(reqwest::redirect::Policy::none())
            .https_only(settings.endpoint.scheme() == "https")
            .connect_timeout(settings.timeout.min(Duration::from_secs(5)))
            .timeout(settings.timeout)
            .build()
            .map_err(|error| ExporterError(error.without_url().to_string()))?;
        Ok(Self { http, runtime: Handle::current() })
    }
}

#[async_trait]
impl HttpClient for Client {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let request = reqwest::Request::try_from(request)?;
        let http = self.http.clone();
        let sent = self.runtime.spawn(async move {
            let mut answer = http.execute(request).await?;
            let status = answer.status();
            let retry_after = answer.headers().get(RETRY_AFTER).cloned();
            // An error response may repeat the request's keys, and the exporter would repeat its
            // body.
            if !status.is_success() {
                return Ok((status, retry_after, Vec::new()));
            }
            let mut body = Vec::new();
            while let Some(chunk) = answer.chunk().await? {
                if body.len() + chunk.len() > LARGEST_ANSWER {
                    break;
                }
                body.extend_from_slice(&chunk);
            }
            Ok::<_, reqwest::Error>((status, retry_after, body))
        });
        let (status, retry_after, body) = sent.await?.map_err(reqwest::Error::without_url)?;
        let mut response = Response::new(Bytes::from(body));
        *response.status_mut() = status;
        if let Some(value) = retry_after {
            response.headers_mut().insert(RETRY_AFTER, value);
        }
        Ok(response)
    }
}

/// Logs once that the collector is unavailable, and once that it is available again.
#[derive(Debug)]
struct SaidOnce<E> {
    exporter: E,
    is_away: AtomicBool,
}

impl<E: SpanExporter> SpanExporter for SaidOnce<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let result = self.exporter.export(batch).await;
        match (&result, self.is_away.swap(result.is_err(), Ordering::Relaxed)) {
            (Err(error), false) => {
                tracing::warn!(%error, "spans cannot be sent and are dropped until the collector is available")
            }
            (Ok(()), true) => tracing::info!("spans can be sent again"),
            _ => {}
        }
        result
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
