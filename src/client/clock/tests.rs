//! What answers tell of the time.

use http::HeaderValue;
use proptest::prelude::*;

use super::*;

/// So many milliseconds after some second.
fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_767_268_800_000 + millis).unwrap()
}

fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An answer from a server whose clock is at `server` when it answers, to a request that takes some time each way.
fn answer(server: i64, there: u64, instant: u64, back: u64) -> Offset {
    let date = Timestamp::from_second(at(server).as_second()).unwrap();
    Offset::of(date, ms(instant - there), ms(instant + back))
}

fn bounds(state: &State, instant: u64) -> (i64, i64) {
    let now = state.at(ms(instant), at(0));
    let since = |time: Timestamp| time.as_millisecond() - at(0).as_millisecond();
    (since(now.earliest), since(now.latest))
}

#[test]
fn one_answer_leaves_a_second_and_the_time_that_it_took() {
    let mut state = State::default();
    assert_eq!(bounds(&state, 500), (0, 0), "its own clock, for want of an answer");
    // At 7.3 s by the server's clock, which says 7; asked 200 ms before that, answered 100 ms later.
    state.take_in(answer(7300, 200, 10_000, 100));
    assert_eq!(bounds(&state, 10_100), (7000, 8300));
    // A minute later both have moved on by that, and by a thousandth of it apart.
    assert_eq!(bounds(&state, 70_100), (67_000 - 60, 68_300 + 60));
}

#[test]
fn answers_narrow_it_down() {
    let mut state = State::default();
    state.take_in(answer(7900, 0, 10_000, 0));
    state.take_in(answer(8050, 0, 10_150, 0));
    // The second began between the two.
    assert_eq!(bounds(&state, 10_150), (8000, 8150));
}

#[test]
fn one_answer_that_contradicts_changes_nothing_and_two_that_agree_do() {
    for other in [-3_700_000, -2000, 2000, 3_700_000, 200_000_000_000] {
        let mut state = State::default();
        state.take_in(answer(7300, 0, 10_000, 0));
        let before = bounds(&state, 10_020);
        state.take_in(answer(7310 + other, 0, 10_010, 0));
        assert_eq!(bounds(&state, 10_020), before, "{other}");
        // The next one of the first confirms what is known.
        state.take_in(answer(7320, 0, 10_020, 0));
        state.take_in(answer(7330 + other, 0, 10_030, 0));
        assert!(bounds(&state, 10_030).1 < 9000, "{other}");
        state.take_in(answer(7340 + other, 0, 10_040, 0));
        let (earliest, latest) = bounds(&state, 10_040);
        assert!(earliest <= 7340 + other && 7340 + other <= latest && latest - earliest <= 1100, "{other}");
    }
}

#[test]
fn what_is_no_date_and_what_comes_from_a_cache_does_not_count() {
    let head = |date: &str, age: Option<&str>| {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_bytes(date.as_bytes()).unwrap());
        if let Some(age) = age {
            headers.insert(AGE, HeaderValue::from_str(age).unwrap());
        }
        headers
    };
    let clock = Clock::default();
    clock.take_in(StatusCode::OK, &HeaderMap::new(), ms(0));
    for text in
        ["", "0", "now", "2026-01-01T00:00:00Z", "Thu, 01 Jan 2026 25:00:00 GMT", "Thu, 01 Jan 2026", "ä"]
    {
        clock.take_in(StatusCode::OK, &head(text, None), ms(0));
    }
    clock.take_in(StatusCode::OK, &head("Thu, 01 Jan 2026 12:00:00 GMT", Some("7")), ms(0));
    assert!(!clock.is_set());
    for text in ["Fri, 31 Dec 9999 23:59:59 GMT", "Thu, 01 Jan 1970 00:00:00 GMT"] {
        let clock = Clock::default();
        clock.take_in(StatusCode::OK, &head(text, None), clock.machine.uptime());
        let _ = clock.now();
    }
    let asked = clock.machine.uptime();
    clock.take_in(StatusCode::OK, &head("Thu, 01 Jan 2026 12:00:00 GMT", None), asked);
    let now = clock.now();
    assert_eq!(now.earliest.as_second(), at(0).as_second());
    assert!(now.latest < at(0) + SignedDuration::from_secs(10), "{now:?}");
}

fn now(earliest: i64, latest: i64, own: i64) -> Now {
    Now { earliest: at(earliest), latest: at(latest), own: at(own), instant: ms(0) }
}

#[test]
fn the_skew_is_what_is_certain_of_it() {
    for (earliest, latest, own, skew) in
        [(0, 1000, 0, 0), (0, 1000, 500, 0), (0, 1000, -45_000, 45_000), (0, 1000, 46_000, -45_000)]
    {
        let actual = now(earliest, latest, own).skew();
        assert_eq!(actual, SignedDuration::from_millis(skew), "{own}");
    }
}

#[test]
fn a_skew_is_remarked_only_where_it_has_decided() {
    let message = now(100_000, 101_000, 10_000).remark(at(60_000));
    assert_eq!(message.as_deref(), Some("by the API server's clock, which is 90 s ahead of the operator's"));
    // By either clock it has passed; there is none to speak of; this machine's is ahead.
    for (now, deadline) in [
        (now(100_000, 101_000, 10_000), at(5000)),
        (now(100_000, 101_000, 96_000), at(99_000)),
        (now(100_000, 101_000, 200_000), at(60_000)),
    ] {
        assert_eq!(now.remark(deadline), None);
    }
}

proptest! {
    #[test]
    fn the_time_is_within_its_bounds(
        offset in -4_000_000..4_000_000i64,
        // The server's clock may run faster or slower by half a thousandth.
        drift in -500..500i64,
        answers in prop::collection::vec((0..3_000u64, 0..3_000u64, 1..5_000u64), 1..40),
        later in 0..600_000u64,
    ) {
        let server = |instant: u64| {
            let instant = i64::try_from(instant).unwrap();
            offset + instant + instant * drift / 1_000_000
        };
        let (mut state, mut instant) = (State::default(), 1_000_000);
        for (there, back, pause) in answers {
            instant += pause + there;
            state.take_in(answer(server(instant), there, instant, back));
            prop_assert_eq!(state.rival, None);
            instant += back;
            let (earliest, latest) = bounds(&state, instant);
            // A millisecond is what the test's own arithmetic loses.
            prop_assert!(earliest <= server(instant) + 1 && server(instant) <= latest + 1);
        }
        let (earliest, latest) = bounds(&state, instant + later);
        let time = server(instant + later);
        prop_assert!(earliest <= time + 1 && time <= latest + 1, "{earliest} {time} {latest}");
    }
}

#[test]
fn an_outage_that_something_before_the_api_server_reports_says_nothing_of_the_time() {
    let answers = |status: StatusCode, its_own: bool| {
        let mut headers = HeaderMap::new();
        headers.insert(DATE, HeaderValue::from_static("Thu, 01 Jan 2026 12:00:00 GMT"));
        if its_own {
            headers.insert(AUDIT_ID, HeaderValue::from_static("a"));
        }
        let clock = Clock::default();
        // Two that agree would set it.
        for _ in 0..2 {
            clock.take_in(status, &headers, clock.machine.uptime());
        }
        clock.is_set()
    };
    for status in [StatusCode::BAD_GATEWAY, StatusCode::SERVICE_UNAVAILABLE, StatusCode::GATEWAY_TIMEOUT] {
        assert!(!answers(status, false) && answers(status, true), "{status}");
    }
    for status in [StatusCode::OK, StatusCode::NOT_FOUND, StatusCode::CONFLICT, StatusCode::FORBIDDEN] {
        assert!(answers(status, false), "{status}");
    }
}
