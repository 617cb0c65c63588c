//! The gateway's certificate, read again when its files change.

use std::{path::PathBuf, time::Duration};

use anyhow::Context;
use axum_server::tls_rustls::{RustlsAcceptor, RustlsConfig};
use tokio::sync::Mutex;
use tracing::{info, warn};

/// How often the files are looked at. Their times say nothing where Kubernetes swaps a mounted Secret, so that it is their
/// contents that are compared.
const EVERY: Duration = Duration::from_secs(10);

/// A certificate chain and its key, in two PEM files.
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    config: RustlsConfig,
    used: Mutex<Pem>,
}

/// The contents of the two files.
#[derive(PartialEq, Eq)]
struct Pem(Vec<u8>, Vec<u8>);

impl Certificate {
    /// Reads it.
    ///
    /// # Errors
    /// When a file can't be read, or the two are no certificate and key that belong together.
    pub async fn read(chain: PathBuf, key: PathBuf) -> anyhow::Result<Self> {
        let pem = read(&chain, &key)?;
        let config = RustlsConfig::from_pem(pem.0.clone(), pem.1.clone())
            .await
            .with_context(|| format!("{} and {} can't be used", chain.display(), key.display()))?;
        Ok(Self { chain, key, config, used: Mutex::new(pem) })
    }

    /// Takes connections with it.
    pub fn acceptor(&self) -> RustlsAcceptor {
        RustlsAcceptor::new(self.config.clone())
    }

    /// Takes up what the files say anew, for ever. One that can't be used is left, and the last one stays.
    pub async fn follow(&self) {
        loop {
            tokio::time::sleep(EVERY).await;
            if let Err(error) = self.renew().await {
                warn!(error = format!("{error:#}"), "the new certificate can't be used; the last one stays");
            }
        }
    }

    async fn renew(&self) -> anyhow::Result<()> {
        let pem = read(&self.chain, &self.key)?;
        let mut used = self.used.lock().await;
        if *used != pem {
            self.config.reload_from_pem(pem.0.clone(), pem.1.clone()).await?;
            info!("the certificate was read anew");
            *used = pem;
        }
        Ok(())
    }
}

fn read(chain: &PathBuf, key: &PathBuf) -> anyhow::Result<Pem> {
    let file =
        |path: &PathBuf| std::fs::read(path).with_context(|| format!("{} can't be read", path.display()));
    Ok(Pem(file(chain)?, file(key)?))
}
