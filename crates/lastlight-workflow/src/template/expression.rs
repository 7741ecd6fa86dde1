//! Expressions: parsed and checked with the syntax tree of the library, and evaluated by it.

use std::sync::LazyLock;

use minijinja::{
    Environment, ErrorKind, UndefinedBehavior, filters,
    machinery::{
        self,
        ast::{self, CallArg, Expr},
    },
    tests,
    value::Value as Jinja,
};
use serde_json::Value;

use super::values::{Failed, to_json};
use crate::{
    limits::{FUEL, LONGEST_EXPRESSION},
    names::{did_you_mean, truncated},
};

/// Adds a filter or test with this name.
type Add = fn(&mut Environment<'static>, &'static str);

/// Filters: none that reads or keeps anything outside of its input.
const FILTERS: [(&str, Add); 20] = [
    ("abs", |to, name| to.add_filter(name, filters::abs)),
    ("count", |to, name| to.add_filter(name, filters::length)),
    ("d", |to, name| to.add_filter(name, filters::default)),
    ("default", |to, name| to.add_filter(name, filters::default)),
    ("first", |to, name| to.add_filter(name, filters::first)),
    ("float", |to, name| to.add_filter(name, filters::float)),
    ("int", |to, name| to.add_filter(name, filters::int)),
    ("join", |to, name| to.add_filter(name, filters::join)),
    ("last", |to, name| to.add_filter(name, filters::last)),
    ("length", |to, name| to.add_filter(name, filters::length)),
    ("list", |to, name| to.add_filter(name, filters::list)),
    ("lower", |to, name| to.add_filter(name, filters::lower)),
    ("max", |to, name| to.add_filter(name, filters::max)),
    ("min", |to, name| to.add_filter(name, filters::min)),
    ("replace", |to, name| to.add_filter(name, filters::replace)),
    ("round", |to, name| to.add_filter(name, filters::round)),
    ("sort", |to, name| to.add_filter(name, filters::sort)),
    ("sum", |to, name| to.add_filter(name, filters::sum)),
    ("trim", |to, name| to.add_filter(name, filters::trim)),
    ("upper", |to, name| to.add_filter(name, filters::upper)),
];

/// Tests, as in `item.crs is none`.
const TESTS: [(&str, Add); 13] = [
    ("boolean", |to, name| to.add_test(name, tests::is_boolean)),
    ("defined", |to, name| to.add_test(name, tests::is_defined)),
    ("false", |to, name| to.add_test(name, tests::is_false)),
    ("float", |to, name| to.add_test(name, tests::is_float)),
    ("in", |to, name| to.add_test(name, tests::is_in)),
    ("integer", |to, name| to.add_test(name, tests::is_integer)),
    ("mapping", |to, name| to.add_test(name, tests::is_mapping)),
    ("none", |to, name| to.add_test(name, tests::is_none)),
    ("number", |to, name| to.add_test(name, tests::is_number)),
    ("sequence", |to, name| to.add_test(name, tests::is_sequence)),
    ("string", |to, name| to.add_test(name, tests::is_string)),
    ("true", |to, name| to.add_test(name, tests::is_true)),
    ("undefined", |to, name| to.add_test(name, tests::is_undefined)),
];

/// Methods of Python's values.
const METHODS: [&str; 20] = [
    "capitalize",
    "count",
    "endswith",
    "find",
    "get",
    "isdigit",
    "items",
    "join",
    "keys",
    "lower",
    "lstrip",
    "replace",
    "rfind",
    "rstrip",
    "split",
    "startswith",
    "strip",
    "title",
    "upper",
    "values",
];

/// The names of the filters.
pub(crate) fn filters() -> Vec<&'static str> {
    FILTERS.iter().map(|(name, _)| *name).collect()
}

/// The names of the tests.
pub(crate) fn tests() -> Vec<&'static str> {
    TESTS.iter().map(|(name, _)| *name).collect()
}

/// The names of the methods.
pub(crate) fn methods() -> Vec<&'static str> {
    METHODS.to_vec()
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::empty();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_fuel(Some(FUEL));
    environment.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
    for (name, add) in FILTERS.into_iter().chain(TESTS) {
        add(&mut environment, name);
    }
    environment
});

/// An expression that the library evaluates.
#[derive(Debug)]
pub(crate) struct Compiled(minijinja::Expression<'static, 'static>);

impl Compiled {
    /// Its value.
    pub(crate) fn evaluate(&self, context: Jinja) -> Result<Value, Failed> {
        match self.0.eval(context) {
            Ok(value) => to_json(&value),
            Err(error) => Err(match error.kind() {
                ErrorKind::UndefinedError => Failed::missing(),
                ErrorKind::OutOfFuel => Failed::new("takes more work than a template may"),
                kind => Failed {
                    message: match error.detail() {
                        Some(detail) => format!("fails: {detail}"),
                        None => format!("fails: {kind}"),
                    },
                    is_about_missing: true,
                },
            }),
        }
    }
}

/// A parsed expression.
#[derive(Debug)]
pub(crate) struct Parsed {
    /// The values that it looks up.
    pub(crate) references: Vec<Reference>,
    /// What it must not have: sentences, each without a subject.
    pub(crate) problems: Vec<String>,
    /// `None` if it is only the look-up of its first reference, or has problems.
    pub(crate) compiled: Option<Compiled>,
}

/// A value that an expression looks up: a variable and the keys below it, as far as they are known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reference {
    pub(crate) variable: String,
    pub(crate) steps: Vec<Step>,
    /// Its last key may be missing: `inputs.options.get('crs')`.
    pub(crate) may_miss: bool,
}

/// A key below a variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    Key(String),
    /// The variable `index` as the index of a list.
    Index,
}

/// Parses an expression, and checks that it has only what is allowed, save for its variables.
///
/// # Errors
/// It is no expression; a sentence without a subject.
pub(crate) fn parse(text: &str) -> Result<Parsed, String> {
    if text.is_empty() {
        return Err("is empty: it must have an expression, such as {{ item }}".to_owned());
    }
    if text.chars().count() > LONGEST_EXPRESSION {
        return Err(format!("must have at most {LONGEST_EXPRESSION} characters"));
    }
    let tree = machinery::parse_expr(text).map_err(|error| syntax(&error))?;
    if let Some(reference) = lookup(&tree) {
        let references = match reference.steps.contains(&Step::Index) {
            true => vec![reference, Reference::variable("index")],
            false => vec![reference],
        };
        return Ok(Parsed { references, problems: Vec::new(), compiled: None });
    }
    let mut check = Check::default();
    check.expression(&tree);
    let Check { references, problems } = check;
    let compiled = match problems.as_slice() {
        [] => {
            let compiled = ENVIRONMENT.compile_expression_owned(text.to_owned());
            Some(Compiled(compiled.map_err(|error| syntax(&error))?))
        }
        _ => None,
    };
    Ok(Parsed { references, problems, compiled })
}

fn syntax(error: &minijinja::Error) -> String {
    let detail = error.detail().map_or_else(|| error.kind().to_string(), truncated);
    format!("is no valid expression: {detail}")
}

impl Reference {
    fn variable(name: &str) -> Self {
        Self { variable: name.to_owned(), steps: Vec::new(), may_miss: false }
    }
}

/// The look-up that an expression is: a variable with keys that are known, or with `[index]`.
fn lookup(expression: &Expr<'_>) -> Option<Reference> {
    match expression {
        Expr::Var(variable) => Some(Reference::variable(variable.id)),
        Expr::GetAttr(attribute) => {
            let mut reference = lookup(&attribute.expr)?;
            reference.steps.push(Step::Key(attribute.name.to_owned()));
            Some(reference)
        }
        Expr::GetItem(item) => {
            let step = match &item.subscript_expr {
                Expr::Const(key) => Step::Key(key_of(&key.value)?),
                Expr::Var(variable) if variable.id == "index" => Step::Index,
                _ => return None,
            };
            let mut reference = lookup(&item.expr)?;
            reference.steps.push(step);
            Some(reference)
        }
        _ => None,
    }
}

fn key_of(value: &Jinja) -> Option<String> {
    match value.as_str() {
        Some(text) => Some(text.to_owned()),
        None if value.is_integer() => u32::try_from(value.clone()).ok().map(|n| n.to_string()),
        None => None,
    }
}

/// What an expression looks up, and what it must not have.
#[derive(Default)]
struct Check {
    references: Vec<Reference>,
    problems: Vec<String>,
}

impl Check {
    fn expression(&mut self, expression: &Expr<'_>) {
        if let Some(reference) = lookup(expression) {
            if reference.steps.contains(&Step::Index) {
                self.references.push(Reference::variable("index"));
            }
            self.references.push(reference);
            return;
        }
        match expression {
            Expr::Var(_) | Expr::Const(_) => {}
            Expr::GetAttr(attribute) => self.expression(&attribute.expr),
            Expr::GetItem(item) => self.all([&item.expr, &item.subscript_expr]),
            Expr::Slice(slice) => {
                self.expression(&slice.expr);
                self.all([&slice.start, &slice.stop, &slice.step].into_iter().flatten());
            }
            Expr::UnaryOp(operation) => self.expression(&operation.expr),
            Expr::BinOp(operation) => self.all([&operation.left, &operation.right]),
            Expr::Compare(comparison) => {
                self.expression(&comparison.expr);
                self.all(comparison.ops.iter().map(|operation| &operation.expr));
            }
            Expr::IfExpr(condition) => {
                self.all([&condition.test_expr, &condition.true_expr]);
                self.all(&condition.false_expr);
            }
            Expr::List(list) => self.all(&list.items),
            Expr::Tuple(tuple) => self.all(&tuple.items),
            Expr::Map(map) => self.all(map.keys.iter().chain(&map.values)),
            Expr::Filter(filter) => {
                self.named("filter", filter.name, FILTERS.map(|(name, _)| name));
                self.all(&filter.expr);
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.named("test", test.name, TESTS.map(|(name, _)| name));
                self.expression(&test.expr);
                self.arguments(&test.args);
            }
            Expr::Call(call) => self.call(call),
        }
    }

    fn all<'a, 'b: 'a>(&mut self, expressions: impl IntoIterator<Item = &'a Expr<'b>>) {
        for expression in expressions {
            self.expression(expression);
        }
    }

    fn call(&mut self, call: &ast::Call<'_>) {
        self.arguments(&call.args);
        let Expr::GetAttr(method) = &call.expr else {
            let name = match &call.expr {
                Expr::Var(function) => format!(": {}", function.id),
                _ => String::new(),
            };
            self.problems.push(format!(
                "calls a function{name}; templates have no functions, only methods such as .get"
            ));
            return;
        };
        self.named("method", method.name, METHODS);
        let key = match (method.name, call.args.first()) {
            ("get", Some(CallArg::Pos(Expr::Const(key)))) => key_of(&key.value),
            _ => None,
        };
        match (lookup(&method.expr), key) {
            (Some(mut reference), Some(key)) => {
                reference.steps.push(Step::Key(key));
                self.references.push(Reference { may_miss: true, ..reference });
            }
            _ => self.expression(&method.expr),
        }
    }

    fn arguments(&mut self, arguments: &[CallArg<'_>]) {
        for argument in arguments {
            match argument {
                CallArg::Pos(expression) | CallArg::Kwarg(_, expression) => {
                    self.expression(expression);
                }
                CallArg::PosSplat(expression) | CallArg::KwargSplat(expression) => {
                    self.problems.push("must not have arguments with * or **".to_owned());
                    self.expression(expression);
                }
            }
        }
    }

    fn named<const N: usize>(&mut self, what: &str, name: &str, known: [&'static str; N]) {
        if !known.contains(&name) {
            let meant = did_you_mean(name, known);
            let all = known.join(", ");
            self.problems.push(format!("has the unknown {what} {name}: known are {all}{meant}"));
        }
    }
}
