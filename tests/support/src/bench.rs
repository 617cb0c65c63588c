//! What the benchmarks share.

/// The groups of measurements that `AI_API_BENCH_GROUPS` names, of all that there are; none if it is not set.
pub fn only_groups(all: &[&'static str]) -> Vec<&'static str> {
    let only = std::env::var("AI_API_BENCH_GROUPS").unwrap_or_default();
    let named = only.split(',').filter(|name| !name.is_empty());
    let known = |name: &str| all.iter().copied().find(|group| *group == name);
    named
        .map(|name| known(name).unwrap_or_else(|| panic!("AI_API_BENCH_GROUPS: {name:?} is none of {all:?}")))
        .collect()
}
