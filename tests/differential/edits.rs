//! Texts with placeholders for what each server has chosen itself: resource versions, uids and tokens.

use std::collections::HashMap;

use k8s_openapi::jiff::SignedDuration;
use serde_json::Value;

/// What both servers have chosen for the same thing: the simulated one, and the real one.
pub type Pair = [String; 2];

/// The pairs so far, in the order in which they appeared.
#[derive(Default)]
pub struct Chosen {
    /// The resource versions of objects.
    pub versions: Vec<Pair>,
    /// The resource versions of lists.
    pub lists: Vec<Pair>,
    pub uids: Vec<Pair>,
    pub tokens: Vec<Pair>,
    /// The last seen version of each object, by the path that it has.
    pub objects: HashMap<String, [Value; 2]>,
    /// How long it has taken at most until both had answered a request.
    pub slowest: SignedDuration,
}

impl Chosen {
    /// Replaces `{version:3}` and the like by what a server (0 or 1) has chosen.
    pub fn fill(&self, text: &str, side: usize) -> String {
        let mut filled = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once("{$") {
            let (placeholder, after) = after.split_once("$}").unwrap();
            let (of, at) = placeholder.split_once(':').unwrap();
            let pairs = match of {
                "version" => &self.versions,
                "list" => &self.lists,
                "uid" => &self.uids,
                _ => &self.tokens,
            };
            filled += before;
            filled += &pairs[at.parse::<usize>().unwrap()][side];
            rest = after;
        }
        filled + rest
    }
}

/// The body of a request.
#[derive(Clone, Debug)]
pub enum Body {
    None,
    /// With placeholders.
    Text(String),
    /// The last seen version of the object at this path, with some fields set or removed, by their JSON pointers.
    Edited(String, Vec<(String, Option<Value>)>),
}

impl Body {
    pub fn fill(&self, chosen: &Chosen, side: usize) -> String {
        match self {
            Self::None => String::new(),
            Self::Text(text) => chosen.fill(text, side),
            Self::Edited(path, edits) => {
                let mut object = chosen.objects[path][side].clone();
                for (pointer, value) in edits {
                    edit(&mut object, pointer, value.as_ref());
                }
                chosen.fill(&object.to_string(), side)
            }
        }
    }
}

fn edit(object: &mut Value, pointer: &str, value: Option<&Value>) {
    let (parent, name) = pointer.rsplit_once('/').unwrap();
    if object.pointer(parent).is_none() && value.is_some() {
        edit(object, parent, Some(&Value::Object(serde_json::Map::new())));
    }
    let Some(parent) = object.pointer_mut(parent).and_then(Value::as_object_mut) else { return };
    match value {
        Some(value) => drop(parent.insert(name.to_owned(), value.clone())),
        None => drop(parent.remove(name)),
    }
}
