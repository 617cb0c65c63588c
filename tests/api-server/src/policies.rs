//! The `ValidatingAdmissionPolicies` and their bindings, as they are enforced: some time after they have changed.
//!
//! There is no CEL here: the expressions that are known are those of the shipped policy, and `true` and `false`. Any other
//! one fails when it is evaluated, as a real one does that cannot be: `failurePolicy` says what follows.

use std::{sync::Arc, time::Duration};

use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

use crate::kinds::Definition;

/// What was to be enforced since when.
#[derive(Clone, Debug, Default)]
pub struct Policies {
    /// How long a change takes to be enforced.
    pub delay: Duration,
    changes: Vec<(Timestamp, Arc<Vec<Policy>>)>,
}

/// A policy with its bindings.
#[derive(Clone, Debug)]
pub struct Policy {
    pub name: String,
    /// Whether a request is refused if it cannot be checked.
    pub fails_closed: bool,
    pub conditions: Vec<String>,
    pub rules: Vec<Target>,
    pub exempt: Vec<Target>,
    pub variables: Vec<(String, String)>,
    pub validations: Vec<Validation>,
    pub bindings: Vec<Binding>,
}

/// Which requests a rule is about.
#[derive(Clone, Debug)]
pub struct Target {
    groups: Vec<String>,
    versions: Vec<String>,
    resources: Vec<String>,
    operations: Vec<String>,
    /// `Namespaced` or `Cluster`; anything else is both.
    scope: String,
}

#[derive(Clone, Debug)]
pub struct Validation {
    pub expression: String,
    pub message: String,
    pub message_expression: String,
    pub reason: String,
}

#[derive(Clone, Debug)]
pub struct Binding {
    pub name: String,
    pub actions: Vec<String>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> Vec<String> {
    list(value).map(text).collect()
}

impl Policies {
    /// Takes in the policies and bindings as they are from now on.
    pub fn changed(&mut self, now: Timestamp, policies: &[Arc<Value>], bindings: &[Arc<Value>]) {
        let policies = policies.iter().map(|policy| Policy::read(policy, bindings)).collect();
        self.changes.push((now, Arc::new(policies)));
    }

    /// Those that are enforced now.
    pub fn in_force(&self, now: Timestamp) -> Arc<Vec<Policy>> {
        let spread = |since: Timestamp| since.checked_add(self.delay).is_ok_and(|spread| spread <= now);
        let last = self.changes.iter().rev().find(|(since, _)| spread(*since));
        last.map(|(_, policies)| Arc::clone(policies)).unwrap_or_default()
    }
}

impl Policy {
    fn read(policy: &Value, bindings: &[Arc<Value>]) -> Self {
        let (name, spec) = (text(&policy["metadata"]["name"]), &policy["spec"]);
        let of_it = bindings.iter().filter(|binding| binding["spec"]["policyName"] == *name);
        let bindings = of_it.map(|binding| Binding {
            name: text(&binding["metadata"]["name"]),
            actions: texts(&binding["spec"]["validationActions"]),
        });
        let constraints = &spec["matchConstraints"];
        Self {
            fails_closed: spec["failurePolicy"] != "Ignore",
            conditions: list(&spec["matchConditions"])
                .map(|condition| text(&condition["expression"]))
                .collect(),
            rules: list(&constraints["resourceRules"]).map(Target::read).collect(),
            exempt: list(&constraints["excludeResourceRules"]).map(Target::read).collect(),
            variables: list(&spec["variables"]).map(|v| (text(&v["name"]), text(&v["expression"]))).collect(),
            validations: list(&spec["validations"]).map(Validation::read).collect(),
            bindings: bindings.collect(),
            name,
        }
    }

    /// Whether it is about such a request; a subresource follows its resource after a slash.
    pub fn is_about(&self, definition: &Definition, resource: &str, operation: &str) -> bool {
        let has =
            |targets: &[Target]| targets.iter().any(|target| target.has(definition, resource, operation));
        has(&self.rules) && !has(&self.exempt)
    }

    pub fn variable(&self, name: &str) -> Option<&str> {
        self.variables.iter().find(|(own, _)| own == name).map(|(_, expression)| expression.as_str())
    }
}

impl Target {
    fn read(from: &Value) -> Self {
        Self {
            groups: texts(&from["apiGroups"]),
            versions: texts(&from["apiVersions"]),
            resources: texts(&from["resources"]),
            operations: texts(&from["operations"]),
            scope: text(&from["scope"]),
        }
    }

    fn has(&self, definition: &Definition, resource: &str, operation: &str) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        let of_resource = match resource.split_once('/') {
            None => has(&self.resources, resource),
            Some((of, sub)) => {
                let patterns = [resource.to_owned(), format!("*/{sub}"), format!("{of}/*"), "*/*".to_owned()];
                patterns.iter().any(|pattern| self.resources.contains(pattern))
            }
        };
        let all = self.resources.iter().any(|one| one == "*/*");
        let in_scope = match self.scope.as_str() {
            "Namespaced" => definition.namespaced,
            "Cluster" => !definition.namespaced,
            _ => true,
        };
        in_scope
            && has(&self.groups, &definition.group)
            && has(&self.versions, &definition.version)
            && has(&self.operations, operation)
            && (of_resource || all)
    }
}

impl Validation {
    fn read(from: &Value) -> Self {
        Self {
            expression: text(&from["expression"]),
            message: text(&from["message"]),
            message_expression: text(&from["messageExpression"]),
            reason: text(&from["reason"]),
        }
    }
}
