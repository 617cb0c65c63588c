//! Validation rules that the schemas of several fields have.

use kube::core::Rule;

use crate::api::{engines::EngineKind, kind::Kind};

/// A field that cannot be changed; `name` is what the message calls it, `remedy` what it advises.
pub fn immutable(name: &str, remedy: &str) -> Rule {
    Rule::new("self == oldSelf").message(&*format!("{name} cannot be changed after creation: {remedy}"))
}

/// An object whose optional `field` can be neither set nor unset later.
pub fn as_created(field: &str, remedy: &str) -> Rule {
    Rule::new(format!("has(self.{field}) == has(oldSelf.{field})"))
        .message(&*format!("{field} cannot be set or unset after creation: {remedy}"))
}

/// A manifest or a reference whose `apiVersion` and `kind` are those of an engine that runs this kind.
pub fn engines(of: Kind) -> Rule {
    let names: Vec<_> =
        EngineKind::all_of(of).map(|engine| format!("{} {}", engine.api_version(), engine.kind())).collect();
    let known: Vec<_> = names.iter().map(|name| format!("'{name}'")).collect();
    Rule::new(format!("self.apiVersion + ' ' + self.kind in [{}]", known.join(", "))).message(&*format!(
        "apiVersion and kind must be those of an engine that runs {}: {}; for anything else, leave template and workloadRef out and \
         set managedBy to the controller that runs it",
        of.plural(),
        names.join(", "),
    ))
}
