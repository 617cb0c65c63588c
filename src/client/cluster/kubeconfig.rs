//! The kubeconfig: which files, what they say together, and what is wrong with that. The rules are client-go's
//! (`tools/clientcmd`); where it would go on without what is named, as with a user that does not exist, this refuses.

use std::{
    collections::{HashMap, HashSet},
    ffi::OsString,
    io::{self, IsTerminal},
    path::{Path, PathBuf},
};

use kube::config::{AuthInfo, Cluster, Context, ExecConfig, ExecInteractiveMode, Kubeconfig};
use secrecy::{ExposeSecret, SecretString};

use crate::api::is_dns_subdomain;

/// What a context names.
#[derive(Clone, Debug)]
pub(super) struct Chosen {
    /// The cluster, with absolute paths; what is empty there is absent here.
    pub cluster: Cluster,
    /// In words, with the file.
    pub cluster_named: String,
    /// The user, likewise.
    pub user: AuthInfo,
    /// In words, with the file.
    pub user_named: String,
    /// The context's namespace.
    pub namespace: Option<String>,
}

/// One file that could be read.
struct File {
    path: PathBuf,
    config: Kubeconfig,
}

/// Which files to read.
pub(super) enum Files {
    /// The one that was asked for.
    Explicit(PathBuf),
    /// Those of `KUBECONFIG`.
    Variable(OsString),
    /// The user's own.
    Home(PathBuf),
}

impl Files {
    /// The files that kubectl would read, if any. What is empty counts as unset.
    pub(super) fn find(explicit: Option<&Path>, variable: impl Fn(&str) -> Option<OsString>) -> Option<Self> {
        let set = |name| variable(name).filter(|value| !value.is_empty());
        if let Some(path) = explicit.filter(|path| !path.as_os_str().is_empty()) {
            return Some(Self::Explicit(path.to_owned()));
        }
        if let Some(list) = set("KUBECONFIG") {
            return Some(Self::Variable(list));
        }
        set("HOME").map(|home| Self::Home(Path::new(&home).join(".kube/config")))
    }

    fn paths(&self) -> Vec<PathBuf> {
        match self {
            Self::Explicit(path) | Self::Home(path) => vec![path.clone()],
            Self::Variable(list) => {
                let mut paths = Vec::new();
                for path in std::env::split_paths(list).filter(|path| !path.as_os_str().is_empty()) {
                    if !paths.contains(&path) {
                        paths.push(path);
                    }
                }
                paths
            }
        }
    }

    fn named(&self) -> String {
        match self {
            Self::Explicit(path) | Self::Home(path) => format!("the kubeconfig {}", path.display()),
            Self::Variable(list) => format!("KUBECONFIG ({})", list.display()),
        }
    }
}

/// What the files say: the cluster and the user of a context, or why there is none, where another way to the cluster may be
/// tried.
///
/// # Errors
/// What is wrong with a file, or with what the context names.
pub(super) fn choose(files: &Files, context: Option<&str>) -> Result<Result<Chosen, String>, String> {
    let context = context.filter(|name| !name.is_empty());
    let mut read = Vec::new();
    for path in files.paths() {
        match read_file(&path)? {
            Some(config) => read.push(File { path, config }),
            // As kubectl: those of a list may be missing, the one that was asked for may not.
            None if matches!(files, Files::Explicit(_)) => {
                return Err(format!("the kubeconfig {} does not exist: name one that does", path.display()));
            }
            None => {}
        }
    }
    let named = files.named();
    let current = read.iter().find_map(|file| file.config.current_context.clone().filter(|c| !c.is_empty()));
    let name = match (context.map(ToOwned::to_owned), current) {
        (Some(asked_for), _) => asked_for,
        (None, Some(current)) => current,
        (None, None) if read.is_empty() => return Ok(Err(format!("{named} does not exist"))),
        (None, None) => {
            let why = format!(
                "{named} has no current-context: set one with kubectl config use-context, or use --context"
            );
            return if matches!(files, Files::Explicit(_)) { Err(why) } else { Ok(Err(why)) };
        }
    };
    let found = read.iter().find_map(|file| {
        let named = file.config.contexts.iter().find(|context| context.name == name)?;
        Some((file, named.context.clone().unwrap_or_default()))
    });
    let (file, context) =
        found.ok_or_else(|| format!("there is no context {name:?} in {named}: name another"))?;
    of_context(&read, &name, &context, &file.path).map(Ok)
}

fn of_context(read: &[File], name: &str, context: &Context, path: &Path) -> Result<Chosen, String> {
    let context_named = format!("the context {name:?} in {}", path.display());
    if context.cluster.is_empty() {
        return Err(format!("{context_named} names no cluster: add one"));
    }
    let (cluster, file) = read
        .iter()
        .find_map(|file| {
            let named = file.config.clusters.iter().find(|c| c.name == context.cluster)?;
            Some((named.cluster.clone().unwrap_or_default(), &file.path))
        })
        .ok_or_else(|| {
            format!(
                "{context_named} names the cluster {:?}, which does not exist: add it, or name another",
                context.cluster
            )
        })?;
    let cluster_named = format!("cluster {:?} in {}", context.cluster, file.display());
    let cluster = checked_cluster(cluster, &cluster_named)?;

    let user_name = context.user.as_deref().unwrap_or_default();
    let (user, user_named) = if user_name.is_empty() {
        (AuthInfo::default(), format!("no user, for {context_named} names none"))
    } else {
        let found = read.iter().find_map(|file| {
            let named = file.config.auth_infos.iter().find(|user| user.name == user_name)?;
            Some((named.auth_info.clone().unwrap_or_default(), &file.path))
        });
        // client-go would go on without credentials.
        let (user, file) = found.ok_or_else(|| {
            format!(
                "{context_named} names the user {user_name:?}, which does not exist: add it, or name another"
            )
        })?;
        (user, format!("user {user_name:?} in {}", file.display()))
    };
    let user = checked_user(user, &user_named)?;

    let namespace = context.namespace.clone().filter(|namespace| !namespace.is_empty());
    if let Some(namespace) =
        namespace.as_ref().filter(|name| name.len() > 63 || name.contains('.') || !is_dns_subdomain(name))
    {
        return Err(format!(
            "{context_named} has the namespace {namespace:?}, which cannot be the name of one: correct it"
        ));
    }
    Ok(Chosen { cluster, cluster_named, user, user_named, namespace })
}

/// Reads a file; `None` if it does not exist.
fn read_file(path: &Path) -> Result<Option<Kubeconfig>, String> {
    let named = format!("the kubeconfig {}", path.display());
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("{named} cannot be read: {error}")),
    };
    let text = String::from_utf8(bytes).map_err(|_| format!("{named} is not a text in UTF-8: correct it"))?;
    let mut config = parse(text.trim_start_matches('\u{feff}')).map_err(|why| format!("{named} {why}"))?;
    let empty = |text: &Option<String>| text.as_deref().is_none_or(str::is_empty);
    let known = |text: &Option<String>, word| empty(text) || text.as_deref() == Some(word);
    if !known(&config.kind, "Config") || !known(&config.api_version, "v1") {
        return Err(format!("{named} is not one: apiVersion has to be v1 and kind Config"));
    }
    duplicate(config.clusters.iter().map(|c| &c.name))
        .or_else(|| duplicate(config.auth_infos.iter().map(|u| &u.name)))
        .or_else(|| duplicate(config.contexts.iter().map(|c| &c.name)))
        .map_or(Ok(()), |name| Err(format!("{named} has {name:?} twice: remove one of the two")))?;
    let folder = path.parent().unwrap_or(Path::new(""));
    for cluster in config.clusters.iter_mut().filter_map(|named| named.cluster.as_mut()) {
        tidy_cluster(cluster, folder);
    }
    for user in config.auth_infos.iter_mut().filter_map(|named| named.auth_info.as_mut()) {
        tidy_user(user, folder);
    }
    Ok(Some(config))
}

fn parse(text: &str) -> Result<Kubeconfig, String> {
    // An error's own words could repeat a token.
    let options = serde_saphyr::options! { with_snippet: false };
    let mut documents: Vec<Kubeconfig> =
        serde_saphyr::from_multiple_with_options(text, options).map_err(|error| {
            let place = error.location().map_or_else(String::new, |at| format!(" (line {})", at.line()));
            format!(
                "cannot be understood{place}: correct it; kubectl config view --kubeconfig says what is wrong"
            )
        })?;
    match documents.len() {
        0 | 1 => Ok(documents.pop().unwrap_or_default()),
        _ => Err("has several YAML documents, of which kubectl heeds the first only: put each into a file of its own".into()),
    }
}

fn duplicate<'a>(names: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = HashSet::new();
    names.into_iter().find(|name| !seen.insert(*name))
}

fn unset_if_empty(fields: &mut [&mut Option<String>]) {
    for field in fields {
        field.take_if(|text| text.is_empty());
    }
}

/// Paths are relative to the folder of the file that has them.
fn from_folder(folder: &Path, fields: &mut [&mut Option<String>]) {
    for path in fields.iter_mut().filter_map(|field| field.as_mut()) {
        if let Some(absolute) = folder.join(&*path).to_str() {
            absolute.clone_into(path);
        }
    }
}

/// Go's base64 takes line breaks, which kube's does not.
fn without_line_breaks(text: &mut Option<String>) {
    if let Some(text) = text {
        text.retain(|c| c != '\n' && c != '\r');
    }
}

fn tidy_cluster(cluster: &mut Cluster, folder: &Path) {
    without_line_breaks(&mut cluster.certificate_authority_data);
    unset_if_empty(&mut [
        &mut cluster.server,
        &mut cluster.certificate_authority,
        &mut cluster.certificate_authority_data,
        &mut cluster.proxy_url,
        &mut cluster.tls_server_name,
    ]);
    from_folder(folder, &mut [&mut cluster.certificate_authority]);
}

fn tidy_user(user: &mut AuthInfo, folder: &Path) {
    without_line_breaks(&mut user.client_certificate_data);
    unset_if_empty(&mut [
        &mut user.username,
        &mut user.token_file,
        &mut user.client_certificate,
        &mut user.client_certificate_data,
        &mut user.client_key,
        &mut user.impersonate,
        &mut user.impersonate_uid,
    ]);
    from_folder(folder, &mut [&mut user.token_file, &mut user.client_certificate, &mut user.client_key]);
    if let Some(exec) = &mut user.exec {
        unset_if_empty(&mut [&mut exec.command, &mut exec.api_version, &mut exec.install_hint]);
        // A name without a slash is looked for in PATH.
        if exec.command.as_ref().is_some_and(|command| command.contains('/')) {
            from_folder(folder, &mut [&mut exec.command]);
        }
    }
}

fn checked_cluster(cluster: Cluster, named: &str) -> Result<Cluster, String> {
    if cluster.server.is_none() {
        return Err(format!("the {named} has no server: add its URL"));
    }
    let authority = cluster.certificate_authority.is_some();
    let data = cluster.certificate_authority_data.is_some();
    if authority && data {
        return Err(format!(
            "the {named} has both certificate-authority and certificate-authority-data: remove one"
        ));
    }
    if cluster.insecure_skip_tls_verify == Some(true) && (authority || data) {
        return Err(format!(
            "the {named} has a certificate authority, and insecure-skip-tls-verify: remove one"
        ));
    }
    Ok(cluster)
}

fn checked_user(mut user: AuthInfo, named: &str) -> Result<AuthInfo, String> {
    let empty = |secret: &SecretString| secret.expose_secret().is_empty();
    user.token.take_if(|token| empty(token));
    user.password.take_if(|password| empty(password));
    user.client_key_data.take_if(|key| empty(key));

    if user.token.is_some() && (user.username.is_some() || user.password.is_some()) {
        return Err(format!("the {named} has both a token and a username or password: remove one"));
    }
    // A password alone is nothing to kubectl; a name alone has an empty one.
    user.password = user.username.as_ref().map(|_| user.password.take().unwrap_or_default());
    if user.auth_provider.is_some() {
        return Err(format!(
            "the {named} has an auth-provider, which is not supported: use an exec plugin, a token or a certificate"
        ));
    }
    if user.client_certificate.is_some() && user.client_certificate_data.is_some() {
        return Err(format!(
            "the {named} has both client-certificate and client-certificate-data: remove one"
        ));
    }
    if user.client_certificate.is_none() && user.client_certificate_data.is_none() {
        // To kubectl a key alone is nothing.
        (user.client_key, user.client_key_data) = (None, None);
    } else if user.client_key.is_some() && user.client_key_data.is_some() {
        return Err(format!("the {named} has both client-key and client-key-data: remove one"));
    } else if user.client_key.is_none() && user.client_key_data.is_none() {
        return Err(format!(
            "the {named} has a client certificate without a key: add client-key or client-key-data"
        ));
    }
    let groups = user.impersonate_groups.as_ref().is_some_and(|groups| !groups.is_empty());
    let extra = user.impersonate_user_extra.as_ref().is_some_and(|extra| !extra.is_empty());
    if user.impersonate.is_none() && (user.impersonate_uid.is_some() || groups || extra) {
        return Err(format!("the {named} impersonates a uid, groups or extra fields, but no user: add as"));
    }
    if let Some(exec) = &user.exec {
        check_plugin(exec).map_err(|what| format!("the exec plugin of {named} {what}"))?;
    }
    Ok(user)
}

fn check_plugin(exec: &ExecConfig) -> Result<(), String> {
    if exec.command.is_none() {
        return Err("has no command: add one".into());
    }
    let beta = match exec.api_version.as_deref() {
        Some("client.authentication.k8s.io/v1") => false,
        Some("client.authentication.k8s.io/v1beta1") => true,
        _ => return Err("needs the apiVersion client.authentication.k8s.io/v1 or v1beta1: correct it".into()),
    };
    let nameless = |variable: &HashMap<_, String>| variable.get("name").is_none_or(String::is_empty);
    if exec.env.iter().flatten().any(nameless) {
        return Err("has a variable without a name in env: add the name".into());
    }
    match exec.interactive_mode {
        None if !beta => Err("has no interactiveMode: add Never or IfAvailable".into()),
        Some(ExecInteractiveMode::Always) if !io::stdin().is_terminal() => {
            Err("asks for a terminal (interactiveMode Always), and there is none: use another".into())
        }
        _ => Ok(()),
    }
}
