//! What a request asks for, by its method, path and query.

use bytes::Bytes;
use http::{Method, header::ACCEPT};

/// A request, as RBAC sees it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    pub verb: &'static str,
    pub path: String,
    /// Whether it is about a resource; if not, only `verb` and `path` count.
    pub is_resource: bool,
    pub group: String,
    pub version: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
    pub query: Vec<(String, String)>,
    /// Whether the path goes on behind the subresource, which custom resources ignore.
    pub has_more: bool,
    /// Whether a list is to have the metadata of its objects only.
    pub metadata_only: bool,
}

impl Call {
    pub fn read(request: &http::Request<Bytes>) -> Self {
        let query = request.uri().query().unwrap_or_default();
        let query = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let path = request.uri().path().to_owned();
        let accepts = request.headers().get(ACCEPT).and_then(|value| value.to_str().ok());
        let metadata_only = accepts.is_some_and(|accepts| accepts.contains("as=PartialObjectMetadataList"));
        let mut call = Self { path: path.clone(), query, metadata_only, ..Self::default() };
        let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let rest = match parts.as_slice() {
            ["api", version, rest @ ..] if !rest.is_empty() => {
                (*version).clone_into(&mut call.version);
                rest
            }
            ["apis", group, version, rest @ ..] if !rest.is_empty() => {
                (*group).clone_into(&mut call.group);
                (*version).clone_into(&mut call.version);
                rest
            }
            _ => {
                call.verb = method(request.method());
                return call;
            }
        };
        call.is_resource = true;
        call.read_resource(rest);
        call.verb = call.verb_of(request.method());
        call
    }

    fn read_resource(&mut self, parts: &[&str]) {
        let parts = match parts {
            ["namespaces", namespace, rest @ ..] => {
                (*namespace).clone_into(&mut self.namespace);
                if rest.is_empty() || matches!(rest[0], "status" | "finalize") { parts } else { rest }
            }
            parts => parts,
        };
        let part = |at: usize| parts.get(at).copied().unwrap_or_default().to_owned();
        (self.resource, self.name, self.subresource) = (part(0), part(1), part(2));
        self.has_more = parts.len() > 3;
    }

    fn verb_of(&mut self, method: &Method) -> &'static str {
        let named = !self.name.is_empty();
        match *method {
            Method::POST => "create",
            Method::PUT => "update",
            Method::PATCH => "patch",
            Method::GET | Method::HEAD if named => "get",
            Method::DELETE if named => "delete",
            Method::GET | Method::HEAD | Method::DELETE => {
                if *method != Method::DELETE {
                    self.name = self.selected_name().unwrap_or_default();
                }
                let watch = self.flag("watch");
                if *method == Method::DELETE {
                    "deletecollection"
                } else if watch {
                    "watch"
                } else {
                    "list"
                }
            }
            _ => "",
        }
    }

    /// The name that the field selector requires: permissions by name are for such lists and watches, too.
    fn selected_name(&self) -> Option<String> {
        let selector = self.parameter("fieldSelector")?;
        let name = selector.split(',').find_map(|term| {
            let (field, value) = term.split_once("==").or_else(|| term.split_once('='))?;
            (field == "metadata.name").then(|| value.to_owned())
        })?;
        Some(name).filter(|name| !name.contains(['/', '%']) && name != "." && name != "..")
    }

    /// A parameter of the query, if it is there and not empty.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// A parameter that is a boolean: given without a value, or with any but these, it is true.
    pub fn flag(&self, name: &str) -> bool {
        let found = self.query.iter().find(|(key, _)| key == name);
        found.is_some_and(|(_, value)| {
            !matches!(value.as_str(), "0" | "false" | "False" | "FALSE" | "f" | "F")
        })
    }
}

fn method(method: &Method) -> &'static str {
    match *method {
        Method::GET => "get",
        Method::HEAD => "head",
        Method::POST => "post",
        Method::PUT => "put",
        Method::PATCH => "patch",
        Method::DELETE => "delete",
        _ => "",
    }
}
