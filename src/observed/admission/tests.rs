//! What follows from the watches of policy and binding.

use serde_json::{Value, from_value, json};

use super::*;

mod both;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// Policy or binding as shipped.
fn shipped(part: Part) -> Value {
    let spec = match part {
        Part::Policy => compare::tests::policy(),
        Part::Binding => compare::tests::binding(),
    };
    json!({"metadata": {"name": BULK_UPDATES, "resourceVersion": "1"}, "spec": spec})
}

fn object(part: Part, uid: &str, generation: i64, created: i64) -> Lenient {
    let mut object = shipped(part);
    object["metadata"]["uid"] = uid.into();
    object["metadata"]["generation"] = generation.into();
    object["metadata"]["creationTimestamp"] = at(created).to_string().into();
    from_value(object).unwrap()
}

/// The same at another resourceVersion.
fn version(object: &Lenient, version: u64) -> Lenient {
    let mut object = serde_json::to_value(object).unwrap();
    object["metadata"]["resourceVersion"] = version.to_string().into();
    from_value(object).unwrap()
}

/// The same with something else in the spec.
fn with(object: &Lenient, field: &str, value: Value) -> Lenient {
    let mut object = object.clone();
    object.spec[field] = value;
    object
}

impl Policies {
    /// Policy and binding as shipped, in force since the beginning of time.
    pub(crate) fn in_force() -> Self {
        let policies = Self::for_bulk_updates(true, |_| None, watch::Sender::new(nothing_accepted()));
        for part in [Part::Policy, Part::Binding] {
            policies.take_in(part, Event::Apply(object(part, "uid", 1, 0)), at(0).into());
        }
        policies
    }

    /// Somebody deletes the policy.
    pub(crate) fn lose_the_policy(&self) {
        let policy = object(Part::Policy, "uid", 1, 0);
        self.take_in(Part::Policy, Event::Delete(policy), at(0).into());
    }
}

/// Policies, with the second at which each event arrives.
struct Cluster {
    policies: Policies,
    notes: watch::Receiver<Notes>,
}

impl Cluster {
    fn with(recorded: Option<&str>) -> Self {
        let (notes, kept) = watch::channel(nothing_accepted());
        Self { policies: Policies::for_bulk_updates(true, |_| recorded, notes), notes: kept }
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
        self.note(record::BULK_UPDATES.accepted)
    }

    fn record(&self) -> Option<String> {
        self.note(record::BULK_UPDATES.record)
    }
}

#[test]
fn the_younger_of_the_two_counts_and_either_missing_is_missing() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 1, 50));
    let cluster = Cluster::with(None);
    assert!(cluster.missing().contains("Policy bulkupdates.aiapi.dev cannot be listed yet"));
    cluster.list(200, Part::Policy, Some(&policy));
    assert!(cluster.missing().contains("Binding bulkupdates.aiapi.dev cannot be listed yet"));
    cluster.list(200, Part::Binding, None);
    assert!(cluster.missing().contains("Binding bulkupdates.aiapi.dev is missing"));
    let cluster = Cluster::with(None);
    cluster.list(200, Part::Policy, Some(&policy));
    cluster.list(200, Part::Binding, Some(&binding));
    assert_eq!(cluster.since(), 100);
    cluster.hears(201, Part::Policy, Event::Delete(policy.clone()));
    assert!(cluster.missing().contains("Policy bulkupdates.aiapi.dev is missing"));
    cluster.list(210, Part::Policy, Some(&object(Part::Policy, "p2", 1, 205)));
    assert_eq!(cluster.since(), 205);
    // A list under way takes nothing away; one without it does.
    cluster.hears(211, Part::Policy, Event::Init);
    assert_eq!(cluster.since(), 205);
    cluster.list(212, Part::Policy, None);
    assert!(cluster.missing().contains("is missing"));
    let mut going = serde_json::to_value(&binding).unwrap();
    going["metadata"]["deletionTimestamp"] = json!("9999-12-31T23:59:59Z");
    going["metadata"]["resourceVersion"] = json!("2");
    cluster.list(213, Part::Policy, Some(&object(Part::Policy, "p3", 1, 212)));
    cluster.sees(213, Part::Binding, &from_value(going).unwrap());
    assert!(cluster.missing().contains("Binding bulkupdates.aiapi.dev is missing"));
    // A view without its deletion is of the past.
    cluster.list(300, Part::Binding, Some(&binding));
    assert!(cluster.missing().contains("Binding bulkupdates.aiapi.dev is shown as it was before"));
    let not_required = Policies::for_bulk_updates(false, |_| None, watch::Sender::default());
    assert_eq!(not_required.admission(), Admission::NotRequired);
}

#[test]
fn what_was_changed_counts_since_it_was_seen_and_on_record_it_stays() {
    let binding = object(Part::Binding, "b", 1, 50);
    let cluster = Cluster::with(None);
    cluster.list(200, Part::Binding, Some(&binding));
    // Changed while nobody looked.
    cluster.list(200, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    assert_eq!(cluster.since(), 200);
    // The same again says nothing new, in whichever way it is heard.
    cluster.list(300, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    cluster.sees(301, Part::Policy, &object(Part::Policy, "p", 3, 100));
    assert_eq!(cluster.since(), 200);
    // The next leader finds it on record; one that does not, says that it was just now.
    let record = cluster.record().unwrap();
    let next = Cluster::with(Some(&record));
    assert_eq!(next.note(record::BULK_UPDATES.accepted), None);
    next.list(400, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
    assert_eq!(next.record(), Some(record.clone()), "the binding is not known yet, and stays on record");
    next.list(400, Part::Binding, Some(&binding));
    assert_eq!(next.since(), 200);
    let changed = Cluster::with(Some(&record));
    changed.list(400, Part::Binding, Some(&binding));
    changed.list(400, Part::Policy, Some(&object(Part::Policy, "p", 4, 100)));
    assert_eq!(changed.since(), 400);
    for garbage in [None, Some("{}"), Some("garbage"), Some(&*"x".repeat(200_000))] {
        let fresh = Cluster::with(garbage);
        fresh.list(400, Part::Binding, Some(&binding));
        fresh.list(400, Part::Policy, Some(&object(Part::Policy, "p", 3, 100)));
        assert_eq!(fresh.since(), 400);
    }
    // An exemption that comes and goes.
    let exempts = with(&object(Part::Policy, "p", 4, 100), "matchConditions", json!([{"name": "a"}]));
    cluster.sees(500, Part::Policy, &exempts);
    assert!(cluster.missing().contains("it has matchConditions"), "{}", cluster.missing());
    assert!(cluster.record().unwrap().contains(r#""generation":4"#));
    cluster.sees(510, Part::Policy, &object(Part::Policy, "p", 5, 100));
    assert_eq!(cluster.since(), 510);
    // Two changes that are heard of as one.
    cluster.sees(600, Part::Policy, &object(Part::Policy, "p", 7, 100));
    assert_eq!(cluster.since(), 600);
    // A new object is what it was made as.
    cluster.sees(700, Part::Policy, &object(Part::Policy, "p2", 1, 690));
    assert_eq!(cluster.since(), 690);
    cluster.sees(710, Part::Binding, &object(Part::Binding, "b", 2, 50));
    assert_eq!(cluster.since(), 710);
}

#[test]
fn a_binding_that_was_changed_while_nobody_looked_counts_since_it_was_seen() {
    let policy = object(Part::Policy, "p", 1, 50);
    let cluster = Cluster::with(None);
    cluster.list(200, Part::Policy, Some(&policy));
    cluster.list(200, Part::Binding, Some(&object(Part::Binding, "b", 3, 100)));
    assert_eq!(cluster.since(), 200);
    // The next leader finds it as recorded, or changed once more.
    let record = cluster.record().unwrap();
    for (generation, since) in [(3, 200), (4, 400)] {
        let next = Cluster::with(Some(&record));
        next.list(400, Part::Policy, Some(&policy));
        next.list(400, Part::Binding, Some(&object(Part::Binding, "b", generation, 100)));
        assert_eq!(next.since(), since, "{generation}");
    }
}

#[test]
fn a_view_of_the_past_makes_nothing_older() {
    let binding = object(Part::Binding, "b", 1, 50);
    let policy = |uid, generation, created, at| version(&object(Part::Policy, uid, generation, created), at);
    let [first, second] = [policy("p", 1, 100, 11), policy("p", 2, 100, 20)];
    let cluster = Cluster::with(None);
    cluster.list(200, Part::Binding, Some(&binding));
    cluster.list(200, Part::Policy, Some(&first));
    assert_eq!(cluster.since(), 100);
    // Labels make no other of it, and so they can be missing again.
    cluster.sees(210, Part::Policy, &version(&first, 15));
    cluster.list(220, Part::Policy, Some(&first));
    assert_eq!(cluster.since(), 100);
    cluster.sees(300, Part::Policy, &second);
    assert_eq!(cluster.since(), 300);
    let shown = "Policy bulkupdates.aiapi.dev is shown as it was before";
    let is_past = |cluster: &Cluster| cluster.missing().contains(shown);
    let record = cluster.record();
    for showing in [400, 450] {
        cluster.sees(showing, Part::Policy, &first);
        cluster.list(showing + 20, Part::Policy, Some(&first));
        assert!(is_past(&cluster) && cluster.record() == record);
    }
    cluster.sees(500, Part::Policy, &second);
    assert_eq!(cluster.since(), 500);
    // The one that was deleted, as it was then and before, and one before it, of which nothing else is known.
    cluster.hears(600, Part::Policy, Event::Delete(version(&second, 30)));
    let deleted = cluster.record().unwrap();
    let older = policy("o", 1, 20, 10);
    let next = Cluster::with(Some(&deleted));
    next.list(700, Part::Binding, Some(&binding));
    for past in [&first, &second, &older] {
        for cluster in [&cluster, &next] {
            cluster.list(700, Part::Policy, Some(past));
            assert!(is_past(cluster));
            assert_eq!(cluster.record().as_ref(), Some(&deleted));
        }
    }
    // One that is deleted behind is none.
    cluster.hears(705, Part::Policy, Event::Delete(version(&older, 12)));
    assert!(cluster.missing().contains("is missing"));
    cluster.sees(706, Part::Policy, &second);
    assert!(is_past(&cluster));
    // After a list without it, whose resourceVersion is not known.
    cluster.list(710, Part::Policy, None);
    cluster.list(720, Part::Policy, Some(&policy("q", 1, 600, 31)));
    assert_eq!(cluster.since(), 710);
    cluster.sees(800, Part::Policy, &policy("r", 1, 800, 40));
    cluster.list(900, Part::Policy, Some(&policy("q", 1, 600, 31)));
    assert!(is_past(&cluster));
    // What cannot be compared.
    let mut odd = serde_json::to_value(policy("s", 1, 900, 0)).unwrap();
    for value in [json!(null), json!(7), json!("x")] {
        odd["metadata"]["resourceVersion"] = value;
        cluster.sees(950, Part::Policy, &from_value(odd.clone()).unwrap());
        assert_eq!(cluster.since(), 950);
    }
}

#[test]
fn what_checks_less_than_the_shipped_one_is_as_good_as_missing() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 1, 50));
    let cluster = Cluster::with(None);
    cluster.list(200, Part::Binding, Some(&binding));
    cluster.list(200, Part::Policy, Some(&with(&policy, "failurePolicy", json!("Ignore"))));
    assert!(cluster.missing().starts_with(
        "the ValidatingAdmissionPolicy bulkupdates.aiapi.dev does not check what the shipped one checks: its failurePolicy is"
    ));
    assert_eq!(cluster.accepted(), None);
    cluster.sees(200, Part::Policy, &policy);
    assert_eq!(cluster.since(), 100);
    cluster.sees(200, Part::Binding, &with(&binding, "validationActions", json!(["Audit"])));
    assert!(
        cluster.missing().contains("Binding bulkupdates.aiapi.dev does not check"),
        "{}",
        cluster.missing()
    );
    // Its changes could not be distinguished.
    for (field, odd) in
        [("uid", json!("")), ("uid", json!(7)), ("generation", json!(null)), ("generation", json!(0))]
    {
        let mut nameless = serde_json::to_value(&binding).unwrap();
        nameless["metadata"][field] = odd;
        cluster.sees(200, Part::Binding, &from_value(nameless).unwrap());
        assert!(cluster.missing().contains("its uid and generation cannot be read"), "{}", cluster.missing());
    }
}

#[test]
fn both_are_named_as_accepted_once_they_have_been_in_force_for_ten_seconds() {
    let (policy, binding) = (object(Part::Policy, "p", 1, 100), object(Part::Binding, "b", 3, 50));
    let cluster = Cluster::with(None);
    assert_eq!(*cluster.notes.borrow(), nothing_accepted());
    cluster.list(105, Part::Policy, Some(&policy));
    cluster.list(105, Part::Binding, Some(&binding));
    assert_eq!((cluster.since(), cluster.accepted()), (105, None));
    for (second, accepts) in [(106, false), (115, false), (116, true), (117, true)] {
        assert_eq!(cluster.policies.note(at(second).into()), accepts, "{second}");
        assert_eq!(cluster.accepted().is_some(), accepts, "{second}");
    }
    assert_eq!(cluster.accepted().as_deref(), Some("p/1 b/3"));
    // The lower bound counts, and of what is seen now the upper one.
    let wide = |earliest, latest| Now { earliest: at(earliest), ..Now::from(at(latest)) };
    assert!(!cluster.policies.note(wide(115, 300)));
    assert!(cluster.policies.note(wide(116, 300)));
    cluster.policies.take_in(Part::Policy, Event::Apply(object(Part::Policy, "p", 2, 100)), wide(150, 160));
    assert_eq!((cluster.since(), cluster.accepted()), (160, None));
    // Nobody follows them where nobody asks for them: what is on record stays there.
    let (notes, kept) = watch::channel(nothing_accepted());
    let record = cluster.record();
    let not_required = Policies::for_bulk_updates(false, |_| record.as_deref(), notes);
    assert!(not_required.note(at(0).into()));
    assert_eq!(*kept.borrow(), nothing_accepted());
}

#[tokio::test(start_paused = true)]
async fn what_is_accepted_is_reported_as_time_goes_by() {
    let cluster = Cluster::with(None);
    let now = Timestamp::now();
    let [policy, binding] =
        [Part::Policy, Part::Binding].map(|part| object(part, "a", 1, now.as_second() - 100));
    cluster.list(now.as_second(), Part::Policy, Some(&policy));
    cluster.list(now.as_second(), Part::Binding, Some(&binding));
    let (say, mut said) = tokio::sync::mpsc::unbounded_channel();
    let clock = Clock::default();
    let follow = cluster.policies.follow(&clock, |state| say.send(state).unwrap());
    let hear = async {
        assert_eq!(said.recv().await.unwrap(), Ok(()));
        assert_eq!(cluster.accepted().as_deref(), Some("a/1 a/1"));
        let now = Timestamp::now().as_second();
        cluster.sees(now, Part::Policy, &object(Part::Policy, "a", 2, now - 100));
        let why = said.recv().await.unwrap().unwrap_err().to_string();
        assert!(why.contains("has not been in force for 10 s yet"), "{why}");
        cluster.hears(now, Part::Policy, Event::Delete(policy.clone()));
        assert!(said.recv().await.unwrap().unwrap_err().to_string().contains("is missing"));
        assert_eq!(cluster.accepted(), None);
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
        let cluster = Cluster::with(None);
        cluster.policies.set_watched(part, false);
        assert!(cluster.missing().contains("cannot be listed yet"), "it says why nothing is known yet");
        cluster.policies.set_watched(part, true);
        cluster.list(200, Part::Policy, Some(&policy));
        cluster.list(200, Part::Binding, Some(&binding));
        cluster.hears(300, Part::Policy, Event::Init);
        let (accepted, record) = (cluster.accepted(), cluster.record());
        assert!(accepted.is_some());
        // Failures that follow one another count from the first.
        for _ in 0..3 {
            cluster.policies.set_watched(part, false);
            tokio::time::advance(BLIND / 3).await;
        }
        assert_eq!(cluster.since(), 200);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(cluster.missing().contains("cannot be watched any more"), "{}", cluster.missing());
        cluster.policies.note(at(340).into());
        assert_eq!((cluster.accepted(), cluster.record()), (None, record));
        // A list alone is no watch.
        cluster.list(341, part, Some(if part == Part::Policy { &policy } else { &binding }));
        assert!(cluster.missing().contains("cannot be watched any more"));
        cluster.policies.set_watched(part, true);
        assert_eq!(cluster.since(), 200);
        cluster.policies.note(at(342).into());
        assert_eq!(cluster.accepted(), accepted);
    }
}
