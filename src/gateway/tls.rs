//! The gateway's certificate, reloaded when its files change.

use std::{convert::Infallible, io, path::PathBuf, time::Duration};

use axum_server::tls_rustls::RustlsConfig;
use tracing::{info, warn};

/// How often the files are read. Their contents are compared: their times say nothing where Kubernetes swaps a mounted Secret.
const INTERVAL: Duration = Duration::from_secs(10);

/// Why a certificate cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    #[error("cannot read {}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{} and {} are not a certificate chain and its key in PEM: {error}", files[0].display(), files[1].display())]
    Unusable { files: [PathBuf; 2], error: io::Error },
}

/// A certificate chain and its key, in two PEM files.
pub struct Certificate {
    /// What connections use.
    pub config: RustlsConfig,
    files: [PathBuf; 2],
    loaded: [Vec<u8>; 2],
}

impl Certificate {
    /// Loads it.
    pub async fn load(chain: PathBuf, key: PathBuf) -> Result<Self, CertificateError> {
        let files = [chain, key];
        let loaded = read(&files)?;
        let [chain, key] = loaded.clone();
        let config = RustlsConfig::from_pem(chain, key)
            .await
            .map_err(|error| CertificateError::Unusable { files: files.clone(), error })?;
        Ok(Self { config, files, loaded })
    }

    /// Reloads it whenever the files change. If they cannot be used, the previous certificate stays.
    pub async fn follow(mut self) -> Infallible {
        loop {
            tokio::time::sleep(INTERVAL).await;
            if let Err(error) = self.reload().await {
                warn!(%error, "cannot use the new certificate; the previous one stays");
            }
        }
    }

    async fn reload(&mut self) -> Result<(), CertificateError> {
        let new = read(&self.files)?;
        if new != self.loaded {
            let [chain, key] = new.clone();
            self.config
                .reload_from_pem(chain, key)
                .await
                .map_err(|error| CertificateError::Unusable { files: self.files.clone(), error })?;
            info!("the certificate was reloaded");
            self.loaded = new;
        }
        Ok(())
    }
}

fn read([chain, key]: &[PathBuf; 2]) -> Result<[Vec<u8>; 2], CertificateError> {
    let read = |path: &PathBuf| {
        std::fs::read(path).map_err(|error| CertificateError::Unreadable { path: path.clone(), error })
    };
    Ok([read(chain)?, read(key)?])
}
