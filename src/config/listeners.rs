//! The sockets to listen on: `IP:PORT` or `unix:/path`.
//!
//! Loopback unless told otherwise; the admin listener nothing but loopback or a Unix socket. Nothing is bound here.

use std::{net::SocketAddr, path::PathBuf};

use super::{
    Address, InboundTls, Listener, Listeners, origin::host_name, quantity::Expected, reader::Reader,
};

/// An address as it is written, before it has a mode.
enum Place {
    Off,
    Tcp(SocketAddr),
    Unix(PathBuf),
}

/// Who may connect to a Unix socket that a flag names: only the user who started the program.
const SOCKET_MODE: u32 = 0o600;

/// Reads an address that a command takes from a flag alone; `None` for `off`.
pub fn listener_address(text: &str) -> Result<Option<Address>, Expected> {
    Ok(match place(text)? {
        Place::Off => None,
        Place::Tcp(address) => Some(Address::Tcp(address)),
        Place::Unix(path) => Some(Address::Unix {
            path,
            mode: SOCKET_MODE,
        }),
    })
}

/// Reads the section `listeners`.
pub(super) fn read(reader: &mut Reader<'_>, warnings: &mut Vec<String>) -> Option<Listeners> {
    let proxy = listener(reader, "proxy");
    let health = listener(reader, "health");
    let admin = listener(reader, "admin");
    let mut taken: Vec<(&str, &Address)> = Vec::new();
    for (name, read) in [("proxy", &proxy), ("health", &health), ("admin", &admin)] {
        let Some(Some(listener)) = read else { continue };
        if let Some((other, _)) = taken.iter().find(|(_, a)| collide(a, &listener.address)) {
            let remedy = format!("must differ from the address of listeners.{other}");
            reader.reject(&format!("listeners.{name}.address"), remedy);
        }
        taken.push((name, &listener.address));
    }
    let (proxy, health, admin) = (proxy?, health?, admin?);
    for (name, listener) in [("proxy", &proxy), ("health", &health)] {
        if listener.is_none() {
            let remedy = "must be IP:PORT or unix:/path; only the admin listener can be off";
            reader.reject(&format!("listeners.{name}.address"), remedy);
        }
    }
    let (proxy, health) = (proxy?, health?);
    // Whoever must show a certificate is no stranger.
    if proxy.tls.as_ref().is_none_or(|tls| tls.client_ca.is_none()) {
        warn_of_strangers(&proxy.address, warnings);
    }
    Some(Listeners {
        proxy,
        health,
        admin,
    })
}

fn listener(reader: &mut Reader<'_>, name: &str) -> Option<Option<Listener>> {
    let path = |key: &str| format!("listeners.{name}.{key}");
    let place = reader.required(&path("address"), place);
    let mode = reader.required(&path("socket_mode"), socket_mode);
    let hosts = reader.list(&path("hosts"), host_name);
    let tls = if name == "proxy" {
        tls(reader)
    } else {
        Some(None)
    };
    let place = place?;
    if name == "admin"
        && matches!(&place, Place::Tcp(address) if !Address::Tcp(*address).is_loopback_ip())
    {
        reader.reject(
            &path("address"),
            "must be a loopback address or unix:/path: whoever reaches this listener can stop the proxy",
        );
        return None;
    }
    let address = match place {
        Place::Off => return Some(None),
        Place::Tcp(address) => Address::Tcp(address),
        Place::Unix(path) => Address::Unix { path, mode: mode? },
    };
    mode?;
    Some(Some(Listener {
        address,
        hosts: hosts?,
        tls: tls?,
    }))
}

/// TLS for callers of the proxy listener.
fn tls(reader: &mut Reader<'_>) -> Option<Option<InboundTls>> {
    const CLIENT_CA: &str = "listeners.proxy.tls.client_ca_file";
    let pair = reader.pair(
        ("listeners.proxy.tls.certificate_file", file_path),
        ("listeners.proxy.tls.key_file", file_path),
    );
    let client_ca = reader.optional(CLIENT_CA, file_path);
    match (pair?, client_ca?) {
        (None, Some(_)) => {
            reader.reject(
                CLIENT_CA,
                "needs certificate_file and key_file beside it: without TLS nobody shows a certificate",
            );
            None
        }
        (None, None) => Some(None),
        (Some((certificate, key)), client_ca) => Some(Some(InboundTls {
            certificate,
            key,
            client_ca,
        })),
    }
}

fn place(text: &str) -> Result<Place, Expected> {
    /// `sun_path` of Linux holds 108 bytes, the last a NUL; while it is bound, a socket has a longer name.
    const LONGEST_SOCKET_PATH: usize = 96;
    if text == "off" {
        return Ok(Place::Off);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return if path.starts_with('/')
            && !path.ends_with('/')
            && path.len() <= LONGEST_SOCKET_PATH
            && !path.contains(char::is_control)
        {
            Ok(Place::Unix(path.into()))
        } else {
            Err(format!(
                "must be unix: and an absolute path of a socket, of at most {LONGEST_SOCKET_PATH} bytes"
            ))
        };
    }
    text.parse().map(Place::Tcp).map_err(|_| {
        "must be IP:PORT such as 127.0.0.1:8646 or [::1]:8646 (an address, not a name), or unix:/path"
            .to_owned()
    })
}

fn socket_mode(text: &str) -> Result<u32, Expected> {
    const ALL_BITS: u32 = 0o777;
    let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    octal
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
        .filter(|mode| *mode <= ALL_BITS)
        .ok_or_else(|| "must be permission bits in octal, from 0000 to 0777".to_owned())
}

/// Whether binding one of them would fail because of the other.
fn collide(a: &Address, b: &Address) -> bool {
    match (a, b) {
        (Address::Tcp(a), Address::Tcp(b)) => {
            let same_ip = a.ip() == b.ip()
                || (a.is_ipv4() == b.is_ipv4()
                    && (a.ip().is_unspecified() || b.ip().is_unspecified()));
            // Port 0 is a different port each time.
            a.port() == b.port() && a.port() != 0 && same_ip
        }
        (Address::Unix { path: a, .. }, Address::Unix { path: b, .. }) => a == b,
        (Address::Tcp(_), Address::Unix { .. }) | (Address::Unix { .. }, Address::Tcp(_)) => false,
    }
}

fn warn_of_strangers(proxy: &Address, warnings: &mut Vec<String>) {
    const WRITABLE_BY_OTHERS: u32 = 0o002;
    match proxy {
        Address::Tcp(_) if !proxy.is_loopback_ip() => warnings.push(
            "listeners.proxy.address is not a loopback address and nothing authenticates callers: \
             any host that can reach it can have payments signed"
                .to_owned(),
        ),
        Address::Unix { mode, .. } if mode & WRITABLE_BY_OTHERS != 0 => warnings.push(
            "listeners.proxy.socket_mode lets everyone on this machine connect, and so have payments signed"
                .to_owned(),
        ),
        Address::Tcp(_) | Address::Unix { .. } => {}
    }
}

/// `text` as a file's path.
pub(super) fn file_path(text: &str) -> Result<PathBuf, Expected> {
    if text.is_empty() || text.contains(char::is_control) {
        return Err("must be the path of a file".to_owned());
    }
    Ok(text.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcp(text: &str) -> Address {
        Address::Tcp(text.parse().expect("valid"))
    }

    #[test]
    fn an_address_is_ip_and_port_or_the_path_of_a_socket() {
        for good in [
            "127.0.0.1:0",
            "[::1]:8646",
            "0.0.0.0:1",
            "unix:/run/proxy.sock",
            "off",
        ] {
            assert!(place(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "localhost:80",
            "127.0.0.1",
            ":80",
            "8646",
            "127.0.0.1:65536",
            "::1:80",
            "unix:relative",
            "unix:",
            "unix:/dir/",
            "unix://a\n",
            "/run/proxy.sock",
            "OFF",
        ] {
            assert!(place(bad).is_err(), "{bad:?}");
        }
        assert!(place(&format!("unix:/{}", "x".repeat(107))).is_err());
    }

    #[test]
    fn modes_are_octal_permission_bits() {
        assert_eq!(socket_mode("0600"), Ok(0o600));
        assert_eq!(socket_mode("660"), Ok(0o660));
        for bad in ["", "6", "1777", "0o600", "rw", "0800", "+600"] {
            assert!(socket_mode(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn addresses_collide_where_the_second_could_not_be_bound() {
        assert!(collide(&tcp("127.0.0.1:80"), &tcp("127.0.0.1:80")));
        assert!(collide(&tcp("0.0.0.0:80"), &tcp("127.0.0.1:80")));
        assert!(!collide(&tcp("0.0.0.0:80"), &tcp("[::1]:80")));
        assert!(!collide(&tcp("127.0.0.1:0"), &tcp("127.0.0.1:0")));
        assert!(!collide(&tcp("127.0.0.1:80"), &tcp("127.0.0.2:80")));
    }
}
