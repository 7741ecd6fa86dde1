//! Why a node cannot be evaluated.

/// Why a node cannot be evaluated. Each is final: the same values give the same error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EvaluationError {
    /// A path leads nowhere.
    #[error("node {node:?}: {field} needs {path}, but {reason}")]
    Missing {
        /// The node that is evaluated.
        node: String,
        /// Its field that has the path.
        field: String,
        /// The path.
        path: String,
        /// How far it leads, and the keys that there are.
        reason: String,
    },
    /// A template has no value.
    #[error("node {node:?}: {field}: {reason}")]
    Template {
        /// The node that is evaluated.
        node: String,
        /// Its field that has the template, with the index of the item, if there is one.
        field: String,
        /// Why.
        reason: String,
    },
    /// The source of a fan-out is no list.
    #[error("node {node:?}: source {path} must be a list, but it is {found}")]
    NotAList {
        /// The node that is evaluated.
        node: String,
        /// The path of the source.
        path: String,
        /// The type of the value.
        found: &'static str,
    },
    /// The source of a fan-out is too long.
    #[error("node {node:?}: its source has {items} items, more than max_fan_out ({max_fan_out})")]
    TooManyItems {
        /// The node that is evaluated.
        node: String,
        /// Number of items.
        items: u64,
        /// The largest number of items.
        max_fan_out: u32,
    },
    /// The source file of a fan-out is no address.
    #[error("node {node:?}: source_file {path} must be the address of a blob, but it is {found}")]
    NotAnAddress {
        /// The node that is evaluated.
        node: String,
        /// The path of the address.
        path: String,
        /// The value, truncated.
        found: String,
    },
    /// A node of this type does not have what was asked for: a mistake of the caller.
    #[error("node {node:?} is a {kind}: it has no {wanted}")]
    WrongType {
        /// The node that is evaluated.
        node: String,
        /// Its type.
        kind: &'static str,
        /// What was asked for.
        wanted: &'static str,
    },
}
