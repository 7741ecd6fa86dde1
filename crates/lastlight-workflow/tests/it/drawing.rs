//! A workflow as text, as Mermaid, and as nodes and edges.

use crate::{fragments::nodes, read, scene};

#[test]
fn a_workflow_is_drawn_as_text() {
    insta::assert_snapshot!(scene().as_text());
}

#[test]
fn a_workflow_is_drawn_as_mermaid() {
    insta::assert_snapshot!(scene().as_mermaid());
}

#[test]
fn a_workflow_has_nodes_and_edges_for_an_api() {
    insta::assert_json_snapshot!(scene().graph());
}

#[test]
fn lines_lead_from_each_node_to_those_that_depend_on_it() {
    let workflow = read(&nodes(
        "
  a: {type: gate}
  b: {type: gate}
  c: {type: gate, depends_on: [a]}
  d: {type: gate, depends_on: [b]}
  e: {type: gate, depends_on: [a, d]}
  f: {type: gate, depends_on: [c, b, e]}
  g: {type: gate}
  h: {type: gate, depends_on: [a, g, \"f?\"]}",
    ));
    let drawn = workflow.as_text();
    let lanes: Vec<&str> =
        drawn.lines().skip(2).map(|line| line.split("gate").next().unwrap().trim_end()).collect();
    insta::assert_snapshot!(lanes.join("\n"));
}

#[test]
fn thirty_nodes_fit_on_a_screen() {
    let chain: String = (0..30)
        .map(|n| {
            let before = if n == 0 { String::new() } else { format!("n{}, n{}", n - 1, n / 2) };
            format!("  n{n}: {{type: task, handler: h, depends_on: [{before}]}}\n")
        })
        .collect();
    let text = read(&nodes(&chain)).as_text();
    assert_eq!(text.lines().count(), 32);
    assert!(text.lines().all(|line| line.chars().count() < 100), "{text}");
}

#[test]
fn labels_of_mermaid_are_escaped() {
    let workflow = read(&nodes(
        "
  c:
    type: conditional
    condition: params.name
    branches:
      - {name: \"a \\\"b\\\" <c> #1\", condition: 'eq \"x\" & `y`', next: [d]}
      - {name: other, default: true, next: []}
  d: {type: task, handler: \"a&b<c>\"}",
    ));
    insta::assert_snapshot!(workflow.as_mermaid());
}
