//! The reference of the format says what the reader does.

use lastlight_workflow::{
    Known, Workflow,
    reference::{Mapping, expressions, mappings},
};

/// A workflow with one mapping of this kind, which has `field` as well.
fn with(mapping: &Mapping, field: &str) -> String {
    let ends = "\nnodes:\n  items: {type: fan_out, source: params.p, task: {handler: h}}\n  ";
    let begins = "workflow: w\nparameters: {p: {type: list}}";
    let node = match mapping.noun {
        "a workflow file" => return format!("{begins}\n{field}{ends}"),
        "a parameter" => {
            return format!("workflow: w\nparameters: {{p: {{type: list, {field}}}}}{ends}");
        }
        "a task" => format!("a: {{type: task, handler: h, {field}}}"),
        "a conditional" => format!(
            "a: {{type: conditional, condition: params.p, branches: \
             [{{name: x, condition: truthy, next: []}}, {{name: y, default: true, next: []}}], {field}}}"
        ),
        "a branch" => format!(
            "a: {{type: conditional, condition: params.p, branches: \
             [{{name: x, condition: truthy, next: [], {field}}}, \
             {{name: y, default: true, next: []}}]}}"
        ),
        "a fan_out" => {
            format!("a: {{type: fan_out, source: params.p, task: {{handler: h}}, {field}}}")
        }
        "a fan_in" => format!("a: {{type: fan_in, depends_on: [items], {field}}}"),
        "a gate" => format!("a: {{type: gate, timeout_seconds: 5, {field}}}"),
        "a job" => format!("a: {{type: job, job_type: other, {field}}}"),
        "retry" => format!("a: {{type: task, handler: h, retry: {{{field}}}}}"),
        "a schedule" => {
            return format!("{begins}\nschedules: {{s: {{cron: \"@daily\", {field}}}}}{ends}");
        }
        other => panic!("no workflow with {other}"),
    };
    format!("{begins}{ends}{node}\n")
}

/// All that a file says.
fn meaning(text: &str) -> String {
    let read = Workflow::read("f.yaml", text, &Known::default());
    let workflow = read.unwrap_or_else(|problems| panic!("{text}\n{problems}"));
    format!(
        "{} {:?} {:?} {:?}",
        workflow.version(),
        workflow.parameters(),
        workflow.nodes(),
        workflow.schedules()
    )
}

#[test]
fn a_field_with_its_default_means_the_same_as_without() {
    let mut compared = 0;
    for mapping in mappings() {
        for field in mapping.fields.iter().filter(|field| !field.default.is_empty()) {
            let written = with(mapping, &format!("{}: {}", field.name, field.default));
            assert_eq!(meaning(&written), meaning(&with(mapping, "")), "{written}");
            compared += 1;
        }
    }
    assert!(compared >= 15, "{compared}");
}

#[test]
fn conditions_and_templates_have_the_words_of_the_reference() {
    let words = expressions();
    let conditions = words.operators.iter().map(|word| format!("{word} [1]"));
    for condition in conditions.chain(words.truths.iter().map(ToString::to_string)) {
        meaning(&format!(
            "workflow: w\nparameters: {{p: {{type: list}}}}\nnodes:\n  a: {{type: conditional, condition: params.p, \
             branches: [{{name: x, condition: '{condition}', next: []}}, {{name: y, default: true, next: []}}]}}\n"
        ));
    }
    let filters = words.filters.iter().map(|word| format!("inputs.p | {word}"));
    let tests = words.tests.iter().filter(|word| **word != "in");
    let tests = tests.map(|word| format!("inputs.p is {word}"));
    let methods = words.methods.iter().map(|word| format!("inputs.p.{word}()"));
    for expression in filters.chain(tests).chain(methods) {
        meaning(&format!(
            "workflow: w\nparameters: {{p: {{type: dict}}}}\nnodes:\n  a: {{type: task, handler: h, params: \
             {{x: '{{{{ {expression} }}}}'}}}}\n"
        ));
    }
}
