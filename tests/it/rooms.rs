//! The module map in src/lib.rs is correct: a module uses only modules below it.

use std::{collections::BTreeSet, fs, path::Path};

/// The modules in the order of the map.
fn rooms() -> Vec<String> {
    let map = include_str!("../../crates/lastlight/src/lib.rs");
    let rows = map.lines().filter_map(|line| line.strip_prefix("//! | "));
    rows.filter_map(|row| Some(row.split_once('`')?.1.split_once('`')?.0.to_owned())).collect()
}

fn sources(folder: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
    }
}

/// The names that follow `crate::`, alone or in a group.
fn used(source: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_part).collect()
    };
    let mut names = BTreeSet::new();
    // Comments may mention modules that the code may not use.
    let code: Vec<&str> =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for rest in code.join("\n").split("crate::").skip(1) {
        let Some(group) = rest.strip_prefix('{') else {
            names.insert(name(rest));
            continue;
        };
        let (mut depth, mut begins) = (0, true);
        for (place, c) in group.char_indices() {
            if begins && !c.is_whitespace() && c != '}' {
                names.insert(name(&group[place..]));
                begins = false;
            }
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => begins = true,
                _ => {}
            }
        }
    }
    names
}

#[test]
fn modules_depend_only_on_modules_below() {
    let rooms = rooms();
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lastlight/src");
    let mut seen = BTreeSet::new();
    let mut against = Vec::new();
    for (floor, room) in rooms.iter().enumerate() {
        let mut files = Vec::new();
        let folder = src.join(room);
        if folder.is_dir() {
            sources(&folder, &mut files);
        } else {
            let path = src.join(format!("{room}.rs"));
            files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
        }
        for (path, source) in files {
            for name in used(&source) {
                match rooms.iter().position(|other| *other == name) {
                    Some(other) if other < floor => {
                        against.push(format!("{path} uses {name}, which is above"))
                    }
                    Some(other) if other > floor => drop(seen.insert((floor, other))),
                    _ => {}
                }
            }
        }
    }
    assert_eq!(against, Vec::<String>::new());
    assert!(seen.len() > 20, "too few dependencies are found: {seen:?}");
}

#[test]
fn the_crate_page_lists_every_module() {
    let lib = include_str!("../../crates/lastlight/src/lib.rs");
    let declared: BTreeSet<String> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect();
    assert_eq!(rooms().into_iter().collect::<BTreeSet<_>>(), declared);
}

#[test]
fn single_and_grouped_imports_are_found() {
    let source = "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::f;\n// crate::not\nlet x = crate::g(h);";
    let expected = ["a", "d", "e", "g"].map(str::to_owned);
    assert_eq!(used(source), BTreeSet::from(expected));
}
