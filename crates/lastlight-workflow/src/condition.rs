//! Conditions of branches: an operator and a literal, such as `gt 2000`.

use std::{cmp::Ordering, fmt};

use serde_json::Value;

use crate::{names::did_you_mean, path::is_yes};

/// When a branch is chosen. Values are compared as Python compares them: numbers by their value,
/// text by its characters; values that cannot be ordered are neither less nor greater.
#[derive(Debug, Clone, PartialEq)]
pub struct Condition {
    text: String,
    test: Test,
}

/// What a condition tests.
#[derive(Debug, Clone, PartialEq)]
enum Test {
    /// The value counts as yes.
    Truthy,
    /// The value counts as no.
    Falsy,
    /// The value compared with a literal.
    Compare(Operator, Value),
}

/// How a value is compared with a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Operator {
    Eq,
    Ne,
    Gt,
    Ge,
    Lt,
    Le,
    In,
    NotIn,
    Contains,
    NotContains,
}

/// The operators that a literal follows.
const OPERATORS: [(&str, Operator); 12] = [
    ("eq", Operator::Eq),
    ("ne", Operator::Ne),
    ("gt", Operator::Gt),
    ("ge", Operator::Ge),
    ("gte", Operator::Ge),
    ("lt", Operator::Lt),
    ("le", Operator::Le),
    ("lte", Operator::Le),
    ("in", Operator::In),
    ("not_in", Operator::NotIn),
    ("contains", Operator::Contains),
    ("not_contains", Operator::NotContains),
];

/// The operators without a literal.
const TESTS: [(&str, Test); 6] = [
    ("truthy", Test::Truthy),
    ("is_true", Test::Truthy),
    ("not_empty", Test::Truthy),
    ("falsy", Test::Falsy),
    ("is_false", Test::Falsy),
    ("is_empty", Test::Falsy),
];

/// What a condition may be, for messages.
pub(crate) const ALLOWED: &str = "eq, ne, gt, ge, lt, le, in, not_in, contains or not_contains \
                                  and a literal, or truthy or falsy";

/// The operators that a literal follows.
pub(crate) fn operators() -> Vec<&'static str> {
    OPERATORS.iter().map(|(name, _)| *name).collect()
}

/// The operators without a literal.
pub(crate) fn truths() -> Vec<&'static str> {
    TESTS.iter().map(|(name, _)| *name).collect()
}

impl Condition {
    /// Reads `gt 2000`, `eq netcdf`, `in ["a", "b"]`, `truthy`.
    ///
    /// # Errors
    /// The text is no condition; the sentence says what is wrong and what is allowed.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let trimmed = text.trim();
        let (operator, literal) = match trimmed.split_once(char::is_whitespace) {
            Some((operator, literal)) => (operator, Some(literal.trim())),
            None => (trimmed, None),
        };
        let name = operator.to_lowercase();
        let find_test = || TESTS.into_iter().find(|(known, _)| *known == name);
        let find_operator = || OPERATORS.into_iter().find(|(known, _)| *known == name);
        let test = match (find_test(), find_operator(), literal) {
            (Some((_, test)), _, None) => test,
            (Some(_), _, Some(literal)) => {
                return Err(format!("{operator} has no literal after it, but here is {literal:?}"));
            }
            (None, Some(_), None) => {
                return Err(format!("{operator} must have a literal after it, such as {name} 5"));
            }
            (None, Some((_, operator)), Some(text)) => {
                Test::Compare(operator, operand(operator, text)?)
            }
            (None, None, _) => {
                let known =
                    OPERATORS.iter().map(|(name, _)| *name).chain(TESTS.iter().map(|(n, _)| *n));
                let meant = did_you_mean(&name, known);
                return Err(format!("must be {ALLOWED}, not {trimmed:?}{meant}"));
            }
        };
        Ok(Self { text: trimmed.to_owned(), test })
    }

    /// Whether a value meets it.
    pub fn holds(&self, value: &Value) -> bool {
        match &self.test {
            Test::Truthy => is_yes(value),
            Test::Falsy => !is_yes(value),
            Test::Compare(operator, literal) => operator.holds(value, literal),
        }
    }
}

/// As it was written.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The literal after an operator.
fn operand(operator: Operator, text: &str) -> Result<Value, String> {
    let value = literal(text);
    if !matches!(operator, Operator::In | Operator::NotIn) {
        return Ok(value);
    }
    match value {
        Value::Array(_) => Ok(value),
        // `in [netcdf, zarr]`: words without quotes, as YAML would have them.
        Value::String(words) => match words.strip_prefix('[').and_then(|w| w.strip_suffix(']')) {
            Some(words) => Ok(words.split(',').map(|word| literal(word.trim())).collect()),
            None => Ok(Value::String(words)),
        },
        other => Err(format!("in and not_in must have a list or a text after them, not {other}")),
    }
}

/// JSON; or one of Python's words; or the text itself.
fn literal(text: &str) -> Value {
    match text {
        "True" => Value::Bool(true),
        "False" => Value::Bool(false),
        "None" => Value::Null,
        text => serde_json::from_str(text).unwrap_or_else(|_| Value::from(text)),
    }
}

impl Operator {
    fn holds(self, value: &Value, literal: &Value) -> bool {
        match self {
            Self::Eq => are_equal(value, literal),
            Self::Ne => !are_equal(value, literal),
            Self::Gt => order(value, literal).is_some_and(Ordering::is_gt),
            Self::Ge => order(value, literal).is_some_and(Ordering::is_ge),
            Self::Lt => order(value, literal).is_some_and(Ordering::is_lt),
            Self::Le => order(value, literal).is_some_and(Ordering::is_le),
            Self::In => is_in(value, literal) == Some(true),
            Self::NotIn => is_in(value, literal) == Some(false),
            Self::Contains => is_in(literal, value) == Some(true),
            Self::NotContains => is_in(literal, value) == Some(false),
        }
    }
}

fn are_equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len() && left.iter().zip(right).all(|(l, r)| are_equal(l, r))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left.iter().all(|(key, l)| right.get(key).is_some_and(|r| are_equal(l, r)))
        }
        _ => match (number(left), number(right)) {
            (Some(left), Some(right)) => left.order(right) == Some(Ordering::Equal),
            _ => left == right,
        },
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => number(left)?.order(number(right)?),
    }
}

/// Whether a list has an item, an object a key, or a text a part; `None` for other values.
fn is_in(part: &Value, whole: &Value) -> Option<bool> {
    match (part, whole) {
        (part, Value::Array(items)) => Some(items.iter().any(|item| are_equal(part, item))),
        (Value::String(part), Value::String(text)) => Some(text.contains(part)),
        (Value::String(key), Value::Object(fields)) => Some(fields.contains_key(key)),
        _ => None,
    }
}

/// A number without the loss of digits that a float would have: sizes in bytes may be large.
#[derive(Debug, Clone, Copy)]
enum Numeric {
    Whole(i128),
    Float(f64),
}

/// The value as a number; true is 1 and false 0, as in Python.
fn number(value: &Value) -> Option<Numeric> {
    match value {
        Value::Bool(flag) => Some(Numeric::Whole(i128::from(*flag))),
        Value::Number(number) => match (number.as_i64(), number.as_u64()) {
            (Some(number), _) => Some(Numeric::Whole(i128::from(number))),
            (None, Some(number)) => Some(Numeric::Whole(i128::from(number))),
            (None, None) => number.as_f64().map(Numeric::Float),
        },
        _ => None,
    }
}

impl Numeric {
    fn order(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Whole(left), Self::Whole(right)) => Some(left.cmp(&right)),
            (left, right) => left.float().partial_cmp(&right.float()),
        }
    }

    fn float(self) -> f64 {
        match self {
            Self::Whole(number) => number as f64,
            Self::Float(number) => number,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: &str, value: &Value) -> bool {
        Condition::parse(condition).unwrap().holds(value)
    }

    #[test]
    fn numbers_are_compared_by_their_value() {
        assert!(holds("gt 2000000000", &json!(2_000_000_001_u64)));
        assert!(!holds("gt 2000", &json!(2000)));
        assert!(holds("gte 2000", &json!(2000)) && holds("ge 2000", &json!(2000.0)));
        assert!(holds("lt 0.5", &json!(0)) && holds("lte 0.5", &json!(0.5)));
        assert!(holds("le -1", &json!(-1)) && holds("eq 1", &json!(1.0)));
        assert!(holds("gt 9007199254740992", &json!(9_007_199_254_740_993_u64)));
    }

    #[test]
    fn literals_are_json_or_pythons_words_or_text() {
        assert!(holds("eq netcdf", &json!("netcdf")) && holds("eq \"netcdf\"", &json!("netcdf")));
        assert!(holds("eq two words", &json!("two words")));
        assert!(holds("eq true", &json!(true)) && holds("eq True", &json!(true)));
        assert!(holds("eq null", &json!(null)) && holds("ne None", &json!(0)));
        assert!(holds("eq [1, 2]", &json!([1, 2.0])) && !holds("eq {\"a\": 1}", &json!({})));
        assert!(!holds("eq 5", &json!("5")), "text is no number");
    }

    #[test]
    fn in_looks_into_lists_and_texts() {
        assert!(holds("in [1, 2]", &json!(2)) && !holds("in [1, 2]", &json!("2")));
        assert!(holds("in [netcdf, zarr]", &json!("zarr")));
        assert!(holds("in netcdf4", &json!("netcdf")));
        assert!(holds("not_in [\"a\"]", &json!("b")) && !holds("not_in text", &json!(5)));
        assert!(holds("contains a", &json!(["a"])) && holds("contains a", &json!({"a": 0})));
        assert!(holds("not_contains x", &json!("abc")));
    }

    #[test]
    fn values_that_cannot_be_ordered_are_neither_less_nor_greater() {
        for condition in ["gt 5", "ge 5", "lt 5", "le 5"] {
            assert!(!holds(condition, &json!("7")) && !holds(condition, &json!(null)));
        }
        assert!(holds("gt a", &json!("b")));
    }

    #[test]
    fn truthy_and_falsy_have_no_literal() {
        assert!(holds("truthy", &json!([0])) && holds("falsy", &json!([])));
        assert!(holds("is_true", &json!(1)) && holds("is_empty", &json!("")));
        let error = |condition| Condition::parse(condition).unwrap_err();
        assert_eq!(error("truthy 5"), "truthy has no literal after it, but here is \"5\"");
        assert_eq!(error("gt"), "gt must have a literal after it, such as gt 5");
        assert_eq!(error("in 5"), "in and not_in must have a list or a text after them, not 5");
        assert_eq!(error(">= 5"), format!("must be {ALLOWED}, not \">= 5\""));
        assert_eq!(
            error("contain a"),
            format!("must be {ALLOWED}, not \"contain a\"; did you mean contains?")
        );
    }
}
