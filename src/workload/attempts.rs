//! What this process has tried so far about something that runs. It is lost when the process ends; what must not be lost is in the
//! status.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use tokio::time::Instant;

use crate::client::{Failure, backoff};

/// The shortest pause after a failure.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// What a request was about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// To read its Execution or Deployment, or to write the status of that.
    Owner,
    /// To read what runs.
    Read,
    /// To list its Pods.
    Pods,
    /// To read its Workload in Kueue.
    Queue,
    Create,
    /// To give it a changed template.
    Apply,
    Adopt,
    /// To put its label back.
    Label,
    Stop,
}

/// What was tried.
#[derive(Clone, Debug, Default)]
pub struct Attempts {
    /// The uid of the owner that they are about.
    owner: Box<str>,
    /// Whether it is this process that records that the work is to be created, and nobody can have created it since.
    pub intended: bool,
    /// Since when it has not been known whether the work was created: an earlier process may have requested that, or this one
    /// without an answer.
    pub in_doubt_since: Option<Timestamp>,
    /// When a request to create it was last sent that got no answer: it may still take effect.
    pub unanswered: Option<Timestamp>,
    /// The last request that has failed, unless such a request has succeeded since.
    pub failed: Option<Failed>,
    /// The template that was seen last, as a hash, and when.
    seen: Option<(u64, Timestamp)>,
    /// The last template that was found to be permitted, as a hash.
    permitted: Option<u64>,
    /// When the template was still another one than it is now; absent if this process has seen no other.
    changed_after: Option<Timestamp>,
    /// The generation of the owner whose template the work has.
    pub applied: Option<i64>,
    /// How often a stop was requested.
    pub stops: u32,
    /// When that was last.
    pub stopped_at: Option<Timestamp>,
    /// Whether it was not seen to run then.
    pub stopped_unseen: bool,
    /// When it was last requested to put the label of what runs back.
    pub labelled_at: Option<Timestamp>,
}

/// A request that has failed.
#[derive(Clone, Debug)]
pub struct Failed {
    pub request: Request,
    pub failure: Failure,
    /// How many such requests have failed in a row.
    pub times: u32,
    /// Until when to wait.
    pub until: Timestamp,
    /// The same by the clock of this process, to the fraction of a second.
    pub again: Instant,
    /// The generation of the owner that it was about.
    pub generation: Option<i64>,
}

impl Attempts {
    /// Forgets all of them if the owner is another object.
    pub fn of(&mut self, owner: &str) {
        if *self.owner != *owner {
            *self = Self { owner: owner.into(), ..Self::default() };
        }
    }

    /// The owner has this template, as a hash; `now` is the earliest that it can be. Not its generation: a change of anything else
    /// needs no permission, and says nothing about who has written the template.
    pub fn saw(&mut self, template: u64, now: Timestamp) {
        if let Some((before, at)) = self.seen
            && before != template
        {
            self.changed_after = Some(at);
        }
        self.seen = Some((template, now));
    }

    /// What runs has the template that was seen last: it was found to be permitted.
    pub fn permits(&mut self) {
        self.permitted = self.seen.map(|(template, _)| template);
    }

    /// Whether that is known of the template that was seen last. A change of anything else needs no permission.
    pub fn permitted(&self) -> bool {
        self.seen.is_some_and(|(template, _)| self.permitted == Some(template))
    }

    /// When the spec did not have its present template yet, or a little earlier; `created` is when the owner was created.
    pub fn changed_after(&self, created: Option<Timestamp>) -> Option<Timestamp> {
        self.changed_after.or(created)
    }

    /// The status does not say that it is to be created, and is going to: nobody has requested it.
    pub fn intends(&mut self) {
        (self.intended, self.in_doubt_since) = (true, None);
    }

    /// Its creation is being requested.
    pub fn creating(&mut self) {
        self.intended = false;
    }

    /// The request to create it was answered, or not; `now` is the latest that it can be. Whether it has to be read now.
    pub fn creation_failed(&mut self, failure: &Failure, generation: Option<i64>, now: Timestamp) -> bool {
        if failure.is_conflict() {
            // Something has the name, so this request has created nothing.
            self.intended = true;
            return true;
        }
        if failure.outcome_unknown() && !failure.never_admitted() {
            (self.in_doubt_since, self.unanswered) = (Some(now), Some(now));
            self.failed(Request::Create, failure.clone(), generation, now);
            return true;
        }
        self.intended = true;
        self.failed(Request::Create, failure.clone(), generation, now);
        false
    }

    /// A live read has found nothing of its own; `now` is the latest that it can be.
    pub fn absent(&mut self, now: Timestamp) {
        self.in_doubt_since.get_or_insert(now);
    }

    /// A request has failed.
    pub fn failed(&mut self, request: Request, failure: Failure, generation: Option<i64>, now: Timestamp) {
        let times = self.last_failed(request).map_or(1, |failed| failed.times.saturating_add(1));
        let pause = failure.retry_after().unwrap_or_else(|| backoff(times)).max(SHORTEST_PAUSE);
        let (until, again) = (now + pause, Instant::now() + pause);
        self.failed = Some(Failed { request, failure, times, until, again, generation });
    }

    /// Why such a request may not be sent yet: the last one has failed, and something new is no reason to send it early.
    pub fn holds_back(&self, request: Request) -> Option<&Failure> {
        let failed = self.last_failed(request).filter(|failed| failed.again > Instant::now());
        failed.map(|failed| &failed.failure)
    }

    /// A request has succeeded.
    pub fn succeeded(&mut self, request: Request) {
        self.failed.take_if(|failed| failed.request == request);
    }

    /// The work has the template of this generation.
    pub fn applied(&mut self, generation: Option<i64>) {
        (self.failed, self.applied) = (None, generation);
    }

    /// The last failure, if it was such a request.
    pub fn last_failed(&self, request: Request) -> Option<&Failed> {
        self.failed.as_ref().filter(|failed| failed.request == request)
    }

    /// The last failure, if it was such a request for this generation: another template may be accepted.
    pub fn failed_for(&self, request: Request, generation: Option<i64>) -> Option<&Failed> {
        self.last_failed(request).filter(|failed| failed.generation == generation)
    }

    /// A stop was requested.
    pub fn stopped(&mut self, now: Timestamp) {
        self.failed = None;
        self.stops += 1;
        self.stopped_at = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_has_failed_is_not_sent_again_before_its_time() {
        let mut attempts = Attempts::default();
        let busy = Failure::Refused {
            code: 429,
            message: "busy".into(),
            retry_after: Some(Duration::from_secs(20)),
        };
        attempts.failed(Request::Pods, busy, None, Timestamp::UNIX_EPOCH);
        advance(Duration::from_millis(19_999)).await;
        assert!(attempts.holds_back(Request::Pods).is_some());
        assert!(attempts.holds_back(Request::Read).is_none(), "another request");
        advance(Duration::from_millis(1)).await;
        assert!(attempts.holds_back(Request::Pods).is_none());
    }

    #[test]
    fn a_template_that_was_permitted_needs_no_permission_again() {
        let mut attempts = Attempts::default();
        attempts.of("uid");
        let at = Timestamp::UNIX_EPOCH;
        attempts.saw(3, at);
        attempts.permits();
        assert!(attempts.permitted());
        attempts.saw(4, at);
        assert!(!attempts.permitted());
        attempts.saw(3, at);
        assert!(attempts.permitted());
        attempts.of("another");
        attempts.saw(3, at);
        assert!(!attempts.permitted());
    }

    #[test]
    fn a_change_was_made_after_the_last_time_that_the_template_was_seen_as_it_was() {
        let at = |seconds| Timestamp::from_second(seconds).unwrap();
        let mut attempts = Attempts::default();
        attempts.of("uid");
        attempts.saw(3, at(100));
        assert_eq!(
            attempts.changed_after(Some(at(1))),
            Some(at(1)),
            "an earlier process may have seen the same"
        );
        attempts.saw(3, at(200));
        attempts.saw(4, at(300));
        attempts.saw(4, at(400));
        assert_eq!(attempts.changed_after(Some(at(1))), Some(at(200)));
        attempts.saw(5, at(500));
        assert_eq!(attempts.changed_after(Some(at(1))), Some(at(400)));
        // Another object.
        attempts.of("another");
        assert_eq!(attempts.changed_after(None), None);
    }
}
