//! What a start proposes to try: commands that this broker answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bellbird_server::{Address, Admission, Demand, Transport};

use crate::config::Configuration;

/// Where somebody on this machine is let in, and as whom.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Hint {
    address: Address,
    is_encrypted: bool,
    needs_user: bool,
    has_rules: bool,
}

impl Hint {
    /// A listener without WebSocket that lets everybody in, or else one for users; without TLS, if
    /// there is one. None if nobody can come in. `listening` is the configuration's listeners, with
    /// the ports that the system chose.
    pub(crate) fn of(
        listening: &[(Address, Transport)],
        configuration: &Configuration,
    ) -> Option<Self> {
        let has_users = configuration.access_users.is_some();
        let both = listening.iter().zip(&configuration.listeners);
        let ways = both.filter_map(|((address, transport), known)| {
            let needs_user = !known.terms.anonymous;
            let can_come = transport.websocket.is_none()
                && known.admission == Admission::default()
                && known.tls.clients.demand != Demand::Required
                && (has_users || !needs_user);
            can_come.then_some((transport.is_encrypted, needs_user, address))
        });
        let (is_encrypted, needs_user, address) =
            ways.min_by_key(|(is_encrypted, needs_user, _)| (*is_encrypted, *needs_user))?;
        let has_rules = configuration.access_acl.is_some();
        Some(Self { address: near(address), is_encrypted, needs_user, has_rules })
    }

    /// The options that lead there.
    pub(crate) fn options(&self) -> String {
        let user = if self.needs_user { " -u NAME -P PASSWORD" } else { "" };
        let tls = if self.is_encrypted { " --cafile AUTHORITY.pem" } else { "" };
        match &self.address {
            Address::Ip(address) => {
                format!("-h {} -p {}{tls}{user}", address.ip(), address.port())
            }
            Address::Unix(path) => format!("--unix {}{tls}{user}", path.display()),
        }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("try it, in two other terminals (or with mosquitto_sub and mosquitto_pub)")?;
        if self.needs_user {
            f.write_str(", with the name and the password of a user")?;
        }
        if self.is_encrypted {
            f.write_str(", with the authority that made the certificate and a host it is for")?;
        }
        if self.has_rules {
            f.write_str(", and with a topic that the rules allow")?;
        }
        Ok(())
    }
}

/// Nobody can be called at the address that stands for all of them.
fn near(address: &Address) -> Address {
    let Address::Ip(address) = address else { return address.clone() };
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    Address::Ip(SocketAddr::new(ip, address.port()))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::Sources;

    #[test]
    fn what_is_proposed_works() {
        let check = |text: &str, expected: Option<(&str, bool)>| {
            let (configuration, _) =
                Configuration::parse(Path::new(""), text, &Sources::default()).unwrap();
            let listening = configuration.listeners.iter();
            let listening: Vec<_> =
                listening.map(|known| (known.address.clone(), known.transport.clone())).collect();
            let hint = Hint::of(&listening, &configuration);
            let found = hint.as_ref().map(|hint| (hint.options(), hint.needs_user));
            let expected = expected.map(|(options, needs_user)| (options.to_owned(), needs_user));
            assert_eq!(found, expected, "{text}");
        };
        check("", Some(("-h 127.0.0.1 -p 1883", false)));
        check("listen = [\"[::1]:1\"]", Some(("-h ::1 -p 1", false)));
        check("listen = [\"0.0.0.0:1\"]", None);
        check("listen = []\nlisten_websocket = [\"127.0.0.1:1\"]", None);
        check("listen = [\"0.0.0.0:1\", \"127.0.0.1:2\"]", Some(("-h 127.0.0.1 -p 2", false)));
        check("listen_unix = [\"/run/x\"]", Some(("--unix /run/x", false)));
        check(
            "listen_tls = [\"127.0.0.1:1\"]\ntls.certificates = \"c\"\ntls.keys = \"k\"",
            Some(("-h 127.0.0.1 -p 1 --cafile AUTHORITY.pem", false)),
        );
        check("[[listeners]]\naddress = \"127.0.0.1:1\"\nproxies = [\"127.0.0.1\"]", None);
        let users = "[access]\nusers = \"u\"\n";
        check(users, Some(("-h 127.0.0.1 -p 1883 -u NAME -P PASSWORD", true)));
        check(
            &format!("listen = [\"[::]:1\"]\n{users}"),
            Some(("-h ::1 -p 1 -u NAME -P PASSWORD", true)),
        );
        check(&format!("{users}anonymous = true"), Some(("-h 127.0.0.1 -p 1883", false)));
    }
}
