//! Changes to the admission policy during a plan.

use std::{sync::Arc, time::Instant};

use ai_api_operator::api::BulkUpdate;

use super::{Runner, WAITS};
use crate::{fault::View, guards};

impl Runner<'_> {
    /// Somebody changes the admission policy or its binding, which is seen before anything that depends on it is
    /// created.
    pub async fn guard_changes(&mut self) -> Result<(), String> {
        let Some(guard) = self.plan.guard.filter(|_| !self.plan.loses_its_policy_midway()) else {
            return Ok(());
        };
        if self.plan.away {
            self.stop_all().await?;
        }
        let shipped = Arc::clone(self.cluster.shipped.as_ref().unwrap());
        let plural = guard.resource().plural();
        let of_it = || shipped.versions().into_iter().filter(|v| v.plural == plural).collect::<Vec<_>>();
        let before = of_it().len();
        guards::change(&self.cluster.world.client, &self.cluster.policy, guard).await;
        let changes = 1 + usize::from(guard.is_restored());
        shipped.growth().wait_for(|_| of_it().len() >= before + changes).await.map_err(|e| e.to_string())?;
        let newest = of_it().last().unwrap().revision;
        if self.plan.view_ends_before_the_bulk_update() {
            // The operator's watch may be later than the one that reports changes here.
            let hidden = if matches!(self.plan.view, Some((View::Lose, _))) { changes } else { 1 };
            self.until_affected(hidden).await?;
            self.views.end();
        }
        // A watch that has to be restarted waits first.
        for _ in 0..4 {
            if self.plan.away || self.views.have_shown(guard.resource(), newest).await {
                return Ok(());
            }
        }
        Err("it was not shown the state of the admission policy".into())
    }

    /// Restores the policy or binding, once the BulkUpdate waits for it.
    pub async fn restore_guard(&mut self) -> Result<(), String> {
        let Some(guard) = self.plan.guard else { return Ok(()) };
        let end = Instant::now() + WAITS;
        let midway = self.plan.loses_its_policy_midway();
        let waits = |runner: &Self| midway && !runner.is_finished() || Instant::now() < end;
        while !self.plan.away && !guard.is_restored() && waits(self) && !self.waits() {
            self.wait_a_while().await?;
        }
        if !guard.is_restored() {
            guards::restore(&self.cluster.world.client, &self.cluster.policy, guard).await;
        }
        if self.plan.away {
            self.start_all().await?;
        }
        Ok(())
    }

    fn waits(&self) -> bool {
        let says = |bulk: &BulkUpdate| bulk.status.as_ref()?.condition("Ready").map(|c| c.reason.clone());
        self.cluster
            .history
            .bulk_updates()
            .iter()
            .any(|b| b.bulk().is_some_and(|b| says(&b).as_deref() == Some("Waiting")))
    }
}
