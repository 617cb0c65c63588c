//! Whether a policy or a binding in the cluster checks at least what the shipped one checks: compared with it field by field.
//!
//! A field that this version does not know counts against it, because it may exempt requests.

use std::sync::LazyLock;

use serde_json::{Value, json};

use crate::decode::text::cut;

/// The name of the policy for BulkUpdates, and of its binding.
pub const BULK_UPDATES: &str = "bulkupdates.aiapi.dev";

/// The name of the policy for what Executions and Deployments run, and of its binding.
pub const WORK: &str = "work.aiapi.dev";

// The manifests in the installation: so what the operator accepts cannot drift from what is installed.
const FOR_BULK_UPDATES: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cluster/admission.yaml"));
const FOR_WORK: &str =
    include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cluster/work-admission.yaml"));

/// How much of an expression a message shows, in bytes.
const SHOWN: usize = 60;

/// Why a policy or a binding does not check what the shipped one checks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    #[error("its {place} has the field {field}, which this version does not know")]
    UnknownField { place: &'static str, field: String },
    #[error("its {field} is not {wanted}")]
    Differs { field: String, wanted: &'static str },
    #[error("it has {0}")]
    Has(&'static str),
    #[error("its variable {0} is not the shipped one")]
    Variable(String),
    #[error("it lacks the shipped validation {0}")]
    Validation(String),
    #[error("its {place}.resourceRules have no rule for {requests}")]
    NoRule { place: &'static str, requests: String },
    #[error("its validationActions lack Deny")]
    NoDeny,
    #[error("its validationActions have {0}, which this version does not know")]
    UnknownAction(String),
    #[error("its uid and generation cannot be read")]
    NoIdentity,
    #[error("the shipped one cannot be read")]
    NotShipped,
}

/// A shipped policy.
pub struct Shipped {
    /// The name of the policy and of its binding.
    name: &'static str,
    /// The `spec` of the policy.
    policy: Value,
}

impl Shipped {
    /// The one for BulkUpdates. A test makes sure that it can be read.
    pub fn for_bulk_updates() -> Option<&'static Self> {
        static SHIPPED: LazyLock<Option<Shipped>> =
            LazyLock::new(|| Shipped::read(BULK_UPDATES, FOR_BULK_UPDATES));
        SHIPPED.as_ref()
    }

    /// The one for what Executions and Deployments run. A test makes sure that it can be read.
    pub fn for_work() -> Option<&'static Self> {
        static SHIPPED: LazyLock<Option<Shipped>> = LazyLock::new(|| Shipped::read(WORK, FOR_WORK));
        SHIPPED.as_ref()
    }

    /// The name of the policy and of its binding.
    pub const fn name(&self) -> &'static str {
        self.name
    }

    fn read(name: &'static str, manifests: &str) -> Option<Self> {
        let manifests: Vec<Value> = serde_saphyr::from_multiple(manifests).ok()?;
        let mut policy = manifests.into_iter().find(|m| m["kind"] == "ValidatingAdmissionPolicy")?;
        Some(Self { name, policy: policy["spec"].take() })
    }

    /// Checks that this `spec` of a `ValidatingAdmissionPolicy` refuses whatever the shipped one refuses.
    pub fn check_policy(&self, spec: &Value) -> Result<(), Flaw> {
        let known = [
            "auditAnnotations",
            "failurePolicy",
            "matchConditions",
            "matchConstraints",
            "paramKind",
            "validations",
            "variables",
        ];
        knows("spec", spec, &known)?;
        must(is_default(&spec["failurePolicy"], "Fail"), || Flaw::Differs {
            field: "failurePolicy".into(),
            wanted: "Fail",
        })?;
        must(spec["paramKind"].is_null(), || Flaw::Has("a paramKind"))?;
        must(is_empty_list(&spec["matchConditions"]), || Flaw::Has("matchConditions"))?;
        let constraints = &spec["matchConstraints"];
        matches("matchConstraints", constraints)?;
        self.rules_cover("matchConstraints", &constraints["resourceRules"])?;
        for variable in list(&self.policy["variables"]) {
            let name = &variable["name"];
            let as_shipped = |live: &Value| {
                live["expression"] == variable["expression"]
                    && unknown_field(live, &["expression", "name"]).is_none()
            };
            // A second one with the same name would hide the first.
            let mut named = list(&spec["variables"]).iter().filter(|live| live["name"] == *name);
            let is_only_one = named.next().is_some_and(as_shipped) && named.next().is_none();
            must(is_only_one, || Flaw::Variable(shown(name)))?;
        }
        for validation in list(&self.policy["validations"]) {
            let expression = &validation["expression"];
            let known = ["expression", "message", "messageExpression", "reason"];
            let as_shipped =
                |live: &Value| live["expression"] == *expression && unknown_field(live, &known).is_none();
            let is_there = list(&spec["validations"]).iter().any(as_shipped);
            must(is_there, || Flaw::Validation(shown(expression)))?;
        }
        Ok(())
    }

    /// Checks that this `spec` of a `ValidatingAdmissionPolicyBinding` puts the policy in force wherever the shipped one does.
    pub fn check_binding(&self, spec: &Value) -> Result<(), Flaw> {
        knows("spec", spec, &["matchResources", "paramRef", "policyName", "validationActions"])?;
        let wanted = self.name;
        must(spec["policyName"] == wanted, || Flaw::Differs { field: "policyName".into(), wanted })?;
        let actions = list(&spec["validationActions"]);
        must(actions.iter().any(|action| action == "Deny"), || Flaw::NoDeny)?;
        for action in actions {
            let is_known = action == "Audit" || action == "Deny" || action == "Warn";
            must(is_known, || Flaw::UnknownAction(shown(action)))?;
        }
        must(spec["paramRef"].is_null(), || Flaw::Has("a paramRef"))?;
        let resources = &spec["matchResources"];
        matches("matchResources", resources)?;
        match &resources["resourceRules"] {
            // Without rules of its own it matches all that the policy matches.
            none if is_empty_list(none) => Ok(()),
            rules => self.rules_cover("matchResources", rules),
        }
    }

    /// Checks that these rules match each request that the shipped ones match.
    fn rules_cover(&self, place: &'static str, live: &Value) -> Result<(), Flaw> {
        for shipped in list(&self.policy["matchConstraints"]["resourceRules"]) {
            for (group, version, resource, operation) in combinations(shipped) {
                let subresources = format!("{resource}/*");
                let covers = |rule: &Value| {
                    let has = |field: &str, words: &[&str]| {
                        list(&rule[field]).iter().any(|entry| words.iter().any(|word| entry == word))
                    };
                    is_unlimited(rule)
                        && has("resources", &["*", "*/*", resource, &subresources])
                        && has("apiGroups", &["*", group])
                        && has("apiVersions", &["*", version])
                        && has("operations", &["*", operation])
                };
                let requests =
                    format!("{operation} of every one of {resource}.{group} in apiVersion {version}");
                must(list(live).iter().any(covers), || Flaw::NoRule { place, requests })?;
            }
        }
        Ok(())
    }
}

/// Checks what `matchConstraints` and `matchResources` have in common, except their rules.
fn matches(place: &'static str, matches: &Value) -> Result<(), Flaw> {
    let known =
        ["excludeResourceRules", "matchPolicy", "namespaceSelector", "objectSelector", "resourceRules"];
    knows(place, matches, &known)?;
    // Exact is narrower: it does not match requests through another group or version.
    let differs = |field, wanted| Flaw::Differs { field: format!("{place}.{field}"), wanted };
    must(is_default(&matches["matchPolicy"], "Equivalent"), || differs("matchPolicy", "Equivalent"))?;
    let is_everything = |selector: &Value| {
        unknown_field(selector, &["matchExpressions", "matchLabels"]).is_none()
            && is_empty_list(&selector["matchExpressions"])
            && (selector["matchLabels"].is_null() || selector["matchLabels"] == json!({}))
    };
    for selector in ["namespaceSelector", "objectSelector"] {
        must(is_everything(&matches[selector]), || differs(selector, "empty"))?;
    }
    let excluded = &matches["excludeResourceRules"];
    must(is_empty_list(excluded), || differs("excludeResourceRules", "empty"))
}

/// Each group, version, resource and operation that a shipped rule names.
fn combinations(rule: &Value) -> Vec<(&str, &str, &str, &str)> {
    let words = |field: &str| list(&rule[field]).iter().filter_map(Value::as_str);
    let mut all = Vec::new();
    for group in words("apiGroups") {
        for version in words("apiVersions") {
            for resource in words("resources") {
                all.extend(words("operations").map(|operation| (group, version, resource, operation)));
            }
        }
    }
    all
}

/// Whether a rule matches objects of every name in every namespace.
fn is_unlimited(rule: &Value) -> bool {
    let known = ["apiGroups", "apiVersions", "operations", "resourceNames", "resources", "scope"];
    unknown_field(rule, &known).is_none()
        && is_empty_list(&rule["resourceNames"])
        && (rule["scope"].is_null() || rule["scope"] == "*" || rule["scope"] == "Namespaced")
}

fn must(holds: bool, or: impl FnOnce() -> Flaw) -> Result<(), Flaw> {
    if holds { Ok(()) } else { Err(or()) }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_empty_list(value: &Value) -> bool {
    value.is_null() || *value == json!([])
}

/// Whether a field has the value that it also has if it is absent.
fn is_default(value: &Value, default: &str) -> bool {
    value.is_null() || value == default
}

fn knows(place: &'static str, object: &Value, known: &[&str]) -> Result<(), Flaw> {
    unknown_field(object, known)
        .map_or(Ok(()), |field| Err(Flaw::UnknownField { place, field: cut(field, SHOWN) }))
}

/// A field that is set and is not among these; what is not an object has one as well.
fn unknown_field<'a>(object: &'a Value, known: &[&str]) -> Option<&'a str> {
    match object {
        Value::Null => None,
        Value::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            set.map(|(field, _)| field.as_str()).find(|field| !known.contains(field))
        }
        _ => Some("(not an object)"),
    }
}

/// A string, short enough for a message.
fn shown(value: &Value) -> String {
    cut(value.as_str().unwrap_or("(not a string)"), SHOWN)
}

#[cfg(test)]
pub mod tests;
