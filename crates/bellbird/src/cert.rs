//! `bellbird cert`: an authority of one's own, and certificates for a broker and its clients.

use std::error::Error;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use jiff::{ToSpan, Zoned};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};

/// What to do with certificates.
#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    /// Makes an authority, a certificate for this broker and certificates for clients
    Init(Init),
}

/// Makes what is not there yet, and leaves what is.
#[derive(Args, Debug)]
#[command(override_usage = "bellbird cert init [OPTIONS]")]
pub(crate) struct Init {
    /// Write the files into this directory
    #[arg(long, value_name = "DIR", default_value = "tls")]
    dir: PathBuf,
    /// A name or an address that clients connect to, beside localhost and the name of this machine;
    /// may be given several times
    #[arg(long, value_name = "HOST", value_parser = host)]
    host: Vec<String>,
    /// Also make a certificate for the client of this name; may be given several times
    #[arg(long, value_name = "NAME", value_parser = client)]
    client: Vec<String>,
    /// How long the broker's and the clients' certificates are good for
    #[arg(long, value_name = "DAYS", default_value_t = 823, value_parser = clap::value_parser!(u16).range(1..))]
    days: u16,
}

/// Does what the command line says.
pub(crate) fn run(command: &Command) -> Result<(), Box<dyn Error>> {
    let Command::Init(arguments) = command;
    let folder = Folder(&arguments.dir);
    let failed = |error: io::Error| format!("cannot create {}: {error}", folder.0.display());
    DirBuilder::new().recursive(true).mode(DIRECTORY_MODE).create(folder.0).map_err(failed)?;
    let authority = authority(folder)?;
    let hosts = hosts(&arguments.host);
    let mut server = params("server", &hosts[0], arguments.days)?;
    server.subject_alt_names = CertificateParams::new(hosts.clone())?.subject_alt_names;
    server.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let for_hosts = format!("for {}", hosts.join(", "));
    let is_new = folder.make("server", &server, &authority, &for_hosts)?;
    if !is_new && !arguments.host.is_empty() {
        crate::print(&format!(
            "  to have it made anew with --host, remove {}\n",
            folder.path("server", CERTIFICATE).display()
        ));
    }
    for name in &arguments.client {
        let mut client = params("client", name, arguments.days)?;
        client.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let stem = format!("client-{name}");
        folder.make(&stem, &client, &authority, &format!("for the client {name}"))?;
    }
    crate::print(&proposal(folder));
    Ok(())
}

/// Where the files are.
#[derive(Clone, Copy)]
struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn path(self, stem: &str, extension: &str) -> PathBuf {
        self.0.join(format!("{stem}.{extension}"))
    }

    /// Makes a certificate and its key, unless they are there. Whether they were not.
    fn make(
        self,
        stem: &str,
        params: &CertificateParams,
        authority: &Issuer<'_, KeyPair>,
        what_for: &str,
    ) -> Result<bool, Box<dyn Error>> {
        if self.has(stem)? {
            let path = self.path(stem, CERTIFICATE);
            crate::print(&format!("{} is there and stays\n", path.display()));
            return Ok(false);
        }
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, authority)?;
        self.write(stem, &certificate.pem(), &key, what_for)?;
        Ok(true)
    }

    /// Whether both files of a certificate are there; one without the other is an error.
    fn has(self, stem: &str) -> Result<bool, String> {
        let (certificate, key) = (self.path(stem, CERTIFICATE), self.path(stem, KEY));
        match (certificate.exists(), key.exists()) {
            (true, true) => Ok(true),
            (false, false) => Ok(false),
            (true, false) => Err(alone(&certificate, &key)),
            (false, true) => Err(alone(&key, &certificate)),
        }
    }

    /// The key first: a certificate that is there has one.
    fn write(self, stem: &str, pem: &str, key: &KeyPair, what_for: &str) -> Result<(), String> {
        write_new(&self.path(stem, KEY), &key.serialize_pem(), KEY_MODE)?;
        let path = self.path(stem, CERTIFICATE);
        write_new(&path, pem, CERTIFICATE_MODE)?;
        crate::print(&format!("{}: a certificate {what_for}\n", path.display()));
        Ok(())
    }
}

fn alone(there: &Path, missing: &Path) -> String {
    let (there, missing) = (there.display(), missing.display());
    format!("{there} is there without {missing}: put that beside it, or remove {there}")
}

/// Never over a file that is there, which may be the only copy of a key.
fn write_new(path: &Path, text: &str, mode: u32) -> Result<(), String> {
    let write = || {
        let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()
    };
    write().map_err(|error: io::Error| format!("cannot write {}: {error}", path.display()))
}

/// The authority of this folder, made if there is none.
fn authority(folder: Folder<'_>) -> Result<Issuer<'static, KeyPair>, Box<dyn Error>> {
    let (certificate, key_path) =
        (folder.path(AUTHORITY, CERTIFICATE), folder.path(AUTHORITY, KEY));
    if folder.has(AUTHORITY)? {
        let read = |path: &Path| {
            fs::read_to_string(path)
                .map_err(|error| format!("cannot read {}: {error}", path.display()))
        };
        let pem = read(&certificate)?;
        let key = KeyPair::from_pem(&read(&key_path)?)
            .map_err(|error| format!("{} is no private key: {error}", key_path.display()))?;
        let issuer = Issuer::from_ca_cert_pem(&pem, key)
            .map_err(|error| format!("{} is no certificate: {error}", certificate.display()))?;
        crate::print(&format!("{} is there and stays\n", certificate.display()));
        return Ok(issuer);
    }
    let key = KeyPair::generate()?;
    let name = format!("authority of {}", machine().as_deref().unwrap_or("this machine"));
    let mut params = params("authority", &name, AUTHORITY_DAYS)?;
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params.use_authority_key_identifier_extension = false;
    let pem = params.self_signed(&key)?.pem();
    folder.write(AUTHORITY, &pem, &key, "of an authority, for clients to trust")?;
    Ok(Issuer::new(params, key))
}

/// What all certificates have in common.
fn params(unit: &str, name: &str, days: u16) -> Result<CertificateParams, Box<dyn Error>> {
    let mut params = CertificateParams::new(Vec::new())?;
    let mut subject = DistinguishedName::new();
    subject.push(DnType::OrganizationName, "Bellbird");
    subject.push(DnType::OrganizationalUnitName, unit);
    subject.push(DnType::CommonName, name);
    params.distinguished_name = subject;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.use_authority_key_identifier_extension = true;
    let day = |from_now: i64| -> Result<_, jiff::Error> {
        let date = Zoned::now().checked_add(from_now.days())?.date();
        let (month, day) = (date.month().unsigned_abs(), date.day().unsigned_abs());
        Ok(date_time_ymd(date.year().into(), month, day))
    };
    // Clocks differ, and the day begins elsewhere earlier.
    params.not_before = day(-1)?;
    params.not_after = day(i64::from(days) + 1)?;
    Ok(params)
}

/// Those given, and those by which this machine knows itself; none twice.
fn hosts(given: &[String]) -> Vec<String> {
    let own = ["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    let mut hosts = Vec::new();
    for host in given.iter().cloned().chain(machine()).chain(own) {
        if !hosts.contains(&host) {
            hosts.push(host);
        }
    }
    hosts
}

/// What this machine is called, if that can be a name in a certificate.
fn machine() -> Option<String> {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    host(name.trim()).ok().filter(|name| name.parse::<IpAddr>().is_err())
}

/// A name of a host, or an address.
fn host(text: &str) -> Result<String, String> {
    let is_label = |label: &str| {
        let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
        label == "*" || (!label.is_empty() && label.len() < 64 && label.bytes().all(is_letter))
    };
    if text.parse::<IpAddr>().is_ok() || (text.len() < 254 && text.split('.').all(is_label)) {
        Ok(text.to_ascii_lowercase())
    } else {
        Err("give a name such as broker.example.com, or an address, without a port".into())
    }
}

/// The name of a client, which becomes that of a file as well.
fn client(text: &str) -> Result<String, String> {
    let is_letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.@".contains(&byte);
    let is_name = (1..=64).contains(&text.len()) && text.bytes().all(is_letter);
    if is_name && !text.starts_with('.') {
        Ok(text.into())
    } else {
        Err("give 1 to 64 letters and digits, with - _ . and @ within".into())
    }
}

/// How to use what is there.
fn proposal(folder: Folder<'_>) -> String {
    let path = |stem, extension| folder.path(stem, extension).display().to_string();
    let (server, key) = (path("server", CERTIFICATE), path("server", KEY));
    let authority = path(AUTHORITY, CERTIFICATE);
    format!(
        "start the broker with them:\n  bellbird start --listen-tls 127.0.0.1:8883 \
         --tls-certificate {server} --tls-key {key}\nand connect with the authority's certificate, \
         which may go to every client:\n  mosquitto_sub -h localhost -p 8883 --cafile {authority} \
         -t '#' -v\nkeep {} to yourself: who has it can make certificates that your clients trust\n",
        path(AUTHORITY, KEY)
    )
}

const AUTHORITY: &str = "ca";
const CERTIFICATE: &str = "pem";
const KEY: &str = "key";
/// Ten years: whoever trusts it was told so by hand.
const AUTHORITY_DAYS: u16 = 3652;
const DIRECTORY_MODE: u32 = 0o755;
const CERTIFICATE_MODE: u32 = 0o644;
/// For its owner alone.
const KEY_MODE: u32 = 0o600;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_hosts_and_files() {
        for good in ["localhost", "broker.example.com", "192.0.2.7", "2001:db8::7", "*.example.com"]
        {
            assert!(host(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "localhost:8883", "a..b", "[::1]", "bröker"] {
            assert!(host(bad).is_err(), "{bad}");
        }
        for good in ["sensor-1", "a@b.c", "A_1"] {
            assert!(client(good).is_ok(), "{good}");
        }
        for bad in ["", "../x", ".x", "a/b", "a b"] {
            assert!(client(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_host_is_named_once() {
        let hosts = hosts(&["broker.example".into(), "localhost".into()]);
        assert_eq!(hosts[0], "broker.example");
        assert_eq!(hosts.iter().filter(|host| *host == "localhost").count(), 1);
        assert!(hosts.contains(&"127.0.0.1".to_owned()) && hosts.contains(&"::1".to_owned()));
    }
}
