//! The replicas of the operator in a plan: each is started, may die and be restarted, and ends.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use futures::future::{join_all, select_all};
use tokio::time::sleep;

use super::{MAX_LIVES, Runner, TIMEOUT, TIMEOUT_TO_LEAD};
use crate::{
    fault::{Call, Resource},
    life::Life,
    operator::{End, Running},
};

impl Runner<'_> {
    /// Starts it: with the shipped setup, two replicas, the first of which leads.
    pub async fn start_all(&mut self) -> Result<(), String> {
        self.start();
        self.synced().await?;
        if !self.plan.shipped {
            return Ok(());
        }
        self.start();
        let standby = Arc::clone(&self.running[self.running.len() - 1].life);
        let end = Instant::now() + TIMEOUT_TO_LEAD;
        while !standby.was_answered(Call::Watch(Resource::Leases)) && Instant::now() < end {
            self.wait_a_while().await?;
        }
        Ok(())
    }

    pub fn start(&mut self) {
        let number = self.lives.len();
        let injections = self.plan.injections.iter().filter(|s| s.life == number).copied().collect();
        let life = Life::new(number, self.shared.clone(), injections);
        self.lives.push(Arc::clone(&life));
        self.running.push(Running::start(&self.cluster, life, self.plan, self.log.clone()));
    }

    /// Asks all replicas to end, and waits for that.
    pub async fn stop_all(&mut self) -> Result<(), String> {
        self.ended = 0;
        let ends = join_all(self.running.drain(..).map(Running::stop)).await;
        for end in ends {
            match end {
                End::Killed | End::Ended(Ok(())) => {}
                End::Ended(Err(error)) if self.may_be(&error) => self.lost = true,
                End::Ended(Err(error)) => return Err(error),
            }
        }
        Ok(())
    }

    /// Whether a replica may exit like this by itself; it is restarted then.
    fn may_be(&self, error: &str) -> bool {
        self.plan.shipped && error.contains("lost the Lease")
    }

    /// The leader, if there are two replicas.
    fn leading(&self) -> &Arc<Life> {
        let leader = self.cluster.leader();
        let leading = self.running.iter().find(|running| running.life.name() == leader);
        &leading.unwrap_or(&self.running[0]).life
    }

    /// Waits until all watches have begun, or until one is late.
    pub async fn synced(&mut self) -> Result<(), String> {
        let guards: &[Resource] = if self.plan.shipped { &Resource::GUARDS } else { &[] };
        let end = Instant::now() + if self.plan.shipped { TIMEOUT_TO_LEAD } else { TIMEOUT };
        while Instant::now() < end {
            let begun = |r: &Resource| self.leading().was_answered(Call::Watch(*r));
            if Resource::WORK.iter().chain(guards).all(begun) {
                break;
            }
            self.wait_a_while().await?;
        }
        Ok(())
    }

    /// Waits until something happens, and restarts the operator if it has died.
    pub async fn wait_a_while(&mut self) -> Result<(), String> {
        if self.ended > 0 && self.running.iter().any(|running| running.life.name() == self.cluster.leader()) {
            self.ended -= 1;
            self.start();
        }
        let mut growth = self.cluster.history.growth();
        let mut progress: Vec<_> = self.running.iter().map(|running| running.life.progress()).collect();
        let progress = select_all(progress.iter_mut().map(|progress| Box::pin(progress.changed())));
        let ends = select_all(self.running.iter_mut().map(|running| Box::pin(running.ended())));
        let (end, which) = tokio::select! {
            (end, which, _) = ends => (end, which),
            _ = growth.changed() => return Ok(()),
            _ = progress => return Ok(()),
            () = sleep(Duration::from_millis(200)) => return Ok(()),
        };
        let life = self.running.remove(which).life;
        match end {
            End::Killed => {}
            End::Ended(Ok(())) if life.shutdown.is_cancelled() => {}
            End::Ended(Err(error)) if self.may_be(&error) => self.lost = true,
            End::Ended(end) => return Err(format!("the operator has ended: {end:?}")),
        }
        if self.lives.len() >= MAX_LIVES {
            return Err(format!("{MAX_LIVES} lives and no end"));
        }
        // As the kubelet restarts it; but the standby takes over first, so that it is known which one leads next.
        if self.running.is_empty() {
            self.start();
        } else {
            self.ended += 1;
        }
        Ok(())
    }
}
