//! A client of the same library on the other side, and bytes that no client sends.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedKey, DnType,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
    date_time_ymd, generate_simple_self_signed,
};
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::version::{TLS12, TLS13};
use rustls::{
    ClientConfig, ClientConnection, ConnectionTrafficSecrets, RootCertStore,
    SupportedProtocolVersion,
};

use super::*;

/// A folder with certificates for `localhost` and for `other.example`, and their keys.
struct Files {
    folder: PathBuf,
    roots: Arc<RootCertStore>,
}

impl Files {
    fn new(test: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bellbird-{test}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let mut roots = RootCertStore::empty();
        for name in ["localhost", "other.example"] {
            let CertifiedKey { cert, signing_key } =
                generate_simple_self_signed([name.to_owned()]).unwrap();
            std::fs::write(folder.join(format!("{name}.pem")), cert.pem()).unwrap();
            std::fs::write(folder.join(format!("{name}.key")), signing_key.serialize_pem())
                .unwrap();
            roots.add(cert.der().clone()).unwrap();
        }
        Self { folder, roots: roots.into() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn settings(&self) -> TlsSettings {
        TlsSettings {
            certificates: vec![self.path("localhost.pem"), self.path("other.example.pem")],
            keys: vec![self.path("localhost.key"), self.path("other.example.key")],
            ..TlsSettings::default()
        }
    }

    fn server(&self) -> TlsStream {
        TlsStream::new(&Tls::read(&self.settings(), &["mqtt"]).unwrap())
    }

    fn client(&self, name: &str, change: impl FnOnce(&mut ClientConfig)) -> ClientConnection {
        self.client_of(&[&TLS13, &TLS12], name, change)
    }

    fn client_of(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        name: &str,
        change: impl FnOnce(&mut ClientConfig),
    ) -> ClientConnection {
        let mut provider = default_provider();
        // One suite, whose records the tests can make.
        provider.cipher_suites.retain(|suite| {
            [
                cipher_suite::TLS13_AES_256_GCM_SHA384.suite(),
                cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384.suite(),
            ]
            .contains(&suite.suite())
        });
        let mut config = ClientConfig::builder_with_provider(provider.into())
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(self.roots.clone())
            .with_no_client_auth();
        change(&mut config);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        ClientConnection::new(config.into(), name).unwrap()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.folder).unwrap();
    }
}

/// Hands bytes over as reads of this size do.
fn hand_over(server: &mut TlsStream, bytes: &[u8], chunk: usize) -> Vec<u8> {
    let (mut wire, mut all) = (vec![0; 64 * 1024], Vec::new());
    for part in bytes.chunks(chunk) {
        let kept = server.begin(&mut wire);
        wire[kept..kept + part.len()].copy_from_slice(part);
        server.take(&mut wire[..kept + part.len()], &mut all);
    }
    all
}

/// What a client writes.
fn out(client: &mut ClientConnection) -> Vec<u8> {
    let mut bytes = Vec::new();
    while client.wants_write() {
        client.write_tls(&mut bytes).unwrap();
    }
    bytes
}

/// Gives a client what the server has pending. Returns what was within.
fn into(client: &mut ClientConnection, server: &mut TlsStream) -> Vec<u8> {
    let pending = server.pending().to_vec();
    server.sent(pending.len());
    read(client, &pending)
}

fn read(client: &mut ClientConnection, mut records: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    while !records.is_empty() {
        client.read_tls(&mut records).unwrap();
        let state = client.process_new_packets().unwrap();
        let before = plain.len();
        plain.resize(before + state.plaintext_bytes_to_read(), 0);
        client.reader().read_exact(&mut plain[before..]).unwrap();
    }
    plain
}

fn shake_hands(client: &mut ClientConnection, server: &mut TlsStream, chunk: usize) {
    for _ in 0..4 {
        assert_eq!(hand_over(server, &out(client), chunk), b"");
        into(client, server);
    }
    assert!(server.is_open() && !client.is_handshaking(), "{:?}", server.ending());
}

#[test]
fn bytes_come_through_however_they_are_cut() {
    let files = Files::new("cut");
    let message: Vec<u8> = (0..100_000_u32).map(|at| at.to_le_bytes()[0]).collect();
    for version in [&TLS12, &TLS13] {
        for chunk in [1, 5, 1000, 16_000, 40_000] {
            let mut server = files.server();
            let mut client = files.client_of(&[version], "localhost", |_| {});
            shake_hands(&mut client, &mut server, chunk);
            client.set_buffer_limit(None);
            client.writer().write_all(&message).unwrap();
            assert_eq!(hand_over(&mut server, &out(&mut client), chunk), message, "{chunk}");
            assert_eq!(server.kept_bytes(), 0, "nothing is kept of whole records");
            let (mut back, mut wire) = (Vec::new(), vec![0; SEALED_WIRE_BYTES]);
            for part in message.chunks(SEALED_BYTES_MAX) {
                let sealed = server.seal(part, &mut wire).unwrap();
                back.extend(read(&mut client, &wire[..sealed]));
            }
            assert_eq!(back, message);
        }
    }
}

#[test]
fn what_is_sealed_fits() {
    let files = Files::new("fits");
    for version in [&TLS12, &TLS13] {
        let mut server = files.server();
        let mut client = files.client_of(&[version], "localhost", |_| {});
        shake_hands(&mut client, &mut server, 4096);
        let mut wire = vec![0; SEALED_WIRE_BYTES];
        let plain = vec![7; SEALED_BYTES_MAX];
        assert!(server.seal(&plain, &mut wire).unwrap() <= SEALED_WIRE_BYTES);
        assert_eq!(server.seal(&[], &mut wire).unwrap(), 0);
    }
}

#[test]
fn a_host_that_is_named_gets_its_certificate() {
    let files = Files::new("names");
    let check = |name: &str, shown: &str| {
        let (mut server, mut client) = (files.server(), files.client(name, |_| {}));
        shake_hands(&mut client, &mut server, 9999);
        let pem = std::fs::read_to_string(files.path(shown)).unwrap();
        let der = client.peer_certificates().unwrap()[0].as_ref();
        let pem: String = pem.lines().filter(|line| !line.contains('-')).collect();
        assert_eq!(<base64ct::Base64 as base64ct::Encoding>::encode_string(der), pem, "{name}");
    };
    check("localhost", "localhost.pem");
    check("other.example", "other.example.pem");
}

#[test]
fn who_names_no_host_that_is_known_gets_the_first() {
    let files = Files::new("unknown");
    let mut client = files.client("elsewhere.example", |_| {});
    let mut server = files.server();
    hand_over(&mut server, &out(&mut client), 9999);
    let mut pending = server.pending();
    client.read_tls(&mut pending).unwrap();
    let refused = client.process_new_packets().unwrap_err().to_string();
    assert!(refused.contains("not valid for name") && refused.contains("localhost"), "{refused}");
}

#[test]
fn what_is_no_tls_is_told_so() {
    let files = Files::new("none");
    let check = |bytes: &[u8], words: &str| {
        let mut server = files.server();
        assert_eq!(hand_over(&mut server, bytes, 9999), b"");
        let ending = server.ending().map(ToString::to_string).unwrap_or_default();
        assert!(ending.contains(words), "{bytes:?}: {ending}");
        assert_eq!(hand_over(&mut server, b"more", 9999), b"", "nothing comes any more");
        server.close();
        server
    };
    let mqtt = b"\x10\x10\0\x04MQTT\x04\x02\0\x3c\0\x04name";
    let server = check(mqtt, "it is to connect with TLS, or to another port");
    assert_eq!(server.pending()[0], 21, "an alert");
    check(b"GET / HTTP/1.1\r\n\r\n", "it is to connect with TLS");
    // A ClientHello of SSL 3.0, as it says.
    let old = [&[22, 3, 0, 0, 45, 1, 0, 0, 41, 3, 0][..], &[7; 32], &[0, 0, 2, 0, 10, 1, 0]];
    check(&old.concat(), "too old");
}

#[test]
fn a_handshake_is_kept_within_bounds() {
    let files = Files::new("bounds");
    let mut server = files.server();
    // A message of the longest length that there is, in records of full size, never finished.
    let record = [&[22, 3, 1, 0x40, 0][..], &[0; 16_384]].concat();
    let mut flood = record.repeat(3);
    flood[5..9].copy_from_slice(&[1, 0, 0xFF, 0xFF]);
    hand_over(&mut server, &flood, 10_000);
    let ending = server.ending().map(ToString::to_string);
    assert_eq!(ending.as_deref(), Some("the client's handshake has a message of over 32768 bytes"));
}

#[test]
fn a_hello_in_many_records_is_one() {
    let files = Files::new("many");
    let mut client = files.client("localhost", |config| config.max_fragment_size = Some(64));
    let mut server = files.server();
    shake_hands(&mut client, &mut server, 50);
}

#[test]
fn both_sides_say_goodbye() {
    let files = Files::new("goodbye");
    for version in [&TLS12, &TLS13] {
        let mut server = files.server();
        let mut client = files.client_of(&[version], "localhost", |_| {});
        shake_hands(&mut client, &mut server, 9999);
        client.writer().write_all(b"the last").unwrap();
        client.send_close_notify();
        assert_eq!(hand_over(&mut server, &out(&mut client), 9999), b"the last");
        assert_eq!(server.ending(), Some(&Ending::Said));
        server.close();
        let mut pending = server.pending();
        client.read_tls(&mut pending).unwrap();
        assert!(client.process_new_packets().unwrap().peer_has_closed());
    }
}

#[test]
fn half_a_message_of_the_handshake_does_not_keep_others_waiting() {
    let files = Files::new("half");
    let mut server = files.server();
    let mut client = files.client_of(&[&TLS13], "localhost", |config| {
        config.enable_secret_extraction = true;
    });
    shake_hands(&mut client, &mut server, 9999);
    let (sequence, secrets) = client.dangerous_extract_secrets().unwrap().tx;
    let ConnectionTrafficSecrets::Aes256Gcm { key, iv } = secrets else { panic!("the only suite") };
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, key.as_ref()).unwrap());
    let record = |sequence: u64, content: &[u8]| {
        let mut nonce: [u8; 12] = iv.as_ref().try_into().unwrap();
        for (byte, of_sequence) in nonce[4..].iter_mut().zip(sequence.to_be_bytes()) {
            *byte ^= of_sequence;
        }
        let [high, low] = u16::try_from(content.len() + 16).unwrap().to_be_bytes();
        let head = [23, 3, 3, high, low];
        let mut sealed = content.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        key.seal_in_place_append_tag(nonce, Aad::from(head), &mut sealed).unwrap();
        [&head[..], &sealed].concat()
    };
    // KeyUpdate without asking for one (RFC 8446, section 4.6.3), in two records: 22 at their end.
    let (first, second) = (record(sequence, &[24, 0, 22]), record(sequence + 1, &[0, 1, 0, 22]));
    hand_over(&mut server, &first, 9999);
    assert!(server.kept_bytes() > 0);
    let mut wire = vec![0; SEALED_WIRE_BYTES];
    assert!(server.seal(b"meanwhile", &mut wire).unwrap() > 9);
    // A read that brings nothing takes nothing away either.
    let kept = server.begin(&mut wire);
    server.take_back(&wire[..kept]);
    assert!(server.seal(b"after a read", &mut wire).unwrap() > 9);
    hand_over(&mut server, &second, 9999);
    assert_eq!((server.ending(), server.kept_bytes()), (None, 0));
    assert!(server.seal(b"afterwards", &mut wire).unwrap() > 9);
}

#[test]
fn files_that_cannot_be_used_are_named() {
    let files = Files::new("files");
    let write = |name: &str, text: &str| std::fs::write(files.path(name), text).unwrap();
    write("empty.pem", "");
    write("broken.pem", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n");
    write(
        "locked.key",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let check = |certificate: &str, key: &str, named: &str, words: &str| {
        let settings = TlsSettings {
            certificates: vec![files.path(certificate)],
            keys: vec![files.path(key)],
            version_min: TlsVersion::V1_3,
            ..TlsSettings::default()
        };
        let error = Tls::read(&settings, &[]).unwrap_err();
        assert_eq!(error.path(), files.path(named), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    };
    check("missing.pem", "localhost.key", "missing.pem", "cannot read");
    check("empty.pem", "localhost.key", "empty.pem", "has no certificate");
    check("localhost.key", "localhost.key", "localhost.key", "has no certificate");
    check("broken.pem", "localhost.key", "broken.pem", "it is no PEM");
    check("localhost.pem", "localhost.pem", "localhost.pem", "has no private key");
    check("localhost.pem", "locked.key", "locked.key", "openssl pkey");
    check("localhost.pem", "other.example.key", "localhost.pem", "does not belong");
    assert_eq!(Path::new("x"), TlsError::new(Path::new("x"), error::Wrong::NoKey).path());
}

/// An authority for clients, what it has made, and what it has taken back.
struct Authority<'f> {
    files: &'f Files,
    issuer: Issuer<'static, KeyPair>,
}

impl<'f> Authority<'f> {
    fn new(files: &'f Files, name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let pem = params.self_signed(&key).unwrap().pem();
        std::fs::write(files.path("clients.pem"), pem).unwrap();
        Self { files, issuer: Issuer::new(params, key) }
    }

    /// A client with a certificate of this authority.
    fn client(
        &self,
        version: &'static SupportedProtocolVersion,
        params: CertificateParams,
    ) -> ClientConnection {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let config = ClientConfig::builder_with_provider(default_provider().into())
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(self.files.roots.clone())
            .with_client_auth_cert(vec![certificate.der().clone()], key)
            .unwrap();
        ClientConnection::new(config.into(), ServerName::try_from("localhost").unwrap()).unwrap()
    }

    /// The list of what is revoked, good until the end of this year.
    fn revoke(&self, serial: &[u8], until: i32) -> PathBuf {
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(until, 1, 1),
            crl_number: SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: vec![RevokedCertParams {
                serial_number: SerialNumber::from_slice(serial),
                revocation_time: date_time_ymd(2020, 1, 1),
                reason_code: None,
                invalidity_date: None,
            }],
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let path = self.files.path("revoked.pem");
        std::fs::write(&path, params.signed_by(&self.issuer).unwrap().pem().unwrap()).unwrap();
        path
    }

    fn server(&self, change: impl FnOnce(&mut ClientSettings)) -> TlsStream {
        let mut settings = self.files.settings();
        settings.clients.demand = Demand::Required;
        settings.clients.authorities = vec![self.files.path("clients.pem")];
        change(&mut settings.clients);
        TlsStream::new(&Tls::read(&settings, &[]).unwrap())
    }
}

fn sensor(serial: &[u8]) -> CertificateParams {
    let mut params = CertificateParams::new(vec!["sensor-1.example".to_owned()]).unwrap();
    params.subject_alt_names.push(SanType::Rfc822Name("sensor@example".try_into().unwrap()));
    params.subject_alt_names.push(SanType::URI("urn:sensor:1".try_into().unwrap()));
    params.distinguished_name.push(DnType::OrganizationName, "Mill, Inc.");
    params.distinguished_name.push(DnType::OrganizationalUnitName, "hall");
    params.distinguished_name.remove(DnType::CommonName);
    params.distinguished_name.push(DnType::CommonName, "sensor-1");
    params.serial_number = Some(SerialNumber::from_slice(serial));
    params
}

/// Lets both talk, whatever comes of it.
fn talk(client: &mut ClientConnection, server: &mut TlsStream) {
    for _ in 0..4 {
        hand_over(server, &out(client), 9999);
        let pending = server.pending().to_vec();
        server.sent(pending.len());
        let mut records = &pending[..];
        while !records.is_empty() {
            client.read_tls(&mut records).unwrap();
            if client.process_new_packets().is_err() {
                return;
            }
        }
    }
}

#[test]
fn a_certificate_says_who_a_client_is() {
    let files = Files::new("who");
    let authority = Authority::new(&files, "clients");
    for version in [&TLS12, &TLS13] {
        let check = |template: &str, expected: &str| {
            let mut client = authority.client(version, sensor(&[1, 0xAB]));
            let mut server = authority.server(|clients| {
                clients.user_name = Some(template.parse().unwrap());
            });
            talk(&mut client, &mut server);
            let proven = server.take_proven().unwrap_or_else(|| panic!("{:?}", server.ending()));
            assert_eq!(proven.user_name.as_deref(), Some(expected), "{template}");
            assert_eq!(proven.client_id, None);
            assert_eq!(server.take_proven(), None, "said once");
        };
        check("{cn}", "sensor-1");
        check("{o}/{ou}/{cn}!", "Mill, Inc./hall/sensor-1!");
        check("{dn}", "CN=sensor-1,OU=hall,O=Mill\\, Inc.");
        check("{dns}", "sensor-1.example");
        check("{email}", "sensor@example");
        check("{uri}", "urn:sensor:1");
        check("{serial}", "01ab");
    }
}

#[test]
fn who_does_not_say_who_it_is_is_not_let_in() {
    let files = Files::new("nameless");
    let authority = Authority::new(&files, "clients");
    let mut params = sensor(&[1]);
    params.distinguished_name.remove(DnType::CommonName);
    let mut client = authority.client(&TLS13, params);
    let mut server = authority.server(|clients| clients.client_id = Some("{cn}".parse().unwrap()));
    talk(&mut client, &mut server);
    assert_eq!(server.ending(), Some(&Ending::Unnamed(Unnamed::Missing("cn"))));
    client.writer().write_all(b"first words").unwrap();
    assert_eq!(hand_over(&mut server, &out(&mut client), 9999), b"", "nobody listens");
}

#[test]
fn nobody_is_heard_before_it_is_known_who_it_is() {
    let files = Files::new("unheard");
    let authority = Authority::new(&files, "clients");
    for version in [&TLS12, &TLS13] {
        let mut client = authority.client(version, sensor(&[1]));
        let mut server = authority.server(|clients| {
            clients.user_name = Some("{cn}".parse().unwrap());
        });
        hand_over(&mut server, &out(&mut client), 9999);
        into(&mut client, &mut server);
        let mut flight = out(&mut client);
        if version.version == TLS13.version {
            client.writer().write_all(b"CONNECT as somebody else").unwrap();
            flight.extend(out(&mut client));
        }
        // What ends the handshake, first words, and what breaks the connection, in one read.
        flight.extend(b"\x17\x03\x03\x00\x20 this is no record of anybody's.");
        assert_eq!(hand_over(&mut server, &flight, 60_000), b"");
        assert_eq!(server.take_proven(), None);
        assert!(matches!(server.ending(), Some(Ending::Broken(_))), "{:?}", server.ending());
    }
}

#[test]
fn certificates_of_clients_are_judged() {
    let files = Files::new("judged");
    let authority = Authority::new(&files, "clients");
    let check = |client: &mut ClientConnection, server: &mut TlsStream, words: Option<&str>| {
        talk(client, server);
        let ending = server.ending().map(ToString::to_string);
        match words {
            None => assert_eq!((ending, server.is_open()), (None, true)),
            Some(words) => {
                assert!(ending.as_ref().is_some_and(|it| it.contains(words)), "{ending:?}")
            }
        }
    };
    for version in [&TLS12, &TLS13] {
        let with = |serial: &[u8]| authority.client(version, sensor(serial));
        let without = || files.client_of(&[version], "localhost", |_| {});
        check(&mut with(&[1]), &mut authority.server(|_| {}), None);
        check(&mut without(), &mut authority.server(|_| {}), Some("shows no certificate"));
        let optional = |clients: &mut ClientSettings| clients.demand = Demand::Optional;
        check(&mut without(), &mut authority.server(optional), None);
        check(&mut with(&[1]), &mut authority.server(optional), None);
        let other = Files::new("stranger");
        let stranger = Authority::new(&other, "strangers");
        let server = || authority.server(|_| {});
        let mut unknown = {
            let own = Authority { files: &files, issuer: stranger.issuer };
            own.client(version, sensor(&[1]))
        };
        check(&mut unknown, &mut server(), Some("no authority that is trusted here"));
        let mut expired = sensor(&[1]);
        expired.not_after = date_time_ymd(2021, 1, 1);
        check(&mut authority.client(version, expired), &mut server(), Some("certificate expired"));
        let list = authority.revoke(&[7], 4000);
        let listed = || {
            let list = list.clone();
            authority.server(|clients| clients.revoked = vec![list])
        };
        check(&mut with(&[1]), &mut listed(), None);
        check(&mut with(&[7]), &mut listed(), Some("is revoked"));
        authority.revoke(&[7], 2021);
        check(&mut with(&[1]), &mut listed(), Some("too old: renew it"));
    }
}

#[test]
fn no_flipped_bit_panics() {
    let files = Files::new("flipped");
    let authority = Authority::new(&files, "clients");
    let settings = {
        let mut settings = files.settings();
        settings.clients.demand = Demand::Required;
        settings.clients.authorities = vec![files.path("clients.pem")];
        settings.clients.user_name = Some("{cn}".parse().unwrap());
        settings
    };
    let tls = Tls::read(&settings, &["mqtt"]).unwrap();
    let mut ended = 0;
    // Every seventh byte of both flights of a client, with each bit at some place.
    for (version, step) in [(&TLS12, 7), (&TLS13, 7)] {
        for flight in 0..2 {
            for at in (0..).step_by(step) {
                let mut client = authority.client(version, sensor(&[1]));
                let mut server = TlsStream::new(&tls);
                for _ in 0..flight {
                    hand_over(&mut server, &out(&mut client), 9999);
                    into(&mut client, &mut server);
                }
                let mut bytes = out(&mut client);
                let Some(byte) = bytes.get_mut(at) else { break };
                *byte ^= 1 << (at / step % 8);
                hand_over(&mut server, &bytes, [9999, 100, 1][at % 3]);
                hand_over(&mut server, b"and what comes behind it", 9999);
                let mut wire = vec![0; SEALED_WIRE_BYTES];
                if server.is_open() {
                    server.seal(b"x", &mut wire).unwrap();
                }
                server.close();
                ended += usize::from(server.ending().is_some());
            }
        }
    }
    assert!(ended > 100, "only {ended} were noticed");
}
