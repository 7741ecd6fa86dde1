//! The tables of docs/howto/workflows.md, made from the program. A test compares the page with them;
//! `UPDATE_DOCS=1` writes it.

use std::{fs, path::Path};

use lastlight_engine::{builtin::reference::handlers, workflow_files::PERMANENT};
use lastlight_workflow::{
    Known,
    reference::{Field, Mapping, expressions, limits, mappings},
};

const FILE: &str = "docs/howto/workflows.md";

/// The parts of the page that are made, by the names in their comments.
fn parts() -> [(&'static str, String); 6] {
    [
        ("permanent error types", format!("{}.\n", code(&PERMANENT))),
        ("fields", mappings().into_iter().map(fields).collect()),
        ("validators", validators()),
        ("built-in handlers", built_in()),
        ("words", words()),
        ("limits", limits_table()),
    ]
}

fn fields(mapping: &Mapping) -> String {
    let rows = mapping.fields.iter().map(|field| Row {
        name: field.name,
        is_required: field.is_required,
        allowed: field.allowed.words(),
        default: field.default.to_owned(),
        meaning: field.meaning,
    });
    format!("### {}\n\n{}\n\n{}", heading(mapping), mapping.about, table("field", rows))
}

fn validators() -> String {
    let known = Known::blob_validators().validators.unwrap();
    let of_one = |(name, rule): (&String, &lastlight_workflow::ValidatorRule)| {
        let rows = rule.fields.iter().map(|(name, field)| Row {
            name,
            is_required: field.required,
            allowed: field.value.words().to_owned(),
            default: String::new(),
            meaning: field.meaning,
        });
        format!("### {name}\n\n{}\n\n{}", rule.about, table("field", rows))
    };
    known.iter().map(of_one).collect()
}

fn built_in() -> String {
    let of_one = |handler: lastlight_engine::builtin::reference::HandlerReference| {
        let rows = handler.parameters.iter().map(|parameter| Row {
            name: parameter.name,
            is_required: parameter.is_required,
            allowed: parameter.allowed.clone(),
            default: parameter.default.clone(),
            meaning: parameter.meaning,
        });
        let table =
            if handler.parameters.is_empty() { String::new() } else { table("parameter", rows) };
        format!(
            "### {}\n\n{} It returns {}.\n\n{table}",
            handler.name, handler.about, handler.returns
        )
    };
    handlers().into_iter().map(of_one).collect()
}

fn words() -> String {
    let words = expressions();
    let rows = [
        ("operators with a literal", code(&words.operators)),
        ("operators without one", code(&words.truths)),
        ("filters of templates", code(&words.filters)),
        ("tests of templates, after `is`", code(&words.tests)),
        ("methods of values in templates", code(&words.methods)),
    ];
    let rows = rows.map(|(what, words)| format!("| {what} | {words} |\n"));
    format!("| | |\n| --- | --- |\n{}\n", rows.concat())
}

fn limits_table() -> String {
    let rows = limits().into_iter().map(|limit| format!("| {} | {} |\n", limit.what, limit.most));
    format!("| at most | |\n| --- | --- |\n{}\n", rows.collect::<String>())
}

struct Row<'a> {
    name: &'a str,
    is_required: bool,
    allowed: String,
    default: String,
    meaning: &'a str,
}

fn table<'a>(what: &str, rows: impl Iterator<Item = Row<'a>>) -> String {
    let mut table = format!("| {what} | allowed | default | |\n| --- | --- | --- | --- |\n");
    for Row { name, is_required, allowed, default, meaning } in rows {
        let name = if is_required { format!("**`{name}`**") } else { format!("`{name}`") };
        let default = if default.is_empty() { default } else { format!("`{default}`") };
        table.push_str(&format!("| {name} | {allowed} | {default} | {meaning} |\n"));
    }
    table.push('\n');
    table
}

/// The heading of a mapping: `a branch` as `Branch`.
fn heading(mapping: &Mapping) -> String {
    let name = mapping.noun.strip_prefix("a ").unwrap_or(mapping.noun);
    let is_node = |field: &Field| field.name == "type" && field.allowed.words() == code(&[name]);
    if mapping.fields.first().is_some_and(is_node) {
        return format!("Nodes of the type `{name}`");
    }
    let name = name.replace("fan_out", "`fan_out`");
    let mut letters = name.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    first.into_iter().chain(letters).collect()
}

fn code(words: &[&str]) -> String {
    words.iter().map(|word| format!("`{word}`")).collect::<Vec<_>>().join(", ")
}

/// The page with its made parts as they are to be.
fn page(stored: &str) -> String {
    let mut page = stored.to_owned();
    for (name, part) in parts() {
        let begin = format!("<!-- {name}: UPDATE_DOCS=1 cargo nextest run reference -->\n");
        let from = page.find(&begin).unwrap_or_else(|| panic!("{FILE} has no {begin}"));
        let from = from + begin.len();
        let to = from + page[from..].find("<!-- end -->").unwrap();
        page.replace_range(from..to, &format!("{}\n", part.trim_end()));
    }
    page
}

#[test]
fn the_workflow_reference_matches_the_program() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(FILE);
    let stored = fs::read_to_string(&file).unwrap();
    let page = page(&stored);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    } else {
        assert!(stored == page, "{FILE} is out of date: UPDATE_DOCS=1 cargo nextest run reference");
    }
}
