//! The steps of a plan, in order.

use std::{sync::Arc, time::Instant};

use futures::future::join_all;

use super::{OLD_VIEW_DURATION, Runner, TIMEOUT, VIEW_DURATION};
use crate::{
    fault::{Call, Change, Resource, View},
    make,
    scenario::Reaction,
};

impl Runner<'_> {
    pub async fn course(&mut self) -> Result<(), String> {
        let scenario = self.plan.scenario;
        make::targets(&self.cluster, scenario.targets).await;
        self.start_all().await?;
        let forgets = matches!(self.plan.view, Some((View::Forget, _)));
        let before = matches!(self.plan.view, Some((View::Before, _)));
        let later = forgets || before || self.plan.hides_its_end() || self.plan.view_begins_at_the_record();
        if self.plan.view.is_some() && !later {
            let past = Some(self.cluster.history.revision()).filter(|revision| *revision > 0);
            self.views.begin(past.map_or_else(|| self.cluster.empty_at.clone(), |past| past.to_string()));
            if self.plan.unseen == Some(Change::FlagOff) {
                self.cluster.switch_off().await;
            } else if let Some(change) = self.plan.unseen {
                for target in scenario.targets {
                    self.cluster.act(change, target.kind, target.name).await;
                }
            }
        }
        // By now it is shown the past, or nothing of the Lease, which is renewed all the time; otherwise the following
        // would be no fault.
        let at_once = matches!(self.plan.view, Some((View::Back, _) | (_, Resource::Leases)));
        if at_once {
            self.until_affected(1).await?;
        }
        self.guard_changes().await?;
        // If an object has the same second as the BulkUpdate, an operator that starts later cannot know which is older.
        self.cluster.world.next_second().await;
        let cluster = Arc::clone(&self.cluster);
        let bulks =
            (scenario.bulk_updates)().into_iter().map(|(name, spec)| make::bulk_update(&cluster, name, spec));
        tokio::join!(join_all(bulks), make::targets(&self.cluster, scenario.at_the_same_moment));
        self.restore_guard().await?;
        let since = Instant::now();
        let mut begun = false;
        while !self.is_finished() {
            self.wait_a_while().await?;
            self.react().await;
            let stopped = || self.cluster.history.versions().iter().any(|v| !v.stopped_by().is_empty());
            if forgets && !begun && stopped() {
                begun = true;
                self.views.begin(self.cluster.empty_at.clone());
            } else if !forgets
                && since.elapsed()
                    > if self.plan.shows_an_old_bulk_update() || self.plan.hides_its_end() {
                        OLD_VIEW_DURATION
                    } else {
                        VIEW_DURATION
                    }
                && !self.plan.hides_what_happens_in_the_middle()
            {
                self.views.end();
            }
        }
        if self.plan.hides_what_happens_in_the_middle() {
            self.until_quiet().await?;
        }
        if self.plan.shows_an_old_bulk_update() {
            // If it has died at its last record, the next life sees it.
            if self.plan.injections.iter().any(|injection| injection.fault.ends_a_life()) {
                self.until_affected(1).await?;
            }
            self.sees_an_old_bulk_update().await?;
        }
        self.views.end();
        // If it does anything that it must not do any more, it is now.
        self.until_quiet().await?;
        if self.plan.scenario.reaction == Reaction::Recreate && !self.reacted {
            // Changes between the last pass and the end. A BulkUpdate that was deleted midway does not report them.
            self.react().await;
            self.until_quiet().await?;
        }
        self.stop_all().await?;
        // Another life finds nothing to do.
        self.start();
        self.synced().await?;
        self.until_quiet().await?;
        let life = Arc::clone(&self.running[0].life);
        self.stop_all().await?;
        for life in &self.lives {
            life.has_left_nothing().await;
        }
        let counts = life.counts();
        let idle =
            |call: &&Call| matches!(call, Call::List(_) | Call::Watch(_)) || call.is_in_the_background();
        let more: Vec<_> = counts.keys().filter(|call| !idle(call)).collect();
        if more.is_empty() {
            Ok(())
        } else {
            Err(format!("everything had finished, and another life has sent {more:?}"))
        }
    }

    /// Waits until so many events were affected by the view; may time out if there are none.
    pub async fn until_affected(&mut self, events: usize) -> Result<(), String> {
        let end = Instant::now() + TIMEOUT;
        while self.views.affected() < events && Instant::now() < end {
            self.wait_a_while().await?;
        }
        Ok(())
    }

    /// It is shown a finished BulkUpdate as not yet planned, and does not carry it out again.
    async fn sees_an_old_bulk_update(&mut self) -> Result<(), String> {
        let life = Arc::clone(&self.lives[self.lives.len() - 1]);
        // An operator that starts with an old list cannot know, nor can one that has forgotten a deleted object: no plan
        // can be recorded.
        let gone = || self.cluster.history.bulk_updates().iter().all(|bulk| bulk.deleted);
        if self.lives.len() > 1 || gone() {
            return Ok(());
        }
        let end = Instant::now() + TIMEOUT;
        while !self.log.text().contains("finished bulk_update=") {
            if Instant::now() > end {
                return Err("it has finished, and the log does not say so".into());
            }
            self.wait_a_while().await?;
        }
        let before = life.counts();
        self.until_affected(1).await?;
        self.until_quiet().await?;
        let after = life.counts();
        let works = |call: &Call| call.is_write() || *call == Call::ReadTarget;
        let more: Vec<_> =
            after.iter().filter(|(call, n)| works(call) && before.get(call) != Some(n)).collect();
        let gone = self.cluster.history.bulk_updates().iter().all(|bulk| bulk.deleted);
        if gone || more.is_empty() {
            return Ok(());
        }
        Err(format!("a finished BulkUpdate was started again: {more:?}"))
    }
}
