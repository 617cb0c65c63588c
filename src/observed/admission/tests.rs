//! What follows from the watches of policy and binding.

use serde_json::{Value, from_value, json};

use super::*;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Policy or binding as shipped.
fn shipped(part: Part) -> Value {
    let spec = match part {
        Part::Policy => compare::tests::policy(),
        Part::Binding => compare::tests::binding(),
    };
    json!({"metadata": {"name": POLICY, "resourceVersion": "1"}, "spec": spec})
}

fn object(part: Part, uid: &str, generation: i64, created: i64) -> Lenient {
    let mut object = shipped(part);
    object["metadata"]["uid"] = uid.into();
    object["metadata"]["generation"] = generation.into();
    object["metadata"]["creationTimestamp"] = at(created).to_string().into();
    from_value(object).unwrap()
}

/// The same with something else in the spec.
fn with(object: &Lenient, field: &str, value: Value) -> Lenient {
    let mut object = object.clone();
    object.spec[field] = value;
    object
}

/// Policies that are told at which second each event comes.
struct Told {
    policies: Policies,
    notes: watch::Receiver<Notes>,
}

impl Told {
    fn with(recorded: Option<&str>) -> Self {
        let (notes, kept) = watch::channel(nothing_accepted());
        Self { policies: Policies::new(true, recorded, notes), notes: kept }
    }

    fn hears(&self, second: i64, part: Part, event: Event<Lenient>) {
        self.policies.take_in(part, event, at(second).into());
    }

    fn sees(&self, second: i64, part: Part, object: &Lenient) {
        self.hears(second, part, Event::Apply(object.clone()));
    }

    fn list(&self, second: i64, part: Part, object: Option<&Lenient>) {
        self.hears(second, part, Event::Init);
        if let Some(object) = object {
            self.hears(second, part, Event::InitApply(object.clone()));
        }
        self.hears(second, part, Event::InitDone);
    }

    fn since(&self) -> i64 {
        match self.policies.admission() {
            Admission::Since(since) => since.as_second(),
            other => panic!("{other:?}"),
        }
    }

    fn missing(&self) -> String {
        match self.policies.admission() {
            Admission::Missing(why) => why.to_string(),
            other => panic!("{other:?}"),
        }
    }

    fn note(&self, name: &str) -> Option<String> {
        self.notes.borrow().iter().find(|(known, _)| *known == name).unwrap().1.clone()
    }

    fn accepted(&self) -> Option<String> {
        self.note(ACCEPTED)
    }

    fn record(&self) -> Option<String> {
        self.note(RECORD)
    }
}

#[test]
fn the_younger_of_the_two_counts_and_either_missing_is_missing() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 1, 50));
    let told = Told::with(None);
    assert!(told.missing().contains("Policy bulkupdates.aiapi.dev cannot be listed yet"));
    told.list(200, Part::Policy, Some(&policy));
    assert!(told.missing().contains("Binding bulkupdates.aiapi.dev cannot be listed yet"));
    told.list(200, Part::Binding, None);
    assert!(told.missing().contains("Binding bulkupdates.aiapi.dev is missing"));
    let told = Told::with(None);
    told.list(200, Part::Policy, Some(&policy));
    told.list(200, Part::Binding, Some(&binding));
    assert_eq!(told.since(), 100);
    told.hears(201, Part::Policy, Event::Delete(policy.clone()));
    assert!(told.missing().contains("Policy bulkupdates.aiapi.dev is missing"));
    told.list(210, Part::Policy, Some(&object(Part::Policy, "p2", 1, 205)));
    assert_eq!(told.since(), 205);
    // A list under way takes nothing away; one without it does.
    told.hears(211, Part::Policy, Event::Init);
    assert_eq!(told.since(), 205);
    told.list(212, Part::Policy, None);
    assert!(told.missing().contains("is missing"));
    let mut going = serde_json::to_value(&binding).unwrap();
    going["metadata"]["deletionTimestamp"] = json!("9999-12-31T23:59:59Z");
    told.list(213, Part::Policy, Some(&policy));
    told.sees(213, Part::Binding, &from_value(going).unwrap());
    assert!(told.missing().contains("is missing"));
    let not_required = Policies::new(false, None, watch::Sender::default());
    assert_eq!(not_required.admission(), Admission::NotRequired);
}

#[test]
fn what_was_changed_counts_since_it_was_seen_and_on_record_it_stays() {
    let binding = object(Part::Binding, "b", 1, 50);
    let told = Told::with(None);
    told.list(200, Part::Binding, Some(&binding));
    // Changed while nobody looked.
    told.list(200, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    assert_eq!(told.since(), 200);
    // The same again says nothing new, in whichever way it is heard.
    told.list(300, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    told.sees(301, Part::Policy, &object(Part::Policy, "p", 3, 100));
    assert_eq!(told.since(), 200);
    // The next leader finds it on record; one that does not, says that it was just now.
    let record = told.record().unwrap();
    let next = Told::with(Some(&record));
    assert_eq!(next.note(ACCEPTED), None);
    next.list(400, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    assert_eq!(next.record(), Some(record.clone()), "the binding is not known yet, and stays on record");
    next.list(400, Part::Binding, Some(&binding));
    assert_eq!(next.since(), 200);
    let changed = Told::with(Some(&record));
    changed.list(400, Part::Binding, Some(&binding));
    changed.list(400, Part::Policy, Some(&object(Part::Policy, "p", 4, 100)));
    assert_eq!(changed.since(), 400);
    for garbage in [None, Some("{}"), Some("garbage"), Some(&*"x".repeat(200_000))] {
        let fresh = Told::with(garbage);
        fresh.list(400, Part::Binding, Some(&binding));
        fresh.list(400, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
        assert_eq!(fresh.since(), 400);
    }
    // An exemption that comes and goes.
    let exempts = with(&object(Part::Policy, "p", 4, 100), "matchConditions", json!([{"name": "a"}]));
    told.sees(500, Part::Policy, &exempts);
    assert!(told.missing().contains("it has matchConditions"), "{}", told.missing());
    assert!(told.record().unwrap().contains(r#""generation":4"#));
    told.sees(510, Part::Policy, &object(Part::Policy, "p", 5, 100));
    assert_eq!(told.since(), 510);
    // Two changes that are heard of as one.
    told.sees(600, Part::Policy, &object(Part::Policy, "p", 7, 100));
    assert_eq!(told.since(), 600);
    // A new object is what it was made as.
    told.sees(700, Part::Policy, &object(Part::Policy, "p2", 1, 690));
    assert_eq!(told.since(), 690);
    told.sees(710, Part::Binding, &object(Part::Binding, "b", 2, 50));
    assert_eq!(told.since(), 710);
}

#[test]
fn a_binding_that_was_changed_while_nobody_looked_counts_since_it_was_seen() {
    let policy = object(Part::Policy, "p", 1, 50);
    let told = Told::with(None);
    told.list(200, Part::Policy, Some(&policy));
    told.list(200, Part::Binding, Some(&object(Part::Binding, "b", 3, 100)));
    assert_eq!(told.since(), 200);
    // The next leader finds it as recorded, or changed once more.
    let record = told.record().unwrap();
    for (generation, since) in [(3, 200), (4, 400)] {
        let next = Told::with(Some(&record));
        next.list(400, Part::Policy, Some(&policy));
        next.list(400, Part::Binding, Some(&object(Part::Binding, "b", generation, 100)));
        assert_eq!(next.since(), since, "{generation}");
    }
}

#[test]
fn a_view_of_the_past_makes_nothing_older() {
    let binding = object(Part::Binding, "b", 1, 50);
    let [first, second] = [object(Part::Policy, "p", 1, 100), object(Part::Policy, "p", 2, 100)];
    let told = Told::with(None);
    told.list(200, Part::Binding, Some(&binding));
    told.list(200, Part::Policy, Some(&first));
    assert_eq!(told.since(), 100);
    told.sees(300, Part::Policy, &second);
    told.sees(400, Part::Policy, &first);
    assert_eq!(told.since(), 400);
    told.sees(500, Part::Policy, &second);
    assert_eq!(told.since(), 500);
    // The one that was deleted, and one before it.
    told.hears(600, Part::Policy, Event::Delete(second.clone()));
    assert!(!told.record().unwrap().contains("policy"));
    for past in [&first, &second, &object(Part::Policy, "o", 1, 20)] {
        told.hears(700, Part::Policy, Event::Delete(second.clone()));
        told.list(700, Part::Policy, Some(past));
        assert_eq!(told.since(), 700);
    }
    told.sees(800, Part::Policy, &object(Part::Policy, "q", 1, 800));
    told.list(900, Part::Policy, Some(&object(Part::Policy, "o", 1, 20)));
    assert_eq!(told.since(), 800);
}

#[test]
fn what_checks_less_than_the_shipped_one_is_as_good_as_missing() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 1, 50));
    let told = Told::with(None);
    told.list(200, Part::Binding, Some(&binding));
    told.list(200, Part::Policy, Some(&with(&policy, "failurePolicy", json!("Ignore"))));
    assert!(told.missing().starts_with(
        "the ValidatingAdmissionPolicy bulkupdates.aiapi.dev does not check what the shipped one checks: its failurePolicy is"
    ));
    assert_eq!(told.accepted(), None);
    told.sees(200, Part::Policy, &policy);
    assert_eq!(told.since(), 100);
    told.sees(200, Part::Binding, &with(&binding, "validationActions", json!(["Audit"])));
    assert!(told.missing().contains("Binding bulkupdates.aiapi.dev does not check"), "{}", told.missing());
    // Changes of it could not be told from one another.
    for (field, odd) in
        [("uid", json!("")), ("uid", json!(7)), ("generation", json!(null)), ("generation", json!(0))]
    {
        let mut nameless = serde_json::to_value(&binding).unwrap();
        nameless["metadata"][field] = odd;
        told.sees(200, Part::Binding, &from_value(nameless).unwrap());
        assert!(told.missing().contains("its uid and generation cannot be read"), "{}", told.missing());
    }
}

#[test]
fn both_are_named_as_accepted_once_they_have_been_in_force_for_ten_seconds() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 3, 50));
    let told = Told::with(None);
    assert_eq!(*told.notes.borrow(), nothing_accepted());
    told.list(105, Part::Policy, Some(&policy));
    told.list(105, Part::Binding, Some(&binding));
    assert_eq!((told.since(), told.accepted()), (105, None));
    for (second, accepts) in [(106, false), (115, false), (116, true), (117, true)] {
        assert_eq!(told.policies.note(at(second).into()), accepts, "{second}");
        assert_eq!(told.accepted().is_some(), accepts, "{second}");
    }
    assert_eq!(told.accepted().as_deref(), Some("p/1 b/3"));
    // The lower bound counts, and of what is seen now the upper one.
    let wide = |earliest, latest| Now { earliest: at(earliest), ..Now::from(at(latest)) };
    assert!(!told.policies.note(wide(115, 300)));
    assert!(told.policies.note(wide(116, 300)));
    told.policies.take_in(Part::Policy, Event::Apply(object(Part::Policy, "p", 2, 100)), wide(150, 160));
    assert_eq!((told.since(), told.accepted()), (160, None));
    // Nobody follows them where nobody asks for them: what is on record stays there.
    let (notes, kept) = watch::channel(nothing_accepted());
    let not_required = Policies::new(false, told.record().as_deref(), notes);
    assert!(not_required.note(at(0).into()));
    assert_eq!(*kept.borrow(), nothing_accepted());
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_is_told_as_time_goes_by() {
    let told = Told::with(None);
    let now = Timestamp::now();
    let [policy, binding] =
        [Part::Policy, Part::Binding].map(|part| object(part, "a", 1, now.as_second() - 100));
    told.list(now.as_second(), Part::Policy, Some(&policy));
    told.list(now.as_second(), Part::Binding, Some(&binding));
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let clock = Clock::default();
    let follow = told.policies.follow(&clock, |state| say.send(state).unwrap());
    let hear = async {
        assert_eq!(said.recv().await.unwrap(), Ok(()));
        assert_eq!(told.accepted().as_deref(), Some("a/1 a/1"));
        let now = Timestamp::now().as_second();
        told.sees(now, Part::Policy, &object(Part::Policy, "a", 2, now - 100));
        let why = said.recv().await.unwrap().unwrap_err().to_string();
        assert!(why.contains("has not been in force for 10 s yet"), "{why}");
        told.hears(now, Part::Policy, Event::Delete(policy.clone()));
        assert!(said.recv().await.unwrap().unwrap_err().to_string().contains("is missing"));
        assert_eq!(told.accepted(), None);
    };
    tokio::select! {
        () = follow => {}
        () = hear => {}
    }
}

#[tokio::test(start_paused = true)]
async fn while_either_is_not_watched_nothing_is_known_and_what_is_on_record_stays() {
    let (policy, binding) = (object(Part::Policy, "p", 3, 100), object(Part::Binding, "b", 1, 50));
    for part in [Part::Policy, Part::Binding] {
        let told = Told::with(None);
        told.policies.set_watched(part, false);
        assert!(told.missing().contains("cannot be listed yet"), "it says why nothing is known yet");
        told.policies.set_watched(part, true);
        told.list(200, Part::Policy, Some(&policy));
        told.list(200, Part::Binding, Some(&binding));
        told.hears(300, Part::Policy, Event::Init);
        let (accepted, record) = (told.accepted(), told.record());
        assert!(accepted.is_some());
        // Failures that follow one another count from the first.
        for _ in 0..3 {
            told.policies.set_watched(part, false);
            tokio::time::advance(BLIND / 3).await;
        }
        assert_eq!(told.since(), 200);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(told.missing().contains("cannot be watched any more"), "{}", told.missing());
        told.policies.note(at(340).into());
        assert_eq!((told.accepted(), told.record()), (None, record));
        // A list alone is no watch.
        told.list(341, part, Some(if part == Part::Policy { &policy } else { &binding }));
        assert!(told.missing().contains("cannot be watched any more"));
        told.policies.set_watched(part, true);
        assert_eq!(told.since(), 200);
        told.policies.note(at(342).into());
        assert_eq!(told.accepted(), accepted);
    }
}
