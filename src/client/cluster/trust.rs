//! Certificates: what a file of authorities holds, and why one side of a connection does not trust the other.

use std::{error::Error, io};

use hyper_util::client::legacy::connect::{HttpConnector, proxy::Tunnel};
use k8s_openapi::jiff::Timestamp;
use rustls::{
    AlertDescription, CertificateError, Error as TlsError, InvalidMessage, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower::Service;

/// What hyper-util has no public name for.
type TunnelError = <Tunnel<HttpConnector> as Service<http::Uri>>::Error;

/// The certificates of a bundle, in DER. As in Go, what else is in it is skipped, and one that can be used is enough.
///
/// # Errors
/// When there is none.
pub(super) fn authorities(bundle: &[u8]) -> Result<Vec<Vec<u8>>, &'static str> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
    let any = !found.is_empty();
    let usable = found.into_iter().filter(|der| RootCertStore::empty().add(der.clone()).is_ok());
    let usable: Vec<_> = usable.map(|der| der.to_vec()).collect();
    match (usable.is_empty(), any) {
        (false, _) => Ok(usable),
        (true, true) => {
            Err("holds no certificate that can be used: it has to hold an X.509 certificate in PEM")
        }
        (true, false) => Err("holds no certificate: it has to hold one in PEM"),
    }
}

/// Why there is no connection, if that is a matter of trust or credentials, which does not mend itself.
pub(super) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<TlsError>() {
            return in_words(error);
        }
        if let Some(error) = error.downcast_ref::<TunnelError>()
            && error.to_string().contains("proxy authorization required")
        {
            return Some(
                "the proxy wants other credentials than these: put a name and password into its address"
                    .into(),
            );
        }
        let text = error.to_string();
        if text.starts_with("SOCKS error")
            && (text.contains("authentication") || text.contains("credentials"))
        {
            return Some(
                "the SOCKS5 proxy wants credentials, which is not supported: use one without".into(),
            );
        }
        next = match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
            // What an io::Error was made of is not its source.
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn in_words(error: &TlsError) -> Option<String> {
    match error {
        TlsError::InvalidCertificate(why) => Some(of_certificate(why)),
        TlsError::AlertReceived(alert) if refuses_a_certificate(*alert) => {
            Some(format!("it does not accept the client certificate, or wants one (TLS alert {alert:?})"))
        }
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => {
            Some("it does not speak TLS: is the server's URL https:// where http:// is meant, or the port of something else?".into())
        }
        TlsError::NoCertificatesPresented => Some("it presents no certificate".into()),
        TlsError::PeerIncompatible(why) => Some(format!("it speaks no TLS 1.2 or 1.3 that is supported here ({why:?})")),
        TlsError::PeerMisbehaved(why) => Some(format!("its TLS is faulty ({why:?})")),
        // A connection that breaks is no verdict.
        _ => None,
    }
}

const fn refuses_a_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
            | Alert::CertificateRequired
            | Alert::HandshakeFailure
            | Alert::DecryptError
            | Alert::ProtocolVersion
            | Alert::InsufficientSecurity
            | Alert::UnrecognisedName
    )
}

/// What stands in `DnsName("a.example")` and its like.
fn names(presented: &[String]) -> String {
    let inner =
        |name: &String| Some(name.split_once('(')?.1.trim_end_matches(')').trim_matches('"').to_owned());
    let names: Vec<_> = presented.iter().map(|name| inner(name).unwrap_or_else(|| name.clone())).collect();
    names.join(", ")
}

fn of_certificate(why: &CertificateError) -> String {
    use CertificateError as C;
    let text = format!("{why:?}");
    match why {
        C::UnknownIssuer => {
            "no certificate authority that is trusted has signed its certificate (the authority's own \
            certificate is needed, not the server's)"
                .into()
        }
        C::Expired | C::ExpiredContext { .. } => {
            format!("its certificate has expired, or the clock here is wrong: it says {}", clock())
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet, or the clock here is wrong: it says {}", clock())
        }
        C::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}: use one of these names, or tls-server-name",
            if presented.is_empty() { "no name".to_owned() } else { names(presented) },
            expected.to_str()
        ),
        _ if text.contains("CaUsedAsEndEntity") => {
            "it presents the certificate of a certificate authority as its own, which \
            is not supported: give it one of its own that the authority has signed"
                .into()
        }
        _ if text.contains("UnsupportedCertVersion") => {
            "its certificate is not of X.509 version 3, and others are not supported: issue a new one".into()
        }
        _ => format!("its certificate cannot be verified ({why})"),
    }
}

/// What this machine's clock says.
fn clock() -> impl std::fmt::Display {
    Timestamp::now().strftime("%FT%TZ")
}
