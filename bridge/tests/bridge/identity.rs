//! Who the bridge is for the server, who the server is for the bridge, and secrets.

use crate::support::*;
use data_encoding::BASE64URL_NOPAD;
use nkeys::KeyPair;
use serde_json::{Value, json};
use std::fs;
use std::process::Command;

/// Names, passwords and tokens come from files, and are in no log.
#[apply(isolated)]
#[needs(nats)]
fn secrets() {
    let _directory = WorkingDirectory::new();
    let extra = ["--user", "bridge", "--pass", "hunter2"];
    let server = Server::start_with("nats", "127.0.0.1", &[], &extra);
    let url = server.url();
    let mut publisher = Publisher::new("md");
    fs::write("password", "hunter2\n").unwrap();
    fs::write("wrong", "hunter3\n").unwrap();
    let config = |file: &str| {
        let text =
            format!("engine = \"{url}\"\n[auth]\nuser = \"bridge\"\npassword = \"{file}\"\n");
        fs::write(format!("{file}.toml"), text).unwrap();
        format!("--config={file}.toml")
    };
    let words = [&config("wrong"), "--log=trace", "feed:md -> md"];
    let refused = Bridge::start_alone("a", &[], &words);
    publisher.wait_subscribers(2);
    refused.wait_log("authorization violation");
    drop(refused);
    let words = [&config("password"), "--log=trace", "feed:md -> md"];
    let bridge = Bridge::start_alone("b", &[], &words);
    publisher.wait_subscribers(2);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    let command = fs::read(format!("/proc/{}/cmdline", bridge.pid())).unwrap();
    // Only root may read that of the bridge.
    let environment = fs::read(format!("/proc/{}/environ", bridge.pid())).unwrap_or_default();
    let logs = [fs::read("a.log").unwrap(), fs::read("b.log").unwrap()];
    for text in [command, environment].iter().chain(&logs) {
        assert!(!String::from_utf8_lossy(text).contains("hunter"));
    }
    bridge.stop();
}

/// An NKEY proves who the bridge is.
#[apply(isolated)]
#[needs(nats)]
fn nkey() {
    let _directory = WorkingDirectory::new();
    let key = KeyPair::new_user();
    let users = format!(
        "authorization {{ users = [ {{ nkey: {} }} ] }}\n",
        key.public_key()
    );
    fs::write("server.conf", users).unwrap();
    fs::write("seed", key.seed().unwrap()).unwrap();
    let server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let mut publisher = Publisher::new("md");
    let bridge = Bridge::start(&server, "a", &["--nkey=seed", "feed:md -> md"]);
    publisher.wait_subscribers(2);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    let seed = fs::read_to_string("seed").unwrap();
    assert!(!bridge.log().contains(&seed));
    bridge.stop();
}

/// What `issuer` says about the holder of a key, as the server and its clients exchange it.
fn signed(issuer: &KeyPair, subject: &KeyPair, about: Value) -> String {
    let header = json!({ "typ": "JWT", "alg": "ed25519-nkey" });
    let claims = json!({
        "jti": "1",
        "iat": 1_700_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": "test",
        "nats": about,
    });
    let part = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let text = format!("{}.{}", part(header), part(claims));
    let signature = issuer.sign(text.as_bytes()).unwrap();
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

/// What the operator says about an account: no limits. That of the system may have no streams.
fn about_account(has_streams: bool) -> Value {
    let unlimited = |names: &[&str]| {
        let limit = |&name: &&str| (name.to_owned(), json!(-1));
        names.iter().map(limit).collect::<serde_json::Map<_, _>>()
    };
    let mut limits = unlimited(&[
        "subs", "data", "payload", "imports", "exports", "conn", "leaf",
    ]);
    if has_streams {
        let streams = ["mem_storage", "disk_storage", "streams", "consumer"];
        limits.extend(unlimited(&streams));
    }
    json!({ "type": "account", "version": 2, "limits": limits })
}

/// The file of a user: what the account says about its key, and the key.
fn credentials(account: &KeyPair) -> String {
    let user = KeyPair::new_user();
    let about = json!({ "type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1 });
    format!(
        "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        signed(account, &user, about),
        user.seed().unwrap()
    )
}

/// A file of credentials proves who the bridge is.
#[apply(isolated)]
#[needs(nats)]
fn credentials_file() {
    let _directory = WorkingDirectory::new();
    let operator = KeyPair::new_operator();
    let (account, system) = (KeyPair::new_account(), KeyPair::new_account());
    let own = signed(
        &operator,
        &operator,
        json!({ "type": "operator", "version": 2, "system_account": system.public_key() }),
    );
    let known = [(&account, true), (&system, false)].map(|(account, has_streams)| {
        let text = signed(&operator, account, about_account(has_streams));
        format!("{}: {text}\n", account.public_key())
    });
    let config = format!(
        "operator: {own}\nsystem_account: {}\nresolver: MEMORY\nresolver_preload: {{\n{}}}\n",
        system.public_key(),
        known.concat()
    );
    fs::write("server.conf", config).unwrap();
    fs::write("a.creds", credentials(&KeyPair::new_account())).unwrap();
    fs::write("b.creds", credentials(&account)).unwrap();
    let server = Server::start_with("nats", "127.0.0.1", &[], &["-c", "server.conf"]);
    let url = server.url();
    let mut publisher = Publisher::new("md");
    let start = |name: &str| {
        let file = format!("--credentials={name}.creds");
        let words = ["--engine", &url, &file, "--log=trace", "feed:md -> md"];
        Bridge::start_alone(name, &[], &words)
    };
    let refused = start("a");
    publisher.wait_subscribers(2);
    refused.wait_log("authorization violation");
    let bridge = start("b");
    publisher.wait_subscribers(4);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    assert_eq!(refused.number("messages"), Some(0));
    let file = fs::read_to_string("b.creds").unwrap();
    let log = bridge.log();
    let secrets = file.lines().filter(|line| line.len() > 40);
    assert_eq!(secrets.filter(|&line| log.contains(line)).count(), 0);
    bridge.stop();
}

#[track_caller]
fn openssl(words: &str) {
    let output = Command::new("openssl")
        .args(words.split(' '))
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
}

/// Makes an authority: NAME.pem and NAME.key.
fn make_authority(name: &str) {
    openssl(&format!(
        "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN={name} \
         -keyout {name}.key -out {name}.pem"
    ));
}

/// Makes a certificate that an authority has signed: NAME.pem and NAME.key.
fn make_certificate(authority: &str, name: &str) {
    openssl(&format!(
        "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN={name} -keyout \
         {name}.key -out {name}.csr"
    ));
    fs::write("names", "subjectAltName=IP:127.0.0.1\n").unwrap();
    openssl(&format!(
        "x509 -req -in {name}.csr -CA {authority}.pem -CAkey {authority}.key -CAcreateserial -days \
         2 -extfile names -out {name}.pem"
    ));
}

/// The arguments of a server that has a certificate.
const WITH_TLS: [&str; 5] = ["--tls", "--tlscert", "server.pem", "--tlskey", "server.key"];

/// An encrypted connection, whose certificate the bridge checks.
#[apply(isolated)]
#[needs(nats_and_openssl)]
fn tls() {
    let _directory = WorkingDirectory::new();
    make_authority("ca");
    make_authority("other");
    make_certificate("ca", "server");
    let server = Server::start_with("nats", "127.0.0.1", &[], &WITH_TLS);
    let url = server.url().replace("nats:", "tls:");
    let mut publisher = Publisher::new("md");
    let start = |name, ca| {
        let words = ["--engine", &url, ca, "--log=debug", "feed:md -> md"];
        Bridge::start_alone(name, &[], &words)
    };
    let refused = start("a", "--ca=other.pem");
    publisher.wait_subscribers(2);
    refused.wait_log("certificate");
    let bridge = start("b", "--ca=ca.pem");
    publisher.wait_subscribers(4);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    assert_eq!(refused.number("messages"), Some(0));
    bridge.stop();
}

/// The server checks the certificate of the bridge.
#[apply(isolated)]
#[needs(nats_and_openssl)]
fn client_certificate() {
    let _directory = WorkingDirectory::new();
    make_authority("ca");
    make_authority("other");
    make_certificate("ca", "server");
    make_certificate("ca", "b");
    make_certificate("other", "a");
    let extra = [&WITH_TLS[..], &["--tlsverify", "--tlscacert", "ca.pem"]].concat();
    let server = Server::start_with("nats", "127.0.0.1", &[], &extra);
    let url = server.url().replace("nats:", "tls:");
    let mut publisher = Publisher::new("md");
    let start = |name: &str| {
        let tls = format!("ca = \"ca.pem\"\ncertificate = \"{name}.pem\"\nkey = \"{name}.key\"\n");
        let config = format!("engine = \"{url}\"\nlog = \"debug\"\n[tls]\n{tls}");
        fs::write(format!("{name}.toml"), config).unwrap();
        let file = format!("--config={name}.toml");
        Bridge::start_alone(name, &[], &[&file, "feed:md -> md"])
    };
    let refused = start("a");
    publisher.wait_subscribers(2);
    let bridge = start("b");
    publisher.wait_subscribers(4);
    publisher.publish(3);
    bridge.wait_number("messages", 3);
    assert_eq!(refused.number("messages"), Some(0));
    bridge.stop();
}

fn nats_and_openssl() -> Option<&'static str> {
    let has_openssl = common::find_tool("openssl").is_some();
    nats().or((!has_openssl).then_some("needs openssl"))
}
