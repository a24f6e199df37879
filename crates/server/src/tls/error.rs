//! What is wrong with certificates, keys and handshakes, in words that say what to do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, PeerIncompatible};

/// Why there is no TLS.
#[derive(Debug)]
pub struct TlsError {
    path: PathBuf,
    wrong: Wrong,
}

#[derive(Debug)]
pub(super) enum Wrong {
    Unreadable(io::Error),
    NoCertificate,
    NoRevocationList,
    UnusableList(webpki::Error),
    NoKey,
    EncryptedKey,
    /// Of the certificate: the key stands in another file.
    Mismatch {
        key: PathBuf,
    },
    /// The library's word for it.
    Unusable(String),
}

impl TlsError {
    pub(super) fn new(path: &Path, wrong: Wrong) -> Self {
        Self { path: path.into(), wrong }
    }

    /// The file that it is about.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path.display();
        match &self.wrong {
            Wrong::Unreadable(error) => {
                write!(f, "cannot read {path}: {error}")?;
                if error.kind() == io::ErrorKind::NotFound {
                    f.write_str("; `bellbird cert init` makes one")
                } else if error.kind() == io::ErrorKind::PermissionDenied {
                    f.write_str("; let the user that the broker runs as read it")
                } else {
                    Ok(())
                }
            }
            Wrong::NoCertificate => write!(
                f,
                "{path} has no certificate: it is to have one or several in PEM, each from \
                 \"-----BEGIN CERTIFICATE-----\" on, the server's own first"
            ),
            Wrong::NoRevocationList => write!(
                f,
                "{path} has no list of revoked certificates: it is to have one or several in PEM, \
                 each from \"-----BEGIN X509 CRL-----\" on"
            ),
            Wrong::UnusableList(why) => write!(
                f,
                "{path} cannot be used: {why:?}; lists are to be of version 2 (RFC 5280), as \
                 openssl makes them with crl_extensions"
            ),
            Wrong::NoKey => write!(
                f,
                "{path} has no private key: it is to have one in PEM, from \"-----BEGIN PRIVATE \
                 KEY-----\" on (or RSA or EC PRIVATE KEY)"
            ),
            Wrong::EncryptedKey => write!(
                f,
                "the key in {path} is encrypted, and a broker that starts by itself has nobody to \
                 ask for the password: write it out with `openssl pkey -in {path} -out FILE`, and \
                 let only the broker read that file"
            ),
            Wrong::Mismatch { key } => write!(
                f,
                "the key in {} does not belong to the first certificate in {path}",
                key.display()
            ),
            Wrong::Unusable(why) => write!(f, "{path} cannot be used: {why}"),
        }
    }
}

impl std::error::Error for TlsError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.wrong {
            Wrong::Unreadable(error) => Some(error),
            Wrong::NoCertificate
            | Wrong::NoRevocationList
            | Wrong::UnusableList(_)
            | Wrong::NoKey
            | Wrong::EncryptedKey
            | Wrong::Mismatch { .. }
            | Wrong::Unusable(_) => None,
        }
    }
}

/// What broke a handshake. The library's words are for those who know TLS; where it is plain what
/// an operator is to do, it is said.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no more to say
pub(super) fn in_words(error: &Error) -> String {
    let hint = match error {
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => {
            "what it sent is no TLS: it is to connect with TLS, or to another port"
        }
        Error::PeerIncompatible(
            PeerIncompatible::Tls12NotOffered
            | PeerIncompatible::Tls12NotOfferedOrEnabled
            | PeerIncompatible::Tls13RequiredForQuic
            | PeerIncompatible::SignatureAlgorithmsExtensionRequired
            | PeerIncompatible::SupportedVersionsExtensionRequired,
        ) => "it is too old for the versions of TLS that are spoken here, 1.2 and 1.3 at most",
        Error::AlertReceived(
            AlertDescription::UnknownCA
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown,
        ) => {
            "the client does not trust this server's certificate: give it the authority's (--cafile \
             of mosquitto_pub), and see that the certificate names the host it connects to"
        }
        Error::AlertReceived(AlertDescription::CertificateExpired) => {
            "the client finds this server's certificate expired: renew it, or set the client's clock"
        }
        Error::NoCertificatesPresented => {
            "the client shows no certificate, and it is to have one here (client_certificates)"
        }
        Error::InvalidCertificate(
            CertificateError::UnknownIssuer | CertificateError::BadSignature,
        ) => {
            "no authority that is trusted here (client_authorities) vouches for the client's \
             certificate"
        }
        Error::InvalidCertificate(CertificateError::Revoked) => {
            "the client's certificate is revoked"
        }
        Error::InvalidCertificate(
            CertificateError::UnknownRevocationStatus
            | CertificateError::ExpiredRevocationList
            | CertificateError::ExpiredRevocationListContext { .. },
        ) => {
            "there is no list of revoked certificates (client_crls) of the client's authority, or \
             it is too old: renew it"
        }
        Error::NoApplicationProtocol => "it asks for a protocol (ALPN) that is not spoken here",
        _ => return error.to_string(),
    };
    format!("{error}: {hint}")
}
