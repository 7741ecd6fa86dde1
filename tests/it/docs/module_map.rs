//! The module maps in src/lib.rs and src/store/mod.rs are correct: a module uses only modules below it.

use std::{cmp::Ordering, collections::BTreeSet, fs, path::Path};

const ENGINE: &str = include_str!("../../../crates/lastlight-engine/src/lib.rs");
const STORE: &str = include_str!("../../../crates/lastlight-engine/src/store/mod.rs");

/// The modules in the order of the map.
fn modules(map: &str) -> Vec<String> {
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

/// The names that follow `root`, for example `crate::`, alone or in a group.
fn used(source: &str, root: &str) -> BTreeSet<String> {
    let name = |text: &str| -> String {
        let is_part = |c: &char| c.is_ascii_alphanumeric() || *c == '_';
        text.trim_start().chars().take_while(is_part).collect()
    };
    let mut names = BTreeSet::new();
    // Comments may mention modules that the code may not use.
    let code: Vec<&str> =
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    for rest in code.join("\n").split(root).skip(1) {
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

/// Path and text of each file of a module.
fn files_of(module: &str, folder: &str) -> Vec<(String, String)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("crates/lastlight-engine").join(folder);
    let mut files = Vec::new();
    if src.join(module).is_dir() {
        sources(&src.join(module), &mut files);
    } else {
        let path = src.join(format!("{module}.rs"));
        files.push((path.display().to_string(), fs::read_to_string(&path).unwrap()));
    }
    files
}

/// For each use of a name that follows `root`: the module of the map, its file, and the name.
fn uses(map: &str, folder: &str, root: &str) -> Vec<(String, String, String)> {
    let mut uses = Vec::new();
    for module in modules(map) {
        for (path, source) in files_of(&module, folder) {
            let names = used(&source, root);
            uses.extend(names.into_iter().map(|name| (module.clone(), path.clone(), name)));
        }
    }
    uses
}

/// The modules that are declared in a source.
fn declared(source: &str) -> BTreeSet<String> {
    source
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

/// Fails if one of `uses` leads upwards in the map, or if fewer than `least` lead downwards.
fn assert_downwards(map: &str, uses: &[(String, String, String)], least: usize) {
    let modules = modules(map);
    let place = |name: &String| modules.iter().position(|module| module == name);
    let mut downwards = BTreeSet::new();
    let mut against = Vec::new();
    for (module, path, name) in uses {
        match place(name).cmp(&place(module)) {
            _ if place(name).is_none() => {}
            Ordering::Less => against.push(format!("{path} uses {name}, which is above")),
            Ordering::Greater => drop(downwards.insert((module, name))),
            Ordering::Equal => {}
        }
    }
    assert_eq!(against, Vec::<String>::new());
    assert!(downwards.len() >= least, "too few dependencies are found: {downwards:?}");
}

#[test]
fn modules_depend_only_on_modules_below() {
    assert_downwards(ENGINE, &uses(ENGINE, "src", "crate::"), 21);
}

#[test]
fn modules_of_the_store_depend_only_on_modules_below() {
    let mut uses = uses(STORE, "src/store", "store::");
    let modules = modules(STORE);
    // By its own path, so that the dependency shows; a name that the store exports would hide it.
    let hidden: Vec<_> = uses.iter().filter(|(_, _, name)| !modules.contains(name)).collect();
    assert!(hidden.is_empty(), "{hidden:?} are not modules of the store");
    // `database.jobs()` needs no import.
    for module in &modules {
        for (path, source) in files_of(module, "src/store") {
            let called = modules.iter().filter(|name| source.contains(&format!(".{name}()")));
            uses.extend(called.map(|name| (module.clone(), path.clone(), name.clone())));
        }
    }
    assert_downwards(STORE, &uses, 14);
}

#[test]
fn the_maps_list_every_module() {
    for map in [ENGINE, STORE] {
        assert_eq!(modules(map).into_iter().collect::<BTreeSet<_>>(), declared(map));
    }
}

#[test]
fn single_and_grouped_imports_are_found() {
    let source = "use crate::{\n    a::{b, c},\n    d,\n};\nuse crate::e::f;\n// crate::not\nlet x = crate::g(h);";
    let expected = ["a", "d", "e", "g"].map(str::to_owned);
    assert_eq!(used(source, "crate::"), BTreeSet::from(expected));
    let source = "use crate::{\n    a,\n    store::{b::C, d::{E, F}},\n};";
    assert_eq!(used(source, "store::"), BTreeSet::from(["b", "d"].map(str::to_owned)));
}
