//! The control endpoint: faults, the ledger, counts. On a listener of its own, loopback or a Unix socket.
//!
//! It runs on the house's own listener, guard and browser check, like the admin listener: a web page must not be able to
//! arm a fault. It shows no body, signature, secret or authorized URL, because what it shows holds none.

use std::sync::Arc;

use async_trait::async_trait;
use http::{HeaderMap, Method, header};
use pingora::{
    apps::{HttpServerApp, ReusedHttpStream},
    http::{RequestHeader, ResponseHeader},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{State, fault::Fault};
use crate::exchange::{Rejection, check_browser, hosts::Hosts};

/// A fault's specification is some hundred bytes.
const BODY_BYTES: usize = 64 * 1024;
/// Time for a body, and for an answer to be read.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
const HERE: &str = "here are GET, POST and DELETE /faults, GET and DELETE /ledger, GET /sessions";

/// The control endpoint as Pingora's application. HTTP/1.1, one request on each connection.
pub(super) struct Control {
    state: Arc<State>,
    hosts: Hosts,
}

/// A status, a body, and what to allow.
struct Reply {
    status: u16,
    body: String,
    allow: Option<&'static str>,
}

impl Control {
    pub(super) fn new(state: Arc<State>, hosts: Hosts) -> Self {
        Self { state, hosts }
    }

    fn check(&self, headers: &HeaderMap) -> Result<(), Rejection> {
        self.hosts
            .check(headers.get(header::HOST).map(|host| host.as_bytes()))?;
        check_browser(headers, &[b"none"])
    }

    fn reply(&self, head: &RequestHeader, body: &[u8]) -> Reply {
        let path = head.raw_path().split(|byte| *byte == b'?').next();
        let state = &self.state;
        match (path.unwrap_or_default(), &head.method) {
            (b"/faults", &Method::GET) => Reply::ok(&state.faults.list()),
            (b"/faults", &Method::POST) => arm(state, body),
            (b"/faults", &Method::DELETE) => Reply::ok(&json!({"cleared": state.faults.clear()})),
            (b"/faults", _) => Reply::not_allowed("GET, POST, DELETE"),
            (b"/ledger", &Method::GET) => Reply::ok(&state.ledger.view()),
            (b"/ledger", &Method::DELETE) => {
                let count = state.ledger.count();
                state.ledger.clear();
                Reply::ok(&json!({"cleared": count}))
            }
            (b"/ledger", _) => Reply::not_allowed("GET, DELETE"),
            (b"/sessions", &Method::GET) => Reply::ok(&state.gateway.counts(state.clock.now())),
            (b"/sessions", _) => Reply::not_allowed("GET"),
            _ => Reply::error(404, HERE),
        }
    }
}

fn arm(state: &State, body: &[u8]) -> Reply {
    let Ok(json) = serde_json::from_slice::<Value>(body) else {
        return Reply::error(
            400,
            r#"the body is not JSON; send such as {"fault":"reset_after_body","next":3}"#,
        );
    };
    let armed = Fault::from_json(json).and_then(|fault| {
        let mut shown = fault.to_json();
        shown["id"] = state.faults.arm(fault)?.into();
        Ok(shown)
    });
    match armed {
        Ok(shown) => Reply {
            status: 201,
            ..Reply::ok(&shown)
        },
        Err(error) => Reply::error(400, &error.to_string()),
    }
}

impl Reply {
    fn ok(body: &impl Serialize) -> Self {
        Self {
            status: 200,
            body: serde_json::to_string(body)
                .expect("our bodies have text for keys and finite numbers"),
            allow: None,
        }
    }

    fn error(status: u16, detail: &str) -> Self {
        Self {
            status,
            ..Self::ok(&json!({"detail": detail}))
        }
    }

    fn not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::error(405, HERE)
        }
    }
}

#[async_trait]
impl HttpServerApp for Control {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        // What cannot be read gets no answer: nobody but tests and their authors call.
        if !session.read_request().await.ok()? {
            return None;
        }
        session.set_keepalive(None);
        let reply = match self.check(&session.req_header().headers) {
            Err(rejection) => Reply::error(rejection.code.status(), &rejection.detail),
            Ok(()) => match timeout(DEADLINE, read_body(&mut session)).await {
                Ok(Some(body)) => self.reply(session.req_header(), &body),
                Ok(None) => Reply::error(413, "the body is too large, or broke off"),
                Err(_late) => Reply::error(408, "the body did not arrive in time"),
            },
        };
        timeout(DEADLINE, write(session, &reply)).await.ok()?;
        None
    }
}

async fn read_body(session: &mut ServerSession) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    while let Some(part) = session.read_request_body().await.ok()? {
        if body.len() + part.len() > BODY_BYTES {
            return None;
        }
        body.extend_from_slice(&part);
    }
    Some(body)
}

async fn write(mut session: ServerSession, reply: &Reply) -> Option<()> {
    // A prompt that stands behind the last brace is hard to read.
    let body = format!("{}\n", reply.body);
    let mut head = ResponseHeader::build(reply.status, Some(5)).ok()?;
    head.insert_header(header::CONTENT_TYPE, "application/json")
        .ok()?;
    head.insert_header(header::CACHE_CONTROL, "no-store").ok()?;
    if let Some(allow) = reply.allow {
        head.insert_header(header::ALLOW, allow).ok()?;
    }
    head.insert_header(header::CONTENT_LENGTH, body.len().to_string())
        .ok()?;
    session.write_response_header(Box::new(head)).await.ok()?;
    session.write_response_body(body.into(), true).await.ok()?;
    session.finish().await.ok()?;
    Some(())
}
