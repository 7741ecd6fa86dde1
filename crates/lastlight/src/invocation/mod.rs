//! The Functions host's payloads in, answers out (see the host's custom handler contract). Knows
//! neither jobs nor tasks: it hands on texts.

mod answer;
mod payload;

pub use answer::{failure, http_answer, success};
pub use payload::{
    HttpRequestData, InvocationError, MessageText, Messages, deliveries, http_request, message,
    messages,
};
