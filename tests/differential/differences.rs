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
//! | how far a cache of the real server lags | what takes the cache as it is waits until it is up to date (`update_cache`) |
//! | a list as of revision 1, where nothing was | too old, but for a cache that was there then and still remembers it |
//! | reads that etcd has not answered in time (500) | the machine was busy: they are sent again |
//! | over what in the items of a request of another kind a rule stumbles | they are not validated, and the rule walks through Go's maps |
//! | bookmarks in the middle of a watch | the real server sends one a minute; the simulated one when it is asked |
//! | what runs (Pods, Jobs, ReplicaSets, Deployments) | not compared: defaults and rules are those that one container meets (tests/api-server/tests/what_runs.rs) |
//! | server-side apply, JSON patches, strategic merge patches | nothing simulated sends them: 415 |

use serde_json::Value;

use crate::sides::Answered;

/// From which size on, in bytes, the real server gives no warnings. (It is somewhere below 32 KiB.)
pub const LARGE: usize = 20 << 10;

/// Whether the real server has given up on a read because etcd took too long.
pub fn is_too_late(method: &str, answered: &Answered) -> bool {
    let text = String::from_utf8_lossy(&answered.body);
    method == "GET" && answered.code == 500 && text.contains("code = DeadlineExceeded")
}

/// Whether the list of an old revision is forgotten, but the real server remembers that there was nothing at all.
pub fn is_before_all(simulated: &Answered, real: &Answered) -> bool {
    let list: Value = serde_json::from_slice(&real.body).unwrap_or_default();
    let is_empty = list["items"].as_array().is_some_and(Vec::is_empty);
    (simulated.code, real.code) == (410, 200) && list["metadata"]["resourceVersion"] == "1" && is_empty
}

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
    let causes = document["details"]["causes"].as_array_mut().map(Vec::as_mut_slice).unwrap_or_default();
    let of_other_kind = causes.iter().any(|cause| cause["field"] == "kind");
    for cause in causes {
        if cause["field"] == "patch" {
            cause["message"] = "".into();
        }
        if of_other_kind && (cause["field"] == "spec.executions" || cause["field"] == "spec.deployments") {
            let said = cause["message"].as_str().unwrap_or_default().trim_start_matches("Invalid value: ");
            let rule = said.split_once(" evaluating rule: ").map(|(_, rule)| rule);
            cause["message"] = rule.unwrap_or(said.trim_start_matches("\"array\": ")).into();
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
