//! Which certificates of clients are trusted, and what they say of who a client is.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;

use bellbird_core::Proven;
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use webpki::BorrowedCertRevocationList;
use x509_parser::prelude::{FromDer, GeneralName, X509Certificate};

use super::certificates::{of_pem, read_chain};
use super::error::{TlsError, Wrong};

/// Whether clients show certificates.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Demand {
    /// They are not asked for any.
    #[default]
    None,
    /// Those that have one show it; it must be right then.
    Optional,
    /// Who has none is not let in.
    Required,
}

/// What a listener wants of clients' certificates.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct ClientSettings {
    /// Whether they show any.
    pub demand: Demand,
    /// Files with the authorities that are trusted to make them.
    pub authorities: Vec<PathBuf>,
    /// Files with lists of those that are revoked.
    pub revoked: Vec<PathBuf>,
    /// What a certificate says of the user name, if it says that.
    pub user_name: Option<Template>,
    /// What it says of the client identifier.
    pub client_id: Option<Template>,
}

/// A text with fields of a certificate in it, such as `{cn}`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    text: Box<str>,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(Box<str>),
    Field(Field),
}

/// A field of a certificate.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Field {
    /// The common name of the subject.
    CommonName,
    /// The whole subject, as RFC 4514 writes it.
    Subject,
    Organization,
    Unit,
    /// The first name of its kind among the alternative names.
    Dns,
    Email,
    Uri,
    /// In hexadecimal digits.
    Serial,
}

const FIELDS: &[(&str, Field)] = &[
    ("cn", Field::CommonName),
    ("dn", Field::Subject),
    ("o", Field::Organization),
    ("ou", Field::Unit),
    ("dns", Field::Dns),
    ("email", Field::Email),
    ("uri", Field::Uri),
    ("serial", Field::Serial),
];

impl Template {
    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    fn fill(&self, certificate: &X509Certificate<'_>) -> Result<Box<str>, Unnamed> {
        let mut filled = String::new();
        for part in &self.parts {
            match part {
                Part::Text(text) => filled.push_str(text),
                Part::Field(field) => filled.push_str(&field.of(certificate)?),
            }
        }
        // [MQTT-1.5.4-2], and what would forge lines elsewhere.
        if filled.is_empty() || filled.len() > NAME_BYTES_MAX || filled.contains(char::is_control) {
            return Err(Unnamed::Unfit(self.text.clone()));
        }
        Ok(filled.into())
    }
}

impl FromStr for Template {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || {
            let names: Vec<String> = FIELDS.iter().map(|(name, _)| format!("{{{name}}}")).collect();
            names.join(" ")
        };
        let (mut parts, mut rest) = (Vec::new(), text);
        while let Some((before, after)) = rest.split_once('{') {
            let Some((name, behind)) = after.split_once('}') else {
                return Err(format!("has a {{ without its }}: fields are {}", known()));
            };
            let Some((_, field)) = FIELDS.iter().find(|(known, _)| *known == name) else {
                return Err(format!("names a field {{{name}}}, which is none of {}", known()));
            };
            if !before.is_empty() {
                parts.push(Part::Text(before.into()));
            }
            parts.push(Part::Field(*field));
            rest = behind;
        }
        if parts.is_empty() {
            return Err(format!("names no field, so all clients would be the same: {}", known()));
        }
        if !rest.is_empty() {
            parts.push(Part::Text(rest.into()));
        }
        Ok(Self { text: text.into(), parts })
    }
}

impl Field {
    fn name(self) -> &'static str {
        FIELDS.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| *name)
    }

    fn of(self, certificate: &X509Certificate<'_>) -> Result<String, Unnamed> {
        let subject = certificate.subject();
        let missing = || Unnamed::Missing(self.name());
        let alternative = |pick: fn(&GeneralName<'_>) -> Option<String>| {
            let names = certificate.subject_alternative_name().ok().flatten();
            names.and_then(|names| names.value.general_names.iter().find_map(pick))
        };
        let only = |attributes: &mut dyn Iterator<
            Item = &x509_parser::x509::AttributeTypeAndValue<'_>,
        >| {
            let first = attributes.next()?.as_str().ok()?.to_owned();
            // Of two it would be anybody's choice.
            attributes.next().is_none().then_some(first)
        };
        match self {
            Self::CommonName => only(&mut subject.iter_common_name()),
            Self::Organization => only(&mut subject.iter_organization()),
            Self::Unit => only(&mut subject.iter_organizational_unit()),
            Self::Subject => Some(super::subject::in_words(subject)),
            Self::Dns => alternative(|name| {
                if let GeneralName::DNSName(name) = name { Some((*name).to_owned()) } else { None }
            }),
            Self::Email => alternative(|name| {
                if let GeneralName::RFC822Name(name) = name {
                    Some((*name).to_owned())
                } else {
                    None
                }
            }),
            Self::Uri => alternative(|name| {
                if let GeneralName::URI(name) = name { Some((*name).to_owned()) } else { None }
            }),
            Self::Serial => {
                Some(certificate.raw_serial().iter().map(|byte| format!("{byte:02x}")).collect())
            }
        }
        .filter(|text| !text.is_empty())
        .ok_or_else(missing)
    }
}

/// Why a certificate does not say who a client is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Unnamed {
    /// It lacks this field, or has several.
    Missing(&'static str),
    /// What this template comes to is no name.
    Unfit(Box<str>),
    /// It has expired since the client was here first.
    Expired,
    /// The library that looks into it does not understand it.
    Unreadable,
}

impl fmt::Display for Unnamed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(field) => write!(
                f,
                "the client's certificate has not exactly one {{{field}}}, which is to be its name"
            ),
            Self::Unfit(text) => {
                write!(f, "what the client's certificate has for {text} cannot be a name in MQTT")
            }
            Self::Expired => f.write_str("the client's certificate has expired"),
            Self::Unreadable => f.write_str("the client's certificate cannot be read"),
        }
    }
}

/// Who clients are by their certificates.
#[derive(Debug)]
pub(super) struct Naming {
    user_name: Option<Template>,
    client_id: Option<Template>,
}

impl Naming {
    pub(super) fn new(settings: &ClientSettings) -> Self {
        let ClientSettings { user_name, client_id, .. } = settings.clone();
        Self { user_name, client_id }
    }

    /// What a client has proven with its certificate, which was found right when it was shown: by a
    /// ticket a client comes back without showing it.
    pub(super) fn judge(&self, certificate: &CertificateDer<'_>) -> Result<Proven, Unnamed> {
        let (_, certificate) =
            X509Certificate::from_der(certificate).map_err(|_| Unnamed::Unreadable)?;
        if !certificate.validity().is_valid() {
            return Err(Unnamed::Expired);
        }
        let fill = |template: &Option<Template>| {
            template.as_ref().map(|template| template.fill(&certificate)).transpose()
        };
        Ok(Proven { user_name: fill(&self.user_name)?, client_id: fill(&self.client_id)? })
    }
}

/// Judges certificates of clients; none if they are not asked for any.
pub(super) fn verifier(
    settings: &ClientSettings,
    provider: &Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    if settings.demand == Demand::None {
        return Ok(None);
    }
    let mut roots = RootCertStore::empty();
    for path in &settings.authorities {
        for certificate in read_chain(path)? {
            let unusable =
                |error: rustls::Error| TlsError::new(path, Wrong::Unusable(error.to_string()));
            roots.add(certificate).map_err(unusable)?;
        }
    }
    let mut revoked = Vec::new();
    for path in &settings.revoked {
        revoked.extend(read_revoked(path)?);
    }
    let has_revoked = !revoked.is_empty();
    let mut builder = WebPkiClientVerifier::builder_with_provider(roots.into(), provider.clone())
        .with_crls(revoked);
    if has_revoked {
        // As OpenSSL does where it is given a list: the client's own certificate counts, and a list
        // that should have been renewed is none.
        builder = builder.only_check_end_entity_revocation().enforce_revocation_expiration();
    }
    if settings.demand == Demand::Optional {
        builder = builder.allow_unauthenticated();
    }
    let first = settings.authorities.first().map_or(Path::new(""), PathBuf::as_path);
    let unusable =
        |error: VerifierBuilderError| TlsError::new(first, Wrong::Unusable(error.to_string()));
    builder.build().map(Some).map_err(unusable)
}

fn read_revoked(path: &Path) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let read = || CertificateRevocationListDer::pem_file_iter(path)?.collect::<Result<Vec<_>, _>>();
    match read() {
        Ok(lists) if lists.is_empty() => Err(TlsError::new(path, Wrong::NoRevocationList)),
        Ok(lists) => {
            for list in &lists {
                let unusable = |error| TlsError::new(path, Wrong::UnusableList(error));
                BorrowedCertRevocationList::from_der(list).map_err(unusable)?;
            }
            Ok(lists)
        }
        Err(error) => Err(TlsError::new(path, of_pem(error))),
    }
}

/// What a string of MQTT has room for.
const NAME_BYTES_MAX: usize = 65_535;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_name_fields() {
        let check = |text: &str, expected: Result<usize, &str>| {
            let parsed = text.parse::<Template>();
            match expected {
                Ok(parts) => assert_eq!(parsed.unwrap().parts.len(), parts, "{text}"),
                Err(words) => assert!(parsed.unwrap_err().contains(words), "{text}"),
            }
        };
        check("{cn}", Ok(1));
        check("device-{cn}", Ok(2));
        check("{o}/{ou}:{cn}", Ok(5));
        check("cn", Err("names no field"));
        check("", Err("names no field"));
        check("{cn", Err("without its }"));
        check("{CN}", Err("none of {cn} {dn}"));
    }
}
