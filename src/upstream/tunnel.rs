//! Through an HTTP proxy: `CONNECT host:port` on a connection to it, after which that connection is one to the upstream.
//!
//! Of the proxy's answer nothing but the status is kept: it is a stranger's text. Not one byte of TLS is written before the
//! proxy has agreed, and the password is read anew for each connection, so that a rotated one needs no restart.

use std::io;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pingora::{Error, ErrorType, OrErr as _};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};
use zeroize::Zeroizing;

use crate::{
    config::{Origin, ProxyConfig, ProxyCredentials, userinfo},
    credentials::{SecretError, read_secret_anew},
};

/// The proxy answered with a status that is not 2xx, which is the code.
pub(super) const PROXY_REFUSED: &str = "ProxyRefused";
/// The proxy's answer is none, or its end was not reached.
pub(super) const PROXY_UNINTELLIGIBLE: ErrorType = ErrorType::new("ProxyUnintelligible");
/// The password for the proxy could not be read.
pub(super) const PROXY_PASSWORD: ErrorType = ErrorType::new("ProxyPassword");

/// The longest head of an answer that is read, in bytes. Proxies explain themselves in bodies, which are not read.
const LONGEST_HEAD: usize = 8 * 1024;

/// What is asked of a proxy.
#[derive(Debug)]
pub(super) struct Tunnel {
    /// Host and port of the upstream, IPv6 in brackets; the port always (RFC 9112 §3.2.3).
    target: String,
    proxy: String,
    credentials: Option<ProxyCredentials>,
}

impl Tunnel {
    pub(super) fn new(origin: &Origin, proxy: &ProxyConfig) -> Self {
        let host = &origin.host;
        let target = if host.contains(':') {
            format!("[{host}]:{}", origin.port)
        } else {
            format!("{host}:{}", origin.port)
        };
        Self {
            target,
            proxy: proxy.name(),
            credentials: proxy.credentials.clone(),
        }
    }

    /// The proxy, for people.
    pub(super) fn proxy(&self) -> &str {
        &self.proxy
    }

    /// Whether the proxy is shown credentials.
    pub(super) fn has_credentials(&self) -> bool {
        self.credentials.is_some()
    }

    /// Makes `stream`, a connection to the proxy, one to the upstream. The caller bounds the time.
    pub(super) async fn open(&self, stream: &mut TcpStream) -> pingora::Result<()> {
        let request = self.request().await?;
        stream
            .write_all(&request)
            .await
            .or_err(PROXY_UNINTELLIGIBLE, "asking the proxy")?;
        match read_status(stream).await {
            Ok(200..=299) => Ok(()),
            Ok(status) => Err(Error::explain(
                ErrorType::CustomCode(PROXY_REFUSED, status),
                format!("the proxy answered CONNECT with {status}"),
            )),
            Err(error) => Err(Error::because(
                PROXY_UNINTELLIGIBLE,
                "reading the proxy's answer",
                error,
            )),
        }
    }

    /// RFC 9110 §9.3.6: the target and `Host` alike; nothing of a caller's request is in it.
    async fn request(&self) -> pingora::Result<Zeroizing<Vec<u8>>> {
        let target = &self.target;
        let mut request =
            Zeroizing::new(format!("CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n").into_bytes());
        if let Some(credentials) = self.credentials.clone() {
            // A secret may lie on a file system that hangs.
            let read = tokio::task::spawn_blocking(move || user_pass(&credentials));
            let user_pass = read
                .await
                .or_err(PROXY_PASSWORD, "reading the password for the proxy")?
                .or_err(PROXY_PASSWORD, "reading the password for the proxy")?;
            let encoded = Zeroizing::new(STANDARD.encode(&*user_pass));
            request.extend_from_slice(b"Proxy-Authorization: Basic ");
            request.extend_from_slice(encoded.as_bytes());
            request.extend_from_slice(b"\r\n");
        }
        request.extend_from_slice(b"\r\n");
        Ok(request)
    }
}

/// `user:password` (RFC 7617 §2).
fn user_pass(credentials: &ProxyCredentials) -> Result<Zeroizing<Vec<u8>>, SecretError> {
    match credentials {
        ProxyCredentials::File { username, password } => {
            let password = read_secret_anew(password)?;
            let mut bytes = Zeroizing::new(Vec::with_capacity(
                username.len() + 1 + password.expose().len(),
            ));
            bytes.extend_from_slice(username.as_bytes());
            bytes.push(b':');
            bytes.extend_from_slice(password.expose());
            Ok(bytes)
        }
        ProxyCredentials::Userinfo(variable) => {
            let value = Zeroizing::new(std::env::var(variable).unwrap_or_default());
            let userinfo = userinfo(&value).unwrap_or_default();
            let mut bytes = percent_decoded(userinfo.as_bytes());
            // RFC 7617 §2: the colon stands even where the password is empty.
            if !bytes.contains(&b':') {
                bytes.push(b':');
            }
            Ok(bytes)
        }
    }
}

/// RFC 3986 §2.1. A `%` that begins no escape stands for itself, as curl has it.
fn percent_decoded(text: &[u8]) -> Zeroizing<Vec<u8>> {
    let digit = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let mut decoded = Zeroizing::new(Vec::with_capacity(text.len() + 1));
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let escaped = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high * 16 + low).ok(),
            _ => None,
        };
        decoded.push(escaped.unwrap_or(*byte));
        at += if escaped.is_some() { 3 } else { 1 };
    }
    decoded
}

/// Reads the head of the final answer and nothing behind it.
async fn read_status(stream: &mut TcpStream) -> io::Result<u16> {
    let mut head = Vec::with_capacity(512);
    loop {
        if let Some(end) = head.windows(4).position(|w| w == b"\r\n\r\n") {
            let status = status_of(&head).ok_or_else(|| no_answer("it is no HTTP/1 answer"))?;
            // RFC 9110 §15.2: interim answers may come before it.
            if (100..200).contains(&status) {
                head.drain(..end + 4);
                continue;
            }
            if (200..300).contains(&status) && head.len() > end + 4 {
                // In TLS the client speaks first, so this is not from the upstream.
                return Err(no_answer("bytes follow it that nobody asked for"));
            }
            return Ok(status);
        }
        if head.len() >= LONGEST_HEAD {
            return Err(no_answer("its head is larger than 8 KiB"));
        }
        let mut block = [0; 1024];
        let room = block.len().min(LONGEST_HEAD - head.len());
        match stream.read(&mut block[..room]).await? {
            0 => return Err(no_answer("the connection ended before it did")),
            count => head.extend_from_slice(&block[..count]),
        }
    }
}

fn no_answer(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// RFC 9112 §4: `HTTP/1.x NNN reason`.
fn status_of(head: &[u8]) -> Option<u16> {
    let rest = head.strip_prefix(b"HTTP/1.")?;
    let [b'0' | b'1', b' ', a, b, c, b' ' | b'\r', ..] = rest else {
        return None;
    };
    let digits = [*a, *b, *c];
    let status = std::str::from_utf8(&digits).ok()?.parse().ok()?;
    (digits.iter().all(u8::is_ascii_digit) && status >= 100).then_some(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_line_is_read_strictly() {
        assert_eq!(
            status_of(b"HTTP/1.1 200 Connection established\r\n\r\n"),
            Some(200)
        );
        assert_eq!(status_of(b"HTTP/1.0 407\r\n\r\n"), Some(407));
        for bad in [
            b"HTTP/2 200 OK\r\n\r\n".as_slice(),
            b"HTTP/1.1 2000 OK\r\n\r\n",
            b"HTTP/1.1 +20 OK\r\n\r\n",
            b"HTTP/1.1 099 OK\r\n\r\n",
            b"SSH-2.0-x\r\n\r\n",
            b"",
        ] {
            assert_eq!(status_of(bad), None);
        }
    }

    #[test]
    fn userinfo_is_decoded_and_what_is_no_escape_stands_for_itself() {
        assert_eq!(percent_decoded(b"u:p%40%3a%").as_slice(), b"u:p@:%");
        assert_eq!(percent_decoded(b"%zz%4").as_slice(), b"%zz%4");
    }
}
