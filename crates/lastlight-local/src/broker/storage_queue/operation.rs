//! The operation of a request, from its method, path and query, and the right that it requires.

use std::collections::BTreeMap;

use axum::http::Method;

use super::refusal::Refusal;

/// The decoded query of a request, by lower-case name.
pub(super) type Query = BTreeMap<String, String>;

/// The operations of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation<'a> {
    ListQueues,
    CreateQueue(&'a str),
    DeleteQueue(&'a str),
    GetMetadata(&'a str),
    SetMetadata(&'a str),
    Put(&'a str),
    Get(&'a str),
    Peek(&'a str),
    Clear(&'a str),
    Delete { queue: &'a str, id: &'a str },
    Update { queue: &'a str, id: &'a str },
}

/// What an account signature must contain for an operation: one of the resource types, and one of
/// the rights. The table is in "Create an account SAS" of the REST reference of Azure Storage;
/// where it and Azurite differ, either is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Right {
    pub(super) resource_types: &'static str,
    pub(super) rights: &'static str,
}

impl<'a> Operation<'a> {
    /// The operation on the part of the path after `/<account>`.
    pub(super) fn of(method: &Method, path: &'a str, query: &Query) -> Result<Self, Refusal> {
        let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
        let said = |name: &str| query.get(name).map(String::as_str).unwrap_or_default();
        let is_metadata = said("comp") == "metadata";
        if let [queue, ..] = parts.as_slice()
            && !queue.is_empty()
        {
            check_name(queue)?;
        }
        Ok(match (parts.as_slice(), method) {
            ([""], &Method::GET) if said("comp") == "list" => Self::ListQueues,
            ([queue], &Method::PUT) if is_metadata => Self::SetMetadata(queue),
            ([queue], &Method::PUT) if !queue.is_empty() => Self::CreateQueue(queue),
            ([queue], &Method::DELETE) if !queue.is_empty() => Self::DeleteQueue(queue),
            ([queue], &Method::GET | &Method::HEAD) if is_metadata => Self::GetMetadata(queue),
            ([queue, "messages"], &Method::POST) => Self::Put(queue),
            ([queue, "messages"], &Method::GET)
                if said("peekonly").eq_ignore_ascii_case("true") =>
            {
                Self::Peek(queue)
            }
            ([queue, "messages"], &Method::GET) => Self::Get(queue),
            ([queue, "messages"], &Method::DELETE) => Self::Clear(queue),
            ([queue, "messages", id], &Method::DELETE) => Self::Delete { queue, id },
            ([queue, "messages", id], &Method::PUT) => Self::Update { queue, id },
            _ => return Err(Refusal::InvalidUri),
        })
    }

    /// The right that an account signature must contain.
    pub(super) fn right(self) -> Right {
        let (resource_types, rights) = match self {
            Self::ListQueues => ("s", "l"),
            Self::CreateQueue(_) => ("c", "cw"),
            Self::DeleteQueue(_) => ("c", "d"),
            Self::GetMetadata(_) => ("c", "r"),
            Self::SetMetadata(_) => ("c", "w"),
            Self::Put(_) => ("o", "a"),
            Self::Get(_) => ("o", "p"),
            Self::Peek(_) => ("o", "r"),
            Self::Clear(_) => ("co", "d"),
            Self::Delete { .. } => ("co", "p"),
            Self::Update { .. } => ("co", "u"),
        };
        Right { resource_types, rights }
    }
}

/// A queue name has 3 to 63 lower-case letters and digits, with single hyphens between them.
fn check_name(queue: &str) -> Result<(), Refusal> {
    if !(3..=63).contains(&queue.len()) {
        return Err(Refusal::OutOfRangeName);
    }
    let is_allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    if queue.split('-').all(|part| !part.is_empty() && part.chars().all(is_allowed)) {
        return Ok(());
    }
    Err(Refusal::InvalidName)
}
