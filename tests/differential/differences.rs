//! What differs on purpose, and what cannot be the same.
//!
//! | what | why |
//! |---|---|
//! | resource versions of lists | that of the real server has those of other namespaces in between |
//! | uids, audit ids, continue tokens, times, `managedFields` of the same second | each server chooses its own; they are compared by what they stand for |
//! | the order of causes in a 422, and of warnings | the real server walks through maps, which in Go have no order |
//! | headers `x-kubernetes-pf-*`, `content-length` | the simulated server has no priority levels |
//! | what JSON that cannot be parsed is said to be wrong with | serde's words are not Go's |
//! | bookmarks in the middle of a watch | the real server sends one a minute; the simulated one when it is asked |
//! | server-side apply, JSON patches, strategic merge patches | nothing simulated sends them: 415 |

use serde_json::Value;

/// Removes what differs on purpose.
pub fn excuse(document: &mut Value) {
    // A list's own resource version is compared apart.
    if document["kind"].as_str().is_some_and(|kind| kind.ends_with("List"))
        && let Some(metadata) = document["metadata"].as_object_mut()
    {
        metadata.remove("resourceVersion");
    }
    if document["kind"] == "Status"
        && let Some(message) = document["message"].as_str()
    {
        let ours = ["json parse error: ", "error decoding patch: ", "json: cannot unmarshal"];
        let said = ours.iter().find_map(|words| message.split_once(words).map(|(before, _)| format!("{before}{words}")));
        if let Some(said) = said {
            document["message"] = said.into();
        }
    }
}
