//! The built-in handlers of workflows.

use super::Group;
use crate::config::declaration::Given;

pub(super) static GROUP: Group =
    Group { title: "Built-in handlers", about: "", settings: &[&HTTP_CALL_ALLOW] };

pub(in crate::config) static HTTP_CALL_ALLOW: Given = Given {
    name: "LASTLIGHT_HTTP_CALL_ALLOW",
    allowed: "addresses, separated by commas: `https://api.example.com`, or `https://api.example.com/v1/` for what is below \
              this path; plain HTTP only to this machine",
    is_secret: false,
    meaning: "The addresses that the handler `http_call` may call. Whoever may submit a job chooses the URL of a call, so \
              name only what they may reach. If not set, every call is refused.",
};
