//! The plans in which the operator's watches show something that is not true.

use ai_api_operator::api::Kind;

use crate::{
    fault::{Call, Change, Fault, Injection, Moment, Place, Resource, View},
    plan::Plan,
    scenario::{Reaction, Scenario},
};

/// It is shown the BulkUpdate as it was created: while it runs, or when it starts after a crash at a record.
fn old_bulk_updates(scenario: &'static Scenario, view: View) -> Vec<Plan> {
    let name = format!("view/{}/{}-bulkupdates", scenario.name, view.word());
    let plan = Plan { view: Some((view, Resource::BulkUpdates)), ..Plan::without_faults(scenario) };
    let mut plans = vec![Plan { name: format!("{name}-nothing"), ..plan.clone() }];
    if view == View::Before {
        plans.extend([1, 2].into_iter().filter(|n| *n == 1 || scenario.reports_twice()).map(|n| {
            let crash = Injection::once(Place::Nth(Call::Record, n), Fault::Crash(Moment::Answered));
            Plan { name: format!("{name}-then-{crash}"), injections: vec![crash], ..plan.clone() }
        }));
    }
    plans
}

/// Its TTL is raised just before its end is recorded, and the watch does not show the end.
fn raised_ttl(scenario: &'static Scenario) -> Option<Plan> {
    let race = Injection::once(Place::Nth(Call::Record, 2), Fault::Race(Change::RaiseTtl));
    let name = format!("view/{}/hold-bulkupdates-then-{race}", scenario.name);
    let view = Some((View::Hold, Resource::BulkUpdates));
    scenario.has_a_ttl().then(|| Plan {
        name,
        view,
        injections: vec![race],
        ..Plan::without_faults(scenario)
    })
}

/// All of a scenario.
pub fn of(scenario: &'static Scenario) -> Vec<Plan> {
    let on_targets = [
        Change::Relabel,
        Change::Complete,
        Change::Run,
        Change::Stop,
        Change::AskToStop,
        Change::Delete,
        Change::Recreate,
        Change::Terminate,
    ];
    let seen_in = match scenario.reaction {
        Reaction::InTheMiddle(_, resource) => Some(resource),
        _ => None,
    };
    let mut plans: Vec<_> = raised_ttl(scenario).into_iter().collect();
    for view in View::ALL {
        for resource in Resource::WORK {
            // Only this one waits for something that could be forgotten.
            if view == View::Forget {
                if scenario.name == "deadlines" && resource == Resource::Executions {
                    let name = format!("view/{}/forget-executions", scenario.name);
                    let view = Some((view, resource));
                    plans.push(Plan { name, view, ..Plan::without_faults(scenario) });
                }
                continue;
            }
            // An old version of a target has an old resource version.
            if matches!(view, View::Before | View::Again) {
                if resource == Resource::BulkUpdates {
                    plans.extend(old_bulk_updates(scenario, view));
                }
                continue;
            }
            let unseen: &[Change] = match resource {
                Resource::Executions | Resource::Deployments if scenario.targets.is_empty() => &[],
                Resource::Executions | Resource::Deployments => &on_targets,
                Resource::ConfigMaps => &[Change::FlagOff],
                _ => &[],
            };
            let seen = match resource {
                Resource::Deployments => scenario.targets.iter().any(|t| t.kind == Kind::Deployment),
                // Only switching it off changes the flag; if the watch is late, it has to be read in time.
                Resource::ConfigMaps => view == View::Hold && seen_in == Some(Resource::ConfigMaps),
                // In a dry run nobody changes a target.
                Resource::Executions => scenario.name != "dry-run",
                _ => true,
            };
            if view == View::Back {
                let name = format!(
                    "view/{}/back-{}-then-crash-committed-at-write-1",
                    scenario.name,
                    resource.word()
                );
                let crash = Injection::once(Place::Write(1), Fault::Crash(Moment::Committed));
                let view = Some((view, resource));
                plans.push(Plan { name, injections: vec![crash], view, ..Plan::without_faults(scenario) });
            }
            let nothing = Some(None).filter(|_| seen);
            let unseen =
                unseen.iter().copied().map(Some).filter(|_| seen || resource != Resource::Deployments);
            for change in nothing.into_iter().chain(unseen) {
                let what = change.map_or_else(|| "nothing".into(), |c| Fault::Race(c).to_string());
                let name = format!("view/{}/{}-{}-{what}", scenario.name, view.word(), resource.word());
                let view = Some((view, resource));
                plans.push(Plan { name, view, unseen: change, ..Plan::without_faults(scenario) });
            }
        }
    }
    plans
}
