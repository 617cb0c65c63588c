//! Certificates: the authorities in a bundle, and why one side of a connection does not trust the other.

use std::{error::Error, io, iter::successors};

use hyper_util::client::legacy::connect::{HttpConnector, proxy::Tunnel};
use rustls::{
    AlertDescription as Alert, CertificateError, Error as TlsError, InvalidMessage, RootCertStore,
    pki_types::{CertificateDer, pem::PemObject},
};
use tower::Service;

use super::problem::Problem;
use crate::client::failure::own_time;

/// hyper-util has no public name for it.
type TunnelError = <Tunnel<HttpConnector> as Service<http::Uri>>::Error;

/// The certificates of a bundle, in DER. As in Go, anything else in it is ignored, and one usable certificate is enough.
///
/// # Errors
/// If there is none.
pub(super) fn authorities(bundle: &[u8]) -> Result<Vec<Vec<u8>>, Problem> {
    let found: Vec<_> = CertificateDer::pem_slice_iter(bundle).filter_map(Result::ok).collect();
    let usable = found.iter().filter(|der| RootCertStore::empty().add((*der).clone()).is_ok());
    let usable: Vec<_> = usable.map(|der| der.to_vec()).collect();
    match usable.is_empty() {
        false => Ok(usable),
        true if found.is_empty() => Err(Problem::NoCertificate),
        true => Err(Problem::NoUsableCertificate),
    }
}

/// Why there is no connection, if that is a matter of trust or credentials, for which waiting does not help.
pub(super) fn distrust(error: &(dyn Error + 'static)) -> Option<String> {
    let causes = successors(Some(error), |&error| {
        // An io::Error is not the source of the error that it wraps.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        wrapped.map(|wrapped| wrapped as &(dyn Error + 'static)).or_else(|| error.source())
    });
    for error in causes {
        let text = error.to_string();
        if let Some(error) = error.downcast_ref::<TlsError>() {
            return in_words(error);
        } else if error.is::<TunnelError>() && text.contains("proxy authorization required") {
            return Some(
                "the proxy wants other credentials: put a name and a password into its address".into(),
            );
        } else if text.starts_with("SOCKS error")
            && (text.contains("authentication") || text.contains("credentials"))
        {
            return Some(
                "the SOCKS5 proxy wants credentials, which is not supported: use one without".into(),
            );
        }
    }
    None
}

fn in_words(error: &TlsError) -> Option<String> {
    match error {
        TlsError::InvalidCertificate(why) => Some(of_certificate(why)),
        TlsError::AlertReceived(
            alert @ (Alert::NoCertificate
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
            | Alert::UnrecognisedName),
        ) => Some(format!("it does not accept the client certificate, or wants one (TLS alert {alert:?})")),
        TlsError::InvalidMessage(InvalidMessage::InvalidContentType) => Some(
            "it does not speak TLS: check whether the server's URL should begin with http://, and its port"
                .into(),
        ),
        TlsError::NoCertificatesPresented => Some("it presents no certificate".into()),
        TlsError::PeerIncompatible(why) => {
            Some(format!("it speaks no TLS 1.2 or 1.3 that is supported here ({why:?})"))
        }
        TlsError::PeerMisbehaved(why) => Some(format!("its TLS is faulty ({why:?})")),
        // A broken connection says nothing about trust.
        _ => None,
    }
}

/// The names in texts such as `DnsName("a.example")`.
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
            "no certificate authority that is trusted has signed its certificate (the authority's own certificate is needed, not \
             the server's)"
                .into()
        }
        C::Expired | C::ExpiredContext { .. } => {
            format!("its certificate has expired, or the clock here is wrong: it says {}", own_time())
        }
        C::NotValidYet | C::NotValidYetContext { .. } => {
            format!("its certificate is not valid yet, or the clock here is wrong: it says {}", own_time())
        }
        C::NotValidForNameContext { expected, presented } => format!(
            "its certificate is for {}, not for {}: use one of these names, or tls-server-name",
            if presented.is_empty() { "no name".to_owned() } else { names(presented) },
            expected.to_str()
        ),
        _ if text.contains("CaUsedAsEndEntity") => {
            "it presents the certificate of a certificate authority as its own, which is not supported: give it one that the \
             authority has signed"
                .into()
        }
        _ if text.contains("UnsupportedCertVersion") => {
            "its certificate is not of X.509 version 3, and others are not supported: issue a new one".into()
        }
        _ => format!("its certificate cannot be verified ({why})"),
    }
}
