//! When a status is due.

use super::*;

fn refused(code: u16) -> Failure {
    Failure::Refused { code, message: "no".into(), retry_after: None }
}

#[tokio::test(start_paused = true)]
async fn progress_is_reported_after_a_second_and_then_ever_more_rarely() {
    let mut pace = Throttle::default();
    assert!(pace.due(0) && pace.held_back().is_none() && pace.next(0).is_none());
    for seconds in [1, 2, 4, 8, 10, 10] {
        pace.written();
        assert_eq!(pace.next(0), Some(Instant::now() + Duration::from_secs(seconds)));
        tokio::time::advance(Duration::from_millis(seconds * 1000 - 1)).await;
        assert!(!pace.due(0));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(pace.due(0));
    }
    for millis in [100, 200] {
        pace.failed(&refused(500));
        assert_eq!(pace.next(0), Some(Instant::now() + Duration::from_millis(millis)));
        assert!(pace.held_back().is_some());
        tokio::time::advance(Duration::from_millis(millis)).await;
        assert!(pace.held_back().is_none());
    }
    pace.written();
    pace.failed(&refused(500));
    assert_eq!(
        pace.next(0),
        Some(Instant::now() + Duration::from_millis(100)),
        "it counts from the start again"
    );
    tokio::time::advance(Duration::from_millis(101)).await;
    assert!(pace.held_back().is_none() && !pace.due(0));
    assert!(pace.next(0) > Some(Instant::now()), "what has passed is no time to wait for");
}

#[test]
fn a_tenants_thousand_count_as_one_to_another_tenant() {
    let writers = Writers::default();
    assert_eq!((writers.others("small"), writers.others("large")), (0, 0));
    let large: Vec<_> = (0..1000).map(|_| writers.enter("large")).collect();
    assert_eq!((writers.others("small"), writers.others("large")), (1, 1000));
    let small = writers.enter("small");
    assert_eq!((writers.others("small"), writers.others("large"), writers.others("third")), (3, 2001, 2));
    drop(large);
    assert_eq!((writers.others("small"), writers.others("large")), (1, 1));
    drop(small);
    assert!(writers.namespaces().is_empty());
}

#[tokio::test(start_paused = true)]
async fn where_many_are_being_written_progress_is_reported_more_rarely() {
    let mut pace = Throttle::default();
    assert!(pace.due(1000), "the first is no report of progress");
    pace.written();
    for (others, millis) in [(0, 1000), (2, 1000), (3, 1500), (100, 50_000), (usize::MAX, 60_000)] {
        let due = Instant::now() + Duration::from_millis(millis);
        assert_eq!(pace.next(others), Some(due), "{others} others");
    }
    tokio::time::advance(Duration::from_secs(2)).await;
    assert!(pace.due(4) && !pace.due(5));
}
