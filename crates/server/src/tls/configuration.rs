//! What a listener with TLS shows its clients, made from files.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use rustls::crypto::aws_lc_rs::{Ticketer, default_provider};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, SupportedProtocolVersion};

use super::certificates::Certificates;
use super::clients::{ClientSettings, Naming, verifier};
use super::error::{TlsError, Wrong};

/// The files of a listener, and its terms.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct TlsSettings {
    /// Files with a chain of certificates each, the server's own first. A client that names the
    /// host it wants (SNI) is shown the first that is for this host; others are shown the first.
    pub certificates: Vec<PathBuf>,
    /// The private key of each.
    pub keys: Vec<PathBuf>,
    /// The oldest version that is spoken.
    pub version_min: TlsVersion,
    /// What clients are to show.
    pub clients: ClientSettings,
}

impl TlsSettings {
    /// All files that are read.
    pub fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let of_clients = self.clients.authorities.iter().chain(&self.clients.revoked);
        self.certificates.iter().chain(&self.keys).chain(of_clients)
    }
}

impl Default for TlsSettings {
    fn default() -> Self {
        Self {
            certificates: Vec::new(),
            keys: Vec::new(),
            version_min: TlsVersion::V1_2,
            clients: ClientSettings::default(),
        }
    }
}

/// A version of TLS. The older ones are broken (RFC 8996).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum TlsVersion {
    /// RFC 5246.
    V1_2,
    /// RFC 8446.
    V1_3,
}

/// TLS as a listener offers it from now on. Connections that are there keep theirs.
#[derive(Clone)]
pub struct Tls {
    server: Arc<ServerConfig>,
    /// Who clients are by their certificates, if they are asked for any.
    naming: Option<Arc<Naming>>,
    /// When the certificates of the chains end, the earliest of each file.
    ends: Arc<[(PathBuf, SystemTime)]>,
}

impl Tls {
    /// Reads the files. `protocols` are those that are agreed on by name (ALPN, RFC 7301), if the
    /// client names any.
    pub fn read(settings: &TlsSettings, protocols: &[&str]) -> Result<Self, TlsError> {
        let provider = Arc::new(default_provider());
        let certificates = Certificates::read(&settings.certificates, &settings.keys, &provider)?;
        let versions: &[&'static SupportedProtocolVersion] = match settings.version_min {
            TlsVersion::V1_2 => &[&TLS13, &TLS12],
            TlsVersion::V1_3 => &[&TLS13],
        };
        let first = settings.certificates.first().map_or(Path::new(""), PathBuf::as_path);
        let unusable =
            |error: rustls::Error| TlsError::new(first, Wrong::Unusable(error.to_string()));
        let ends = settings.certificates.iter().cloned().zip(certificates.ends()).collect();
        let verifier = verifier(&settings.clients, &provider)?;
        let naming = verifier.is_some().then(|| Arc::new(Naming::new(&settings.clients)));
        let builder = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(unusable)?;
        let builder = match verifier {
            None => builder.with_no_client_auth(),
            Some(verifier) => builder.with_client_cert_verifier(verifier),
        };
        let mut config = builder.with_cert_resolver(Arc::new(certificates));
        config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
        // What a client needs to come back fast, it keeps itself, sealed with a key of ours that
        // changes every six hours and with each reload.
        config.ticketer = Ticketer::new().map_err(unusable)?;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        // A client has one connection, and gets another ticket with each.
        config.send_tls13_tickets = 1;
        Ok(Self { server: Arc::new(config), naming, ends })
    }

    /// What deserves a look: certificates that end soon, or have ended.
    pub fn warnings(&self, now: SystemTime) -> Vec<String> {
        let warn = |(path, end): &(PathBuf, SystemTime)| {
            let path = path.display();
            match end.duration_since(now) {
                Ok(left) if left > RENEWAL => None,
                Ok(left) => Some(format!(
                    "the certificate in {path} is good for {} more days only: renew it",
                    left.as_secs() / DAY_SECS
                )),
                Err(_) => Some(format!(
                    "the certificate in {path} has expired: clients that look at it refuse to \
                     connect; renew it"
                )),
            }
        };
        self.ends.iter().filter_map(warn).collect()
    }

    /// When the first of the certificates ends.
    pub(super) fn earliest_end(&self) -> Option<SystemTime> {
        self.ends.iter().map(|(_, end)| *end).min()
    }

    /// What tells who a new connection's client is.
    pub(super) fn naming(&self) -> Option<Arc<Naming>> {
        self.naming.clone()
    }

    /// The state of a new connection.
    pub(super) fn connection(&self) -> UnbufferedServerConnection {
        UnbufferedServerConnection::new(self.server.clone())
            .expect("a configuration that was made here has no mistakes")
    }
}

/// How long before its end a certificate is to be renewed, by the habits of public authorities.
const RENEWAL: Duration = Duration::from_secs(21 * DAY_SECS);
pub(super) const DAY_SECS: u64 = 24 * 60 * 60;

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Keys are in there.
        f.write_str("Tls")
    }
}
