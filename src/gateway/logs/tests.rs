use proptest::prelude::*;

use super::*;

fn asked(query: &[(&str, &str)]) -> Result<Asked, Problem> {
    let pairs = query.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Asked::parse(&Query::parse(pairs)?)
}

#[test]
fn a_query_is_read_by_both_names_of_its_parameters() {
    let usual = || Asked { top: 1000, order: Order::EarliestFirst, start: None, end: None };
    assert_eq!(asked(&[]), Ok(usual()));
    let (start, end) = ("2026-01-02T03:04:05Z", "2026-01-02T05:04:05.5+01:00");
    for [top, order] in [["$top", "$order"], ["top", "order"]] {
        let query = [(top, "5000"), (order, "desc"), ("start", start), ("end", end)];
        let wanted = Asked {
            top: 5000,
            order: Order::LatestFirst,
            start: start.parse().ok(),
            end: "2026-01-02T04:04:05.5Z".parse().ok(),
        };
        assert_eq!(asked(&query), Ok(wanted));
    }
    assert_eq!(asked(&[("order", "asc"), ("top", "1")]), Ok(Asked { top: 1, ..usual() }));
}

#[test]
fn a_query_that_can_not_be_meant_is_refused_and_the_sentence_says_why() {
    let time = |name: &str| {
        format!(
            "{name} must be a time as in RFC 3339, such as 2026-01-02T03:04:05Z; a + in it is written %2B"
        )
    };
    let top = || "top must be a number from 1 to 5000".to_owned();
    for (query, expected) in [
        (vec![("$top", "0")], top()),
        (vec![("top", "5001")], top()),
        (vec![("$order", "ascending")], "$order must be asc or desc".into()),
        (vec![("start", "yesterday")], time("start")),
        (vec![("start", "2026-01-02")], time("start")),
        // As it arrives if the + is not encoded.
        (vec![("end", "2026-01-02T03:04:05 01:00")], time("end")),
        (
            vec![("start", "2026-01-02T03:04:06Z"), ("end", "2026-01-02T03:04:05Z")],
            "start is later than end".into(),
        ),
        (vec![("top", "1"), ("$top", "1")], "top is repeated in the query: send it once".into()),
        (vec![("$skip", "1")], "the query parameter skip is not known here: see /openapi.yaml".into()),
    ] {
        let problem = asked(&query).unwrap_err();
        assert_eq!(
            (problem.code.status(), problem.message),
            (StatusCode::BAD_REQUEST, expected),
            "{query:?}"
        );
    }
}

/// The lines of a log that arrives in pieces of this size.
fn lines_of(log: &[u8], size: usize) -> Vec<Result<Line, String>> {
    let (mut lines, mut all) = (Lines::default(), Vec::new());
    for piece in log.chunks(size) {
        lines.push(piece, |line| all.push(line));
    }
    lines.end(|line| all.push(line));
    all
}

#[test]
fn a_log_is_cut_into_lines_however_it_arrives() {
    let filler = "x".repeat(lines::LONGEST_LINE);
    let log = format!(
        "1970-01-01T00:00:01.000002003Z first\n1970-01-01T00:00:01Z \n1970-01-01T01:00:00+01:00 a  b\r\n\
         unable to retrieve it\n1970-01-01T00:00:02Z {filler}{filler}\n1970-01-01T00:00:03Z"
    );
    let line = |at, text: &str| Ok(Line { at, text: text.into() });
    for size in [1, 7, 1000, 100_000] {
        let all = lines_of(log.as_bytes(), size);
        let cut = "x".repeat(lines::LONGEST_LINE - "1970-01-01T00:00:02Z ".len());
        let expected = [
            line(1_000_002, "first"),
            line(1_000_000, ""),
            line(0, "a  b"),
            Err("unable to retrieve it".into()),
            line(2_000_000, &cut),
            line(3_000_000, ""),
        ];
        assert!(all == expected, "{size}: {all:?}");
    }
    assert_eq!(lines_of(b"1970-01-01T00:00:00Z \xff\n", 3), [line(0, "\u{fffd}")]);
    assert!(lines_of(b"", 1).is_empty());
}

/// The times and texts that are kept of these logs, each of which goes up.
fn kept_of(order: Order, most: usize, logs: &[Vec<i64>], size: usize) -> (Vec<(i64, usize)>, bool) {
    let mut kept = Kept::new(order, most);
    for (log, times) in logs.iter().enumerate() {
        for (number, at) in times.iter().enumerate() {
            let line = Line { at: *at, text: "x".repeat(size).into() };
            if !kept.push((log, number), line) {
                break;
            }
        }
    }
    let cut = kept.is_cut();
    (kept.into_lines().map(|(at, log, _)| (at, log)).collect(), cut)
}

proptest! {
    #[test]
    fn what_is_kept_is_what_one_who_had_all_lines_would_show(
        mut logs in proptest::collection::vec(proptest::collection::vec(0..40_i64, 0..30), 0..5),
        most in 1..40_usize,
    ) {
        for times in &mut logs {
            times.sort_unstable();
        }
        let mut all: Vec<_> =
            logs.iter().enumerate().flat_map(|(log, times)| times.iter().map(move |at| (*at, log))).collect();
        all.sort_unstable();
        let first: Vec<_> = all.iter().copied().take(most).collect();
        let last: Vec<_> = all.iter().rev().copied().take(most).collect();
        prop_assert_eq!(kept_of(Order::EarliestFirst, most, &logs, 3), (first, false));
        prop_assert_eq!(kept_of(Order::LatestFirst, most, &logs, 3), (last, false));
        // Of what does not fit, too, there is no gap before the last one that is kept.
        let (large, fit) = (kept::MOST_BYTES / 20, 19);
        let (some, cut) = kept_of(Order::EarliestFirst, most, &logs, large);
        prop_assert_eq!(some, all.iter().copied().take(most.min(fit)).collect::<Vec<_>>());
        prop_assert_eq!(cut, all.len() > fit && most > fit);
        let (some, _) = kept_of(Order::LatestFirst, most, &logs, large);
        prop_assert_eq!(some, all.iter().rev().copied().take(most.min(fit)).collect::<Vec<_>>());
    }
}
