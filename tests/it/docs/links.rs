//! Each internal link of the documentation leads to an existing file and to an existing heading.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

/// A page without its code blocks, in which nothing is a heading or a link.
fn prose(text: &str) -> Vec<&str> {
    let mut fence: Option<&str> = None;
    let mut lines = Vec::new();
    for line in text.lines() {
        let begins = line.trim_start();
        match fence {
            Some(mark) if begins.starts_with(mark) => fence = None,
            Some(_) => {}
            None => match ["```", "~~~"].into_iter().find(|mark| begins.starts_with(mark)) {
                Some(mark) => fence = Some(mark),
                None => lines.push(line),
            },
        }
    }
    lines
}

/// The anchors of a page's headings, as GitHub generates them.
fn anchors(text: &str) -> BTreeSet<String> {
    let mut anchors = BTreeSet::new();
    for line in prose(text) {
        let marks = line.chars().take_while(|c| *c == '#').count();
        let Some(heading) = line.get(marks..).and_then(|rest| rest.strip_prefix(' ')) else {
            continue;
        };
        if !(1..=6).contains(&marks) {
            continue;
        }
        let plain: String = heading
            .trim()
            .to_lowercase()
            .chars()
            .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        // A repeated heading gets a number.
        let again = (1..).map(|number| format!("{plain}-{number}"));
        let free =
            [plain.clone()].into_iter().chain(again).find(|anchor| !anchors.contains(anchor));
        anchors.extend(free);
    }
    anchors
}

/// Text without the parts between backticks.
fn without_code(text: &str) -> String {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(start) = rest.find('`') {
        let ticks = rest[start..].chars().take_while(|c| *c == '`').count();
        let mark = "`".repeat(ticks);
        let inside = &rest[start + ticks..];
        kept.push_str(&rest[..start]);
        match inside.find(&mark) {
            Some(end) => rest = &inside[end + ticks..],
            None => rest = inside,
        }
    }
    kept.push_str(rest);
    kept
}

/// The targets of a page's links, without external ones.
fn targets(text: &str) -> Vec<String> {
    let prose = prose(text);
    let whole = without_code(&prose.join("\n"));
    let inline = whole.split("](").skip(1).filter_map(|rest| rest.split([')', ' ', '\n']).next());
    let defined = whole.lines().filter_map(|line| {
        let (_, target) = line.strip_prefix('[')?.split_once("]: ")?;
        target.split_whitespace().next()
    });
    inline
        .chain(defined)
        .filter(|target| {
            !["https://", "http://", "mailto:"].iter().any(|scheme| target.starts_with(scheme))
        })
        .map(str::to_owned)
        .collect()
}

/// The problem of a link in `page`, if there is one.
fn problem(page: &Path, text: &str, target: &str) -> Option<String> {
    let (path, anchor) = match target.split_once('#') {
        Some((path, anchor)) => (path, Some(anchor)),
        None => (target, None),
    };
    let file = match path {
        "" => page.to_owned(),
        _ => page.parent().unwrap().join(path),
    };
    if !path.is_empty() && !file.exists() {
        return Some("there is no such file".to_owned());
    }
    let anchor = anchor?;
    let known = match path {
        "" => anchors(text),
        _ if file.extension().is_some_and(|kind| kind == "md") => {
            anchors(&fs::read_to_string(&file).unwrap())
        }
        _ => return Some("only a page has headings".to_owned()),
    };
    (!known.contains(anchor)).then(|| "the page has no such heading".to_owned())
}

fn pages() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> = ["README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md"]
        .map(|name| root.join(name))
        .into();
    let mut folders = vec![root.join("docs")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|kind| kind == "md") {
                pages.push(path);
            }
        }
    }
    pages
}

#[test]
fn every_link_in_the_docs_resolves() {
    let mut followed = 0;
    let mut broken = Vec::new();
    for page in pages() {
        let text = fs::read_to_string(&page).unwrap();
        for target in targets(&text) {
            followed += 1;
            if let Some(problem) = problem(&page, &text, &target) {
                broken.push(format!("{}: {target}: {problem}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(followed > 100, "only {followed} links were found");
}

#[test]
fn the_check_finds_broken_links() {
    let text = "# One `two`: three\n\n## Again\n\n## Again\n\n[a](#one-two-three), [b](#again-1) [`c`](README.md)\n\
                [d\ne](#again-2) [f](nowhere.md) ![g](src/lib.rs#L1) [h](https://nowhere.example/) `[i](code.md)`\n\
                [j](docs/CLI.md#lastlight-doctor) [k](docs/CLI.md#nowhere)\n\n[l]: nowhere/at/all\n\n```\n[m](code.md)\n```\n";
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("page.md");
    let broken: Vec<(String, String)> = targets(text)
        .into_iter()
        .filter_map(|target| Some((target.clone(), problem(&page, text, &target)?)))
        .collect();
    let broken: Vec<(&str, &str)> =
        broken.iter().map(|(target, problem)| (&**target, &**problem)).collect();
    assert_eq!(
        broken,
        [
            ("#again-2", "the page has no such heading"),
            ("nowhere.md", "there is no such file"),
            ("src/lib.rs#L1", "only a page has headings"),
            ("docs/CLI.md#nowhere", "the page has no such heading"),
            ("nowhere/at/all", "there is no such file"),
        ]
    );
}
