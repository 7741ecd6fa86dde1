//! The limits that no table of fields has.

use crate::{LARGEST_FILE, MOST_NODES, limits as l};

/// A limit of the format.
#[derive(Debug)]
pub struct Limit {
    /// What is limited.
    pub what: &'static str,
    /// The largest number.
    pub most: String,
}

/// The limits of a file that no table of fields has.
pub fn limits() -> Vec<Limit> {
    let limit = |what, most: u64| Limit { what, most: super::grouped(most) };
    vec![
        limit("bytes of a file", LARGEST_FILE as u64),
        limit("nodes of a workflow, with `finalize`", MOST_NODES as u64),
        limit(
            "characters of the name of a workflow, node, queue or job type",
            l::LONGEST_NAME as u64,
        ),
        limit("characters of the name of a parameter", l::LONGEST_PARAMETER as u64),
        limit("characters of the name of a handler", l::LONGEST_HANDLER as u64),
        limit("parameters, and fields of one", l::MOST_PARAMETERS as u64),
        limit("lists and mappings in one another", l::MOST_LEVELS as u64),
        limit(
            "values of a file, with those of its anchors where they are used",
            l::MOST_VALUES as u64,
        ),
        limit("values that anchors add where they are used", l::MOST_VALUES_OF_ALIASES as u64),
        limit("bytes of text, with that of anchors where they are used", l::MOST_TEXT as u64),
        limit("problems of one file that are told", l::MOST_PROBLEMS as u64),
        limit("characters of an expression", l::LONGEST_EXPRESSION as u64),
        limit("steps of one evaluation of an expression", l::FUEL),
        limit("values of the result of an expression", l::MOST_VALUES_OF_EXPRESSION as u64),
        limit("bytes of text of the result of an expression", l::MOST_BYTES_OF_EXPRESSION as u64),
    ]
}
