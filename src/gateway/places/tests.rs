use super::*;

/// As many places as there are for requests with this token for this namespace.
fn all_of(places: &Arc<Places>, of: Use, namespace: &str, token: &str) -> Vec<Place> {
    std::iter::from_fn(|| places.take(of, namespace, token.as_bytes()).ok()).collect()
}

/// Has the token accepted there.
fn accept(places: &Arc<Places>, of: Use, namespace: &str, token: &str) {
    places.take(of, namespace, token.as_bytes()).ok().unwrap().answered(StatusCode::OK);
}

fn refused(places: &Arc<Places>, of: Use, namespace: &str, token: &str) -> String {
    let refused = places.take(of, namespace, token.as_bytes()).err().unwrap();
    assert_eq!(refused.code.status(), StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(refused.retry_after, Some(DEFAULT_RETRY_AFTER));
    refused.message
}

#[test]
fn a_namespace_takes_no_more_than_it_leaves() {
    let places = Arc::new(Places::default());
    for of in [Use::Reads, Use::Modifications, Use::Logs] {
        let names: Vec<_> = (0..1000).map(|n| n.to_string()).collect();
        for namespace in ["greedy", "next", "bystander"].into_iter().chain(names.iter().map(|name| &**name)) {
            accept(&places, of, namespace, "t");
        }
        let all_of = |namespace: &str| all_of(&places, of, namespace, "t");
        let (greedy, next) = (all_of("greedy"), all_of("next"));
        assert_eq!((greedy.len(), next.len()), (of.places() / 2, of.places() / 4));
        let why =
            format!("too many {of} are already in progress for this namespace, and what is left is for");
        let message = refused(&places, of, "greedy", "t");
        assert!(message.starts_with(&why), "{message}");
        assert_eq!(all_of("bystander").len(), of.places() / 8);
        drop(greedy);
        assert_eq!(all_of("bystander").len(), (of.places() - next.len()) / 2);
        // With many namespaces, the last one is taken, too.
        let others: Vec<_> = names.iter().map_while(|name| places.take(of, name, b"t").ok()).collect();
        assert_eq!(others.len() + next.len(), of.places());
        let why = format!("too many {of} are already in progress: nothing was done, try again");
        assert_eq!(refused(&places, of, "bystander", "t"), why);
    }
    for of in [Use::Reads, Use::Modifications, Use::Logs] {
        let taken = lock(places.of(of));
        assert!(taken.by_namespace.is_empty() && (taken.all, taken.unknown) == (0, 0));
    }
}

#[test]
fn modifications_take_no_places_of_reads() {
    let places = Arc::new(Places::default());
    let modifications = all_of(&places, Use::Modifications, "a", "t");
    let reads = all_of(&places, Use::Reads, "a", "t");
    let half = |of: Use| of.places() / 2;
    assert_eq!((modifications.len(), reads.len()), (half(Use::Modifications), half(Use::Reads)));
}

#[test]
fn a_namespace_that_is_only_named_takes_nothing_of_it() {
    let (places, of) = (Arc::new(Places::default()), Use::Modifications);
    accept(&places, of, "team-a", "good");
    let forged = all_of(&places, of, "team-a", "bad");
    assert_eq!(forged.len(), of.places() / 2);
    for place in &forged {
        place.answered(StatusCode::UNAUTHORIZED);
    }
    let message = refused(&places, of, "team-b", "bad");
    assert!(message.contains("for this namespace and tokens that are not known yet"), "{message}");
    // Whose namespace it is has as much of the rest as ever.
    assert_eq!(all_of(&places, of, "team-a", "good").len(), of.places() / 4);
}

#[test]
fn new_tokens_take_no_more_for_their_namespace() {
    let (places, of) = (Arc::new(Places::default()), Use::Reads);
    let mut greedy = vec![];
    for token in 0..1000 {
        let Ok(place) = places.take(of, "greedy", token.to_string().as_bytes()) else { break };
        place.answered(StatusCode::OK);
        greedy.push(place);
    }
    assert_eq!(greedy.len(), of.places() / 2);
    // Nor do those that come before the first is accepted.
    let more = all_of(&places, of, "next", "new");
    assert_eq!(more.len(), of.places() / 4);
    for place in &more {
        place.answered(StatusCode::OK);
    }
    refused(&places, of, "next", "newer");
}

#[tokio::test(start_paused = true)]
async fn a_token_is_known_until_it_is_refused_or_for_a_time() {
    let (places, of) = (Arc::new(Places::default()), Use::Reads);
    let is_known = |token: &str| *lock(&places.take(of, "a", token.as_bytes()).ok().unwrap().accepted);
    accept(&places, of, "a", "1");
    assert!(is_known("1") && !is_known("2"));
    let other = places.take(of, "b", b"1").ok().unwrap();
    assert!(!*lock(&other.accepted), "it is another namespace");
    other.answered(StatusCode::NOT_FOUND);
    assert!(!*lock(&other.accepted) && is_known("1"));
    places.take(of, "a", b"1").ok().unwrap().answered(StatusCode::FORBIDDEN);
    assert!(!is_known("1"));
    accept(&places, of, "a", "1");
    tokio::time::sleep(ACCEPTED).await;
    assert!(!is_known("1"));
    for n in 0..MOST_ACCEPTED * 2 {
        accept(&places, of, "a", &format!("token {n}"));
    }
    assert!(lock(&places.accepted).0.len() <= MOST_ACCEPTED);
}

#[test]
fn a_token_that_was_accepted_for_one_use_is_known_for_the_others() {
    let places = Arc::new(Places::default());
    let take = |of: Use| places.take(of, "a", b"1").ok().unwrap();
    take(Use::Reads).answered(StatusCode::OK);
    assert!(take(Use::Modifications).is_accepted() && take(Use::Logs).is_accepted());
    take(Use::Modifications).answered(StatusCode::UNAUTHORIZED);
    assert!(!take(Use::Reads).is_accepted());
    take(Use::Modifications).accept();
    assert!(take(Use::Reads).is_accepted());
}

#[tokio::test]
async fn it_is_empty_once_all_places_are_left() {
    let places = Arc::new(Places::default());
    places.empty().await;
    let [read, modification] =
        [Use::Reads, Use::Modifications].map(|of| places.take(of, "a", b"t").ok().unwrap());
    let mut empty = std::pin::pin!(places.empty());
    for place in [read, modification] {
        assert!(futures::poll!(&mut empty).is_pending());
        drop(place);
    }
    empty.await;
}
