//! Counts responses by route and status class, for `GET /api/metrics`. Invocations for queue
//! messages are counted too.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use axum::{
    extract::{MatchedPath, Request, State},
    middleware::Next,
    response::Response,
};

const CLASSES: usize = 5;

/// Responses by route. The keys are the router's routes, so their number is bounded whatever
/// clients request; the write lock is taken once per route.
#[derive(Debug, Default)]
pub(super) struct RequestMetrics(RwLock<BTreeMap<String, [AtomicU64; CLASSES]>>);

impl RequestMetrics {
    fn note(&self, route: &str, status: u16) {
        let class = (usize::from(status / 100)).clamp(1, CLASSES) - 1;
        if let Some(counts) = self.0.read().unwrap_or_else(PoisonError::into_inner).get(route) {
            counts[class].fetch_add(1, Ordering::Relaxed);
            return;
        }
        let mut routes = self.0.write().unwrap_or_else(PoisonError::into_inner);
        routes.entry(route.to_owned()).or_default()[class].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of responses for each route and status class with at least one.
    pub(super) fn counts(&self) -> Vec<(String, &'static str, u64)> {
        const NAMES: [&str; CLASSES] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
        let routes = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut counts = Vec::new();
        for (route, classes) in routes.iter() {
            for (name, count) in NAMES.into_iter().zip(classes) {
                let count = count.load(Ordering::Relaxed);
                if count > 0 {
                    counts.push((route.clone(), name, count));
                }
            }
        }
        counts
    }
}

pub(super) async fn count(
    State(request_metrics): State<Arc<RequestMetrics>>,
    request: Request,
    next: Next,
) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let response = next.run(request).await;
    let route = route.as_ref().map_or("none", MatchedPath::as_str);
    request_metrics.note(route, response.status().as_u16());
    response
}
