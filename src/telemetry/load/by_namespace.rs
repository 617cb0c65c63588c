//! How much of the operator's work each namespace has, as an annotation of its Lease: `team-a=4900 team-b=12 +3=40`, the last of
//! which stands for three more namespaces.

use std::{cmp::Reverse, collections::BTreeMap, fmt, str::FromStr};

/// How many namespaces have a number of their own, so that the Lease stays small.
const MOST: usize = 16;

/// The items under way of the namespaces with the most of them, and of all others together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ByNamespace {
    pub largest: Vec<(Box<str>, u32)>,
    /// How many other namespaces have any, and how many these have.
    pub others: (u32, u32),
}

impl ByNamespace {
    /// Adds up the items of each namespace.
    pub fn of<'a>(items: impl Iterator<Item = (&'a str, usize)>) -> Self {
        let mut all: BTreeMap<&str, u32> = BTreeMap::new();
        for (namespace, items) in items.filter(|(_, items)| *items > 0) {
            let of_it = all.entry(namespace).or_default();
            *of_it = of_it.saturating_add(u32::try_from(items).unwrap_or(u32::MAX));
        }
        let mut largest: Vec<_> =
            all.into_iter().map(|(namespace, items)| (namespace.into(), items)).collect();
        largest.sort_by_key(|(_, items)| Reverse(*items));
        let others = largest.split_off(largest.len().min(MOST));
        let of_others = others.iter().fold(0_u32, |sum, (_, items)| sum.saturating_add(*items));
        Self { largest, others: (u32::try_from(others.len()).unwrap_or(u32::MAX), of_others) }
    }
}

impl fmt::Display for ByNamespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut space = "";
        for (namespace, items) in &self.largest {
            write!(f, "{space}{namespace}={items}")?;
            space = " ";
        }
        match self.others {
            (0, _) => Ok(()),
            (others, items) => write!(f, "{space}+{others}={items}"),
        }
    }
}

/// It is not what an operator writes.
#[derive(Debug, PartialEq, Eq)]
pub struct NotByNamespace;

impl FromStr for ByNamespace {
    type Err = NotByNamespace;

    fn from_str(text: &str) -> Result<Self, NotByNamespace> {
        let mut all = Self::default();
        for part in text.split_whitespace() {
            let (of, items) = part.split_once('=').ok_or(NotByNamespace)?;
            let items = items.parse().map_err(|_| NotByNamespace)?;
            match of.strip_prefix('+') {
                Some(others) => all.others = (others.parse().map_err(|_| NotByNamespace)?, items),
                None if all.largest.len() < MOST => all.largest.push((of.into(), items)),
                None => return Err(NotByNamespace),
            }
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_read_as_it_is_written() {
        let names: Vec<String> = (10..30).map(|n| format!("team-{n}")).collect();
        let many: Vec<_> = names.iter().map(String::as_str).zip(1..).collect();
        let cases: [(&[(&str, usize)], &str); 4] = [
            (&[], ""),
            (&[("team-a", 0)], ""),
            (&[("team-b", 7), ("team-a", 3), ("team-c", 40), ("team-a", 4)], "team-c=40 team-a=7 team-b=7"),
            (
                &many,
                "team-29=20 team-28=19 team-27=18 team-26=17 team-25=16 team-24=15 team-23=14 team-22=13 team-21=12 \
                 team-20=11 team-19=10 team-18=9 team-17=8 team-16=7 team-15=6 team-14=5 +4=10",
            ),
        ];
        for (items, text) in cases {
            let all = ByNamespace::of(items.iter().copied());
            assert_eq!(all.to_string(), text);
            assert_eq!(text.parse(), Ok(all));
        }
        for text in ["team-a", "team-a=", "team-a=-1", "=", "+=1", "+a=1", "team-a=1,team-b=2"] {
            assert_eq!(text.parse::<ByNamespace>(), Err(NotByNamespace), "{text}");
        }
    }
}
