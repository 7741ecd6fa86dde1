//! Terms: what a job can be found by. Which terms a job has is decided once, from its type, its labels
//! and its parameters; they are stored with it.

use lastlight_api::labels::is_label_value;
use serde_json::{Map, Value};

use super::{Labels, canonical::write_canonical};

/// Maximum number of parameters of a job by which it can be found: the first ones by name.
const MOST_PARAMETER_TERMS: usize = 32;

/// Maximum number of characters of the name of such a parameter.
const LONGEST_PARAMETER_NAME: usize = 100;

/// The name of the term that every job has: its type.
const JOB_TYPE: &str = "job_type";

/// What the name of a label's term begins with.
pub const LABEL: &str = "label.";

/// What the name of a parameter's term begins with. A search for words relies on that all other names
/// are less than it.
pub const PARAMETER: &str = "param.";

/// Something that a job can be found by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Term {
    /// `job_type`, `label.KEY` or `param.NAME`.
    pub name: String,
    /// 1 to 256 characters, none of them a control character.
    pub value: String,
}

impl Term {
    /// The type of a job.
    pub fn job_type(job_type: &str) -> Self {
        Self { name: JOB_TYPE.to_owned(), value: job_type.to_owned() }
    }

    /// The terms of a job. Parameters that are neither text, number nor boolean have none, nor have long
    /// texts.
    pub fn of_job(job_type: &str, labels: &Labels, parameters: &Map<String, Value>) -> Vec<Self> {
        let labels = labels
            .iter()
            .map(|(key, value)| Self { name: format!("{LABEL}{key}"), value: value.to_owned() });
        let mut names: Vec<&String> =
            parameters.keys().filter(|name| is_parameter_name(name)).collect();
        names.sort_unstable();
        let parameters = names.into_iter().filter_map(|name| {
            let value = searchable(parameters.get(name)?)?;
            Some(Self { name: format!("{PARAMETER}{name}"), value })
        });
        let job_type = is_label_value(job_type).then(|| Self::job_type(job_type));
        job_type.into_iter().chain(labels).chain(parameters.take(MOST_PARAMETER_TERMS)).collect()
    }
}

/// Whether jobs can be found by parameters of this name.
pub fn is_parameter_name(name: &str) -> bool {
    (1..=LONGEST_PARAMETER_NAME).contains(&name.chars().count())
        && !name.chars().any(char::is_control)
}

/// A parameter's value as text: numbers as answers show them.
fn searchable(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Bool(_) | Value::Number(_) => {
            let mut text = String::new();
            write_canonical(value, &mut text).ok()?;
            text
        }
        Value::Null | Value::Array(_) | Value::Object(_) => return None,
    };
    is_label_value(&text).then_some(text)
}

/// The beginning of an id, of a job type or of a label's value, as the bounds of all texts that begin
/// so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prefix {
    from: String,
    to: String,
}

impl Prefix {
    /// `None` if no text that can be found begins so.
    pub fn new(text: &str) -> Option<Self> {
        if !is_label_value(text) {
            return None;
        }
        // The order of UTF-8 bytes, in which the database compares, is that of code points.
        let mut to: Vec<char> = text.chars().collect();
        while let Some(last) = to.pop() {
            let after = (u32::from(last) + 1..=u32::from(char::MAX)).find_map(char::from_u32);
            if let Some(after) = after {
                to.push(after);
                break;
            }
        }
        let to =
            if to.is_empty() { char::MAX.to_string().repeat(300) } else { to.iter().collect() };
        Some(Self { from: text.to_owned(), to })
    }

    /// The prefix itself, the least of these texts.
    pub fn from(&self) -> &str {
        &self.from
    }

    /// A text that is greater than all of them, and not greater than any other that is.
    pub fn to(&self) -> &str {
        &self.to
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn terms(parameters: Value) -> Vec<String> {
        let labels = Labels::of([("team".to_owned(), "roads".to_owned())]).unwrap();
        let Value::Object(parameters) = parameters else { panic!() };
        let terms = Term::of_job("hello_world", &labels, &parameters);
        terms.into_iter().map(|Term { name, value }| format!("{name}={value}")).collect()
    }

    #[test]
    fn type_labels_and_scalar_parameters_are_terms() {
        let parameters = json!({
            "n": 10, "ratio": 0.5, "name": "Ada", "flag": true, "none": null, "list": [1], "object": {}, "empty": "",
            "long": "x".repeat(257), "nul": "a\0b", "a\0b": 1,
        });
        assert_eq!(
            terms(parameters),
            [
                "job_type=hello_world",
                "label.team=roads",
                "param.flag=true",
                "param.n=10",
                "param.name=Ada",
                "param.ratio=0.5",
            ]
        );
        let many: Map<String, Value> = (0..100).map(|n| (format!("p{n:03}"), json!(n))).collect();
        let many = terms(Value::Object(many));
        assert_eq!((many.len(), &*many[33]), (2 + MOST_PARAMETER_TERMS, "param.p031=31"));
    }

    #[test]
    fn a_prefix_bounds_the_texts_that_begin_so() {
        for (text, within, without) in [
            ("ro", ["ro", "roads", "ro\u{10ffff}"], ["rn", "rp", "r"]),
            ("ä", ["ä", "ärger", "äz"], ["z", "å", "a"]),
            ("\u{d7ff}", ["\u{d7ff}", "\u{d7ff}a", "\u{d7ff}\u{10ffff}"], ["\u{e000}", "a", ""]),
            ("\u{10ffff}", ["\u{10ffff}", "\u{10ffff}a", "\u{10ffff}\u{10ffff}"], ["a", "b", ""]),
        ] {
            let prefix = Prefix::new(text).unwrap();
            let is_in = |other: &&str| prefix.from() <= *other && *other < prefix.to();
            assert!(within.iter().all(is_in), "{text}: {prefix:?}");
            assert!(!without.iter().any(is_in), "{text}: {prefix:?}");
        }
        for none in ["", "a\0", "\n", &"x".repeat(257)] {
            assert_eq!(Prefix::new(none), None, "{none:?}");
        }
    }
}
