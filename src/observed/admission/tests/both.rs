//! Two policies, one for BulkUpdates and one for what runs.

use super::*;

#[test]
fn each_policy_has_notes_of_its_own() {
    let (notes, kept) = watch::channel(nothing_accepted());
    let of_bulk_updates = Policies::for_bulk_updates(true, |_| None, notes.clone());
    let of_work = Policies::for_work(true, |_| None, notes);
    let note = |name: &str| {
        kept.borrow().iter().find(|(known, _)| *known == name).and_then(|(_, note)| note.clone())
    };
    for part in [Part::Policy, Part::Binding] {
        of_bulk_updates.take_in(part, Event::Apply(object(part, "uid", 1, 0)), at(100).into());
    }
    assert!(note(record::BULK_UPDATES.accepted).is_some());
    assert_eq!(note(record::WORK.accepted), None);
    // The policy for BulkUpdates checks nothing about work.
    for part in [Part::Policy, Part::Binding] {
        of_work.take_in(part, Event::Apply(object(part, "uid", 1, 0)), at(100).into());
    }
    assert!(
        matches!(of_work.admission(), Admission::Missing(NotInForce::Weaker(..))),
        "{:?}",
        of_work.admission()
    );
    assert_eq!(note(record::WORK.accepted), None);
    assert!(note(record::WORK.record).is_some());
}
