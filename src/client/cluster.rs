//! The cluster as kubectl finds it: the kubeconfig, or else the Pod's ServiceAccount. What kubectl would use and this process
//! cannot is an error that names the file or variable; nothing is ignored silently.

mod kubeconfig;
mod problem;
mod proxy;
pub(super) mod start;
#[cfg(test)]
mod tests;
mod token;
mod trust;
mod url;

use std::{
    ffi::OsString,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use kube::{
    Config,
    client::{AuthError, ConfigExt, RustlsTlsError},
    config::{AuthInfo, ExecAuthCluster},
};
use secrecy::ExposeSecret;

use self::{
    kubeconfig::Chosen,
    problem::{Problem, Unusable},
    proxy::Proxy,
    token::{TokenFile, bearer},
    url::{server_url, with_port},
};
use super::{failure::with_causes, wire::Wire};
use crate::misconfigured::Misconfigured;

/// Where the kubelet puts a Pod's token and certificate authority.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How the cluster is reached, and as whom.
#[derive(Clone)]
pub struct Cluster {
    /// As kube takes it, without the token of a file.
    pub config: Config,
    token: Option<Arc<TokenFile>>,
    sources: Sources,
    serves: Serves,
}

/// Who sends requests through a client, and gets the answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Serves {
    /// The operator.
    Operator,
    /// Callers who bring their own credentials.
    Callers,
    /// A person at a terminal.
    User,
}

/// Where it was found, for messages.
#[derive(Clone, Debug, Default)]
struct Sources {
    server: String,
    authority: String,
    credentials: String,
    proxy: Option<String>,
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").field("sources", &self.sources).finish_non_exhaustive()
    }
}

impl From<Config> for Cluster {
    fn from(config: Config) -> Self {
        let sources = Sources { server: config.cluster_url.to_string(), ..Sources::default() };
        Self { config, token: None, sources, serves: Serves::Operator }
    }
}

/// Finds the cluster as kubectl does: `kubeconfig`, else `KUBECONFIG` or `~/.kube/config`, else the Pod's own
/// ServiceAccount. Runs the exec plugin, if there is one.
///
/// # Errors
/// If there is nothing, or it cannot be used; the sentence says what to do.
pub fn find_cluster(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Cluster, Misconfigured> {
    find(kubeconfig, context, Path::new(SERVICE_ACCOUNT), |name| std::env::var_os(name))
}

pub(super) fn cannot_connect(why: impl fmt::Display) -> Misconfigured {
    // One line, even if a file or a server says more.
    let why: Vec<_> = why.to_string().split_whitespace().map(ToOwned::to_owned).collect();
    Misconfigured(format!("cannot connect to the cluster: {}", why.join(" ")))
}

impl From<Unusable> for Misconfigured {
    fn from(error: Unusable) -> Self {
        cannot_connect(error)
    }
}

fn find(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    service_account: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Cluster, Misconfigured> {
    let kubeconfig = kubeconfig.filter(|path| !path.as_os_str().is_empty());
    let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
    let absence = match kubeconfig::choose(kubeconfig, context, &variable) {
        Err(error) if kubeconfig.is_none() && error.is_absence() => error,
        chosen => return of_kubeconfig(chosen?, text),
    };
    let address = text("KUBERNETES_SERVICE_HOST").zip(text("KUBERNETES_SERVICE_PORT"));
    match address.filter(|_| service_account.join("token").is_file()) {
        Some((host, port)) => of_pod(&host, &port, service_account, text),
        None => Err(Problem::NotAPod(service_account.display().to_string()).of(format!("{absence},")).into()),
    }
}

fn of_pod(
    host: &str,
    port: &str,
    service_account: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Cluster, Misconfigured> {
    let server = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT";
    let ipv6 = host.parse().is_ok_and(|address: IpAddr| address.is_ipv6());
    let url = if ipv6 { format!("https://[{host}]:{port}") } else { format!("https://{host}:{port}") };
    let mut config = Config::new(server_url(&url).map_err(|problem| problem.of(server))?);
    let authority = service_account.join("ca.crt");
    config.root_cert = Some(authorities_of_file(&authority)?);
    // kube reads the file again when it is renewed, and ignores what is not a certificate.
    config.root_cert_file = Some(authority.clone());
    let namespace = std::fs::read_to_string(service_account.join("namespace")).unwrap_or_default();
    if !namespace.trim().is_empty() {
        namespace.trim().clone_into(&mut config.default_namespace);
    }
    let token = service_account.join("token");
    let sources = Sources {
        server: server.into(),
        authority: authority.display().to_string(),
        credentials: format!("the token in {}", token.display()),
        proxy: None,
    };
    let proxy = proxy::of_environment(&config.cluster_url, variable)?;
    finished(config, Some(TokenFile::new(token, None)?), sources, proxy)
}

fn of_kubeconfig(
    chosen: Chosen,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Cluster, Misconfigured> {
    let Chosen { cluster, cluster_named, mut user, user_named, namespace } = chosen;
    let url = server_url(cluster.server.as_deref().unwrap_or_default());
    let mut config =
        Config::new(url.map_err(|problem| problem.of(format!("the server of {cluster_named}")))?);
    if let Some(namespace) = namespace {
        config.default_namespace = namespace;
    }
    config.accept_invalid_certs = cluster.insecure_skip_tls_verify == Some(true);
    config.tls_server_name.clone_from(&cluster.tls_server_name);
    let authority = if let Some(path) = &cluster.certificate_authority {
        config.root_cert = Some(authorities_of_file(Path::new(path))?);
        path.clone()
    } else if cluster.certificate_authority_data.is_some() {
        let named = format!("certificate-authority-data of {cluster_named}");
        let authorities = ExecAuthCluster::try_from(&cluster)
            .map_err(|_| Problem::NotBase64)
            .and_then(|read| trust::authorities(&read.certificate_authority_data.unwrap_or_default()))
            .map_err(|problem| problem.of(&named))?;
        config.root_cert = Some(authorities);
        named
    } else {
        format!("the system's certificate authorities, for {cluster_named} names none")
    };
    if config.cluster_url.scheme_str() != Some("https") {
        // As kubectl: no secrets over plain HTTP.
        user = AuthInfo {
            impersonate: user.impersonate,
            impersonate_uid: user.impersonate_uid,
            impersonate_groups: user.impersonate_groups,
            impersonate_user_extra: user.impersonate_user_extra,
            ..AuthInfo::default()
        };
    }
    let (token, credentials) = credentials(&mut user, &user_named)?;
    if let Some(exec) = user.exec.as_mut().filter(|exec| exec.provide_cluster_info) {
        let cluster = ExecAuthCluster::try_from(&cluster).map_err(Problem::from);
        exec.cluster =
            Some(cluster.map_err(|problem| problem.of(format!("the exec plugin of {user_named}")))?);
    }
    config.auth_info = user;
    let proxy = match &cluster.proxy_url {
        Some(url) => Some(proxy::of_kubeconfig(url, &cluster_named)?),
        None => proxy::of_environment(&config.cluster_url, variable)?,
    };
    let sources = Sources { server: cluster_named, authority, credentials, proxy: None };
    finished(config, token, sources, proxy)
}

/// Takes the token of a file out of what kube is given, and says what the credentials are.
fn credentials(user: &mut AuthInfo, named: &str) -> Result<(Option<TokenFile>, String), Unusable> {
    let inline = user.token.as_ref().map(|token| {
        let token = token.expose_secret();
        // kubectl cannot send it either.
        if token.contains(['\n', '\r']) { Err(Problem::LineBreak) } else { bearer(token) }
    });
    let inline = inline.transpose().map_err(|problem| problem.of(format!("the token of {named}")))?;
    if let Some(path) = user.token_file.take().map(PathBuf::from) {
        (user.token, user.username, user.password, user.exec) = (None, None, None, None);
        let said = format!("the token in {}", path.display());
        // As in client-go the inline token is used only while the file is unusable.
        return Ok((Some(TokenFile::new(path, inline)?), said));
    }
    let said = if inline.is_some() {
        format!("the token of {named}")
    } else if user.username.is_some() {
        format!("the username and password of {named}")
    } else if let Some(exec) = &user.exec {
        let command = exec.command.as_deref().unwrap_or_default();
        format!("those of the exec plugin {command} of {named}")
    } else if let Some(path) = &user.client_certificate {
        format!("the client certificate {path}")
    } else if user.client_certificate_data.is_some() {
        format!("the client certificate client-certificate-data of {named}")
    } else {
        format!("none ({named})")
    };
    Ok((None, said))
}

/// Sets the proxy, and checks whether kube can use all of it.
fn finished(
    mut config: Config,
    token: Option<TokenFile>,
    mut sources: Sources,
    proxy: Option<Proxy>,
) -> Result<Cluster, Misconfigured> {
    if let Some(Proxy { url, named }) = proxy {
        let server = || format!("the server of {}", sources.server);
        if config.cluster_url.scheme_str() != Some("https") {
            return Err(Problem::PlainHttpByProxy(named).of(server()).into());
        }
        config.cluster_url = with_port(config.cluster_url).map_err(|problem| problem.of(server()))?;
        config.proxy_url = Some(url);
        sources.proxy = Some(named);
    }
    let cluster = Cluster { config, token: token.map(Arc::new), sources, serves: Serves::Operator };
    cluster.check()?;
    Ok(cluster)
}

fn authorities_of_file(path: &Path) -> Result<Vec<Vec<u8>>, Unusable> {
    std::fs::read(path)
        .map_err(Problem::from)
        .and_then(|bundle| trust::authorities(&bundle))
        .map_err(|problem| problem.of(format!("the certificate authority {}", path.display())))
}

impl Cluster {
    /// Who gets the answers.
    pub(super) const fn serves(&self) -> Serves {
        self.serves
    }

    /// Sends the token of a file, if there is one.
    pub(super) fn with_token(&self, wire: Wire) -> Wire {
        match &self.token {
            Some(token) => Arc::clone(token).layer(wire),
            None => wire,
        }
    }

    /// The same cluster without credentials.
    pub fn anonymous(&self) -> Self {
        let mut cluster = Self { token: None, serves: Serves::Callers, ..self.clone() };
        cluster.config.auth_info = AuthInfo::default();
        cluster
    }

    /// The same cluster for a person, who may act as another user and groups, as with kubectl.
    ///
    /// # Errors
    /// If that cannot be combined with the credentials.
    pub fn for_user(mut self, user: Option<&str>, groups: &[String]) -> Result<Self, Misconfigured> {
        self.serves = Serves::User;
        if let Some(user) = user {
            // As kubectl: what the kubeconfig says about impersonation does not count any more.
            let auth = &mut self.config.auth_info;
            (auth.impersonate, auth.impersonate_uid) = (Some(user.to_owned()), None);
            auth.impersonate_groups = (!groups.is_empty()).then(|| groups.to_vec());
            auth.impersonate_user_extra = None;
            self.check()?;
        }
        Ok(self)
    }

    fn check(&self) -> Result<(), Misconfigured> {
        let unusable = |error| cannot_connect(self.unusable(&error));
        // Runs the exec plugin, if there is one, only for its errors.
        self.config.auth_layer().map_err(unusable)?;
        let of_impersonation = || {
            let credentials = &self.sources.credentials;
            Problem::NoHeader.of(format!("as, as-uid, as-groups or as-user-extra beside {credentials}"))
        };
        self.config.extra_headers_layer().map_err(|_| of_impersonation())?;
        if self.config.auth_info.exec.is_none() {
            self.config.rustls_https_connector().map_err(unusable)?;
        }
        Ok(())
    }

    /// Why kube makes no client of it, in a sentence.
    pub(super) fn unusable(&self, error: &kube::Error) -> String {
        let Sources { server, authority, credentials, .. } = &self.sources;
        let why = with_causes(error);
        match error {
            kube::Error::Auth(AuthError::AuthExecStart(error)) => {
                let hint = self.config.auth_info.exec.as_ref().and_then(|exec| exec.install_hint.as_deref());
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("the credentials are {credentials}, which cannot be run: {error}{hint}")
            }
            // Its output may hold secrets, which do not belong in a log.
            kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
                format!("the credentials are {credentials}, which failed ({}): see its output", out.status)
            }
            kube::Error::Auth(AuthError::AuthExecParse(_)) => {
                format!(
                    "the credentials are {credentials}, whose output is no ExecCredential: see its output"
                )
            }
            kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(_)) => {
                format!("tls-server-name of {server} is not a valid name: correct it")
            }
            kube::Error::RustlsTls(
                RustlsTlsError::AddRootCertificate(_) | RustlsTlsError::NoValidNativeRootCA(_),
            ) => format!("{authority} cannot be used ({why}): add certificate-authority"),
            kube::Error::RustlsTls(_) if why.contains("UnsupportedCertVersion") => format!(
                "{credentials} is not of X.509 version 3, and others are not supported: issue a new one"
            ),
            kube::Error::RustlsTls(_) => format!(
                "the client certificate and its key ({credentials}) cannot be used ({why}): both are needed in PEM, the key \
                 unencrypted and RSA of 2048 bits or more, ECDSA P-256 or P-384, or Ed25519"
            ),
            kube::Error::InferKubeconfig(error) => {
                format!("{credentials} cannot be used: {error}: correct it")
            }
            _ => format!(
                "{why}; the server is that of {server}, the credentials are {credentials}: correct them"
            ),
        }
    }
}
