//! What an event is called and says.

use super::*;

fn about(name: Option<&str>) -> ObjectReference {
    super::reference("BulkUpdate", Some("team-a".into()), name.map(Into::into), Some("u".into()))
}

#[test]
fn an_event_speaks_of_its_object_and_has_a_name_that_the_api_server_takes() {
    let now = Timestamp::UNIX_EPOCH;
    let long = "x".repeat(253);
    let with_a_dot_where_it_is_cut = format!("{}.{}", "x".repeat(235), "y".repeat(17));
    for (name, prefix) in [
        (Some("a.b-c"), "a.b-c"),
        (Some(&*long), &long[..236]),
        (Some(&*with_a_dot_where_it_is_cut), &long[..235]),
        (Some("no name"), FIELD_MANAGER),
        (None, FIELD_MANAGER),
    ] {
        let event = event(about(name), EventType::Warning, "Unreadable", &"y".repeat(2000), now);
        assert_eq!(event.metadata.namespace.as_deref(), Some("team-a"));
        let identity = event.metadata.name.unwrap();
        assert!(is_dns_subdomain(&identity) && identity.len() == prefix.len() + 17, "{identity}");
        assert!(identity.starts_with(&format!("{prefix}.")), "{identity}");
        assert_eq!(event.regarding, Some(about(name)));
        assert_eq!((event.type_.as_deref(), event.event_time), (Some("Warning"), Some(MicroTime(now))));
        assert!(event.note.is_some_and(|note| note.len() <= LONGEST_NOTE));
    }
}

#[test]
fn there_is_one_event_for_an_object_and_a_reason_in_five_minutes() {
    let at = |seconds: i64| Timestamp::from_second(1_800_000_000 + seconds).unwrap();
    let first = name(&about(Some("a")), "Unreadable", at(0));
    assert_eq!(name(&about(Some("a")), "Unreadable", at(299)), first);
    let another = ObjectReference { uid: Some("v".into()), ..about(Some("a")) };
    for other in [
        name(&about(Some("a")), "Unreadable", at(300)),
        name(&about(Some("a")), "Accepted", at(0)),
        name(&about(Some("b")), "Unreadable", at(0)),
        name(&another, "Unreadable", at(0)),
    ] {
        assert_ne!(other, first);
    }
}
