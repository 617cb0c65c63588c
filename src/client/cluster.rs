//! The cluster as kubectl finds it: the kubeconfig, or else the Pod's ServiceAccount. What kubectl would use and this cannot is
//! refused in one sentence that names the file or variable; nothing is left out in silence.

mod kubeconfig;
mod proxy;
mod start;
#[cfg(test)]
mod tests;
mod token;
mod trust;

use std::{
    ffi::OsString,
    fmt,
    net::IpAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use http::Uri;
use kube::{
    Config,
    client::ConfigExt,
    config::{AuthInfo, ExecAuthCluster},
};
use secrecy::ExposeSecret;
use tower::Layer;

use self::{
    kubeconfig::{Chosen, Files},
    proxy::Proxy,
    token::{TokenFile, WithToken, bearer},
};
use super::{failure::with_causes, wire::Wire};
use crate::misconfigured::Misconfigured;

/// Where the kubelet puts what a Pod reaches the cluster with.
const SERVICE_ACCOUNT: &str = "/var/run/secrets/kubernetes.io/serviceaccount";

/// How the cluster is reached, and as whom.
#[derive(Clone)]
pub struct Cluster {
    /// As kube takes it. The token of a file is not in it.
    pub config: Config,
    token: Option<Arc<TokenFile>>,
    sources: Sources,
    /// Whether others' credentials are sent, and others read the answers.
    anonymous: bool,
}

/// Where all this was found, for those who have to correct it.
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

/// One that was not looked for.
impl From<Config> for Cluster {
    fn from(config: Config) -> Self {
        let sources = Sources { server: config.cluster_url.to_string(), ..Sources::default() };
        Self { config, token: None, sources, anonymous: false }
    }
}

/// Finds the cluster as kubectl does: `kubeconfig`, else `KUBECONFIG` or `~/.kube/config`, else the Pod's own
/// ServiceAccount. Runs the exec plugin, if there is one.
///
/// # Errors
/// When what is there cannot be used, or nothing is there; the sentence says what to do.
pub fn find_cluster(kubeconfig: Option<&Path>, context: Option<&str>) -> Result<Cluster, Misconfigured> {
    find(kubeconfig, context, Path::new(SERVICE_ACCOUNT), |name| std::env::var_os(name))
        .map_err(cannot_connect)
}

pub(super) fn cannot_connect(why: impl fmt::Display) -> Misconfigured {
    // One line, whatever a file or a server says.
    let why: Vec<_> = why.to_string().split_whitespace().map(ToOwned::to_owned).collect();
    Misconfigured(format!("cannot connect to the cluster: {}", why.join(" ")))
}

fn find(
    kubeconfig: Option<&Path>,
    context: Option<&str>,
    service_account: &Path,
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<Cluster, String> {
    let text = |name: &str| variable(name)?.into_string().ok().filter(|value| !value.is_empty());
    let none = match Files::find(kubeconfig, &variable) {
        None => "there is no kubeconfig (HOME is not set)".to_owned(),
        Some(files) => match kubeconfig::choose(&files, context)? {
            Ok(chosen) => return of_kubeconfig(chosen, text),
            Err(why) => why,
        },
    };
    let address = text("KUBERNETES_SERVICE_HOST").zip(text("KUBERNETES_SERVICE_PORT"));
    let Some((host, port)) = address.filter(|_| service_account.join("token").is_file()) else {
        return Err(format!(
            "{none}, and this is no Pod with a ServiceAccount (KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and \
             {}/token are needed): name a kubeconfig with --kubeconfig or KUBECONFIG",
            service_account.display()
        ));
    };
    of_pod(&host, &port, service_account, text)
}

fn of_pod(
    host: &str,
    port: &str,
    service_account: &Path,
    variable: impl Fn(&str) -> Option<String>,
) -> Result<Cluster, String> {
    let host = if host.parse().is_ok_and(|address: IpAddr| address.is_ipv6()) {
        format!("[{host}]")
    } else {
        host.into()
    };
    let server = "KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT";
    let url = server_url(&format!("https://{host}:{port}"), server)?;
    let authority = service_account.join("ca.crt");
    let mut config = Config::new(url);
    config.root_cert = Some(authorities_of_file(&authority)?);
    // kube reads it again when it is renewed, and refuses what is no certificate in it.
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
    let token = Some(Arc::new(TokenFile::new(token)?));
    let proxy = proxy::of_environment(&config.cluster_url, variable)?;
    finished(config, token, sources, proxy)
}

fn of_kubeconfig(chosen: Chosen, variable: impl Fn(&str) -> Option<String>) -> Result<Cluster, String> {
    let Chosen { cluster, cluster_named, mut user, user_named, namespace } = chosen;
    let mut config = Config::new(server_url(
        cluster.server.as_deref().unwrap_or_default(),
        &format!("the server of {cluster_named}"),
    )?);
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
        let decoded =
            ExecAuthCluster::try_from(&cluster).map_err(|_| format!("{named} is not base64: correct it"))?;
        let bundle = decoded.certificate_authority_data.unwrap_or_default();
        config.root_cert = Some(trust::authorities(&bundle).map_err(|why| format!("{named} {why}"))?);
        named
    } else {
        format!("the system's certificate authorities, for {cluster_named} names none")
    };
    if config.cluster_url.scheme_str() != Some("https") {
        // As kubectl: nothing secret goes over a line that anybody may read.
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
        exec.cluster = Some((&cluster).try_into().map_err(|error| format!("the {cluster_named}: {error}"))?);
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
fn credentials(user: &mut AuthInfo, named: &str) -> Result<(Option<Arc<TokenFile>>, String), String> {
    let inline = match &user.token {
        None => None,
        Some(token) => {
            let token = token.expose_secret();
            // kubectl cannot send it either.
            let header =
                if token.contains(['\n', '\r']) { Err("has a line break: remove it") } else { bearer(token) };
            Some(header.map_err(|why| format!("the token of {named} {why}"))?)
        }
    };
    let certificate = user.client_certificate.clone().or_else(|| {
        user.client_certificate_data.as_ref().map(|_| format!("client-certificate-data of {named}"))
    });
    let (token, said) = match (user.token_file.take().map(PathBuf::from), inline) {
        // As in client-go the file counts, and the token while the file cannot be read.
        (Some(path), Some(inline)) => {
            let said = format!("the token in {}", path.display());
            (Some(TokenFile::or(path, inline)), Some(said))
        }
        (Some(path), None) => {
            let said = format!("the token in {}", path.display());
            (Some(TokenFile::new(path)?), Some(said))
        }
        (None, Some(_)) => (None, Some(format!("the token of {named}"))),
        (None, None) => (None, None),
    };
    if token.is_some() {
        (user.token, user.username, user.password, user.exec) = (None, None, None, None);
    }
    let said = said
        .or_else(|| user.username.as_ref().map(|_| format!("the username and password of {named}")))
        .or_else(|| {
            let exec = user.exec.as_ref()?;
            Some(format!(
                "what the exec plugin {} of {named} gives",
                exec.command.as_deref().unwrap_or_default()
            ))
        })
        .or_else(|| certificate.map(|path| format!("the client certificate {path}")))
        .unwrap_or_else(|| format!("none ({named})"));
    Ok((token.map(Arc::new), said))
}

/// Puts the proxy in, and looks whether kube can use all of it.
fn finished(
    mut config: Config,
    token: Option<Arc<TokenFile>>,
    mut sources: Sources,
    proxy: Option<Proxy>,
) -> Result<Cluster, String> {
    if let Some(proxy) = proxy {
        if config.cluster_url.scheme_str() != Some("https") {
            return Err(format!(
                "the server of {} is reached over plain HTTP, which is not supported through the proxy {}: use https://, or \
                 name its host in NO_PROXY",
                sources.server, proxy.told_by
            ));
        }
        sources.proxy = Some(proxy.told_by);
        config.cluster_url = with_port(config.cluster_url)?;
        config.proxy_url = Some(proxy.url);
    }
    let cluster = Cluster { config, token, sources, anonymous: false };
    cluster.check()?;
    Ok(cluster)
}

/// The URL of the API server. client-go would take one without a scheme for plain HTTP or HTTPS, by what else is there.
fn server_url(text: &str, named: &str) -> Result<Uri, String> {
    let malformed =
        |why: &str| format!("{named} is {text:?}, {why}: write a URL such as https://api.example.com:6443");
    if !text.contains("://") {
        return Err(malformed("which has no scheme"));
    }
    let url: Uri = text.parse().map_err(|_| malformed("which is not a URL"))?;
    let authority = url.authority().map_or("", |authority| authority.as_str());
    let port_is_written = authority.rsplit_once(':').is_some_and(|(_, port)| !port.ends_with(']'));
    if !matches!(url.scheme_str(), Some("https" | "http")) {
        Err(malformed("which is neither https:// nor http://"))
    } else if authority.contains('@') || url.query().is_some() {
        Err(format!("{named} has credentials or a query: leave them out"))
    } else if url.host().is_none_or(str::is_empty)
        || (port_is_written && url.port_u16().is_none_or(|port| port == 0))
    {
        Err(malformed("which has no host, or no port that can be one"))
    } else {
        Ok(url)
    }
}

fn authorities_of_file(path: &Path) -> Result<Vec<Vec<u8>>, String> {
    let named = format!("the certificate authority {}", path.display());
    let bundle = std::fs::read(path).map_err(|error| format!("{named} cannot be read: {error}"))?;
    trust::authorities(&bundle).map_err(|why| format!("{named} {why}"))
}

/// hyper-util's SOCKS5 wants the port to be written.
fn with_port(url: Uri) -> Result<Uri, String> {
    if url.port_u16().is_some() {
        return Ok(url);
    }
    let mut parts = url.into_parts();
    parts.authority = parts.authority.and_then(|authority| format!("{authority}:443").parse().ok());
    Uri::from_parts(parts).map_err(|error| error.to_string())
}

impl Cluster {
    /// Whether it is for those who bring credentials of their own, and to whom answers are shown.
    pub(super) const fn is_anonymous(&self) -> bool {
        self.anonymous
    }

    /// Sends the token of a file, where there is one.
    pub(super) fn with_token(&self, wire: Wire) -> Wire {
        match &self.token {
            Some(token) => WithToken(Arc::clone(token)).layer(wire),
            None => wire,
        }
    }

    /// The same cluster without credentials.
    #[must_use]
    pub fn anonymous(&self) -> Self {
        let mut cluster = self.clone();
        cluster.config.auth_info = AuthInfo::default();
        cluster.token = None;
        cluster.anonymous = true;
        cluster
    }

    fn check(&self) -> Result<(), String> {
        let said = |error: &kube::Error| self.unusable(error);
        // The plugin is run for its result alone, where there is one.
        self.config.auth_layer().map_err(|error| said(&error))?;
        self.config.extra_headers_layer().map_err(|_| {
            let credentials = &self.sources.credentials;
            format!("as, as-uid, as-groups or as-user-extra beside {credentials} cannot be sent in a header: correct it")
        })?;
        if self.config.auth_info.exec.is_none() {
            self.config.rustls_https_connector().map_err(|error| said(&error))?;
        }
        Ok(())
    }

    /// Why kube makes no client of it.
    pub(super) fn unusable(&self, error: &kube::Error) -> String {
        use kube::client::{AuthError, RustlsTlsError};
        let Sources { server, authority, credentials, proxy } = &self.sources;
        let why = with_causes(error);
        match error {
            kube::Error::Auth(AuthError::AuthExecStart(error)) => {
                let hint = self.config.auth_info.exec.as_ref().and_then(|exec| exec.install_hint.as_deref());
                let hint = hint.map(|hint| format!("; {hint}")).unwrap_or_default();
                format!("the credentials are {credentials}, which cannot be run: {error}{hint}")
            }
            // Its output may hold what does not belong into a log.
            kube::Error::Auth(AuthError::AuthExecRun { out, .. }) => {
                format!("the credentials are {credentials}, which failed ({}): see what it says", out.status)
            }
            kube::Error::Auth(AuthError::AuthExecParse(_)) => {
                format!("the credentials are {credentials}, which is no ExecCredential: see what it says")
            }
            kube::Error::RustlsTls(RustlsTlsError::InvalidServerName(_)) => {
                format!("tls-server-name of {server} is no name of a server: correct it")
            }
            kube::Error::RustlsTls(
                RustlsTlsError::AddRootCertificate(_) | RustlsTlsError::NoValidNativeRootCA(_),
            ) => {
                format!("{authority} cannot be used ({why}): add certificate-authority")
            }
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
            kube::Error::ProxyProtocolUnsupported { .. } | kube::Error::ProxyProtocolDisabled { .. } => {
                format!("the proxy {} is not supported", proxy.as_deref().unwrap_or_default())
            }
            _ => format!(
                "{why}; the server is that of {server}, the credentials are {credentials}: correct them"
            ),
        }
    }
}
