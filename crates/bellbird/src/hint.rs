//! What a start proposes to try: commands that this broker answers.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use bellbird_server::Transport;

use crate::config::Configuration;

/// Where somebody on this machine is let in, and as whom.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Hint {
    address: SocketAddr,
    needs_user: bool,
    has_rules: bool,
}

impl Hint {
    /// A listener without WebSocket that lets everybody in, or else one for users. None if nobody
    /// can come in. `listening` is the configuration's listeners, with the ports that the system
    /// chose.
    pub(crate) fn of(
        listening: &[(SocketAddr, Transport)],
        configuration: &Configuration,
    ) -> Option<Self> {
        let both = listening.iter().zip(&configuration.listeners);
        let plain = both.filter(|((_, transport), _)| *transport == Transport::default());
        let mut plain = plain.map(|((address, _), known)| (address, known.terms.anonymous));
        let open = plain.clone().find(|(_, is_open)| *is_open);
        let has_users = configuration.access_users.is_some();
        let (address, _) = open.or_else(|| plain.next().filter(|_| has_users))?;
        let address = near(*address);
        let has_rules = configuration.access_acl.is_some();
        Some(Self { address, needs_user: open.is_none(), has_rules })
    }

    /// The options that lead there.
    pub(crate) fn options(&self) -> String {
        let (host, port) = (self.address.ip(), self.address.port());
        let user = if self.needs_user { " -u NAME -P PASSWORD" } else { "" };
        format!("-h {host} -p {port}{user}")
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("try it, in two other terminals (or with mosquitto_sub and mosquitto_pub)")?;
        if self.needs_user {
            f.write_str(", with the name and the password of a user")?;
        }
        if self.has_rules {
            f.write_str(", and with a topic that the rules allow")?;
        }
        Ok(())
    }
}

/// Nobody can be called at the address that stands for all of them.
fn near(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, address.port())
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
                listening.map(|known| (known.address, known.transport.clone())).collect();
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
        let users = "[access]\nusers = \"u\"\n";
        check(users, Some(("-h 127.0.0.1 -p 1883 -u NAME -P PASSWORD", true)));
        check(
            &format!("listen = [\"[::]:1\"]\n{users}"),
            Some(("-h ::1 -p 1 -u NAME -P PASSWORD", true)),
        );
        check(&format!("{users}anonymous = true"), Some(("-h 127.0.0.1 -p 1883", false)));
    }
}
