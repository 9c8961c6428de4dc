//! A proxy that signs requests for Ingo Payments.
//!
//! A service posts plain JSON; the proxy adds `X-Date`, `Content-sha512`, the HMAC `Authorization` header and an
//! `Idempotency-Key`, forwards the request to Ingo over TLS, passes the answer back byte for byte, and says truthfully
//! whether Ingo may have acted where there is none. This page is the front door for whoever reads the code.
//!
//! # The life of an exchange
//!
//! One caller request and its answer are an *exchange*; one signed request sent upstream is an *attempt*.
//!
//! | stage | file | makes | may end it with |
//! |---|---|---|---|
//! | accept | [`listener`] | a guarded, counted connection | `overloaded` |
//! | trust the framing | [`framing`], in front of Pingora | – | `bad_request`, `headers_too_large`, `target_too_long`, `body_timeout` |
//! | read the head | `exchange/session.rs` | a Pingora session | `bad_request` |
//! | admit | `exchange/admit.rs` | `Admitted` | `host_refused`, `browser_refused`, `route_not_found`, `method_not_allowed`, … |
//! | take a turn | [`bounds`] | `Turn` | `overloaded` |
//! | read the body | `exchange/body.rs` | `Body` | `body_not_json`, `body_too_large`, `body_timeout`, `overloaded` |
//! | fix the key and the digest | `exchange/keyed.rs` | `Keyed` | – |
//! | take turns with the same key | `exchange/keys.rs` | `Place` | `in_flight`, `overloaded` |
//! | keep the pace | `exchange/pace.rs` | – | `rate_limited` |
//! | connect | [`upstream`] | a connection | `upstream_unreachable`, `upstream_tls`, `circuit_open`, `deadline_exceeded` |
//! | write it down, where money moves | [`journal`] | a record on the disk | `journal_unavailable` |
//! | sign | [`signing`] | [`signing::SignedHeaders`] | – |
//! | send | [`upstream`] | [`upstream::Answer`] | `upstream_reset`, `upstream_timeout`, `upstream_bad_response` |
//! | decide | [`retry`], asked by `exchange/attempts.rs` | [`retry::Decision`]: stop, or from "keep the pace" again | – |
//! | answer | `exchange/respond.rs` | the caller's answer | – |
//! | tell | [`telemetry`] | metrics, one access line | – |
//!
//! Each stage takes what the one before made and is the only maker of its own type. All of them refuse with a
//! [`exchange::Rejection`], whose codes and statuses are one table in [`problem`]. From "send" on `sent` is `maybe`: that
//! turn is made in one place, `upstream/send.rs`, before the first byte is written.
//!
//! # Layers
//!
//! Downward only; `tests/architecture.rs` holds them.
//!
//! 1. [`secret`], [`clock`]
//! 2. [`framing`], [`signing`], [`capture`], [`ingo`], [`problem`], [`retry`], [`idempotency`], [`traceparent`], `moment`: pure. No Pingora, tokio, files, environment, clock
//!    or randomness.
//! 3. [`watch`], [`config`], [`credentials`], [`tls`], [`bounds`], [`lifecycle`], [`message`], [`telemetry`], [`journal`]
//! 4. [`listener`], [`upstream`], [`exchange`], [`admin`], [`emulator`]: the only ones that name Pingora.
//! 5. [`server`], [`doctor`], [`cli`]
//!
//! # Without the proxy
//!
//! A service in Rust can sign for itself: with `default-features = false` there are [`signing`], [`ingo`] and [`secret`], without
//! Pingora, tokio or any configuration. `examples/sign_and_post.rs` signs and posts a Create Session with them, and README.md says how
//! one goes from the sidecar to the library, or back.

#[cfg(feature = "proxy")]
#[macro_use]
mod overlay;
#[macro_use]
mod words;

#[cfg(feature = "proxy")]
pub mod admin;
#[cfg(feature = "proxy")]
mod allocator;
#[cfg(feature = "proxy")]
pub mod bounds;
#[cfg(feature = "proxy")]
pub mod capture;
#[cfg(feature = "proxy")]
pub mod cli;
#[cfg(feature = "proxy")]
pub mod clock;
#[cfg(feature = "proxy")]
pub mod config;
#[cfg(feature = "proxy")]
pub mod credentials;
#[cfg(feature = "proxy")]
pub mod doctor;
#[cfg(feature = "proxy")]
pub mod emulator;
#[cfg(feature = "proxy")]
pub mod exchange;
#[cfg(feature = "proxy")]
pub mod framing;
#[cfg(feature = "proxy")]
pub mod idempotency;
pub mod ingo;
#[cfg(feature = "proxy")]
pub mod journal;
#[cfg(feature = "proxy")]
pub mod lifecycle;
#[cfg(feature = "proxy")]
pub mod listener;
#[cfg(feature = "proxy")]
pub mod message;
#[cfg(feature = "proxy")]
mod moment;
#[cfg(feature = "proxy")]
pub mod problem;
#[cfg(feature = "proxy")]
pub mod retry;
pub mod secret;
#[cfg(feature = "proxy")]
pub mod server;
pub mod signing;
#[cfg(feature = "proxy")]
pub mod telemetry;
#[cfg(feature = "proxy")]
pub mod tls;
#[cfg(feature = "proxy")]
pub mod traceparent;
#[cfg(feature = "proxy")]
pub mod upstream;
#[cfg(feature = "proxy")]
pub mod watch;
