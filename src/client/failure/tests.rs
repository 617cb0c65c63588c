use super::*;

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: String::new(), retry_after: None }
}

#[test]
fn what_follows_from_each_answer() {
    for code in [404, 409] {
        assert_eq!(refused(code).next(), Next::ReadAgain, "{code}");
    }
    for code in [401, 408, 429, 500, 502, 503, 504] {
        assert_eq!(refused(code).next(), Next::Retry, "{code}");
    }
    for code in [400, 405, 410, 413, 415, 422] {
        assert_eq!(refused(code).next(), Next::GiveUp, "{code}");
    }
    assert_eq!(refused(403).next(), Next::RetryForbidden);
    let not_served = Failure::NotServed(String::new());
    assert_eq!((not_served.next(), not_served.is_not_found()), (Next::Retry, false));
    for failure in [Failure::NoAnswer, Failure::Unreadable, Failure::NotSent].map(|f| f(String::new())) {
        assert_eq!(failure.next(), Next::Retry);
    }
}

#[test]
fn only_a_missing_answer_and_a_5xx_leave_the_outcome_open() {
    assert!(Failure::NoAnswer(String::new()).outcome_unknown());
    assert!(Failure::Unreadable(String::new()).outcome_unknown());
    assert!(!Failure::NotSent(String::new()).outcome_unknown());
    for (code, open) in [(500, true), (504, true), (429, false), (401, false), (409, false)] {
        assert_eq!(refused(code).outcome_unknown(), open, "{code}");
    }
}

#[test]
fn waits_grow_up_to_ten_seconds_unless_the_server_says() {
    assert_eq!(refused(500).wait(1), Duration::from_millis(100));
    assert_eq!(refused(500).wait(3), Duration::from_millis(400));
    assert_eq!(refused(500).wait(u32::MAX), LONGEST_BACKOFF);
    let asked =
        Failure::Refused { code: 429, message: String::new(), retry_after: Some(Duration::from_secs(7)) };
    assert_eq!(asked.wait(1), Duration::from_secs(7));
}
