//! docs/SETTINGS.md, made of the declarations. A test holds the page to them; `UPDATE_DOCS=1`
//! writes it.

use std::path::Path;

use super::{
    GROUPS, Group,
    elsewhere::{DRIVER, ELSEWHERE},
};
use crate::config::{Declared, Form};

const HEAD: &str = "# Settings

Made from the program by a test (`crates/lastlight/src/config/reference`); `UPDATE_DOCS=1 cargo nextest run reference` writes it anew. What the
page says of defaults and bounds is tried out on the program.

Settings are environment variables; under `func start` they stand in `local.settings.json`
(`local.settings.example.json` is one to begin with), in Azure in the app's settings. Blanks around a value do not count, and
an empty one counts as not set. Everything that is missing or malformed is said at once at the start, with what to do about
it, and the process exits with 2; `lastlight doctor` says the same and looks at the rest, too. What is marked as secret is
shown nowhere, and a value that looks like a secret is not shown where it stands in the wrong setting.
";

fn page() -> String {
    let mut page = HEAD.to_owned();
    for group in GROUPS {
        describe(group, &mut page);
    }
    page.push_str("\n# What others than the handler read\n");
    for group in ELSEWHERE {
        describe(group, &mut page);
    }
    let names: Vec<String> = DRIVER.iter().map(|(name, _)| format!("`{name}`")).collect();
    page.push_str(&format!(
        "\n## Libraries\n\nPostgreSQL's own variables count for what neither `DATABASE_URL` nor `POSTGIS_*` says: {}.\n\n\
         Sign-in by identity reads what its platform sets, such as `AZURE_TENANT_ID`, `AZURE_CLIENT_ID` and \
         `AZURE_AUTHORITY_HOST`.\n",
        names.join(", ")
    ));
    page
}

fn describe(group: &Group, page: &mut String) {
    page.push_str(&format!("\n## {}\n", group.title));
    if !group.about.is_empty() {
        page.push_str(&format!("\n{}\n", group.about));
    }
    page.push_str("\n| setting | default | allowed | |\n| --- | --- | --- | --- |\n");
    for setting in group.settings {
        let default = setting.default().map_or_else(String::new, |default| format!("`{default}`"));
        let row = format!(
            "| `{}` | {default} | {} | {}{} |\n",
            setting.name(),
            cell(&allowed(*setting)),
            if setting.is_secret() { "**Secret.** " } else { "" },
            cell(setting.meaning()),
        );
        page.push_str(&row);
    }
}

fn allowed(setting: &dyn Declared) -> String {
    match setting.form() {
        Form::Number { min, max, is_whole, unit } => {
            let kind = if is_whole { "" } else { ", fractions too" };
            let unit = if unit.is_empty() { String::new() } else { format!(" {unit}") };
            format!("{min} to {max}{unit}{kind}")
        }
        Form::Flag => "`true`, `false`".to_owned(),
        Form::OneOf(names) => {
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        }
        Form::Words(words) => words.to_owned(),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

#[test]
fn docs_settings_md_says_what_the_program_reads() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/SETTINGS.md");
    let page = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&file, &page).unwrap();
    }
    let stored = std::fs::read_to_string(&file).unwrap_or_default();
    assert!(
        stored == page,
        "docs/SETTINGS.md is not what the program reads: UPDATE_DOCS=1 cargo nextest run reference"
    );
}

#[test]
fn a_setting_stands_on_the_page_once() {
    let mut names: Vec<&str> = GROUPS
        .iter()
        .chain(ELSEWHERE)
        .flat_map(|group| group.settings)
        .map(|setting| setting.name())
        .collect();
    let all = names.len();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), all);
}
