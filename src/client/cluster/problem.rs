//! What is wrong with the description of the cluster, in a sentence that says where, what, and what to do.

use std::io;

/// A place, such as `the token file /token`, and what is wrong there.
#[derive(Debug, thiserror::Error)]
#[error("{place} {problem}")]
pub(super) struct Unusable {
    place: String,
    problem: Problem,
}

impl Unusable {
    /// Whether no kubeconfig was found, or none that names a context.
    pub(super) const fn is_absence(&self) -> bool {
        matches!(self.problem, Problem::NoHome | Problem::NoFile | Problem::NoCurrentContext)
    }
}

/// What is wrong. The sentence begins with the place.
#[derive(Debug, thiserror::Error)]
pub(super) enum Problem {
    // Any file.
    #[error("cannot be read: {0}")]
    Unread(#[from] io::Error),

    // A kubeconfig.
    #[error("cannot be found (HOME is not set)")]
    NoHome,
    #[error("does not exist")]
    NoFile,
    #[error("is not text in UTF-8: correct it")]
    NotUtf8,
    #[error("cannot be understood{}: correct it; kubectl config view --kubeconfig says what is wrong", .0.map(|line| format!(" (line {line})")).unwrap_or_default())]
    Syntax(Option<u64>),
    #[error("has several YAML documents, of which kubectl reads only the first: put each into its own file")]
    SeveralDocuments,
    #[error("is not of apiVersion v1 and kind Config: correct it")]
    OtherKind,
    #[error("has {0:?} twice: remove one of the two")]
    Twice(String),
    #[error("has no current-context: set one with kubectl config use-context, or use --context")]
    NoCurrentContext,
    #[error("has no context {0:?}: name another")]
    NoContext(String),
    #[error(
        "and this is not a Pod with a ServiceAccount (KUBERNETES_SERVICE_HOST, KUBERNETES_SERVICE_PORT and {0}/token are \
         needed): name a kubeconfig with --kubeconfig or KUBECONFIG"
    )]
    NotAPod(String),

    // A context.
    #[error("names no cluster: add one")]
    NoCluster,
    #[error("names the {kind} {name:?}, which does not exist: add it, or name another")]
    NoSuch { kind: &'static str, name: String },
    #[error("has the namespace {0:?}, which is not a valid name: correct it")]
    Namespace(String),

    // A cluster or a user.
    #[error("has both {0} and {1}: remove one")]
    Both(&'static str, &'static str),
    #[error("has no server: add its URL")]
    NoServer,
    #[error("has an auth-provider, which is not supported: use an exec plugin, a token or a certificate")]
    AuthProvider,
    #[error("has a client certificate without a key: add client-key or client-key-data")]
    NoKey,
    #[error("impersonates a uid, groups or extra fields, but no user: add as")]
    NoImpersonatedUser,
    #[error("cannot be sent in a header: correct it")]
    NoHeader,

    // An exec plugin.
    #[error("has no command: add one")]
    NoCommand,
    #[error("needs the apiVersion client.authentication.k8s.io/v1 or v1beta1: correct it")]
    PluginVersion,
    #[error("has a variable without a name in env: add the name")]
    NamelessVariable,
    #[error("has no interactiveMode: add Never or IfAvailable")]
    NoInteractiveMode,
    #[error("asks for a terminal (interactiveMode Always), and there is none: use another mode")]
    NoTerminal,
    #[error("cannot be given the cluster (provideClusterInfo): {0}")]
    ClusterInfo(#[from] kube::config::KubeconfigError),

    // A token.
    #[error("has a line break: remove it")]
    LineBreak,
    #[error("is empty: it has to hold a bearer token")]
    EmptyToken,
    #[error("does not hold a bearer token: it has blanks, line breaks or other characters within")]
    NotAToken,

    // A certificate authority.
    #[error("is not base64: correct it")]
    NotBase64,
    #[error("holds no certificate: it has to hold one in PEM")]
    NoCertificate,
    #[error("holds no usable certificate: it has to hold an X.509 certificate in PEM")]
    NoUsableCertificate,

    // The server.
    #[error("is {0:?}, which {1}: write a URL such as https://api.example.com:6443")]
    ServerUrl(String, BadUrl),
    #[error("has credentials or a query: leave them out")]
    ServerCredentials,
    #[error(
        "is reached over plain HTTP, which is not supported through the proxy {0}: use https://, or name its host in NO_PROXY"
    )]
    PlainHttpByProxy(String),

    // A proxy. The address is not repeated: what is wrong may be in the password.
    #[error("cannot be used: it is not a URL such as http://proxy.example.com:3128")]
    ProxyUrl,
    #[error("cannot be used: {0}:// is not supported: use http://, https:// or socks5://")]
    ProxyScheme(String),
    #[error("cannot be used: write socks5:// instead of socks5h://")]
    Socks5h,
    #[error(
        "cannot be used: credentials for a SOCKS5 proxy are not supported: use one without, or an HTTP proxy"
    )]
    Socks5Credentials,
    #[error("cannot be used: write an @ in its credentials as %40")]
    AtSign,
    #[error("has the entry {0:?}: write the name in ASCII (xn--...)")]
    NoProxyEntry(String),
}

/// What is wrong with the server's URL.
#[derive(Debug, thiserror::Error)]
pub(super) enum BadUrl {
    #[error("has no scheme")]
    NoScheme,
    #[error("is not a URL")]
    Malformed,
    #[error("is neither https:// nor http://")]
    OtherScheme,
    #[error("has no host, or an invalid port")]
    NoHostOrPort,
}

impl Problem {
    /// This problem at that place.
    pub(super) fn of(self, place: impl Into<String>) -> Unusable {
        Unusable { place: place.into(), problem: self }
    }
}
