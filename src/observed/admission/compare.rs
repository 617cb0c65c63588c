//! Whether a policy or a binding in the cluster checks at least what the shipped one checks: compared with it field by field.
//!
//! A field that this version does not know counts against it, because it may leave requests out.

use serde_json::Value;

use crate::decode::text::cut;

/// The name of the policy, and of its binding.
pub const POLICY: &str = "bulkupdates.aiapi.dev";

/// The manifests that the operator is shipped with: what it accepts can't drift from what it installs.
const MANIFESTS: &str = include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/cluster/admission.yaml"));

/// How much of an expression a message shows, in bytes.
const SHOWN: usize = 60;

/// The shipped policy.
#[derive(Clone, Debug)]
pub struct Shipped {
    policy: Value,
}

/// What is wrong with an object; nothing, where it checks at least what the shipped one checks.
type Checked = Result<(), String>;

impl Shipped {
    /// The one in this binary.
    ///
    /// # Errors
    /// When it can't be read, which a test excludes.
    pub fn read() -> Result<Self, String> {
        let manifests: Vec<Value> = serde_saphyr::from_multiple(MANIFESTS).map_err(|e| e.to_string())?;
        let policy = manifests.into_iter().find(|m| m["kind"] == "ValidatingAdmissionPolicy");
        policy
            .map(|mut policy| Self { policy: policy["spec"].take() })
            .ok_or_else(|| "it is not there".into())
    }

    /// Whether this `spec` of a `ValidatingAdmissionPolicy` refuses whatever the shipped one refuses.
    ///
    /// # Errors
    /// The first reason why it does not, as a clause about it.
    pub fn check_policy(&self, spec: &Value) -> Checked {
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
        // What is absent is Fail.
        if !spec["failurePolicy"].is_null() && spec["failurePolicy"] != "Fail" {
            return Err("its failurePolicy is not Fail".into());
        }
        if !spec["paramKind"].is_null() {
            return Err("it has a paramKind".into());
        }
        if !is_empty_list(&spec["matchConditions"]) {
            return Err("it has matchConditions".into());
        }
        let constraints = &spec["matchConstraints"];
        matches("matchConstraints", constraints)?;
        self.rules_cover("matchConstraints", &constraints["resourceRules"])?;
        for variable in list(&self.policy["variables"]) {
            let name = &variable["name"];
            let known = ["expression", "name"];
            let as_shipped = |live: &&Value| {
                live["expression"] == variable["expression"] && unknown_field(live, &known).is_none()
            };
            // A second one of the same name would hide the first.
            let mut named = list(&spec["variables"]).iter().filter(|live| live["name"] == *name);
            if !(named.next().is_some_and(|live| as_shipped(&live)) && named.next().is_none()) {
                return Err(format!("its variable {} is not the shipped one", shown(name)));
            }
        }
        for validation in list(&self.policy["validations"]) {
            let expression = &validation["expression"];
            let known = ["expression", "message", "messageExpression", "reason"];
            let there = list(&spec["validations"])
                .iter()
                .any(|live| live["expression"] == *expression && unknown_field(live, &known).is_none());
            if !there {
                return Err(format!("it lacks the shipped validation {}", shown(expression)));
            }
        }
        Ok(())
    }

    /// Whether this `spec` of a `ValidatingAdmissionPolicyBinding` puts the policy into force wherever the shipped one does.
    ///
    /// # Errors
    /// As [`Self::check_policy`].
    pub fn check_binding(&self, spec: &Value) -> Checked {
        knows("spec", spec, &["matchResources", "paramRef", "policyName", "validationActions"])?;
        if spec["policyName"] != POLICY {
            return Err(format!("it does not bind {POLICY}"));
        }
        let actions = list(&spec["validationActions"]);
        if !actions.iter().any(|action| action == "Deny") {
            return Err("its validationActions lack Deny".into());
        }
        if let Some(action) =
            actions.iter().find(|a| !["Audit", "Deny", "Warn"].iter().any(|known| *a == known))
        {
            return Err(format!(
                "its validationActions have {}, which this version does not know",
                shown(action)
            ));
        }
        if !spec["paramRef"].is_null() {
            return Err("it has a paramRef".into());
        }
        let resources = &spec["matchResources"];
        matches("matchResources", resources)?;
        // Without rules it is for all that the policy is for.
        if is_empty_list(&resources["resourceRules"]) {
            return Ok(());
        }
        self.rules_cover("matchResources", &resources["resourceRules"])
    }

    /// Whether these rules match each request that the shipped ones match.
    fn rules_cover(&self, place: &str, live: &Value) -> Checked {
        for shipped in list(&self.policy["matchConstraints"]["resourceRules"]) {
            for (group, version, resource, operation) in combinations(shipped) {
                let covered = list(live).iter().any(|rule| {
                    is_unlimited(rule)
                        && (names(rule, "resources", resource) || names_with_subresources(rule, resource))
                        && names(rule, "apiGroups", group)
                        && names(rule, "apiVersions", version)
                        && names(rule, "operations", operation)
                });
                if !covered {
                    return Err(format!(
                        "its {place}.resourceRules have no rule for {operation} of every one of {resource}.{group} in \
                         apiVersion {version}"
                    ));
                }
            }
        }
        Ok(())
    }
}

/// What `matchConstraints` and `matchResources` have in common, their rules aside.
fn matches(place: &str, matches: &Value) -> Checked {
    let known =
        ["excludeResourceRules", "matchPolicy", "namespaceSelector", "objectSelector", "resourceRules"];
    knows(place, matches, &known)?;
    // What is absent is Equivalent. Exact is narrower: it leaves out requests that come through another group or version.
    if !matches["matchPolicy"].is_null() && matches["matchPolicy"] != "Equivalent" {
        return Err(format!("its {place}.matchPolicy is not Equivalent"));
    }
    for selector in ["namespaceSelector", "objectSelector"] {
        let found = &matches[selector];
        let known = ["matchExpressions", "matchLabels"];
        let selects = unknown_field(found, &known).is_some()
            || !is_empty_list(&found["matchExpressions"])
            || !(found["matchLabels"].is_null()
                || found["matchLabels"].as_object().is_some_and(serde_json::Map::is_empty));
        if selects {
            return Err(format!("its {place}.{selector} is not empty"));
        }
    }
    if !is_empty_list(&matches["excludeResourceRules"]) {
        return Err(format!("its {place}.excludeResourceRules are not empty"));
    }
    Ok(())
}

/// Each group, version, resource and operation that a shipped rule names.
fn combinations(rule: &Value) -> Vec<(&str, &str, &str, &str)> {
    let words = |field: &str| list(&rule[field]).iter().filter_map(Value::as_str).collect::<Vec<_>>();
    let mut all = Vec::new();
    for group in words("apiGroups") {
        for version in words("apiVersions") {
            for resource in words("resources") {
                all.extend(
                    words("operations").into_iter().map(|operation| (group, version, resource, operation)),
                );
            }
        }
    }
    all
}

/// Whether a rule is for objects of every name in every namespace.
fn is_unlimited(rule: &Value) -> bool {
    let known = ["apiGroups", "apiVersions", "operations", "resourceNames", "resources", "scope"];
    unknown_field(rule, &known).is_none()
        && is_empty_list(&rule["resourceNames"])
        && (rule["scope"].is_null() || rule["scope"] == "*" || rule["scope"] == "Namespaced")
}

/// Whether a list of a rule has this entry, or one that stands for all.
fn names(rule: &Value, field: &str, wanted: &str) -> bool {
    list(&rule[field]).iter().any(|entry| entry == "*" || entry == wanted)
}

/// Whether a rule is for this resource and its subresources.
fn names_with_subresources(rule: &Value, resource: &str) -> bool {
    let with_subresources = format!("{resource}/*");
    list(&rule["resources"]).iter().any(|entry| entry == "*/*" || *entry == with_subresources)
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn is_empty_list(value: &Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

fn knows(place: &str, object: &Value, known: &[&str]) -> Checked {
    match unknown_field(object, known) {
        Some(field) => {
            Err(format!("its {place} has the field {}, which this version does not know", cut(field, SHOWN)))
        }
        None => Ok(()),
    }
}

/// A field that is set and not among these; what is no object has one as well.
fn unknown_field<'a>(object: &'a Value, known: &[&str]) -> Option<&'a str> {
    match object {
        Value::Null => None,
        Value::Object(fields) => {
            let set = fields.iter().filter(|(_, value)| !value.is_null());
            set.map(|(field, _)| field.as_str()).find(|field| !known.contains(field))
        }
        _ => Some("(no object)"),
    }
}

/// A text, short enough for a message.
fn shown(value: &Value) -> String {
    cut(value.as_str().unwrap_or("(no text)"), SHOWN)
}

#[cfg(test)]
pub mod tests;
