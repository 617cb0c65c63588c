//! The kubeconfig: which files are read, what they say together, and what is wrong with that. The rules are client-go's
//! (`tools/clientcmd`); but what client-go would ignore, such as a user that does not exist, is an error here.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use kube::config::{AuthInfo, Cluster, Context, ExecConfig, ExecInteractiveMode, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};

use super::problem::{Problem, Unusable};
use crate::api::is_dns_subdomain;

/// What a context names.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The cluster, with absolute paths; empty fields are unset.
    pub cluster: Cluster,
    /// Its name and file, for messages.
    pub cluster_named: String,
    /// The user, likewise.
    pub user: AuthInfo,
    /// Its name and file, for messages.
    pub user_named: String,
    /// The context's namespace.
    pub namespace: Option<String>,
}

/// Entries by name, each with its file.
type Entries<T> = HashMap<String, (T, PathBuf)>;

/// What several files say together: the first that has a name wins.
#[derive(Default)]
struct Merged {
    current_context: Option<String>,
    clusters: Entries<Cluster>,
    users: Entries<AuthInfo>,
    contexts: Entries<Context>,
}

/// Chooses the cluster and the user of a context as kubectl does: from `explicit`, else `KUBECONFIG` or `~/.kube/config`.
///
/// # Errors
/// What is wrong with a file, or with what the context names; [`Unusable::is_absence`] if there is no kubeconfig, or no context
/// in it was asked for.
pub(super) fn choose(
    explicit: Option<&Path>,
    context: Option<&str>,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Chosen, Unusable> {
    let set = |name| variable(name).filter(|value| !value.is_empty());
    let single = |path: PathBuf| (format!("the kubeconfig {}", path.display()), vec![path]);
    let (named, paths) = match (explicit, set("KUBECONFIG")) {
        (Some(path), _) => single(path.to_owned()),
        (None, Some(list)) => {
            let paths = std::env::split_paths(&list).filter(|path| !path.as_os_str().is_empty());
            (format!("KUBECONFIG ({})", list.display()), paths.collect())
        }
        (None, None) => {
            let home = set("HOME").ok_or_else(|| Problem::NoHome.of("the kubeconfig"))?;
            single(Path::new(&home).join(".kube/config"))
        }
    };
    let (mut merged, mut any) = (Merged::default(), false);
    for path in paths {
        let added = merged.add(&path);
        any |= added.map_err(|problem| problem.of(format!("the kubeconfig {}", path.display())))?;
    }
    let context = context.filter(|name| !name.is_empty());
    if !any && (explicit.is_some() || context.is_none()) {
        return Err(Problem::NoFile.of(named));
    }
    let name = context.map(ToOwned::to_owned).or_else(|| merged.current_context.take());
    let Some(name) = name else { return Err(Problem::NoCurrentContext.of(named)) };
    match merged.contexts.remove(&name) {
        Some((context, path)) => {
            of_context(merged, context, &format!("the context {name:?} in {}", path.display()))
        }
        None => Err(Problem::NoContext(name).of(named)),
    }
}

fn of_context(mut merged: Merged, context: Context, context_named: &str) -> Result<Chosen, Unusable> {
    if context.cluster.is_empty() {
        return Err(Problem::NoCluster.of(context_named));
    }
    let Some((cluster, file)) = merged.clusters.remove(&context.cluster) else {
        return Err(Problem::NoSuch { kind: "cluster", name: context.cluster }.of(context_named));
    };
    let cluster_named = format!("cluster {:?} in {}", context.cluster, file.display());
    let cluster =
        checked_cluster(cluster, &file).map_err(|problem| problem.of(format!("the {cluster_named}")))?;

    let (user, user_named) = match context.user.filter(|name| !name.is_empty()) {
        None => (AuthInfo::default(), format!("no user, for {context_named} names none")),
        Some(name) => {
            // client-go would go on without credentials.
            let Some((user, file)) = merged.users.remove(&name) else {
                return Err(Problem::NoSuch { kind: "user", name }.of(context_named));
            };
            let named = format!("user {name:?} in {}", file.display());
            (checked_user(user, &file).map_err(|problem| problem.of(format!("the {named}")))?, named)
        }
    };
    if let Some(exec) = &user.exec {
        check_plugin(exec).map_err(|problem| problem.of(format!("the exec plugin of {user_named}")))?;
    }

    let namespace = context.namespace.filter(|namespace| !namespace.is_empty());
    match namespace {
        Some(name) if name.len() > 63 || name.contains('.') || !is_dns_subdomain(&name) => {
            Err(Problem::Namespace(name).of(context_named))
        }
        namespace => Ok(Chosen { cluster, cluster_named, user, user_named, namespace }),
    }
}

impl Merged {
    /// Adds a file; `false` if it does not exist.
    fn add(&mut self, path: &Path) -> Result<bool, Problem> {
        let bytes = match std::fs::read(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            read => read?,
        };
        let text = String::from_utf8(bytes).map_err(|_| Problem::NotUtf8)?;
        let config = parse(text.trim_start_matches('\u{feff}'))?;
        let is = |field: Option<&str>, word| field.is_none_or(|text| text.is_empty() || text == word);
        if !is(config.kind.as_deref(), "Config") || !is(config.api_version.as_deref(), "v1") {
            return Err(Problem::OtherKind);
        }
        merge(
            &mut self.clusters,
            config.clusters.into_iter().map(|named| (named.name, named.cluster)),
            path,
        )?;
        merge(
            &mut self.users,
            config.auth_infos.into_iter().map(|named| (named.name, named.auth_info)),
            path,
        )?;
        merge(
            &mut self.contexts,
            config.contexts.into_iter().map(|named| (named.name, named.context)),
            path,
        )?;
        let context = config.current_context.filter(|name| !name.is_empty());
        self.current_context = self.current_context.take().or(context);
        Ok(true)
    }
}

fn merge<T: Default>(
    into: &mut Entries<T>,
    of_file: impl Iterator<Item = (String, Option<T>)>,
    path: &Path,
) -> Result<(), Problem> {
    let mut names = HashSet::new();
    for (name, entry) in of_file {
        if !names.insert(name.clone()) {
            return Err(Problem::Twice(name));
        }
        if let Entry::Vacant(place) = into.entry(name) {
            place.insert((entry.unwrap_or_default(), path.to_owned()));
        }
    }
    Ok(())
}

fn parse(text: &str) -> Result<Kubeconfig, Problem> {
    // The error's own text and snippet could repeat a token.
    let options = serde_saphyr::options! { with_snippet: false };
    let mut documents: Vec<Kubeconfig> = serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| Problem::Syntax(error.location().map(|at| at.line())))?;
    match documents.len() {
        0 | 1 => Ok(documents.pop().unwrap_or_default()),
        _ => Err(Problem::SeveralDocuments),
    }
}

fn unset_if_empty<const N: usize>(fields: [&mut Option<String>; N]) {
    for field in fields {
        field.take_if(|text| text.is_empty());
    }
}

/// Makes paths absolute: they are relative to the folder of their file.
fn resolve<const N: usize>(file: &Path, fields: [&mut Option<String>; N]) {
    let folder = file.parent().unwrap_or(Path::new(""));
    for path in fields.into_iter().flatten() {
        if let Some(absolute) = folder.join(&*path).to_str() {
            absolute.clone_into(path);
        }
    }
}

/// Go's base64 ignores line breaks, kube's does not.
fn remove_line_breaks(text: &mut Option<String>) {
    if let Some(text) = text {
        text.retain(|c| c != '\n' && c != '\r');
    }
}

fn checked_cluster(mut cluster: Cluster, file: &Path) -> Result<Cluster, Problem> {
    remove_line_breaks(&mut cluster.certificate_authority_data);
    unset_if_empty([
        &mut cluster.server,
        &mut cluster.certificate_authority,
        &mut cluster.certificate_authority_data,
        &mut cluster.proxy_url,
        &mut cluster.tls_server_name,
    ]);
    resolve(file, [&mut cluster.certificate_authority]);
    let authority = cluster.certificate_authority.is_some();
    let data = cluster.certificate_authority_data.is_some();
    if cluster.server.is_none() {
        Err(Problem::NoServer)
    } else if authority && data {
        Err(Problem::Both("certificate-authority", "certificate-authority-data"))
    } else if cluster.insecure_skip_tls_verify == Some(true) && (authority || data) {
        Err(Problem::Both("a certificate authority", "insecure-skip-tls-verify"))
    } else {
        Ok(cluster)
    }
}

fn tidy_user(user: &mut AuthInfo, file: &Path) {
    remove_line_breaks(&mut user.client_certificate_data);
    unset_if_empty([
        &mut user.username,
        &mut user.token_file,
        &mut user.client_certificate,
        &mut user.client_certificate_data,
        &mut user.client_key,
        &mut user.impersonate,
        &mut user.impersonate_uid,
    ]);
    for secret in [&mut user.token, &mut user.password, &mut user.client_key_data] {
        secret.take_if(|secret: &mut SecretString| secret.expose_secret().is_empty());
    }
    resolve(file, [&mut user.token_file, &mut user.client_certificate, &mut user.client_key]);
    if let Some(exec) = &mut user.exec {
        unset_if_empty([&mut exec.command, &mut exec.api_version, &mut exec.install_hint]);
        // A name without a slash is looked up in PATH.
        if exec.command.as_ref().is_some_and(|command| command.contains('/')) {
            resolve(file, [&mut exec.command]);
        }
    }
}

fn checked_user(mut user: AuthInfo, file: &Path) -> Result<AuthInfo, Problem> {
    tidy_user(&mut user, file);
    if user.token.is_some() && (user.username.is_some() || user.password.is_some()) {
        return Err(Problem::Both("a token", "a username or password"));
    }
    // kubectl ignores a password without a username; a username without a password has an empty one.
    user.password = user.username.as_ref().map(|_| user.password.take().unwrap_or_default());
    if user.auth_provider.is_some() {
        return Err(Problem::AuthProvider);
    }
    match (user.client_certificate.is_some(), user.client_certificate_data.is_some()) {
        (true, true) => return Err(Problem::Both("client-certificate", "client-certificate-data")),
        // kubectl ignores a key without a certificate.
        (false, false) => (user.client_key, user.client_key_data) = (None, None),
        _ => match (user.client_key.is_some(), user.client_key_data.is_some()) {
            (true, true) => return Err(Problem::Both("client-key", "client-key-data")),
            (false, false) => return Err(Problem::NoKey),
            _ => {}
        },
    }
    let groups = user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty());
    let extra = user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    if user.impersonate.is_none() && (user.impersonate_uid.is_some() || groups || extra) {
        return Err(Problem::NoImpersonatedUser);
    }
    Ok(user)
}

fn check_plugin(exec: &ExecConfig) -> Result<(), Problem> {
    if exec.command.is_none() {
        return Err(Problem::NoCommand);
    }
    let beta = match exec.api_version.as_deref() {
        Some("client.authentication.k8s.io/v1") => false,
        Some("client.authentication.k8s.io/v1beta1") => true,
        _ => return Err(Problem::PluginVersion),
    };
    let nameless = |variable: &HashMap<_, String>| variable.get("name").is_none_or(String::is_empty);
    if exec.env.iter().flatten().any(nameless) {
        return Err(Problem::NamelessVariable);
    }
    match exec.interactive_mode {
        None if !beta => Err(Problem::NoInteractiveMode),
        Some(ExecInteractiveMode::Always) if !io::stdin().is_terminal() => Err(Problem::NoTerminal),
        _ => Ok(()),
    }
}
