//! The clients' side of TLS: whom to trust, how to be known, and a line that two threads share.

use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, ClientConnection, DigitallySignedStruct,
    Error, RootCertStore, SignatureScheme, SupportedProtocolVersion,
};

use super::failure::Failure;
use super::stream::Stream;

/// What the options say of TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsOptions {
    /// Whom to trust; without it, the authorities that the system trusts.
    pub(crate) authority: Option<PathBuf>,
    /// The client's own certificate, and its key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// Whether the server's certificate may be for another host.
    pub(crate) is_insecure: bool,
    /// The only version to speak, if there is one.
    pub(crate) version: Option<&'static SupportedProtocolVersion>,
}

impl TlsOptions {
    /// Reads the files.
    pub(crate) fn read(&self) -> Result<Arc<ClientConfig>, Failure> {
        let provider = Arc::new(default_provider());
        let authority = self.authority.as_deref().unwrap_or(Path::new(SYSTEM_AUTHORITIES));
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates(authority)?);
        if roots.is_empty() {
            return Err(unusable(authority, "it has no certificate in PEM"));
        }
        let all = [&TLS13, &TLS12];
        let only = self.version.map(|version| [version]);
        let versions = only.as_ref().map_or(&all[..], |only| &only[..]);
        let wrong = |error: Error| unusable(authority, &error.to_string());
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider.clone())
            .build()
            .map_err(|error| unusable(authority, &error.to_string()))?;
        let config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(versions)
            .map_err(wrong)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier {
                verifier,
                is_any_host_right: self.is_insecure,
            }));
        let mut config = match &self.certificate {
            None => config.with_no_client_auth(),
            Some((chain, key_path)) => {
                let key = PrivateKeyDer::from_pem_file(key_path)
                    .map_err(|error| unusable(key_path, &error.to_string()))?;
                config
                    .with_client_auth_cert(certificates(chain)?, key)
                    .map_err(|error| unusable(chain, &error.to_string()))?
            }
        };
        config.alpn_protocols = vec![b"mqtt".to_vec()];
        Ok(config.into())
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Failure> {
    CertificateDer::pem_file_iter(path)
        .and_then(Iterator::collect)
        .map_err(|error| unusable(path, &error.to_string()))
}

fn unusable(path: &Path, why: &str) -> Failure {
    Failure::Usage(format!("{} cannot be used for TLS: {why}", path.display()))
}

/// Judges as usual, but for the name of the host where that is not to count.
#[derive(Debug)]
struct Verifier {
    verifier: Arc<WebPkiServerVerifier>,
    is_any_host_right: bool,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        host: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.verifier.verify_server_cert(certificate, intermediates, host, ocsp, now) {
            Err(Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            )) if self.is_any_host_right => Ok(ServerCertVerified::assertion()),
            verdict => verdict,
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls12_signature(message, certificate, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.verifier.verify_tls13_signature(message, certificate, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

/// A stream with or without TLS. One thread reads, another one writes.
#[derive(Clone, Debug)]
pub(crate) struct Line {
    stream: Arc<Stream>,
    tls: Option<Arc<Tls>>,
}

#[derive(Debug)]
struct Tls {
    connection: Mutex<ClientConnection>,
    /// Whoever writes records holds it from sealing them on: they go out in their order.
    turn: Mutex<()>,
}

impl Line {
    /// A stream as it is.
    pub(crate) fn plain(stream: Stream) -> Self {
        Self { stream: Arc::new(stream), tls: None }
    }

    /// A stream after the handshake of TLS. The text says what went wrong, and what to do.
    pub(crate) fn sealed(
        stream: Stream,
        config: Arc<ClientConfig>,
        host: &str,
        patience: Duration,
    ) -> Result<Self, String> {
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| format!("{host:?} is no name that a certificate can be for"))?;
        let mut connection =
            ClientConnection::new(config, name).map_err(|error| error.to_string())?;
        let mut shake_hands = || -> io::Result<()> {
            stream.set_read_timeout(Some(patience))?;
            while connection.is_handshaking() {
                connection.complete_io(&mut &stream)?;
            }
            stream.set_read_timeout(None)
        };
        shake_hands().map_err(|error| in_words(&error))?;
        let tls = Tls { connection: Mutex::new(connection), turn: Mutex::new(()) };
        Ok(Self { stream: Arc::new(stream), tls: Some(Arc::new(tls)) })
    }

    /// Says that nothing more is sent.
    pub(crate) fn end(&self) -> io::Result<()> {
        if let Some(tls) = &self.tls {
            let _turn = lock(&tls.turn);
            lock(&tls.connection).send_close_notify();
            tls.write_records(&self.stream)?;
        }
        self.stream.shutdown(Shutdown::Write)
    }
}

impl Tls {
    /// Writes what is sealed. The caller has the turn; the reader goes on meanwhile.
    fn write_records(&self, mut stream: &Stream) -> io::Result<()> {
        let mut records = Vec::new();
        {
            let mut connection = lock(&self.connection);
            while connection.wants_write() {
                connection.write_tls(&mut records)?;
            }
        }
        stream.write_all(&records)
    }

    /// Takes records. Appends what is within to `plain`; whether there is something to answer.
    fn take(&self, mut records: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        let mut connection = lock(&self.connection);
        while !records.is_empty() {
            if connection.read_tls(&mut records)? == 0 {
                break; // What comes behind the end is nobody's.
            }
            let state = connection.process_new_packets().map_err(io::Error::other)?;
            let before = plain.len();
            plain.resize(before + state.plaintext_bytes_to_read(), 0);
            connection.reader().read_exact(&mut plain[before..])?;
        }
        Ok(connection.wants_write())
    }
}

/// The end of a line that one thread reads.
pub(crate) struct LineReader {
    line: Line,
    wire: Vec<u8>,
    /// What was within records and is not read yet, from `taken` on.
    plain: Vec<u8>,
    taken: usize,
}

impl Line {
    /// What comes out of it.
    pub(crate) fn reader(&self) -> LineReader {
        let wire = if self.tls.is_some() { vec![0; WIRE_BYTES] } else { Vec::new() };
        LineReader { line: self.clone(), wire, plain: Vec::new(), taken: 0 }
    }
}

impl Read for LineReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut stream = &*self.line.stream;
        let Some(tls) = &self.line.tls else { return stream.read(into) };
        while self.taken == self.plain.len() {
            self.plain.clear();
            self.taken = 0;
            let count = stream.read(&mut self.wire)?;
            if count == 0 {
                return Ok(0);
            }
            if tls.take(&self.wire[..count], &mut self.plain)? {
                let _turn = lock(&tls.turn);
                tls.write_records(stream)?;
            }
        }
        let count = (self.plain.len() - self.taken).min(into.len());
        into[..count].copy_from_slice(&self.plain[self.taken..self.taken + count]);
        self.taken += count;
        Ok(count)
    }
}

impl Write for Line {
    /// All of it, or an error.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut stream = &*self.stream;
        let Some(tls) = &self.tls else { return stream.write(bytes) };
        let _turn = lock(&tls.turn);
        for part in bytes.chunks(PART_BYTES) {
            lock(&tls.connection).writer().write_all(part)?;
            tls.write_records(stream)?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A thread that panicked has ended the command.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether TLS ended a connection.
pub(crate) fn is_of_tls(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<Error>())
}

/// What went wrong in a handshake, and what to do.
#[allow(clippy::wildcard_enum_match_arm)] // the others have no more to say
pub(crate) fn in_words(error: &io::Error) -> String {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    let remedy = match tls {
        Some(Error::InvalidCertificate(CertificateError::UnknownIssuer)) => {
            "nobody who is trusted vouches for the server's certificate; --cafile names an \
             authority"
        }
        Some(Error::InvalidCertificate(
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
        )) => {
            "the server's certificate is for another host; -h names one that it is for, and with \
             --insecure it may be for any"
        }
        Some(Error::InvalidMessage(_)) => "what answers there does not speak TLS",
        Some(Error::AlertReceived(
            AlertDescription::CertificateRequired | AlertDescription::HandshakeFailure,
        )) => "perhaps the server wants a certificate: --cert and --key name one",
        None if error.kind() == io::ErrorKind::UnexpectedEof => {
            return "the other side ended the connection in the handshake of TLS: perhaps it \
                    does not speak TLS there"
                .to_owned();
        }
        None if error.kind() == io::ErrorKind::WouldBlock => {
            return "the handshake of TLS was not answered: perhaps nobody speaks TLS there"
                .to_owned();
        }
        _ => return error.to_string(),
    };
    format!("{error}: {remedy}")
}

/// Where Debian, and most other systems, keep the authorities that are trusted.
const SYSTEM_AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
/// What is read at a time.
const WIRE_BYTES: usize = 64 * 1024;
/// What is sealed at a time: rustls keeps no more than 64 KiB that are not written.
const PART_BYTES: usize = 48 * 1024;
