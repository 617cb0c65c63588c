//! What differs on purpose, and what cannot be the same.
//!
//! | what | why |
//! |---|---|
//! | resource versions of lists and bookmarks | the real server has other namespaces, and a cache for each kind, which may lag if any version will do |
//! | uids, audit ids, continue tokens, times, `managedFields` of the same second | each server chooses its own; they are compared by what they stand for |
//! | the order of causes in a 422, and of warnings | the real server walks through maps, which in Go have no order |
//! | headers `x-kubernetes-pf-*`, `content-length` | the simulated server has no priority levels |
//! | what JSON that cannot be parsed is said to be wrong with | serde's words are not Go's |
//! | how old a resource version may be, in the message of a 410 | the cache of the real server is of a certain size |
//! | what a patch without a decodable result makes of an object, in the message | it has the whole object as text |
//! | deletions and changes of Events | nobody sends them |
//! | warnings about unknown fields in a large body | the real server leaves them out |
//! | bookmarks in the middle of a watch | the real server sends one a minute; the simulated one when it is asked |
//! | server-side apply, JSON patches, strategic merge patches | nothing simulated sends them: 415 |

use serde_json::Value;

/// From which size on, in bytes, the real server gives no warnings. (It is somewhere below 32 KiB.)
pub const LARGE: usize = 20 << 10;

/// Removes what differs on purpose.
pub fn excuse(document: &mut Value) {
    if document["type"] == "BOOKMARK"
        && let Some(metadata) = document["object"]["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    // A list's own resource version is compared apart.
    if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
        && let Some(metadata) = document["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    // How far back the real server's cache goes depends on its size.
    if document["object"]["reason"] == "Expired"
        && let Some((start, _)) =
            document["object"]["message"].as_str().and_then(|text| text.split_once(" ("))
    {
        document["object"]["message"] = start.into();
    }
    for cause in document["details"]["causes"].as_array_mut().into_iter().flatten() {
        if cause["field"] == "patch" {
            cause["message"] = "".into();
        }
    }
    if document["kind"] == "Status"
        && let Some(message) = document["message"].as_str()
    {
        let ours = [
            "json parse error: ",
            "error decoding patch: ",
            "json: cannot unmarshal",
            "no kind ",
            " is missing in ",
            " \"\" is invalid: patch: ",
        ];
        // How an object without a kind is refused depends on how its fields are validated.
        let message = message.rsplit_once("Object 'Kind'").map_or(message, |(_, rest)| rest);
        let said = ours
            .iter()
            .find_map(|words| message.split_once(words).map(|(before, _)| format!("{before}{words}")));
        if let Some(said) = said {
            document["message"] = said.into();
        }
    }
}
