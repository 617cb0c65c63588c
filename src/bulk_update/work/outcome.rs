//! An item's entry, derived from its target.

use crate::{
    api::{ItemResult, ItemStatus, State},
    observed::target::Target,
};

/// `entry` with what was seen of the target.
pub fn about(entry: ItemStatus, target: &Target) -> ItemStatus {
    ItemStatus {
        uid: Some((*target.uid).into()),
        observed_state: target.state.as_ref().ok().copied(),
        ..entry
    }
}

/// The entry of an item whose deletion was accepted and whose object has finalizers.
pub fn accepted_delete(record: &ItemStatus, target: &Target) -> ItemStatus {
    ItemStatus { result: ItemResult::Scheduled, ..about(record.clone(), target) }
}

/// The entry of an item whose stop was accepted: settled if the object already says so.
pub fn accepted_stop(record: &ItemStatus, target: &Target) -> ItemStatus {
    let entry = about(record.clone(), target);
    match target.state {
        Ok(State::Stopped) => ItemStatus { result: ItemResult::Settled, ..entry },
        Ok(state @ (State::Completed | State::Dead)) => {
            let message = Some(format!("it was {} before the stop took effect", state.word()).into());
            ItemStatus { result: ItemResult::Settled, message, ..entry }
        }
        _ => ItemStatus { result: ItemResult::Scheduled, ..entry },
    }
}
