//! No text makes the reader panic, or work without bound.

use std::{fmt::Write, iter::repeat_n};

use lastlight_workflow::{Inputs, Known, LARGEST_FILE, Problems, Workflow};
use proptest::prelude::*;
use serde_json::{Map, json};

use crate::{SCENE, fragments::item, problem, read};

fn read_any(text: &str) -> Result<Workflow, Problems> {
    Workflow::read("f.yaml", text, &Known::blob_validators())
}

#[test]
fn a_file_has_at_most_a_million_bytes() {
    let text = |size: usize| {
        let mut text = "workflow: w\nnodes: {a: {type: gate}}\n# ".to_owned();
        text.extend(repeat_n('x', size - text.len()));
        text
    };
    assert!(read_any(&text(LARGEST_FILE)).is_ok());
    let problems = read_any(&text(LARGEST_FILE + 1)).unwrap_err();
    assert_eq!(
        problems.to_string(),
        "f.yaml:1:1: a workflow file may have at most 1000000 bytes, not 1000001"
    );
    assert_eq!(problems.workflow.as_deref(), Some("w"));
}

#[test]
fn anchors_that_explode_are_told() {
    let mut text = "workflow: w\na0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
    for level in 1..10 {
        let aliases = vec![format!("*a{}", level - 1); 10].join(", ");
        writeln!(text, "a{level}: &a{level} [{aliases}]").unwrap();
    }
    assert_eq!(problem(&text), "6:20: anchors that are used here may add at most 50000 values");
    let long = "x".repeat(100_000);
    let text = format!("a: &a \"{long}\\n\"\nb: [{}]\n", vec!["*a"; 1000].join(", "));
    assert_eq!(
        problem(&text),
        "2:117: at most 3000000 bytes of text, with that of all anchors that are used here"
    );
    assert_eq!(problem("a: &a [*a]\n"), "1:8: an anchor must not contain itself");
}

#[test]
fn values_are_nested_fifty_levels_at_most() {
    let told = "at most 50 lists and mappings may be in one another";
    let flow = format!("a: {}", "[".repeat(100_000));
    assert_eq!(problem(&flow), format!("1:54: {told}"));
    let block: String = (0..100).map(|level| format!("{}k:\n", " ".repeat(level))).collect();
    assert_eq!(problem(&block), format!("51:51: {told}"));
}

#[test]
fn a_file_has_at_most_a_hundred_thousand_values() {
    let text = format!("a:\n{}", "- x\n".repeat(200_000));
    let said = problem(&text);
    assert!(
        said.ends_with("at most 100000 values, with those of all anchors that are used here"),
        "{said}"
    );
}

#[test]
fn the_first_thousand_problems_are_told() {
    let mut text = "workflow: w\nnodes:\n".to_owned();
    for node in 0..90 {
        writeln!(text, "  n{node}: {{type: gate}}").unwrap();
    }
    let names: Vec<String> = (0..30_000).map(|name| format!("unknown_name_{name}")).collect();
    writeln!(text, "  last: {{type: gate, depends_on: [{}]}}", names.join(", ")).unwrap();
    let problems = read_any(&text).unwrap_err().problems;
    assert_eq!(problems.len(), 1001);
    assert_eq!(
        problems[1000].message,
        "these are the first 1000 problems: the rest of the file is not checked"
    );
}

#[test]
fn parameters_are_a_thousand_at_most() {
    let parameters: String = (0..1001).map(|n| format!("  p{n}: {{type: str}}\n")).collect();
    assert_eq!(
        problem(&format!("workflow: w\nparameters:\n{parameters}nodes: {{a: {{type: gate}}}}\n")),
        "1003:3: parameters of the file must be at most 1000, not 1001"
    );
}

/// A file with a fan-out whose task has this expression.
fn with_template(expression: &str) -> String {
    item(&json!(format!("{{{{ {expression} }}}}")).to_string())
}

/// Evaluates an expression over `inputs` and an item `x`.
fn evaluate(expression: &str) -> Result<serde_json::Value, String> {
    let workflow = read(&with_template(expression));
    let node = workflow.node_named("each").unwrap();
    let outputs = std::collections::BTreeMap::new();
    let inputs = Inputs { parameters: &Map::new(), outputs: &outputs, run_id: "0" };
    let params = workflow.evaluate(node, inputs).item_params(0, &json!("x"));
    let params = params.map_err(|error| error.to_string())?;
    Ok(params["p"].clone())
}

#[test]
fn a_template_that_makes_too_much_is_an_error() {
    let reason = |expression: &str| {
        let said = evaluate(expression).unwrap_err();
        said.rsplit("}} ").next().unwrap().to_owned()
    };
    assert_eq!(reason("'a' * 1000000000"), "takes more work than a template may");
    assert_eq!(reason("[[0] * 10000] * 10000"), "is too large");
    assert_eq!(
        reason("item.replace('x', 'y' * 100000).replace('y', 'z' * 100000)"),
        "takes more work than a template may"
    );
    assert_eq!(reason("10 ** 30"), "is 1000000000000000000000000000000, which is too large");
    assert_eq!(reason("2.0 ** 5000"), "is inf: JSON has no NaN and no infinity");
}

#[test]
fn the_longest_expressions_are_evaluated_or_refused_without_a_panic() {
    let long = |head: &str, part: &str, tail: &str| {
        let count = (1000 - head.len() - tail.len()) / part.len();
        format!("{head}{}{tail}", part.repeat(count))
    };
    for expression in [
        long("item", ".a", ""),
        long("item", "[0]", ""),
        long("", "-", "1"),
        long("", "not ", "item"),
        long("1", "+1", ""),
        long("1", "~1", ""),
        long("item", " or item", ""),
        long("", "item if item else ", "1"),
        long("item", "|d(1)", ""),
        long("item", ".get(1)", ""),
        long("", "[", &"]".repeat(400)),
        long("", "(", &")".repeat(400)),
        long("", "{'a':", ""),
        long("1", "**1", ""),
        long("1", "<1", ""),
        long("item", " is defined", ""),
    ] {
        if read_any(&with_template(&expression)).is_ok() {
            let _ = evaluate(&expression);
        }
    }
}

/// Pieces that files and templates are made of.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "workflow: ",
        "nodes:\n",
        "  a: ",
        "{type: task, ",
        "handler: h, ",
        "depends_on: [",
        "a?",
        "]",
        "}",
        "{",
        "[",
        "&x ",
        "*x",
        "<<: *x",
        "\n",
        "  ",
        "    ",
        "- ",
        ": ",
        ", ",
        "? ",
        "|\n",
        ">-\n",
        "\"",
        "'",
        "{{ ",
        " }}",
        "{% ",
        "item",
        ".get('k')",
        "params.",
        "inputs.p",
        "nodes.a.result",
        "if ",
        " else ",
        "!!int ",
        "!x ",
        "%YAML 1.1\n",
        "---\n",
        "...\n",
        "# ",
        "\t",
        "\u{feff}",
        "\r\n",
        "0x",
        "1e999",
        ".inf",
        "~",
        "null",
        "yes",
        "é",
        "🙂",
        "\\u0000",
        "parameters:\n",
        "type: fan_out",
        "source: ",
        "branches:\n",
        "condition: gt 5",
        "default",
    ]);
    prop_oneof![4 => known.prop_map(str::to_owned), 1 => any::<String>()]
}

/// A place in the scene, as a share of its length.
fn cut(share: f64) -> usize {
    let mut place = (SCENE.len() as f64 * share) as usize;
    while !SCENE.is_char_boundary(place) {
        place += 1;
    }
    place
}

/// That a text is read, or has problems that are inside of it.
fn is_read_or_has_problems(text: &str) -> Result<(), TestCaseError> {
    if let Err(problems) = read_any(text) {
        prop_assert!(!problems.problems.is_empty());
        for problem in &problems.problems {
            prop_assert!(!problem.message.is_empty() && problem.place.column > 0);
            // A problem may be at the end, after the last line.
            prop_assert!(problem.place.line as usize <= text.split(['\n', '\r']).count() + 1);
            prop_assert!(!problem.message.contains('\n'), "{}", problem.message);
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text_is_read_or_has_problems(text: String) {
        is_read_or_has_problems(&text)?;
    }

    #[test]
    fn any_pieces_are_read_or_have_problems(pieces in prop::collection::vec(piece(), 0..60)) {
        is_read_or_has_problems(&pieces.concat())?;
    }

    #[test]
    fn a_file_with_another_piece_is_read_or_has_problems(
        (from, to) in (0.0..1.0, 0.0..0.05), piece in piece(),
    ) {
        let (from, to) = (cut(from), cut(f64::min(from + to, 1.0)));
        is_read_or_has_problems(&format!("{}{piece}{}", &SCENE[..from], &SCENE[to..]))?;
    }

    #[test]
    fn any_template_is_evaluated_or_has_problems(pieces in prop::collection::vec(piece(), 0..12)) {
        let (expression, text) = (pieces.concat(), with_template(&pieces.concat()));
        is_read_or_has_problems(&text)?;
        if read_any(&text).is_ok() {
            let _ = evaluate(&expression);
        }
    }
}
