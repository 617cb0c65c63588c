//! Who may do what, by the RBAC objects.

use std::fmt;

use serde_json::Value;

use crate::{kinds::BuiltIn, request::Call, state::State, users::Identity};

/// What is allowed, by whom it is bound to.
#[derive(Debug, Default)]
pub struct Rbac {
    /// The bindings in all namespaces, and then those in one.
    grants: Vec<Grant>,
}

#[derive(Debug)]
struct Grant {
    /// None in all namespaces.
    namespace: Option<String>,
    subjects: Vec<Subject>,
    /// The rules of its role, or why there are none.
    rules: Result<Vec<Rule>, String>,
    /// The binding and the role, as in `RoleBinding "x/ns" of Role "y"`.
    shown: String,
}

#[derive(Debug)]
struct Subject {
    user: Option<String>,
    group: Option<String>,
    /// Such as `ServiceAccount "name/namespace"`.
    shown: String,
}

#[derive(Debug)]
struct Rule {
    verbs: Vec<String>,
    groups: Vec<String>,
    resources: Vec<String>,
    names: Vec<String>,
    paths: Vec<String>,
}

fn texts(list: &Value) -> Vec<String> {
    list.as_array().into_iter().flatten().filter_map(|text| text.as_str().map(ToOwned::to_owned)).collect()
}

impl Rule {
    fn read(from: &Value) -> Self {
        Self {
            verbs: texts(&from["verbs"]),
            groups: texts(&from["apiGroups"]),
            resources: texts(&from["resources"]),
            names: texts(&from["resourceNames"]),
            paths: texts(&from["nonResourceURLs"]),
        }
    }

    fn allows(&self, call: &Call, resource: &ResourceNames) -> bool {
        let has = |list: &[String], wanted: &str| list.iter().any(|one| one == "*" || one == wanted);
        if !has(&self.verbs, call.verb) {
            return false;
        }
        if !call.is_resource {
            let fits = |pattern: &String| match pattern.strip_suffix('*') {
                Some(start) => call.path.starts_with(start),
                None => call.path == *pattern,
            };
            return self.paths.iter().any(fits);
        }
        let of_any = || resource.of_any.as_ref().is_some_and(|any| self.resources.contains(any));
        has(&self.groups, &call.group)
            && (has(&self.resources, &resource.own) || of_any())
            && (self.names.is_empty() || self.names.contains(&call.name))
    }
}

/// What rules call the resource of a request.
struct ResourceNames {
    own: String,
    /// The subresource of any resource, if it is about one.
    of_any: Option<String>,
}

impl ResourceNames {
    fn of(call: &Call) -> Self {
        match call.subresource.as_str() {
            "" => Self { own: call.resource.clone(), of_any: None },
            subresource => Self {
                own: format!("{}/{subresource}", call.resource),
                of_any: Some(format!("*/{subresource}")),
            },
        }
    }
}

/// Why something is allowed, in the words of the server: by a binding to a subject; empty if everybody may do it.
pub struct Why<'a>(Option<(&'a str, &'a str)>);

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |(grant, subject)| write!(f, "RBAC: allowed by {grant} to {subject}"))
    }
}

impl Subject {
    fn read(from: &Value) -> Self {
        let text = |field: &str| from[field].as_str().unwrap_or_default();
        let (kind, name) = (text("kind"), text("name"));
        let (mut user, mut group, mut shown) = (None, None, format!("{kind} {name:?}"));
        match kind {
            "ServiceAccount" => {
                user = Some(format!("system:serviceaccount:{}:{name}", text("namespace")));
                shown = format!("{kind} {:?}", format!("{name}/{}", text("namespace")));
            }
            "User" => user = Some(name.to_owned()),
            _ => group = Some(name.to_owned()),
        }
        Self { user, group, shown }
    }

    fn is(&self, user: &Identity) -> bool {
        self.user.as_ref().is_some_and(|name| *name == user.name)
            || self.group.as_ref().is_some_and(|group| user.is_in(group))
    }
}

impl Rbac {
    pub fn of(state: &State) -> Self {
        let objects = |kind| state.objects[state.built_in(kind)].values().map(|stored| &*stored.object);
        let cluster = objects(BuiltIn::ClusterRoleBinding).map(|binding| Grant::read(state, binding, None));
        let namespaced = objects(BuiltIn::RoleBinding).map(|binding| {
            let namespace = binding["metadata"]["namespace"].as_str().unwrap_or_default();
            Grant::read(state, binding, Some(namespace.to_owned()))
        });
        Self { grants: cluster.chain(namespaced).collect() }
    }

    /// Whether a user may do this: why it is so, in the words of the server.
    pub fn allows<'a>(&'a self, user: &Identity, call: &Call) -> Result<Why<'a>, String> {
        if user.is_in("system:masters") || is_public(user, call) {
            return Ok(Why(None));
        }
        let resource = ResourceNames::of(call);
        let mut problems = Vec::new();
        for grant in &self.grants {
            let here = grant.namespace.as_ref().is_none_or(|namespace| *namespace == call.namespace);
            let Some(subject) = grant.subjects.iter().find(|subject| here && subject.is(user)) else {
                continue;
            };
            match &grant.rules {
                Ok(rules) if rules.iter().any(|rule| rule.allows(call, &resource)) => {
                    return Ok(Why(Some((&grant.shown, &subject.shown))));
                }
                Ok(_) => {}
                Err(problem) => problems.push(problem.as_str()),
            }
        }
        Err(match problems.as_slice() {
            [] => String::new(),
            [one] => format!("RBAC: {one}"),
            several => format!("RBAC: [{}]", several.join(", ")),
        })
    }
}

/// What everybody may do in a new cluster, or everybody with an account.
fn is_public(user: &Identity, call: &Call) -> bool {
    let authenticated = user.is_in("system:authenticated");
    if call.is_resource {
        let own = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"].contains(&call.resource.as_str());
        return authenticated && own && call.group == "authorization.k8s.io" && call.verb == "create";
    }
    let information = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let discovery = ["/api", "/apis", "/openapi"];
    let is_below = |start: &&str| {
        call.path.strip_prefix(*start).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    };
    call.verb == "get"
        && (information.contains(&call.path.as_str()) || (authenticated && discovery.iter().any(is_below)))
}

impl Grant {
    fn read(state: &State, binding: &Value, namespace: Option<String>) -> Self {
        let reference = |field: &str| binding["roleRef"][field].as_str().unwrap_or_default();
        let (kind, role) = (reference("kind"), reference("name"));
        let name = binding["metadata"]["name"].as_str().unwrap_or_default();
        let (of, name, key) = match &namespace {
            Some(namespace) if kind == "Role" => {
                ("RoleBinding", format!("{name}/{namespace}"), format!("{namespace}/{role}"))
            }
            Some(namespace) => ("RoleBinding", format!("{name}/{namespace}"), role.to_owned()),
            None => ("ClusterRoleBinding", name.to_owned(), role.to_owned()),
        };
        let kind_of_role = state.built_in(if kind == "Role" { BuiltIn::Role } else { BuiltIn::ClusterRole });
        let found = match state.objects[kind_of_role].get(key.as_str()) {
            Some(stored) => {
                Ok(stored.object["rules"].as_array().into_iter().flatten().map(Rule::read).collect())
            }
            None => Err(format!("{}.rbac.authorization.k8s.io {role:?} not found", kind.to_lowercase())),
        };
        let subjects = binding["subjects"].as_array().into_iter().flatten().map(Subject::read).collect();
        Self { namespace, subjects, rules: found, shown: format!("{of} {name:?} of {kind} {role:?}") }
    }
}
