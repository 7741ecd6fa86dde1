//! Fan-ins: one output from the outputs of many tasks, taken one by one.

use serde_json::{Map, Number, Value, json};

use crate::{
    Aggregation,
    names::{listed, type_of},
};

/// The outcome of one task of a fan-out.
#[derive(Debug, Clone, PartialEq)]
pub enum Child {
    /// Its output, whole.
    Completed(Value),
    /// It failed, and the fan-out tolerates that.
    Failed {
        /// The reason.
        error: String,
        /// The kind of failure, if its handler named one.
        error_type: Option<String>,
    },
}

impl Child {
    /// The item that stands for it in a list of outputs. One that failed has the form of a handler's
    /// answer, so that the place of each item in the list is that of its source.
    pub fn into_item(self) -> Value {
        match self {
            Self::Completed(output) => output,
            Self::Failed { error, error_type: None } => json!({ "success": false, "error": error }),
            Self::Failed { error, error_type: Some(error_type) } => {
                json!({ "success": false, "error": error, "error_type": error_type })
            }
        }
    }
}

/// Makes the output of a fan-in. Add the tasks of the fan-out in the order of its items.
#[derive(Debug, Clone)]
pub struct Aggregator {
    tasks: u64,
    made: Made,
}

/// What was made so far.
#[derive(Debug, Clone)]
enum Made {
    Collect(Vec<Value>),
    Sum(Total),
    Count(u64),
    First(Option<Value>),
    Last(Option<Value>),
    Concat(Map<String, Value>),
}

/// Why outputs cannot be gathered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("item {item} cannot be added up: {reason}")]
pub struct AggregateError {
    /// The index of the item, from 0.
    pub item: u64,
    /// What its output is, and what is allowed.
    pub reason: String,
}

impl Aggregator {
    /// Without any task.
    pub fn new(aggregation: Aggregation) -> Self {
        let made = match aggregation {
            Aggregation::Collect => Made::Collect(Vec::new()),
            Aggregation::Sum => Made::Sum(Total::Whole(0)),
            Aggregation::Count => Made::Count(0),
            Aggregation::First => Made::First(None),
            Aggregation::Last => Made::Last(None),
            Aggregation::Concat => Made::Concat(Map::new()),
        };
        Self { tasks: 0, made }
    }

    /// Adds the next task. Tasks that failed are items of `collect`; all others leave them out.
    ///
    /// The number that `sum` adds up is the first of these that is there: the output itself,
    /// `value`, `result`, `result.value`.
    ///
    /// # Errors
    /// `sum` finds no number in the output.
    pub fn add(&mut self, child: Child) -> Result<(), AggregateError> {
        let item = self.tasks;
        self.tasks += 1;
        let output = match (&mut self.made, child) {
            (Made::Collect(items), child) => {
                items.push(child.into_item());
                return Ok(());
            }
            (_, Child::Failed { .. }) => return Ok(()),
            (_, Child::Completed(output)) => output,
        };
        match &mut self.made {
            Made::Collect(items) => items.push(output),
            Made::Sum(total) => {
                let number = number(&output).map_err(|reason| AggregateError { item, reason })?;
                *total = total.plus(number);
            }
            Made::Count(count) => *count += 1,
            Made::First(first) => {
                first.get_or_insert(output);
            }
            Made::Last(last) => *last = Some(output),
            Made::Concat(all) => {
                if let Value::Object(fields) = output {
                    all.extend(fields);
                }
            }
        }
        Ok(())
    }

    /// The output of the fan-in.
    pub fn finish(self) -> Value {
        match self.made {
            Made::Collect(items) => json!({ "items": items }),
            Made::Sum(total) => json!({ "total": total.to_json() }),
            Made::Count(count) => json!({ "count": count }),
            Made::First(output) | Made::Last(output) => output.unwrap_or_else(|| json!({})),
            Made::Concat(all) => Value::Object(all),
        }
    }
}

impl Aggregation {
    /// The output of a fan-in over all tasks of its fan-out, in the order of the items.
    ///
    /// # Errors
    /// As for [`Aggregator::add`].
    pub fn aggregate(
        self,
        children: impl IntoIterator<Item = Child>,
    ) -> Result<Value, AggregateError> {
        let mut aggregator = Aggregator::new(self);
        children.into_iter().try_for_each(|child| aggregator.add(child))?;
        Ok(aggregator.finish())
    }
}

/// The number of an output.
fn number(output: &Value) -> Result<&Number, String> {
    let result = output.get("result");
    let value = |value: Option<&'_ Value>| value.and_then(|value| value.get("value")).is_some();
    let candidates = [
        Some(output),
        output.get("value"),
        result,
        result.filter(|_| value(result)).and_then(|result| result.get("value")),
    ];
    let number = candidates.into_iter().flatten().find_map(|candidate| match candidate {
        Value::Number(number) => Some(number),
        _ => None,
    });
    number.ok_or_else(|| {
        let is = match output {
            Value::Object(fields) => {
                format!("an object with the keys {}", listed(fields.keys().map(String::as_str)))
            }
            other => type_of(other).to_owned(),
        };
        format!(
            "its output must be a number, or have one as value, result or result.value; it is {is}"
        )
    })
}

/// A sum: exact as long as all numbers are whole.
#[derive(Debug, Clone, Copy)]
enum Total {
    Whole(i128),
    Float(f64),
}

impl Total {
    fn plus(self, number: &Number) -> Self {
        let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
        match (self, whole) {
            (Self::Whole(total), Some(number)) => match total.checked_add(number) {
                Some(total) => Self::Whole(total),
                None => Self::Float(total as f64 + number as f64),
            },
            (total, _) => Self::Float(total.float() + number.as_f64().unwrap_or_default()),
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(total) => total as f64,
            Self::Float(total) => total,
        }
    }

    fn to_json(self) -> Value {
        let whole = match self {
            Self::Whole(total) => i64::try_from(total)
                .map(Value::from)
                .or_else(|_| u64::try_from(total).map(Value::from))
                .ok(),
            Self::Float(_) => None,
        };
        whole.unwrap_or_else(|| Value::from(self.float()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(outputs: &[Value]) -> Vec<Child> {
        outputs.iter().cloned().map(Child::Completed).collect()
    }

    #[test]
    fn collect_has_each_output_whole_at_the_place_of_its_item() {
        let children = vec![
            Child::Completed(json!({"success": true, "result": 1})),
            Child::Failed { error: "no data".to_owned(), error_type: Some("Empty".to_owned()) },
            Child::Failed { error: "killed".to_owned(), error_type: None },
            Child::Completed(json!({"success": true, "path": "a"})),
        ];
        assert_eq!(
            Aggregation::Collect.aggregate(children),
            Ok(json!({"items": [
                {"success": true, "result": 1},
                {"success": false, "error": "no data", "error_type": "Empty"},
                {"success": false, "error": "killed"},
                {"success": true, "path": "a"},
            ]}))
        );
    }

    #[test]
    fn sum_adds_up_numbers_wherever_outputs_have_them() {
        let sum = |outputs: &[Value]| Aggregation::Sum.aggregate(completed(outputs));
        let outputs = [
            json!(1),
            json!({"success": true, "value": 2}),
            json!({"success": true, "result": 3}),
            json!({"success": true, "result": {"value": 4, "other": 100}}),
        ];
        assert_eq!(sum(&outputs), Ok(json!({"total": 10})));
        assert_eq!(sum(&[json!(0.5), json!(1)]), Ok(json!({"total": 1.5})));
        assert_eq!(sum(&[json!(u64::MAX)]), Ok(json!({"total": u64::MAX})));
        assert_eq!(sum(&[]), Ok(json!({"total": 0})));
        assert_eq!(
            sum(&[json!(1), json!({"success": true, "pixels": 5})]).unwrap_err().to_string(),
            "item 1 cannot be added up: its output must be a number, or have one as value, result \
             or result.value; it is an object with the keys pixels, success"
        );
    }

    #[test]
    fn count_first_and_last_look_at_completed_tasks_only() {
        let failed = Child::Failed { error: "no data".to_owned(), error_type: None };
        let mut children = completed(&[json!({"a": 1}), json!({"a": 2, "b": 3})]);
        children.insert(0, failed.clone());
        children.push(failed);
        let made = |aggregation: Aggregation| aggregation.aggregate(children.clone()).unwrap();
        assert_eq!(made(Aggregation::Count), json!({"count": 2}));
        assert_eq!(made(Aggregation::First), json!({"a": 1}));
        assert_eq!(made(Aggregation::Last), json!({"a": 2, "b": 3}));
        assert_eq!(made(Aggregation::Concat), json!({"a": 2, "b": 3}));
        assert_eq!(Aggregation::First.aggregate([]), Ok(json!({})));
    }
}
