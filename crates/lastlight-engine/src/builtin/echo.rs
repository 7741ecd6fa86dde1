//! The handler `echo` returns its parameters: a placeholder for work in a workflow that is being
//! written, and a way to reshape values with a task's templates.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::{
    parameters::{OF_THE_TASK, no_object},
    reference::HandlerReference,
};
use crate::job::{TaskContext, TaskError};

pub(super) const NAME: &str = "echo";

pub(super) fn reference() -> HandlerReference {
    HandlerReference {
        name: NAME,
        about: "Returns its parameters: a placeholder for work, and a way to put values together with templates. It takes \
                any parameters."
            .to_owned(),
        returns: "its parameters, without those that the task itself adds",
        parameters: Vec::new(),
    }
}

/// Returns the parameters as they were written, without those that the task itself adds.
pub(super) async fn echo(
    _: TaskContext,
    given: Box<RawValue>,
) -> Result<BTreeMap<String, Box<RawValue>>, TaskError> {
    let mut fields: BTreeMap<String, Box<RawValue>> =
        serde_json::from_str(given.get()).map_err(|_| no_object(NAME))?;
    for name in OF_THE_TASK {
        fields.remove(name);
    }
    Ok(fields)
}
