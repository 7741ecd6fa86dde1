//! The HTTP client under the SDK, which logs the headers of a response: headers that repeat a
//! credential are removed.

use async_trait::async_trait;
use azure_core::http::{AsyncRawResponse, HttpClient, Request, headers::Headers};

use crate::transport::http::repeats_credential;

#[derive(Debug)]
pub(super) struct Client(pub(super) reqwest::Client);

#[async_trait]
impl HttpClient for Client {
    async fn execute_request(&self, request: &Request) -> azure_core::Result<AsyncRawResponse> {
        let (status, headers, body) = self.0.execute_request(request).await?.deconstruct();
        let mut kept = Headers::new();
        for (name, value) in headers.iter() {
            if !repeats_credential(value.as_str(), &[]) {
                kept.insert(name.clone(), value.clone());
            }
        }
        Ok(AsyncRawResponse::new(status, kept, Box::pin(body)))
    }
}
