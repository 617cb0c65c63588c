//! Promise 13: each write to a target is logged in one line, with the BulkUpdate and the object with their uids, the
//! verb and the outcome; and nothing is logged that was not sent.

use crate::{Answer, Violations, case::Case, facts::Exchange};

const FIELDS: [&str; 6] = ["bulk_update=", "bulk_update_uid=", "target=", "target_uid=", "verb=", "outcome="];

pub fn judge(case: &Case<'_>, violations: &mut Violations) {
    for (number, life) in case.facts.lives.iter().enumerate() {
        // One that was held, or has lost the Lease, ends before it has logged everything that it has sent.
        let early = life.killed || (life.ended.is_some() && life.asked_to_end.is_none());
        let Some(log) = life.log.as_ref().filter(|_| !early && life.pauses.is_empty()) else { continue };
        let about = |line: &&String| line.contains("wrote to a target");
        let written: Vec<_> = log.iter().filter(about).collect();
        for line in &written {
            if let Some(field) = FIELDS.into_iter().find(|field| !line.contains(field)) {
                violations.say("13", format!("a write was logged without {field}: {line}"));
            }
        }
        // Writes that the fence has stopped were not sent.
        let sent_on = |line: &&&String| !line.contains("outcome=not sent: ");
        let logged = written.iter().filter(sent_on).count();
        let accepted = written.iter().filter(|line| line.contains("outcome=accepted")).count();
        let writes = || case.writes_sent().filter(|e| e.life == number);
        // What still waits for an answer at the end is logged later.
        let has_ended =
            |e: &&Exchange| e.ended.as_ref().is_some_and(|(_, answer)| *answer != Answer::NotSent);
        let sent = writes().filter(has_ended).count();
        let succeeded = writes().filter(|e| e.succeeded()).count();
        if logged != sent || accepted > succeeded {
            violations.say(
                "13",
                format!(
                    "process {number} has sent {sent} writes and logged {logged}, {accepted} as accepted"
                ),
            );
        }
        for write in writes().filter(|e| e.succeeded()) {
            if !written.iter().any(|line| names(line, write)) {
                violations.say("13", format!("{} is not in the log", write.words()));
            }
        }
    }
}

fn names(line: &str, write: &Exchange) -> bool {
    let uid = write.body.pointer("/preconditions/uid").and_then(|uid| uid.as_str());
    let by = write.body.pointer("/status/stopRequest/uid").and_then(|uid| uid.as_str());
    line.contains(&format!("/{}", write.name))
        && uid.or(by).is_none_or(|uid| line.contains(uid))
        && line.contains("outcome=accepted")
}
