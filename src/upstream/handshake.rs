//! A TLS handshake looked at closely: which certificate was shown, and exactly why it is not believed.
//!
//! It trusts what exchanges trust and nothing more: the verifier here only takes note of the certificates and leaves every
//! judgement to rustls. No request is ever sent over such a connection.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use pingora::{
    tls::{
        CertificateDer, CertificateError, ClientConfig, DigitallySignedStruct,
        HandshakeSignatureValid, RootCertStore, RusTlsError, ServerCertVerified,
        ServerCertVerifier, ServerName, SignatureScheme, TlsConnector, UnixTime,
        WebPkiServerVerifier, sign::CertifiedKey, version,
    },
    upstreams::peer::Peer as _,
};
use rustls::client::ResolvesClientCert;
use tokio::time::timeout;
use x509_parser::{
    extensions::GeneralName,
    prelude::{FromDer as _, X509Certificate},
};

use super::{Freshness, Upstream, examine::Reached, roots};
use crate::{
    config::Config,
    tls::{Unusable, provider},
};

/// The certificate authorities that upstreams are verified with, and what they are shown.
#[derive(Debug)]
pub struct Roots {
    store: Arc<RootCertStore>,
    shown: Option<Arc<CertifiedKey>>,
}

/// A certificate, as far as people want to know it. Its texts hold visible ASCII only.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// The names and addresses it is for.
    pub names: Vec<String>,
    /// Who vouches for it.
    pub issuer: String,
    /// Whether that is itself.
    pub self_signed: bool,
    /// When it expires.
    pub not_after: SystemTime,
    /// How many certificates were shown with it.
    pub others: usize,
}

/// A handshake that succeeded.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// The version, such as `TLS 1.3`.
    pub version: String,
    /// Whether the server chose `http/1.1` by ALPN, which need not be.
    pub chose_http_1_1: bool,
    /// The server's certificate.
    pub certificate: Option<Certificate>,
    /// Whether the server asked for a certificate and there is none to show. In TLS 1.3 that it misses one is heard only after the
    /// handshake.
    pub wants_certificate: bool,
}

/// Why a handshake failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Distrust {
    /// It took longer than `upstream.tls_handshake_timeout`.
    TimedOut,
    /// The certificate's time is over.
    Expired,
    /// The certificate's time has not come.
    NotYetValid,
    /// The certificate is for other names.
    OtherName,
    /// No authority that is trusted vouches for the certificate.
    UnknownIssuer,
    /// The certificate is no good for another reason.
    Certificate,
    /// The server wants none of the protocols that were offered, which is HTTP/1.1.
    NoHttp11,
    /// The server wants a client certificate.
    WantsCertificate,
    /// What answered speaks no TLS that we speak.
    NoTls,
    /// The connection ended.
    Ended,
    /// Something else.
    Other,
}

impl Roots {
    /// Loads what `config` trusts.
    ///
    /// # Errors
    /// [`Unusable`] where that is nothing.
    pub fn load(config: &Config) -> Result<Self, Unusable> {
        let store = roots::load(config.upstream.ca_file.as_deref())?;
        let shown = config.upstream.client_certificate.as_ref();
        Ok(Self {
            store: Arc::new(store),
            // What is wrong with it is told by whoever makes the pool of connections.
            shown: shown.and_then(|shown| roots::shown(shown).ok().map(Arc::new)),
        })
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.store.len()
    }
}

impl Upstream {
    /// Makes a TLS handshake over `reached`, as an exchange would.
    ///
    /// # Errors
    /// Why it failed, with the certificate if one was shown.
    pub async fn shake_hands(
        &self,
        reached: Reached,
        roots: &Roots,
    ) -> Result<Handshake, (Distrust, Option<Certificate>)> {
        let endpoint = self.endpoint(Freshness::AnyAge);
        let _installed = provider();
        let verifier = WebPkiServerVerifier::builder(roots.store.clone())
            .build()
            .map_err(|_| (Distrust::UnknownIssuer, None))?;
        let witness = Arc::new(Witness {
            verifier,
            shown: Mutex::default(),
        });
        let config =
            ClientConfig::builder_with_protocol_versions(&[&version::TLS12, &version::TLS13])
                .dangerous()
                .with_custom_certificate_verifier(witness.clone());
        let shown = Arc::new(Shown {
            identity: roots.shown.clone(),
            asked: AtomicBool::new(false),
        });
        let mut config = config.with_client_cert_resolver(shown.clone());
        config.alpn_protocols = vec![HTTP_1_1.to_vec()];
        let name = ServerName::try_from(endpoint.sni().to_owned())
            .map_err(|_| (Distrust::OtherName, None))?;
        let limit = endpoint.connection_timeout().unwrap_or(LONGEST_HANDSHAKE);
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, reached.0);
        let stream = match timeout(limit, connecting).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => {
                let missed = shown.missed();
                return Err((distrust(&error, missed), witness.certificate()));
            }
            Err(_) => return Err((Distrust::TimedOut, witness.certificate())),
        };
        let (_, connection) = stream.get_ref();
        let version = connection.protocol_version();
        Ok(Handshake {
            // rustls names it `TLSv1_3`.
            version: version.map_or_else(String::new, |v| {
                format!("{v:?}").replace("TLSv", "TLS ").replace('_', ".")
            }),
            chose_http_1_1: connection.alpn_protocol() == Some(HTTP_1_1),
            certificate: witness.certificate(),
            wants_certificate: shown.missed(),
        })
    }
}

const HTTP_1_1: &[u8] = b"http/1.1";
/// Never used: every endpoint has a time-out of its own.
const LONGEST_HANDSHAKE: Duration = Duration::from_secs(3);

/// `missed`: the server asked for a client certificate, and there was none to show.
fn distrust(error: &std::io::Error, missed: bool) -> Distrust {
    let Some(tls) = error
        .get_ref()
        .and_then(|e| e.downcast_ref::<RusTlsError>())
    else {
        return Distrust::Ended;
    };
    match tls {
        RusTlsError::InvalidCertificate(why) => match why {
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
                Distrust::Expired
            }
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
                Distrust::NotYetValid
            }
            CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
                Distrust::OtherName
            }
            CertificateError::UnknownIssuer | CertificateError::BadSignature => {
                Distrust::UnknownIssuer
            }
            _ => Distrust::Certificate,
        },
        RusTlsError::NoApplicationProtocol => Distrust::NoHttp11,
        // RFC 7301 §3.2, RFC 8446 §6.2.
        RusTlsError::AlertReceived(alert) => match u8::from(*alert) {
            NO_APPLICATION_PROTOCOL => Distrust::NoHttp11,
            CERTIFICATE_REQUIRED => Distrust::WantsCertificate,
            // Before TLS 1.3 there is no alert of its own for that (RFC 5246 §7.4.6).
            HANDSHAKE_FAILURE | BAD_CERTIFICATE if missed => Distrust::WantsCertificate,
            HANDSHAKE_FAILURE | PROTOCOL_VERSION => Distrust::NoTls,
            _ => Distrust::Other,
        },
        RusTlsError::InvalidMessage(_) | RusTlsError::PeerIncompatible(_) => Distrust::NoTls,
        _ => Distrust::Other,
    }
}

const HANDSHAKE_FAILURE: u8 = 40;
const BAD_CERTIFICATE: u8 = 42;
const PROTOCOL_VERSION: u8 = 70;
const CERTIFICATE_REQUIRED: u8 = 116;
const NO_APPLICATION_PROTOCOL: u8 = 120;

/// What the server is shown, if it asks.
#[derive(Debug)]
struct Shown {
    identity: Option<Arc<CertifiedKey>>,
    asked: AtomicBool,
}

impl Shown {
    /// Whether the server asked, and was shown nothing.
    fn missed(&self) -> bool {
        self.asked.load(Ordering::Relaxed) && self.identity.is_none()
    }
}

impl ResolvesClientCert for Shown {
    fn resolve(
        &self,
        _acceptable_issuers: &[&[u8]],
        _schemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        self.asked.store(true, Ordering::Relaxed);
        self.identity.clone()
    }

    fn has_certs(&self) -> bool {
        true
    }
}

/// Takes note of what is shown, and judges nothing itself.
#[derive(Debug)]
struct Witness {
    verifier: Arc<WebPkiServerVerifier>,
    shown: Mutex<Option<Certificate>>,
}

impl Witness {
    fn certificate(&self) -> Option<Certificate> {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        shown.clone()
    }
}

impl ServerCertVerifier for Witness {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, RusTlsError> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) =
            read(end_entity, intermediates.len());
        self.verifier
            .verify_server_cert(end_entity, intermediates, server_name, ocsp, now)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RusTlsError> {
        self.verifier
            .verify_tls12_signature(message, certificate, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, RusTlsError> {
        self.verifier
            .verify_tls13_signature(message, certificate, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.verifier.supported_verify_schemes()
    }
}

fn read(der: &CertificateDer<'_>, others: usize) -> Option<Certificate> {
    let (_, parsed) = X509Certificate::from_der(der).ok()?;
    let seconds = u64::try_from(parsed.validity().not_after.timestamp()).unwrap_or(0);
    let alternative = parsed.subject_alternative_name().ok().flatten();
    let names = alternative.into_iter().flat_map(|a| &a.value.general_names);
    Some(Certificate {
        names: names.filter_map(general_name).collect(),
        issuer: visible(&parsed.issuer().to_string()),
        self_signed: parsed.issuer() == parsed.subject(),
        not_after: UNIX_EPOCH + Duration::from_secs(seconds),
        others,
    })
}

fn general_name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(visible(name)),
        GeneralName::IPAddress(bytes) => {
            let v4 = <[u8; 4]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string());
            let v6 = || <[u8; 16]>::try_from(*bytes).map(|b| std::net::IpAddr::from(b).to_string());
            v4.or_else(|_| v6()).ok()
        }
        _ => None,
    }
}

/// What a stranger wrote into a certificate must not steer a terminal.
fn visible(text: &str) -> String {
    const LONGEST: usize = 128;
    let plain = |c: char| {
        if c.is_ascii_graphic() || c == ' ' {
            c
        } else {
            '?'
        }
    };
    text.chars().map(plain).take(LONGEST).collect()
}

#[cfg(test)]
mod tests {
    use std::io;

    use rustls::AlertDescription;

    use super::*;

    #[test]
    fn who_asked_for_a_certificate_and_got_none_refuses_it_before_tls_1_3_by_alerts_that_mean_much_else()
     {
        let told = |alert, missed| {
            let error = io::Error::other(RusTlsError::AlertReceived(alert));
            distrust(&error, missed)
        };
        use AlertDescription::{BadCertificate, HandshakeFailure, ProtocolVersion};
        assert_eq!(told(HandshakeFailure, true), Distrust::WantsCertificate);
        assert_eq!(told(BadCertificate, true), Distrust::WantsCertificate);
        assert_eq!(told(HandshakeFailure, false), Distrust::NoTls);
        assert_eq!(told(BadCertificate, false), Distrust::Other);
        assert_eq!(told(ProtocolVersion, true), Distrust::NoTls);
    }
}
