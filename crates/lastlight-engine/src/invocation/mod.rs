//! Decodes the Functions host's payloads and encodes responses (see the host's custom handler
//! contract). It passes on texts and does not depend on jobs or tasks.

mod answer;
mod payload;

pub use answer::{failure, http_answer, success};
pub use payload::{
    HttpRequestData, InvocationError, MessageText, Messages, deliveries, http_request, message,
    messages,
};
