//! The imports between the modules of src/: no cycle, none that goes upward, no long file.
//!
//! An import is a path to another module, in code, in what a macro is given or in an attribute; or a call of a method that
//! another module adds to a type which it does not declare. What would hide one is forbidden: `use module::*`,
//! `extern crate`, a module without a file of its own.

use std::{
    collections::{BTreeMap, BTreeSet},
    slice,
};

use syn::{
    Attribute, ExprMethodCall, ImplItem, Item, ItemExternCrate, ItemImpl, ItemMod, ItemUse, Lit, Macro,
    MetaList, Path, Type, UseTree, Visibility,
    buffer::{Cursor, TokenBuffer},
    visit::{self, Visit},
};

use crate::{links::files_below, path, read};

/// From the bottom to the top: each may import what is below it.
const LAYERS: [&str; 13] = [
    "misconfigured",
    "tasks",
    "decode",
    "api",
    "client",
    "observed",
    "telemetry",
    "server",
    "bulk_update",
    "workload",
    "controller",
    "gateway",
    "plugin",
];

/// The same within `bulk_update`, where everything else is above these: the steps, and what they share.
const IN_BULK_UPDATE: [&str; 10] = [
    "identity", "throttle", "request", "facts", "finished", "stored", "resource", "work", "decide", "status",
];

/// The most lines of a file.
const MAX_LINES: usize = 400;

/// Modules by their paths, such as `bulk_update::work`. That of the crate itself is empty.
type Modules = BTreeMap<Vec<String>, syn::File>;

/// All modules that are declared, except for tests.
fn modules() -> Modules {
    let mut modules = Modules::new();
    let mut left = vec![Vec::new()];
    while let Some(module) = left.pop() {
        let file = syn::parse_file(&text(&module)).unwrap();
        for item in &file.items {
            if let Item::Mod(child) = item
                && !for_tests(&child.attrs)
            {
                left.push([&*module, &[child.ident.to_string()]].concat());
            }
        }
        modules.insert(module, file);
    }
    modules
}

fn text(module: &[String]) -> String {
    let name = if module.is_empty() { "lib".to_owned() } else { module.join("/") };
    let mut files = [format!("src/{name}.rs"), format!("src/{name}/mod.rs")].into_iter();
    let file = files.find(|file| path(file).is_file());
    read(&file.unwrap_or_else(|| panic!("{name} has no file of its own")))
}

/// What one module names, except in code that is only for tests.
struct Named<'a> {
    modules: &'a Modules,
    module: &'a [String],
    /// The paths as they are written.
    paths: Vec<Vec<String>>,
    /// What its `use` items call a path.
    uses: BTreeMap<String, Vec<String>>,
    /// The functions that it adds to types of other modules, which need no import where they are called.
    adds: BTreeSet<String>,
    /// What it calls, of any type.
    calls: BTreeSet<String>,
}

impl<'a> Named<'a> {
    fn in_module(modules: &'a Modules, module: &'a [String], file: &syn::File) -> Self {
        let mut named = Self {
            modules,
            module,
            paths: Vec::new(),
            uses: BTreeMap::new(),
            adds: BTreeSet::new(),
            calls: BTreeSet::new(),
        };
        named.visit_file(file);
        named
    }

    fn add(&mut self, path: &[String]) {
        self.calls.extend(path.last().cloned());
        self.paths.push(path.iter().map(|part| part.trim_start_matches("r#").to_owned()).collect());
    }

    fn add_tree(&mut self, before: &[String], tree: &UseTree) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        match tree {
            UseTree::Path(path) => self.add_tree(&with(&path.ident), &path.tree),
            UseTree::Name(name) => self.add_use(with(&name.ident), None),
            UseTree::Rename(name) => self.add_use(with(&name.ident), Some(name.rename.to_string())),
            UseTree::Glob(_) => panic!("{}: a `*` hides what is imported", self.module.join("::")),
            UseTree::Group(group) => group.items.iter().for_each(|tree| self.add_tree(before, tree)),
        }
    }

    fn add_use(&mut self, mut path: Vec<String>, name: Option<String>) {
        path.pop_if(|last| last == "self");
        self.add(&path);
        if let Some(name) = name.or_else(|| path.last().cloned()) {
            self.uses.insert(name, path);
        }
    }

    /// Adds the paths in what only a macro understands.
    fn add_tokens(&mut self, mut rest: Cursor<'_>) {
        while !rest.eof() {
            if let Some((group, _, _, after)) = rest.any_group() {
                self.add_tokens(group);
                rest = after;
            } else if let Some((literal, after)) = rest.literal() {
                // As in #[serde(with = "module::function")].
                if let Lit::Str(text) = Lit::new(literal)
                    && let Ok(path) = text.parse::<Path>()
                {
                    self.visit_path(&path);
                }
                rest = after;
            } else if let Some((name, mut after)) = rest.ident() {
                let mut path = vec![name.to_string()];
                while let Some((name, next)) = after_colons(after).and_then(Cursor::ident) {
                    path.push(name.to_string());
                    after = next;
                }
                self.calls.extend(path.last().cloned());
                self.add_longer(&path);
                rest = after;
            } else {
                rest = rest.token_tree().unwrap().1;
            }
        }
    }

    /// A single name is something local, or what a `use` item has imported.
    fn add_longer(&mut self, path: &[String]) {
        if path.len() > 1 {
            self.add(path);
        }
    }

    /// The path from the crate on, unless it leads to another crate.
    fn absolute(&self, path: &[String]) -> Option<Vec<String>> {
        let (first, rest) = path.split_first()?;
        let child = [self.module, slice::from_ref(first)].concat();
        let mut base = match &**first {
            "crate" => Vec::new(),
            "self" | "super" => self.module.to_vec(),
            _ if self.modules.contains_key(&child) => self.module.to_vec(),
            _ => {
                let used = self.uses.get(first).filter(|used| used[0] != *first)?;
                return self.absolute(&[used, rest].concat());
            }
        };
        for part in path {
            match &**part {
                "crate" | "self" => {}
                "super" => drop(base.pop()),
                part => base.push(part.to_owned()),
            }
        }
        Some(base)
    }

    /// The modules whose items it names.
    fn imports(&self) -> BTreeSet<String> {
        let absolute = self.paths.iter().filter_map(|path| self.absolute(path));
        let owner = |path: Vec<String>| {
            let mut above = (0..=path.len()).rev().map(|n| &path[..n]);
            above.find(|path| self.modules.contains_key(*path)).unwrap().join("::")
        };
        absolute.map(owner).collect()
    }
}

/// Whether a module declares this type itself.
fn declares(file: &syn::File, name: Option<&syn::Ident>) -> bool {
    file.items.iter().any(|item| match item {
        Item::Enum(item) => Some(&item.ident) == name,
        Item::Struct(item) => Some(&item.ident) == name,
        _ => false,
    })
}

fn after_colons(rest: Cursor<'_>) -> Option<Cursor<'_>> {
    let (first, rest) = rest.punct()?;
    let (second, rest) = rest.punct()?;
    (first.as_char() == ':' && second.as_char() == ':').then_some(rest)
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

    /// Here a path is relative to its file.
    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        assert!(item.content.is_none(), "{}: {} has no file of its own", self.module.join("::"), item.ident);
    }

    fn visit_item_extern_crate(&mut self, item: &'ast ItemExternCrate) {
        panic!("{}: `extern crate {}` gives a crate another name", self.module.join("::"), item.ident);
    }

    /// A visibility is not an import.
    fn visit_visibility(&mut self, _: &'ast Visibility) {}

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.add_tree(&[], &item.tree);
    }

    fn visit_item_impl(&mut self, item: &'ast ItemImpl) {
        if let (None, Type::Path(of)) = (&item.trait_, &*item.self_ty)
            && !declares(&self.modules[self.module], of.path.segments.last().map(|last| &last.ident))
        {
            let functions = item.items.iter().filter_map(|item| match item {
                ImplItem::Fn(function) => Some(function.sig.ident.to_string()),
                _ => None,
            });
            self.adds.extend(functions);
        }
        visit::visit_item_impl(self, item);
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        self.calls.insert(call.method.to_string());
        visit::visit_expr_method_call(self, call);
    }

    fn visit_path(&mut self, path: &'ast Path) {
        self.add_longer(&path.segments.iter().map(|segment| segment.ident.to_string()).collect::<Vec<_>>());
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, of: &'ast Macro) {
        visit::visit_macro(self, of);
        self.add_tokens(TokenBuffer::new2(of.tokens.clone()).begin());
    }

    fn visit_meta_list(&mut self, of: &'ast MetaList) {
        visit::visit_meta_list(self, of);
        self.add_tokens(TokenBuffer::new2(of.tokens.clone()).begin());
    }
}

/// Which modules each module imports from.
fn imports() -> BTreeMap<String, BTreeSet<String>> {
    let modules = modules();
    let named: Vec<_> =
        modules.iter().map(|(module, file)| Named::in_module(&modules, module, file)).collect();
    let imports = named.iter().map(|one| {
        let called = named.iter().filter(|other| !one.calls.is_disjoint(&other.adds));
        let called = called.map(|other| other.module.join("::"));
        let mut from: BTreeSet<_> = one.imports().into_iter().chain(called).collect();
        from.remove(&one.module.join("::"));
        (one.module.join("::"), from)
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
fn decisions_import_no_step() {
    let rank = |module: &str| {
        let name = module.strip_prefix("bulk_update::")?.split("::").next().unwrap();
        Some(IN_BULK_UPDATE.iter().position(|known| *known == name).unwrap_or(IN_BULK_UPDATE.len()))
    };
    let imports = imports();
    for known in IN_BULK_UPDATE {
        assert!(imports.contains_key(&format!("bulk_update::{known}")), "there is no {known}");
    }
    for (module, from) in imports.iter().filter(|(module, _)| rank(module).is_some()) {
        let upward: Vec<_> = from.iter().filter(|of| rank(of) > rank(module)).collect();
        assert!(upward.is_empty(), "{module} imports from {upward:?}");
    }
}

#[test]
fn no_file_is_long() {
    for file in files_below("src") {
        let lines = read(&file).lines().count();
        assert!(lines <= MAX_LINES, "{file}: {lines} lines");
    }
}
