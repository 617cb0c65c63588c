//! Validation rules that the schemas of several fields have.

use kube::core::Rule;

/// A field that cannot be changed; `name` is what the message calls it, `remedy` what it advises.
pub fn immutable(name: &str, remedy: &str) -> Rule {
    Rule::new("self == oldSelf").message(&*format!("{name} cannot be changed after creation: {remedy}"))
}

/// An object whose optional `field` can be neither set nor unset later.
pub fn as_created(field: &str, remedy: &str) -> Rule {
    Rule::new(format!("has(self.{field}) == has(oldSelf.{field})"))
        .message(&*format!("{field} cannot be set or unset after creation: {remedy}"))
}
