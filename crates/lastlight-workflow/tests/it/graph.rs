//! The graph of a file is checked: names, circles, branches, and what paths may read.

use lastlight_workflow::{Kind, Known, MOST_NODES, Workflow};

use crate::{
    fragments::{next, nodes},
    problem, problems, read,
};

#[test]
fn an_unknown_dependency_is_told_with_the_nearest_name() {
    assert_eq!(
        problem(&nodes("  validate: {type: gate}\n  b: {type: gate, depends_on: [\"vaildate?\"]}")),
        "9:32: unknown node \"vaildate\" in depends_on of node \"b\": known are validate, b; did \
         you mean validate?"
    );
    assert_eq!(
        problem(
            "workflow: w\nnodes:\n  a: {type: gate, depends_on: [finalize]}\nfinalize: {handler: h}\n"
        ),
        "3:32: depends_on of node \"a\" must not name finalize: it runs when all other nodes have \
         ended"
    );
}

#[test]
fn a_circle_is_told_with_its_nodes_in_the_order_in_which_they_would_run() {
    let text = nodes(
        "
  begin: {type: gate}
  a: {type: gate, depends_on: [begin, c]}
  b: {type: gate, depends_on: [a]}
  c: {type: gate, depends_on: [b]}
  after: {type: gate, depends_on: [c]}",
    );
    assert_eq!(
        problem(&text),
        "9:39: nodes must not wait for one another in a circle: a → b → c → a"
    );
    assert_eq!(
        problem(&nodes("  a: {type: gate, depends_on: [a]}")),
        "8:32: nodes must not wait for one another in a circle: a → a"
    );
}

#[test]
fn every_circle_of_a_file_is_told() {
    let text = nodes(
        "
  a: {type: gate, depends_on: [b]}
  b: {type: gate, depends_on: [a]}
  c: {type: gate, depends_on: [d]}
  d: {type: gate, depends_on: [c, a]}",
    );
    assert_eq!(
        problems(&text),
        [
            "8:32: nodes must not wait for one another in a circle: a → b → a",
            "10:32: nodes must not wait for one another in a circle: c → d → c"
        ]
    );
}

#[test]
fn a_branch_can_close_a_circle() {
    let text = nodes(
        "
  a: {type: gate}
  choose:
    type: conditional
    depends_on: [b]
    condition: params.count
    branches:
      - {name: x, condition: truthy, next: [b]}
      - {name: y, default: true, next: []}
  b: {type: gate, depends_on: [a]}",
    );
    assert_eq!(
        problem(&text),
        "11:18: nodes must not wait for one another in a circle: choose → b → choose"
    );
}

/// A file with a conditional that has these branches, from line 12 on, and nodes `a` and `b`.
fn branches(branches: &str) -> String {
    nodes(&format!(
        "
  c:
    type: conditional
    condition: params.count
    branches:
{}
  a: {{type: gate}}
  b: {{type: gate}}",
        branches.trim_matches('\n')
    ))
}

#[test]
fn a_conditional_has_two_branches_and_one_default() {
    let allowed = "11:5: branches of node \"c\" must be a list of two or more branches, exactly one \
                   of them with default: true";
    assert_eq!(
        problem(&branches("      - {name: x, default: true, next: [a]}")),
        format!("{allowed}, not 1 with 1 of them")
    );
    assert_eq!(
        problem(&branches(
            "      - {name: x, condition: gt 5, next: [a]}\n      - {name: y, condition: lt 5, next: []}"
        )),
        format!("{allowed}, not 2 with 0 of them")
    );
    assert_eq!(
        problem(&branches(
            "      - {name: x, default: true, next: [a]}\n      - {name: y, default: true, next: []}"
        )),
        format!("{allowed}, not 2 with 2 of them")
    );
    assert_eq!(
        problem(&nodes("  c: {type: conditional, condition: params.count}")),
        "8:3: node \"c\" must have the field branches: a list of two or more branches, exactly one \
         of them with default: true"
    );
}

#[test]
fn branches_are_checked() {
    let default = "      - {name: y, default: true, next: [b]}";
    let problem_of = |branch: &str| problem(&branches(&format!("      - {branch}\n{default}")));
    assert_eq!(
        problem_of("{name: x, next: [a]}"),
        "12:9: branch \"x\" of node \"c\" must have the field condition: eq, ne, gt, ge, lt, le, in, \
         not_in, contains or not_contains and a literal, or truthy or falsy; only the default has \
         none"
    );
    assert_eq!(
        problem_of("{name: x, condition: \"> 5\", next: [a]}"),
        "12:30: condition \"> 5\" of branch \"x\" of node \"c\": must be eq, ne, gt, ge, lt, le, in, \
         not_in, contains or not_contains and a literal, or truthy or falsy, not \"> 5\""
    );
    assert_eq!(
        problem_of("{name: x, condition: gt 5, next: [aa]}"),
        "12:43: unknown node \"aa\" in next of branch \"x\" of node \"c\": known are c, a, b; did \
         you mean a?"
    );
    assert_eq!(
        problem_of("{name: x, condition: gt 5}"),
        "12:9: branch \"x\" of node \"c\" must have the field next: a list of names of nodes, which \
         may be empty"
    );
    assert_eq!(
        problem_of("{name: y, condition: gt 5, next: [a]}"),
        "13:16: two branches of node \"c\" are named \"y\""
    );
}

#[test]
fn a_node_follows_one_conditional_only() {
    let conditional = |name: &str| {
        format!(
            "  {name}:\n    type: conditional\n    condition: params.count\n    branches:\n      - \
             {{name: x, condition: truthy, next: [a]}}\n      - {{name: y, default: true, next: [a]}}\n"
        )
    };
    let text = nodes(&format!("{}{}  a: {{type: gate}}", conditional("c"), conditional("d")));
    assert_eq!(
        problems(&text),
        [
            "18:45: branches of two conditionals, \"c\" and \"d\", name node \"a\": only one \
             conditional may choose it",
            "19:41: branches of two conditionals, \"c\" and \"d\", name node \"a\": only one \
             conditional may choose it"
        ]
    );
    // Two branches of the same conditional may lead to the same node.
    let workflow = read(&nodes(&format!("{}  a: {{type: gate}}", conditional("c"))));
    let [first, _] = workflow.nodes() else { panic!() };
    assert!(
        matches!(&first.kind, Kind::Conditional(it) if it.branches[0].next == it.branches[1].next)
    );
}

#[test]
fn a_path_begins_with_params_or_a_node_that_runs_before() {
    let problem_of = |path: &str| problem(&next(&format!("    receives: {{x: {path}}}")));
    assert_eq!(
        problem_of("lst.result"),
        "13:19: receives.x of node \"next\": path \"lst.result\" begins with the unknown name \
         \"lst\": it must begin with params or a node that runs before (list); did you mean list?"
    );
    assert_eq!(
        problem_of("name"),
        "13:19: receives.x of node \"next\": path \"name\" begins with the unknown name \"name\": \
         it must begin with params or a node that runs before (list); did you mean params.name?"
    );
    assert_eq!(
        problem_of("next.result"),
        "13:19: receives.x of node \"next\": path \"next.result\" reads the output of its own node \
         \"next\""
    );
    assert_eq!(
        problem_of("list..a"),
        "13:19: receives.x of node \"next\": path \"list..a\" must be names and numbers with dots \
         between, such as a.b.0"
    );
    assert_eq!(
        problem_of("\"{{ nodes.list.result }}\""),
        "13:19: receives.x of node \"next\": path \"{{ nodes.list.result }}\" must be without \
         braces: it is no template"
    );
}

#[test]
fn a_path_into_a_node_that_is_not_upstream_names_both() {
    let text = nodes(
        "
  a: {type: task, handler: h}
  b: {type: task, handler: h}
  c: {type: task, handler: h, depends_on: [a], receives: {x: b.result}}
  d: {type: task, handler: h, depends_on: [c], receives: {x: a.result}}",
    );
    assert_eq!(
        problem(&text),
        "10:62: receives.x of node \"c\": path \"b.result\" reads node \"b\", which does not run \
         before node \"c\": let it depend on \"b\", or on a node that runs after \"b\""
    );
}

#[test]
fn when_looks_at_the_parameters_of_the_handler_first() {
    read(&next("    params: [name]\n    when: name"));
    read(&next("    receives: {made: list.result.made}\n    when: made.size"));
    assert_eq!(
        problem(&next("    params: [name]\n    when: count")),
        "14:11: when of node \"next\": path \"count\" begins with the unknown name \"count\": it \
         must begin with params, a parameter of its handler (name) or a node that runs before \
         (list); did you mean params.count?"
    );
}

#[test]
fn a_path_that_no_submission_can_satisfy_is_told() {
    let problem_of = |path: &str| problem(&next(&format!("    when: {path}")));
    assert_eq!(
        problem_of("params.nam"),
        "13:11: when of node \"next\": path \"params.nam\" names the unknown parameter \"nam\": \
         known are name, count, options, area, files; did you mean name?"
    );
    assert_eq!(
        problem_of("params.count.x"),
        "13:11: when of node \"next\": path \"params.count.x\" looks for x in params.count, which is \
         of type int"
    );
    assert_eq!(
        problem_of("params.area.east"),
        "13:11: when of node \"next\": path \"params.area.east\" looks for east in params.area, \
         which never has it: its fields are west"
    );
    assert_eq!(
        problem_of("params.files.first"),
        "13:11: when of node \"next\": path \"params.files.first\" looks for first in params.files, \
         which is a list"
    );
    for path in ["params.options.any.thing", "params.area.west", "params.files.0.a", "params"] {
        read(&next(&format!("    when: {path}")));
    }
}

#[test]
fn a_fan_out_has_no_output_and_a_fan_in_only_one_key() {
    let with = |path: &str| {
        nodes(&format!(
            "
  each: {{type: fan_out, source: params.files, task: {{handler: h}}}}
  all: {{type: fan_in, depends_on: [each]}}
  total: {{type: fan_in, depends_on: [each], aggregation: sum}}
  b: {{type: task, handler: h, depends_on: [all, total], receives: {{x: {path}}}}}"
        ))
    };
    assert_eq!(
        problem(&with("each.result")),
        "11:71: receives.x of node \"b\": path \"each.result\" reads node \"each\", a fan_out, which \
         has no output of its own: read a fan_in that depends on it"
    );
    assert_eq!(
        problem(&with("all.result")),
        "11:71: receives.x of node \"b\": path \"all.result\" looks for result in the output of the \
         fan_in \"all\", which only ever has the key items"
    );
    assert_eq!(
        problem(&with("all.items.result")),
        "11:71: receives.x of node \"b\": path \"all.items.result\" looks for result in the list \
         all.items: only a number can follow it"
    );
    assert_eq!(
        problem(&with("total.total.x")),
        "11:71: receives.x of node \"b\": path \"total.total.x\" looks for x in total.total, a number"
    );
    read(&with("all.items.0.result"));
    read(&with("total.total"));
}

#[test]
fn a_fan_in_depends_on_one_fan_out() {
    let fan_out = "{type: fan_out, source: params.files, task: {handler: h}}";
    let with = |depends_on: &str| {
        nodes(&format!(
            "  a: {fan_out}\n  b: {fan_out}\n  c: {{type: gate}}\n  d: {{type: fan_in, depends_on: \
             [{depends_on}]}}"
        ))
    };
    let allowed =
        "11:3: node \"d\" must depend on exactly one fan_out, whose outputs it gathers, not";
    assert_eq!(problem(&with("a, b")), format!("{allowed} on a and b"));
    assert_eq!(problem(&with("c")), format!("{allowed} on none"));
    assert_eq!(problem(&nodes("  d: {type: fan_in}")), format!("8{} on none", &allowed[2..]));
    read(&with("a, c"));
}

#[test]
fn at_most_a_hundred_nodes_with_finalize() {
    let file = |count: usize, more: &str| {
        let nodes: String = (0..count).map(|n| format!("  n{n}: {{type: gate}}\n")).collect();
        format!("workflow: w\nnodes:\n{nodes}{more}")
    };
    assert_eq!(read(&file(MOST_NODES, "")).nodes().len(), 100);
    assert_eq!(
        problem(&file(101, "")),
        "103:3: a workflow may have at most 100 nodes with finalize, not 101"
    );
    assert_eq!(
        problem(&file(100, "finalize: {handler: h}")),
        "103:1: a workflow may have at most 100 nodes with finalize, not 101"
    );
}

#[test]
fn what_is_allowed_but_hardly_meant_is_a_warning() {
    let text = nodes(
        "
  a: {type: task, handler: h, params: [name, name]}
  b: {type: task, handler: h, depends_on: [a, \"a?\"], params: {p: \"tile-{{ inputs.name }}\"}}
  c:
    type: conditional
    condition: params.count
    branches:
      - {name: x, condition: truthy, next: []}
      - {name: y, condition: falsy, default: true, next: []}",
    );
    let workflow = Workflow::read("f.yaml", &text, &Known::default()).unwrap();
    let warnings: Vec<String> = workflow.warnings().iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "8:46: params of node \"a\" has \"name\" twice",
            "9:47: depends_on of node \"b\" names \"a\" with ? and without: the first counts, \
             without ?",
            "9:66: params.p of node \"b\": \"tile-{{ inputs.name }}\" is passed as it is written: a \
             template must be all of the text, such as \"{{ 'a-' ~ inputs.b }}\"",
            "15:30: condition of branch \"y\" of node \"c\" is not looked at: the default is chosen \
             if no other branch is"
        ]
    );
}
