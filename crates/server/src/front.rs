//! What stands in front of a connection: a proxy that is to say whom it brings.

use std::fmt;
use std::sync::Arc;

use bellbird_core::Proven;

use crate::address::Peer;
use crate::admission::{Admission, Forwarding, Proxied};
use crate::proxy::{Broken, Brought, HEADER_BYTES_MAX, Parsed, parse};

/// The state of a connection that a proxy has opened.
pub(crate) struct Front {
    admission: Arc<Admission>,
    stage: Stage,
    /// As long as it is not whole.
    header: Vec<u8>,
    /// Who was brought, if the proxy has said so.
    peer: Option<Peer>,
    proven: Option<Proven>,
    ending: Option<Ending>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The PROXY header comes.
    Header,
    /// The request for a WebSocket comes, and says it.
    Request,
    Over,
}

/// Why nobody is let in.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    Broken(Broken),
    /// Whoever it is must not come here.
    Denied(Peer),
    /// The client has not shown to the proxy what it should have.
    NotShown(Proxied),
    /// The client's certificate was to say who it is.
    Unnamed,
}

impl Front {
    /// The state of a connection that was just accepted from a proxy.
    pub(crate) fn new(admission: Arc<Admission>) -> Self {
        let stage = match admission.forwarding {
            Forwarding::ProxyProtocol => Stage::Header,
            Forwarding::ForwardedFor => Stage::Request,
        };
        Self { admission, stage, header: Vec::new(), peer: None, proven: None, ending: None }
    }

    /// Whether the next bytes are a header's.
    pub(crate) fn is_header(&self) -> bool {
        self.stage == Stage::Header
    }

    /// Whether the request for a WebSocket is to say who it is.
    pub(crate) fn is_request(&self) -> bool {
        self.stage == Stage::Request
    }

    /// Takes bytes of the header. Returns how many of them were its own.
    pub(crate) fn take(&mut self, bytes: &[u8]) -> usize {
        let before = self.header.len();
        // Longer than the longest: what is whole is found within.
        let looked_at = &bytes[..bytes.len().min(HEADER_BYTES_MAX)];
        self.header.extend_from_slice(looked_at);
        match parse(&self.header) {
            Ok(Parsed::Incomplete) => bytes.len(),
            Ok(Parsed::Whole { len, brought }) => {
                self.header = Vec::new();
                self.stage = Stage::Over;
                self.ending = self.judge(brought).err();
                len - before
            }
            Err(broken) => {
                self.header = Vec::new();
                self.ending = Some(Ending::Broken(broken));
                bytes.len()
            }
        }
    }

    fn judge(&mut self, Brought { source, tls }: Brought) -> Result<(), Ending> {
        self.peer = source.map(Peer::Ip);
        self.admit()?;
        let shown = match &tls {
            None => Proxied::Any,
            Some(tls) if tls.is_certified => Proxied::Certified,
            Some(_) => Proxied::Encrypted,
        };
        if shown < self.admission.proxied {
            return Err(Ending::NotShown(self.admission.proxied));
        }
        if self.admission.names_users {
            let certified = tls.filter(|tls| tls.is_certified);
            let name = certified.and_then(|tls| tls.common_name).filter(|name| !name.is_empty());
            if name.is_none() && shown == Proxied::Certified {
                return Err(Ending::Unnamed);
            }
            self.proven = name.map(|name| Proven { user_name: Some(name), client_id: None });
        }
        Ok(())
    }

    /// The request for a WebSocket was granted, and said this in `X-Forwarded-For`.
    pub(crate) fn hear(&mut self, forwarded_for: Option<&str>) {
        self.stage = Stage::Over;
        self.peer = forwarded_for.and_then(|list| self.admission.forwarded_for(list));
        self.ending = self.admit().err();
    }

    fn admit(&self) -> Result<(), Ending> {
        match self.peer {
            Some(peer) if !self.admission.admits(peer.ip()) => Err(Ending::Denied(peer)),
            Some(_) | None => Ok(()),
        }
    }

    /// Who was brought, if it is known.
    pub(crate) fn peer(&self) -> Option<Peer> {
        self.peer
    }

    /// Who the client is by its certificate, once.
    pub(crate) fn take_proven(&mut self) -> Option<Proven> {
        self.proven.take()
    }

    /// Why nobody is let in, if so.
    pub(crate) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }
}

/// As the operator reads it.
impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken(broken) => broken.fmt(f),
            Self::Denied(peer) => write!(f, "{peer} may not come here, by the listener's networks"),
            Self::NotShown(Proxied::Certified) => f.write_str(
                "the client has shown no certificate that the proxy has verified (proxied_clients)",
            ),
            Self::NotShown(Proxied::Any | Proxied::Encrypted) => {
                f.write_str("the client came to the proxy without TLS (proxied_clients)")
            }
            Self::Unnamed => f.write_str("the proxy does not say the name in the certificate"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn front(change: impl FnOnce(&mut Admission)) -> Front {
        let mut admission = Admission::default();
        change(&mut admission);
        Front::new(Arc::new(admission))
    }

    const LINE: &str = "PROXY TCP4 203.0.113.7 10.0.0.1 5000 1883\r\n";

    #[test]
    fn what_is_behind_the_header_is_left() {
        let text = format!("{LINE}rest");
        for cut in 0..LINE.len() {
            let mut front = front(|_| {});
            assert_eq!(front.take(&text.as_bytes()[..cut]), cut);
            assert!(front.is_header() && front.peer().is_none());
            assert_eq!(front.take(&text.as_bytes()[cut..]), LINE.len() - cut, "{cut}");
            assert!(!front.is_header() && front.ending().is_none());
            assert_eq!(front.peer().unwrap().to_string(), "203.0.113.7:5000");
        }
    }

    #[test]
    fn who_is_brought_must_be_allowed() {
        let mut front = front(|it| it.denied = vec!["203.0.113.0/24".parse().unwrap()]);
        front.take(LINE.as_bytes());
        assert!(matches!(front.ending(), Some(Ending::Denied(_))));
    }

    #[test]
    fn what_clients_have_shown() {
        let check =
            |client: u8, name: &str, demand: Proxied, expected: Result<Option<&str>, &str>| {
                let name_len = u8::try_from(name.len()).unwrap();
                let tls = [&[client, 0, 0, 0, 0, 0x22, 0, name_len], name.as_bytes()].concat();
                let body = [&[0x20, 0, u8::try_from(tls.len()).unwrap()], &tls[..]].concat();
                let len = u8::try_from(body.len()).unwrap();
                let header = [b"\r\n\r\n\0\r\nQUIT\n", &[0x21, 0, 0, len][..], &body].concat();
                let mut front = front(|it| (it.proxied, it.names_users) = (demand, true));
                front.take(&header);
                let found = match front.ending() {
                    Some(ending) => Err(ending.to_string()),
                    None => Ok(front.take_proven().and_then(|proven| proven.user_name)),
                };
                match expected {
                    Ok(name) => assert_eq!(found.unwrap().as_deref(), name),
                    Err(part) => assert!(found.unwrap_err().contains(part)),
                }
            };
        check(3, "ada", Proxied::Any, Ok(Some("ada")));
        check(3, "ada", Proxied::Certified, Ok(Some("ada")));
        check(1, "ada", Proxied::Encrypted, Ok(None));
        check(1, "ada", Proxied::Certified, Err("no certificate"));
        check(0, "ada", Proxied::Encrypted, Err("without TLS"));
        check(3, "", Proxied::Any, Err("does not say the name"));
    }
}
