//! The imports between the modules of src/: no cycle, none that goes upward, no long file.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
};

use syn::{
    Attribute, Item, ItemUse, Path, UseTree, Visibility,
    visit::{self, Visit},
};

use crate::links::files_below;

/// From the bottom to the top: each may import what is below it.
const LAYERS: [&str; 11] = [
    "misconfigured",
    "tasks",
    "decode",
    "api",
    "client",
    "observed",
    "telemetry",
    "server",
    "bulk_update",
    "controller",
    "gateway",
];

/// The most lines of a file.
const MAX_LINES: usize = 400;

/// `bulk_update::work` and its text. The crate itself is the empty path.
fn modules() -> BTreeMap<Vec<String>, String> {
    let is_of_tests =
        |file: &String| ["tests", "properties", "fixtures"].iter().any(|of| file.contains(&format!("/{of}")));
    let files = files_below("src").into_iter().filter(|file| !is_of_tests(file));
    let modules = files.filter(|file| !["src/main.rs", "src/command.rs"].contains(&&**file)).map(|file| {
        let path = file.trim_start_matches("src/").trim_end_matches(".rs");
        let parts = path.split('/').filter(|part| !["mod", "lib"].contains(part)).map(ToOwned::to_owned);
        (parts.collect(), fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap())
    });
    modules.collect()
}

/// The absolute paths that one file names, except in code that is only for tests.
struct Named<'a> {
    module: &'a [String],
    paths: Vec<Vec<String>>,
}

impl Named<'_> {
    fn add(&mut self, path: &[String]) {
        let mut path = path.iter().map(|part| part.trim_start_matches("r#").to_owned()).peekable();
        let mut base = match path.peek().map(String::as_str) {
            Some("crate") => Vec::new(),
            Some("self" | "super") => self.module.to_vec(),
            _ => return,
        };
        while let Some(part) = path.next_if(|part| ["crate", "self", "super"].contains(&&**part)) {
            if part == "super" {
                base.pop();
            }
        }
        base.extend(path);
        self.paths.push(base);
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.add(&with(&name.ident)),
            UseTree::Rename(name) => self.add(&with(&name.ident)),
            UseTree::Glob(_) => self.add(before),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }
}

fn for_tests(attributes: &[Attribute]) -> bool {
    let is_cfg_test = |attribute: &Attribute| {
        attribute.path().is_ident("cfg")
            && attribute.parse_args::<Path>().is_ok_and(|path| path.is_ident("test"))
    };
    attributes.iter().any(is_cfg_test)
}

impl<'ast> Visit<'ast> for Named<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        let attributes = match item {
            Item::Mod(item) => &item.attrs,
            Item::Use(item) => &item.attrs,
            Item::Fn(item) => &item.attrs,
            Item::Impl(item) => &item.attrs,
            _ => return visit::visit_item(self, item),
        };
        if !for_tests(attributes) {
            visit::visit_item(self, item);
        }
    }

    /// A visibility is not an import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.add(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }
}

/// Which modules each module imports from.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let imports = modules.iter().map(|(module, text)| {
        let mut named = Named { module, paths: Vec::new() };
        named.visit_file(&syn::parse_file(text).unwrap());
        let owner = |path: &Vec<String>| {
            (0..=path.len())
                .rev()
                .map(|n| &path[..n])
                .find(|path| modules.contains_key(*path))
                .unwrap()
                .join("::")
        };
        let from: BTreeSet<_> = named.paths.iter().map(owner).filter(|of| *of != module.join("::")).collect();
        (module.join("::"), from)
    });
    imports.collect()
}

#[test]
fn there_is_no_import_cycle() {
    let mut left = imports();
    // A module that imports no remaining module is in no cycle, nor is one that no remaining module imports.
    loop {
        let all: BTreeSet<_> = left.keys().cloned().collect();
        let imported: BTreeSet<_> = left.values().flatten().cloned().collect();
        let before = left.len();
        left.retain(|module, from| !from.is_disjoint(&all) && imported.contains(module));
        if left.len() == before {
            break;
        }
    }
    let all: BTreeSet<_> = left.keys().cloned().collect();
    for from in left.values_mut() {
        from.retain(|of| all.contains(of));
    }
    assert!(left.is_empty(), "these import from each other: {left:#?}");
}

#[test]
fn nothing_imports_upward() {
    let layer = |module: &str| {
        let top = module.split("::").next().unwrap();
        LAYERS.iter().position(|layer| *layer == top).unwrap_or_else(|| panic!("{module} is in no layer"))
    };
    for (module, from) in imports().iter().filter(|(module, _)| !module.is_empty()) {
        let upward: Vec<_> = from.iter().filter(|of| of.is_empty() || layer(of) > layer(module)).collect();
        assert!(upward.is_empty(), "{module} imports from {upward:?}");
    }
}

#[test]
fn no_file_is_long() {
    for file in files_below("src") {
        let lines =
            fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap().lines().count();
        assert!(lines <= MAX_LINES, "{file}: {lines} lines");
    }
}
