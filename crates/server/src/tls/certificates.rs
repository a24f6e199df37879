//! Certificates with their keys, and which of them a client is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use webpki::EndEntityCert;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::error::{TlsError, Wrong};

/// In the order given.
#[derive(Debug)]
pub(super) struct Certificates(Vec<Arc<CertifiedKey>>);

impl Certificates {
    /// Reads a file of certificates and a file of a key for each.
    pub(super) fn read(
        certificates: &[PathBuf],
        keys: &[PathBuf],
        provider: &CryptoProvider,
    ) -> Result<Self, TlsError> {
        let pairs = certificates.iter().zip(keys);
        let read = |(chain, key): (&PathBuf, &PathBuf)| read(chain, key, provider).map(Arc::new);
        pairs.map(read).collect::<Result<_, _>>().map(Self)
    }

    /// For each, when the first certificate of its chain ends.
    pub(super) fn ends(&self) -> impl Iterator<Item = SystemTime> {
        self.0.iter().map(|key| key.cert.iter().filter_map(end_of).min().unwrap_or(UNIX_EPOCH))
    }

    /// The first that is for this host, or else the first of all, of those whose signatures the
    /// client understands.
    fn choose(
        &self,
        name: Option<&str>,
        fits: impl Fn(&CertifiedKey) -> bool,
    ) -> Option<&Arc<CertifiedKey>> {
        let understood = self.0.iter().filter(|key| fits(key));
        let name = name.and_then(|name| ServerName::try_from(name).ok());
        let named = name.and_then(|name| understood.clone().find(|key| is_for(key, &name)));
        // A client that understands none is told so in the handshake.
        named.or_else(|| understood.clone().next()).or_else(|| self.0.first())
    }
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let schemes = hello.signature_schemes();
        let fits = |key: &CertifiedKey| key.key.choose_scheme(schemes).is_some();
        match &self.0[..] {
            [only] => Some(only.clone()),
            _ => self.choose(hello.server_name(), fits).cloned(),
        }
    }
}

/// Whether a certificate is for this host; wildcards count (RFC 6125).
fn is_for(key: &CertifiedKey, name: &ServerName<'_>) -> bool {
    let certificate = key.cert.first().and_then(|first| EndEntityCert::try_from(first).ok());
    certificate.is_some_and(|it| it.verify_is_valid_for_subject_name(name).is_ok())
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<SystemTime> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let secs = u64::try_from(certificate.validity().not_after.timestamp()).unwrap_or(0);
    Some(UNIX_EPOCH + Duration::from_secs(secs))
}

fn read(
    chain_path: &Path,
    key_path: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let chain = read_chain(chain_path)?;
    let key = PrivateKeyDer::from_pem_file(key_path).map_err(|error| {
        let wrong = if !matches!(error, PemError::NoItemsFound) {
            of_pem(error)
        } else if is_encrypted(key_path) {
            Wrong::EncryptedKey
        } else {
            Wrong::NoKey
        };
        TlsError::new(key_path, wrong)
    })?;
    let of_key = |error: Error| TlsError::new(key_path, Wrong::Unusable(error.to_string()));
    let key = provider.key_provider.load_private_key(key).map_err(of_key)?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        // A kind of key that does not say what its public half is.
        Ok(()) | Err(Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
        Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) => {
            Err(TlsError::new(chain_path, Wrong::Mismatch { key: key_path.into() }))
        }
        Err(error) => Err(TlsError::new(chain_path, Wrong::Unusable(error.to_string()))),
    }
}

/// The certificates of a file, at least one.
pub(super) fn read_chain(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = || CertificateDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(chain) if chain.is_empty() => Err(TlsError::new(path, Wrong::NoCertificate)),
        Ok(chain) => Ok(chain),
        Err(PemError::NoItemsFound) => Err(TlsError::new(path, Wrong::NoCertificate)),
        Err(error) => Err(TlsError::new(path, of_pem(error))),
    }
}

pub(super) fn of_pem(error: PemError) -> Wrong {
    if let PemError::Io(error) = error {
        Wrong::Unreadable(error)
    } else {
        Wrong::Unusable(format!("it is no PEM ({error})"))
    }
}

/// Whether a file has a key that nobody reads without a password.
fn is_encrypted(path: &Path) -> bool {
    std::fs::read_to_string(path).is_ok_and(|text| text.contains("ENCRYPTED"))
}
