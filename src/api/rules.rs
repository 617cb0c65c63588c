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

/// What the value of a label can be, as a regular expression.
pub const LABEL_VALUE: &str = "^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$";

/// A field with the name of an object; `name` is what the message calls it.
pub fn object_name(name: &str) -> Rule {
    Rule::new("self.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*$')").message(&*format!(
        "{name} must be the name of an object: lower-case letters, digits, '-' and '.', and between dots the first and the last a \
         letter or digit"
    ))
}

/// A field with the uid of an object; `name` is what the message calls it.
pub fn object_uid(name: &str) -> Rule {
    Rule::new("self.matches('^[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$')").message(&*format!(
        "{name} must be the metadata.uid of that object, such as kubectl get -o yaml shows it"
    ))
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
