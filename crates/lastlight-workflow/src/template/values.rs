//! Values for the library that evaluates expressions, and back.

use std::{collections::BTreeMap, sync::OnceLock};

use minijinja::value::{Value as Jinja, ValueKind};
use serde_json::{Map, Number, Value};

use super::Scope;
use crate::limits::{MOST_BYTES_OF_EXPRESSION, MOST_VALUES_OF_EXPRESSION};

/// Why a template has no value: a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TemplateError {
    pub(crate) reason: String,
}

/// The values that all items share, as the library has them: made once, when they are needed.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    inputs: OnceLock<Jinja>,
    nodes: OnceLock<Jinja>,
}

impl Shared {
    /// The values of one expression.
    pub(crate) fn context(&self, scope: &Scope<'_>) -> Jinja {
        let inputs = self.inputs.get_or_init(|| to_jinja(scope.inputs));
        let nodes = self.nodes.get_or_init(|| {
            // What a node that was skipped has is null, so that an expression can ask.
            let output = |(name, output): &(&str, Option<&Value>)| {
                ((*name).to_owned(), output.map_or_else(|| Jinja::from(()), to_jinja))
            };
            Jinja::from(scope.outputs.values().map(output).collect::<BTreeMap<_, _>>())
        });
        let mut context = BTreeMap::from([("inputs", inputs.clone()), ("nodes", nodes.clone())]);
        if let Some(item) = scope.item {
            context.insert("item", to_jinja(item.value));
            context.insert("index", Jinja::from(item.index));
        }
        Jinja::from(context)
    }
}

fn to_jinja(value: &Value) -> Jinja {
    match value {
        Value::Null => Jinja::from(()),
        Value::Bool(flag) => Jinja::from(*flag),
        Value::Number(number) => match (number.as_i64(), number.as_u64(), number.as_f64()) {
            (Some(number), _, _) => Jinja::from(number),
            (None, Some(number), _) => Jinja::from(number),
            (None, None, number) => Jinja::from(number.unwrap_or_default()),
        },
        Value::String(text) => Jinja::from(text.as_str()),
        Value::Array(items) => Jinja::from(items.iter().map(to_jinja).collect::<Vec<_>>()),
        Value::Object(fields) => {
            let field = |(name, field): (&String, &Value)| (name.clone(), to_jinja(field));
            Jinja::from(fields.iter().map(field).collect::<BTreeMap<String, Jinja>>())
        }
    }
}

/// The value of an expression as JSON.
///
/// # Errors
/// It is not there, is too large, or JSON has no such value.
pub(crate) fn to_json(value: &Jinja) -> Result<Value, Failed> {
    Bounds { values: MOST_VALUES_OF_EXPRESSION, bytes: MOST_BYTES_OF_EXPRESSION, levels: 128 }
        .json_of(value)
}

/// Why an expression has no value.
#[derive(Debug)]
pub(crate) struct Failed {
    pub(crate) message: String,
    /// A value that it looks up may be missing.
    pub(crate) is_about_missing: bool,
}

impl Failed {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), is_about_missing: false }
    }

    pub(crate) fn missing() -> Self {
        let message = "has no value: something that it looks up is not there".to_owned();
        Self { message, is_about_missing: true }
    }
}

/// What is left of the bounds. An expression may multiply a list without making it, so what it costs
/// is known here at the latest.
struct Bounds {
    values: usize,
    bytes: usize,
    levels: usize,
}

impl Bounds {
    fn json_of(&mut self, value: &Jinja) -> Result<Value, Failed> {
        let too_large = || Failed::new("is too large");
        self.values = self.values.checked_sub(1).ok_or_else(too_large)?;
        match value.kind() {
            ValueKind::Undefined => Err(Failed::missing()),
            ValueKind::None => Ok(Value::Null),
            ValueKind::Bool => Ok(Value::Bool(value.is_true())),
            ValueKind::Number => number(value),
            ValueKind::String => {
                let text = value.as_str().unwrap_or_default();
                self.bytes = self.bytes.checked_sub(text.len()).ok_or_else(too_large)?;
                Ok(Value::from(text))
            }
            ValueKind::Seq | ValueKind::Iterable => self.within(|bounds| {
                let items = value.try_iter().map_err(|error| Failed::new(error.to_string()))?;
                items.map(|item| bounds.json_of(&item)).collect()
            }),
            ValueKind::Map => self.within(|bounds| {
                let keys = value.try_iter().map_err(|error| Failed::new(error.to_string()))?;
                let mut fields = Map::new();
                for key in keys {
                    let name = match bounds.json_of(&key)? {
                        Value::String(name) => name,
                        other => return Err(Failed::new(format!("has the key {other}: no text"))),
                    };
                    let field = value.get_item(&key).map_err(|e| Failed::new(e.to_string()))?;
                    fields.insert(name, bounds.json_of(&field)?);
                }
                Ok(Value::Object(fields))
            }),
            kind => Err(Failed::new(format!("is {kind}, which JSON does not have"))),
        }
    }

    fn within(
        &mut self,
        make: impl FnOnce(&mut Self) -> Result<Value, Failed>,
    ) -> Result<Value, Failed> {
        self.levels =
            self.levels.checked_sub(1).ok_or_else(|| Failed::new("is nested too deep"))?;
        let made = make(self);
        self.levels += 1;
        made
    }
}

fn number(value: &Jinja) -> Result<Value, Failed> {
    if value.is_integer() {
        let signed = i64::try_from(value.clone()).map(Value::from);
        let number = signed.or_else(|_| u64::try_from(value.clone()).map(Value::from));
        return number.map_err(|_| Failed::new(format!("is {value}, which is too large")));
    }
    let float = f64::try_from(value.clone()).ok().and_then(Number::from_f64);
    float
        .map(Value::Number)
        .ok_or_else(|| Failed::new(format!("is {value}: JSON has no NaN and no infinity")))
}
