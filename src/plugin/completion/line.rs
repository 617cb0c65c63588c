//! The command line as far as it is typed: which subcommand it is, what it names already, and what its last word belongs to.

use clap::Arg;

use crate::plugin::arguments::ClusterArguments;

pub struct Line<'a> {
    pub command: &'a clap::Command,
    pub positional: Vec<&'a str>,
    /// The flag whose value is completed.
    pub flag: Option<&'a Arg>,
    /// What is typed of the word, or of the value in --flag=value.
    pub last: &'a str,
    /// The cluster and namespace that the line names.
    pub cluster: ClusterArguments,
}

impl<'a> Line<'a> {
    /// Reads the words of a line of this command, the last of which is completed.
    pub fn read(root: &'a clap::Command, cluster: &ClusterArguments, words: &'a [String]) -> Self {
        let (last, before) = words.split_last().map_or(("", &[][..]), |(last, before)| (&**last, before));
        let (positional, cluster) = (Vec::new(), cluster.clone());
        let mut line = Self { command: root, positional, flag: None, last, cluster };
        for word in before {
            if let Some(flag) = line.flag.take() {
                line.note(flag, word);
            } else if let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) {
                line.flag(name);
            } else if let Some(command) = line.command.find_subcommand(word) {
                line.command = command;
            } else {
                line.positional.push(word);
            }
        }
        if line.flag.is_none()
            && let Some((name, value)) = last.strip_prefix("--").and_then(|last| last.split_once('='))
        {
            line.flag = line.long(name).filter(|flag| flag.get_action().takes_values());
            line.last = value;
        }
        line
    }

    /// A flag, without its first dash: --name, --name=value, -n, -n=value, -nvalue, or several short ones, as in -yn.
    fn flag(&mut self, text: &'a str) {
        if let Some(text) = text.strip_prefix('-') {
            let (name, value) =
                text.split_once('=').map_or((text, None), |(name, value)| (name, Some(value)));
            if let Some(flag) = self.long(name) {
                self.with_value(flag, value);
            }
            return;
        }
        for (index, short) in text.char_indices() {
            let Some(flag) = self.flags().find(|flag| flag.get_short() == Some(short)) else { return };
            let rest = &text[index + short.len_utf8()..];
            let takes_value = flag.get_action().takes_values();
            let rest = rest.strip_prefix('=').unwrap_or(rest);
            self.with_value(flag, Some(rest).filter(|rest| takes_value && !rest.is_empty()));
            if takes_value {
                return;
            }
        }
    }

    fn with_value(&mut self, flag: &'a Arg, value: Option<&str>) {
        match value {
            Some(value) => self.note(flag, value),
            None if !flag.get_action().takes_values() => self.note(flag, ""),
            None => self.flag = Some(flag).filter(|flag| !flag.is_require_equals_set()),
        }
    }

    /// The flags of the subcommand, and those of all.
    pub fn flags(&self) -> impl Iterator<Item = &'a Arg> + use<'a> {
        self.command.get_arguments().filter(|argument| !argument.is_positional())
    }

    fn long(&self, name: &str) -> Option<&'a Arg> {
        self.flags().find(|flag| flag.get_long() == Some(name))
    }

    fn note(&mut self, flag: &Arg, value: &str) {
        let cluster = &mut self.cluster;
        match flag.get_id().as_str() {
            "all_namespaces" => cluster.all_namespaces = true,
            "namespace" => cluster.namespace = Some(value.to_owned()),
            "context" => cluster.context = Some(value.to_owned()),
            "kubeconfig" => cluster.kubeconfig = Some(value.into()),
            "as_user" => cluster.as_user = Some(value.to_owned()),
            "as_groups" => cluster.as_groups.push(value.to_owned()),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser};

    use super::*;
    use crate::plugin::arguments::Arguments;

    #[test]
    fn flags_are_understood_in_all_forms() {
        let mut root = Arguments::command();
        root.build();
        let cluster = Arguments::try_parse_from(["kubectl-aiapi", "check"]).unwrap().cluster;
        for (typed, namespace, flag, last) in [
            ("stop execution -n team-a ru", Some("team-a"), None, "ru"),
            ("-n team-a stop execution ru", Some("team-a"), None, "ru"),
            ("stop execution -nteam-a ru", Some("team-a"), None, "ru"),
            ("stop execution -n=team-a ru", Some("team-a"), None, "ru"),
            ("stop execution -yn team-a ru", Some("team-a"), None, "ru"),
            ("stop execution --namespace=team-a ru", Some("team-a"), None, "ru"),
            ("stop execution --namespace te", None, Some("namespace"), "te"),
            ("stop execution --namespace=te", None, Some("namespace"), "te"),
            ("stop execution --state=RUNNING,PE", None, Some("states"), "RUNNING,PE"),
            ("stop execution --dry-run ru", None, None, "ru"),
            ("stop execution --dry-run=se", None, Some("dry_run"), "se"),
            ("stop execution --unknown ru", None, None, "ru"),
            ("stop execution --yes ru", None, None, "ru"),
        ] {
            let words: Vec<_> = typed.split(' ').map(ToOwned::to_owned).collect();
            let line = Line::read(&root, &cluster, &words);
            let read =
                (line.cluster.namespace.as_deref(), line.flag.map(|flag| flag.get_id().as_str()), line.last);
            assert_eq!((read, &*line.positional), ((namespace, flag, last), &["execution"][..]), "{typed}");
        }
    }
}
