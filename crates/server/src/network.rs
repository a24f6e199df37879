//! Networks: addresses that begin alike.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

/// Addresses whose first bits are the same, as in `10.0.0.0/8`, or those of this machine's Unix
/// sockets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Network {
    /// Over IP.
    Ip {
        /// The first of them; the bits behind the prefix are 0.
        address: IpAddr,
        /// How many bits are the same.
        bits: u8,
    },
    /// Whoever comes through a Unix socket.
    Unix,
}

impl Network {
    /// Whether somebody is in it; without an address whoever comes through a Unix socket. An IPv4
    /// address that is written as one of IPv6 (`::ffff:10.0.0.1`) is one of IPv4.
    pub fn contains(&self, ip: Option<IpAddr>) -> bool {
        match (self, ip.map(|ip| ip.to_canonical())) {
            (Self::Unix, None) => true,
            (Self::Ip { address, bits }, Some(ip)) => {
                address.is_ipv4() == ip.is_ipv4() && masked(ip, *bits) == *address
            }
            (Self::Unix, Some(_)) | (Self::Ip { .. }, None) => false,
        }
    }
}

/// The address with 0 behind its first bits.
fn masked(ip: IpAddr, bits: u8) -> IpAddr {
    match ip {
        IpAddr::V4(ip) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            IpAddr::V4((ip.to_bits() & mask).into())
        }
        IpAddr::V6(ip) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            IpAddr::V6((ip.to_bits() & mask).into())
        }
    }
}

/// The text says what is wrong, behind the name of whatever has it.
impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == UNIX {
            return Ok(Self::Unix);
        }
        let none = || format!("has \"{text}\" in it, which is no network");
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| none())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(most), str::parse).map_err(|_| none())?;
        if bits > most {
            return Err(none());
        }
        let first = masked(address, bits);
        if first != address {
            return Err(format!("has \"{text}\" in it; that network is \"{first}/{bits}\""));
        }
        Ok(Self::Ip { address, bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip { address, bits } => write!(f, "{address}/{bits}"),
            Self::Unix => f.write_str(UNIX),
        }
    }
}

const UNIX: &str = "unix";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_have_those_who_begin_alike() {
        let check = |network: &str, ip: &str, expected: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().ok()), expected, "{network} {ip}");
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.1", "10.0.0.1", true);
        check("10.0.0.1", "10.0.0.2", false);
        check("0.0.0.0/0", "203.0.113.7", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("::/0", "2001:db8::1", true);
        check("::/0", "203.0.113.7", false);
        check("2001:db8::/33", "2001:db8:7fff::1", true);
        check("2001:db8::/33", "2001:db8:8000::1", false);
        check("10.0.0.0/8", "::ffff:10.1.2.3", true);
        check("unix", "10.0.0.1", false);
        check("unix", "none", true);
        check("0.0.0.0/0", "none", false);
    }

    #[test]
    fn networks_are_written_as_they_are_read() {
        let check = |text: &str, expected: Result<&str, &str>| {
            let found = text.parse::<Network>().map(|network| network.to_string());
            assert_eq!(found.as_deref().map_err(|wrong| &**wrong), expected, "{text}");
        };
        check("10.0.0.0/8", Ok("10.0.0.0/8"));
        check("10.0.0.7", Ok("10.0.0.7/32"));
        check("fd00::/8", Ok("fd00::/8"));
        check("unix", Ok("unix"));
        check("10.0.0.0/33", Err("has \"10.0.0.0/33\" in it, which is no network"));
        check("10.0.0.0/-1", Err("has \"10.0.0.0/-1\" in it, which is no network"));
        check("10.0.0", Err("has \"10.0.0\" in it, which is no network"));
        check("example.com", Err("has \"example.com\" in it, which is no network"));
        check("10.1.2.3/8", Err("has \"10.1.2.3/8\" in it; that network is \"10.0.0.0/8\""));
    }
}
