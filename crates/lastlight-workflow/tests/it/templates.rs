//! Templates that cannot be right are problems of the file.

use crate::{
    fragments::{item, next},
    problem, problems, read,
};

/// The only problem of a template of a fan-out's task, without its place and subject.
fn reason(expression: &str) -> String {
    let said = problem(&item(&format!("\"{{{{ {expression} }}}}\"")));
    let subject =
        format!("15:19: task.params.p of node \"each\": {:?} ", format!("{{{{ {expression} }}}}"));
    let reason = said.strip_prefix(&subject);
    reason.unwrap_or_else(|| panic!("{said}")).to_owned()
}

#[test]
fn a_template_that_no_input_can_satisfy_is_told() {
    assert_eq!(
        problem(&item("\"{{ inputs.nope }}\"")),
        "15:19: task.params.p of node \"each\": \"{{ inputs.nope }}\" names the unknown parameter \
         \"nope\": known are name, count, options, area, files"
    );
    assert_eq!(reason("inputs.count.x"), "looks for x in inputs.count, which is of type int");
    assert_eq!(
        reason("inputs.area.get('east')"),
        "looks for east in inputs.area, which never has it: its fields are west"
    );
    assert_eq!(
        reason("inputs['nam']"),
        "names the unknown parameter \"nam\": known are name, count, options, area, files; did you \
         mean name?"
    );
    assert_eq!(reason("index.x"), "looks for a key in index, which is a number");
}

#[test]
fn a_template_reads_only_nodes_that_run_before() {
    assert_eq!(
        reason("nodes.lst.result"),
        "names the unknown node \"lst\": known are list, each, late; did you mean list?"
    );
    assert_eq!(
        reason("nodes.late.result"),
        "reads node \"late\", which does not run before node \"each\": let it depend on \"late\", or \
         on a node that runs after \"late\""
    );
    assert_eq!(reason("nodes.each.result"), "reads the output of its own node \"each\"");
    assert_eq!(reason("nodes"), "must name a node after nodes, as in nodes.a.result");
    assert_eq!(
        reason("nodes[item.name].result"),
        "must name a node after nodes, as in nodes.a.result"
    );
}

#[test]
fn a_template_uses_only_known_variables() {
    let known = "known are item, index, inputs, nodes";
    assert_eq!(
        reason("itm.a"),
        format!("uses the unknown variable itm: {known}; did you mean item?")
    );
    assert_eq!(
        reason("params.name"),
        format!("uses the unknown variable params: {known}; did you mean inputs?")
    );
    assert_eq!(
        reason("list.result"),
        format!("uses the unknown variable list: {known}; did you mean nodes.list?")
    );
    assert_eq!(
        reason("name"),
        format!("uses the unknown variable name: {known}; did you mean inputs.name?")
    );
    assert_eq!(
        problem(&next("    params: {p: \"{{ item }}\"}")),
        "13:17: params.p of node \"next\": \"{{ item }}\" uses the unknown variable item: known are \
         inputs, nodes (item and index are those of the items of a fan_out)"
    );
}

#[test]
fn a_template_has_no_statements_functions_and_unknown_filters() {
    assert_eq!(
        problem(&item("\"{% for x in item %}{{ x }}{% endfor %}\"")),
        "15:19: task.params.p of node \"each\": \"{% for x in item %}{{ x }}{% endfor %}\" has a \
         statement ({% … %}): templates have only expressions, such as \"{{ a if b else c }}\""
    );
    assert_eq!(
        reason("range(5)"),
        "calls a function: range; templates have no functions, only methods such as .get"
    );
    assert_eq!(
        reason("item | lowr"),
        "has the unknown filter lowr: known are abs, count, d, default, first, float, int, join, \
         last, length, list, lower, max, min, replace, round, sort, sum, trim, upper; did you mean \
         lower?"
    );
    assert_eq!(
        reason("item is numbr"),
        "has the unknown test numbr: known are boolean, defined, false, float, in, integer, \
         mapping, none, number, sequence, string, true, undefined; did you mean number?"
    );
    assert_eq!(
        reason("item.pop('a')"),
        "has the unknown method pop: known are capitalize, count, endswith, find, get, isdigit, \
         items, join, keys, lower, lstrip, replace, rfind, rstrip, split, startswith, strip, title, \
         upper, values"
    );
    assert_eq!(reason("item.join(*item)"), "must not have arguments with * or **");
}

#[test]
fn all_problems_of_a_template_are_told() {
    let said = problems(&item("\"{{ range(inputs.nope) if itm else nodes.late }}\""));
    assert_eq!(said.len(), 4, "{said:#?}");
}

#[test]
fn a_template_must_be_an_expression() {
    assert_eq!(reason("a b"), "is no valid expression: unexpected input after expression");
    assert_eq!(
        reason("item["),
        "is no valid expression: unexpected end of input, expected expression"
    );
    assert_eq!(reason("'open"), "is no valid expression: unexpected end of string");
    let long = problem(&item(&format!("\"{{{{ item{} }}}}\"", ".a".repeat(500))));
    assert!(long.ends_with("a.a.…\" must have at most 1000 characters"), "{long}");
    assert_eq!(
        problem(&item("\"{{ }}\"")),
        "15:19: task.params.p of node \"each\": \"{{ }}\" is empty: it must have an expression, \
         such as {{ item }}"
    );
}

#[test]
fn templates_stand_in_lists_and_mappings_too() {
    assert_eq!(
        problem(&next("    params: {p: {deep: [1, \"{{ nope }}\"]}}")),
        "13:28: params.p.deep.1 of node \"next\": \"{{ nope }}\" uses the unknown variable nope: \
         known are inputs, nodes"
    );
}

#[test]
fn constants_are_never_templates() {
    let workflow = read(&next("    constants: {url: \"/{{z}}/{x}\", all: \"{{ nope }}\"}"));
    assert!(workflow.warnings().is_empty());
}
