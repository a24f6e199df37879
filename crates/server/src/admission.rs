//! Who may come to a listener, by address, and who is believed to bring somebody else.

use std::net::IpAddr;

use crate::address::Peer;
use crate::network::Network;

/// What a listener asks before anything is read, and of what stands in front of it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Admission {
    /// Only they may come; with none, all.
    pub allowed: Vec<Network>,
    /// They may not, even if they are allowed.
    pub denied: Vec<Network>,
    /// Reverse proxies and load balancers that are believed whom they bring.
    pub proxies: Vec<Network>,
    /// How these say it.
    pub forwarding: Forwarding,
    /// How clients must have come to a proxy that speaks the PROXY protocol.
    pub proxied: Proxied,
    /// Whether the name in the certificate that a client showed to such a proxy is its user name.
    pub names_users: bool,
    /// Connections that are accepted in a second; 0 for no bound.
    pub connections_per_sec: u32,
    /// Seconds from the beginning of a connection on in which a proxy must have said whom it brings.
    pub proxy_secs: u16,
    /// The same for the handshake of TLS.
    pub tls_secs: u16,
    /// The same for the request for a WebSocket.
    pub websocket_secs: u16,
}

impl Default for Admission {
    fn default() -> Self {
        Self {
            allowed: Vec::new(),
            denied: Vec::new(),
            proxies: Vec::new(),
            forwarding: Forwarding::default(),
            proxied: Proxied::default(),
            names_users: false,
            connections_per_sec: 0,
            proxy_secs: PROXY_SECS,
            tls_secs: TLS_SECS,
            websocket_secs: WEBSOCKET_SECS,
        }
    }
}

/// How a proxy says whom it brings.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Forwarding {
    /// In front of everything else, in the PROXY protocol, version 1 or 2.
    #[default]
    ProxyProtocol,
    /// In the field `X-Forwarded-For` of the request for a WebSocket.
    ForwardedFor,
}

/// What a client has shown to the proxy.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub enum Proxied {
    /// It does not matter.
    #[default]
    Any,
    /// It came over TLS.
    Encrypted,
    /// And with a certificate that the proxy has verified.
    Certified,
}

impl Admission {
    /// Whether somebody of this address may come; without one, through a Unix socket.
    pub(crate) fn admits(&self, ip: Option<IpAddr>) -> bool {
        // Whom the file system lets through is its owner's business.
        ip.is_none()
            || ((self.allowed.is_empty() || is_among(&self.allowed, ip))
                && !is_among(&self.denied, ip))
    }

    /// What to make of somebody who connects from there.
    pub(crate) fn judge(&self, ip: Option<IpAddr>) -> Entrance {
        let is_proxy = is_among(&self.proxies, ip);
        match self.forwarding {
            // A proxy's own address says nothing of those it brings.
            Forwarding::ProxyProtocol if is_proxy => Entrance::BehindProxy,
            // Whoever comes past the proxy could say to be anybody.
            Forwarding::ProxyProtocol if !self.proxies.is_empty() => Entrance::Denied,
            Forwarding::ForwardedFor if is_proxy => Entrance::BehindProxy,
            Forwarding::ProxyProtocol | Forwarding::ForwardedFor if self.admits(ip) => {
                Entrance::Open
            }
            Forwarding::ProxyProtocol | Forwarding::ForwardedFor => Entrance::Denied,
        }
    }

    /// Whom a list of addresses brings: each proxy adds who called it, so the last that is no proxy
    /// is the client. What stands in front of it is what anybody may have written.
    pub(crate) fn forwarded_for(&self, list: &str) -> Option<Peer> {
        let mut last = None;
        for item in list.rsplit(',') {
            let peer = parse(item.trim())?;
            last = Some(peer);
            if !is_among(&self.proxies, peer.ip()) {
                break;
            }
        }
        last
    }
}

/// What becomes of somebody who connects.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Entrance {
    /// It is let in as the one it is.
    Open,
    /// It is to say whom it brings.
    BehindProxy,
    Denied,
}

fn is_among(networks: &[Network], ip: Option<IpAddr>) -> bool {
    networks.iter().any(|network| network.contains(ip))
}

/// An address as proxies write it: alone, or with a port.
fn parse(text: &str) -> Option<Peer> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    bare.parse().map(Peer::Host).or_else(|_| text.parse().map(Peer::Ip)).ok()
}

/// A proxy is near, and speaks at once.
const PROXY_SECS: u16 = 3;
/// Small devices take a second or two for the mathematics, and a slow network for two round trips;
/// a second is left for CONNECT.
const TLS_SECS: u16 = 9;
/// One round trip more.
const WEBSOCKET_SECS: u16 = 9;

#[cfg(test)]
mod tests {
    use super::*;

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn whom_a_listener_lets_in() {
        let check = |allowed: &[&str], denied: &[&str], ip: &str, expected: bool| {
            let (allowed, denied) = (networks(allowed), networks(denied));
            let admission = Admission { allowed, denied, ..Admission::default() };
            assert_eq!(admission.admits(ip.parse().ok()), expected, "{admission:?} {ip}");
        };
        check(&[], &[], "203.0.113.7", true);
        check(&["10.0.0.0/8"], &[], "203.0.113.7", false);
        check(&["10.0.0.0/8"], &[], "10.0.0.1", true);
        check(&["10.0.0.0/8"], &["10.9.0.0/16"], "10.9.0.1", false);
        check(&[], &["10.9.0.0/16"], "10.9.0.1", false);
        check(&[], &["10.9.0.0/16"], "10.8.0.1", true);
        check(&["10.0.0.0/8"], &[], "of a Unix socket", true);
    }

    #[test]
    fn who_stands_at_the_door() {
        let check = |proxies: &[&str], forwarding: Forwarding, ip: &str, expected: Entrance| {
            let (proxies, denied) = (networks(proxies), networks(&["192.0.2.0/24"]));
            let admission = Admission { proxies, denied, forwarding, ..Admission::default() };
            assert_eq!(admission.judge(ip.parse().ok()), expected, "{admission:?} {ip}");
        };
        let (proxy, field) = (Forwarding::ProxyProtocol, Forwarding::ForwardedFor);
        check(&[], proxy, "203.0.113.7", Entrance::Open);
        check(&[], proxy, "192.0.2.1", Entrance::Denied);
        check(&["10.0.0.1"], proxy, "10.0.0.1", Entrance::BehindProxy);
        check(&["10.0.0.1"], proxy, "203.0.113.7", Entrance::Denied);
        check(&["10.0.0.1"], field, "10.0.0.1", Entrance::BehindProxy);
        check(&["10.0.0.1"], field, "203.0.113.7", Entrance::Open);
        check(&["10.0.0.1"], field, "192.0.2.1", Entrance::Denied);
        check(&["unix"], proxy, "of a Unix socket", Entrance::BehindProxy);
        check(&["10.0.0.1"], proxy, "of a Unix socket", Entrance::Denied);
    }

    #[test]
    fn the_last_who_is_no_proxy_is_brought() {
        let check = |list: &str, expected: Option<&str>| {
            let proxies = networks(&["10.0.0.0/8", "::1"]);
            let admission = Admission { proxies, ..Admission::default() };
            let found = admission.forwarded_for(list).map(|peer| peer.to_string());
            assert_eq!(found.as_deref(), expected, "{list}");
        };
        check("203.0.113.7", Some("203.0.113.7"));
        check("203.0.113.7:5000", Some("203.0.113.7:5000"));
        check("[2001:db8::1]:5000", Some("[2001:db8::1]:5000"));
        check("[2001:db8::1]", Some("2001:db8::1"));
        check("203.0.113.7, 10.0.0.2, ::1", Some("203.0.113.7"));
        check("203.0.113.7, 198.51.100.9", Some("198.51.100.9"));
        check("nonsense, 198.51.100.9", Some("198.51.100.9"));
        check("10.0.0.3, 10.0.0.2", Some("10.0.0.3"));
        check("198.51.100.9, nonsense", None);
        check("unknown", None);
        check("", None);
    }
}
