//! What is known between two passes.

mod entry;
mod plan;

use super::Entry;
use crate::{
    api::{ItemResult, Kind, TargetStatus},
    bulk_update::fixtures::{entry, request},
};

fn planned() -> Entry {
    let item = request(Kind::Execution, TargetStatus::Stopped).items.remove(0);
    entry(&item, ItemResult::Planned)
}
