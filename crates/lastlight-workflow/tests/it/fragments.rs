//! Pieces of files for tests: what a test is about, in a file that is right otherwise.

/// A file with these parameters and nodes; both are indented by two.
pub(crate) fn file(parameters: &str, nodes: &str) -> String {
    format!("workflow: w\nparameters:\n{parameters}\nnodes:\n{nodes}\n")
}

/// A file with these nodes, indented by two, and the parameters `name` (str), `count` (int),
/// `options` (dict), `area` (dict with `west`) and `files` (list). Nodes begin in line 8.
pub(crate) fn nodes(nodes: &str) -> String {
    let parameters = "{name: {type: str},\n  count: {type: int},\n  options: {type: dict},\n  \
                      area: {type: dict, nested: {west: {type: float}}},\n  files: {type: list}}";
    format!("workflow: w\nparameters: {parameters}\nnodes:\n{}\n", nodes.trim_matches('\n'))
}

/// A file with a node `list`, and a node `each` that has a task per item with this parameter `p`:
/// in line 15, column 19.
pub(crate) fn item(template: &str) -> String {
    nodes(&format!(
        "
  list: {{type: task, handler: h}}
  each:
    type: fan_out
    depends_on: [list]
    source: list.result
    task:
      handler: h
      params: {{p: {template}}}
  late: {{type: task, handler: h, depends_on: [list]}}"
    ))
}

/// A file with a node `list`, and a node `next` after it with these fields, each indented by four
/// and from line 13 on.
pub(crate) fn next(fields: &str) -> String {
    nodes(&format!(
        "
  list: {{type: task, handler: h}}
  next:
    type: task
    handler: h
    depends_on: [list]
{}",
        fields.trim_matches('\n')
    ))
}
