//! The shipped policy for what runs (`deploy/cluster/work-admission.yaml`). There is no CEL here: its variables and validations
//! are known by their texts, and a variable of another text has no value.

use serde_json::Value;

use crate::policies::Policy;

/// The variables but `engines`, which is a table.
const VARIABLES: [(&str, &str); 7] = [
    (
        "template",
        "request.operation == 'CREATE' || object.spec.?template != oldObject.spec.?template ? object.spec.?template : \
         optional.none()",
    ),
    (
        "reference",
        "request.operation == 'CREATE' || object.spec.?workloadRef != oldObject.spec.?workloadRef ? \
         object.spec.?workloadRef : optional.none()",
    ),
    ("named", "variables.template.or(variables.reference)"),
    (
        "kind",
        "variables.named.hasValue() ? variables.named.value().apiVersion + ' ' + variables.named.value().kind : ''",
    ),
    ("group", "variables.kind in variables.engines ? variables.engines[variables.kind].group : ''"),
    ("resource", "variables.kind in variables.engines ? variables.engines[variables.kind].resource : ''"),
    ("inNamespace", "variables.resource + '.' + variables.group + ' in namespace ' + request.namespace"),
];

const IS_KNOWN: &str = "!variables.named.hasValue() || variables.resource != ''";
const MAY_CREATE: &str = "!variables.template.hasValue() || authorizer.group(variables.group).resource(variables.resource)\
    .namespace(request.namespace).check('create').allowed()";
/// What `patch` and `delete` are checked with: the verb stands between these.
const MAY_NAMED: (&str, &str) = (
    "!variables.reference.hasValue() || authorizer.group(variables.group).resource(variables.resource)\
     .namespace(request.namespace) .name(variables.reference.value().name).check('",
    "').allowed()",
);

/// What a write says about what is to run, by the variables of the policy.
pub struct Asked<'a> {
    template: bool,
    reference: Option<&'a Value>,
    /// The name of what it refers to.
    pub kind: String,
    pub group: &'a str,
    pub resource: &'a str,
}

/// A permission that a validation asks for.
pub struct Permission<'a> {
    pub group: &'a str,
    pub resource: &'a str,
    pub name: &'a str,
    pub verb: &'static str,
}

/// What a validation comes to.
pub enum Check<'a> {
    Holds(bool),
    If(Permission<'a>),
}

impl<'a> Asked<'a> {
    /// None if a variable of the policy is not the shipped one.
    pub fn read(policy: &'a Policy, object: Option<&'a Value>, old: Option<&'a Value>) -> Option<Self> {
        // A variable that somebody has emptied.
        let is_empty = |name: &str| policy.variable(name) == Some("optional.none()");
        if VARIABLES.iter().any(|(name, text)| policy.variable(name) != Some(*text) && !is_empty(name)) {
            return None;
        }
        let changed = |field: &str| {
            let of = |object: Option<&'a Value>| object.and_then(|object| object["spec"].get(field));
            of(object).filter(|now| Some(*now) != of(old))
        };
        let template = changed("template").filter(|_| !is_empty("template"));
        let reference = changed("workloadRef").filter(|_| !is_empty("reference"));
        let named = template.or(reference);
        let word = |field: &str| named.and_then(|named| named[field].as_str()).unwrap_or_default();
        let kind = named.map_or_else(String::new, |_| format!("{} {}", word("apiVersion"), word("kind")));
        let engine = |field: &str| engine(policy, &kind, field);
        let (group, resource) = (engine("group"), engine("resource"));
        Some(Self { template: template.is_some(), reference, group, resource, kind })
    }

    /// What this validation of the policy comes to; none if it is not a shipped one.
    pub fn check(&self, expression: &str) -> Option<Check<'a>> {
        let has_named = !self.kind.is_empty();
        let permission = |name: &'a str, verb| {
            Check::If(Permission { group: self.group, resource: self.resource, name, verb })
        };
        if expression == IS_KNOWN {
            return Some(Check::Holds(!has_named || !self.resource.is_empty()));
        }
        if expression == MAY_CREATE {
            return Some(if self.template { permission("", "create") } else { Check::Holds(true) });
        }
        let verb = expression.strip_prefix(MAY_NAMED.0)?.strip_suffix(MAY_NAMED.1)?;
        let verb = ["patch", "delete"].into_iter().find(|known| *known == verb)?;
        let name = self.reference.map(|reference| reference["name"].as_str().unwrap_or_default());
        Some(name.map_or(Check::Holds(true), |name| permission(name, verb)))
    }
}

/// A field of an engine in the policy's table: `'batch/v1 Job': {'group': 'batch', 'resource': 'jobs'}`.
fn engine<'a>(policy: &'a Policy, kind: &str, field: &str) -> &'a str {
    let table = policy.variable("engines").unwrap_or_default();
    let row = table.split_once(&format!("'{kind}': {{")).and_then(|(_, rest)| rest.split_once('}'));
    let value = row.and_then(|(row, _)| row.split_once(&format!("'{field}': '"))?.1.split_once('\''));
    value.map_or("", |(value, _)| value)
}
