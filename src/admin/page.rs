//! Small answers to small requests: what the health and admin listeners have in common.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use bytes::Bytes;
use http::{HeaderName, Method, header};
use pingora::{
    apps::{HttpPersistentSettings, HttpServerApp, ReusedHttpStream},
    http::{RequestHeader, ResponseHeader},
    protocols::http::ServerSession,
    server::ShutdownWatch,
};
use tokio::time::timeout;

use crate::{
    exchange::{Rejection, check_browser, hosts::Hosts, linger},
    lifecycle::Open,
    listener::Guarded,
};

/// An answer that fits into one write.
#[derive(Debug)]
pub(super) struct Page {
    pub(super) status: u16,
    pub(super) content_type: &'static str,
    pub(super) allow: Option<&'static str>,
    /// What a browser may do with it (`Content-Security-Policy`), where a browser shows it.
    pub(super) policy: Option<&'static str>,
    pub(super) body: Bytes,
    /// Held until it is written, where the process may leave before.
    pub(super) open: Option<Open>,
}

/// Anybody in the pod's network may connect to the health listener: idle connections must not keep the kubelet out.
const IDLE_SECONDS: u64 = 5;
/// Directives for levels; nothing else is sent here.
const LARGEST_BODY: usize = 4096;
const TEXT: &str = "text/plain; charset=utf-8";

impl Page {
    pub(super) fn text(status: u16, body: impl Into<Bytes>) -> Self {
        Self {
            status,
            content_type: TEXT,
            allow: None,
            policy: None,
            body: body.into(),
            open: None,
        }
    }

    pub(super) fn not_found(here: &str) -> Self {
        Self::text(404, format!("not found; here are {here}\n"))
    }

    pub(super) fn method_not_allowed(allow: &'static str) -> Self {
        Self {
            allow: Some(allow),
            ..Self::text(405, format!("method not allowed; use {allow}\n"))
        }
    }

    fn refused(rejection: &Rejection) -> Self {
        Self::text(
            rejection.code.status(),
            format!("{}: {}\n", rejection.code, rejection.detail),
        )
    }
}

/// What a listener's pages are.
pub(super) enum Pages {
    Health(super::Health),
    Control(super::Control),
}

/// The pages of one listener as Pingora's application. HTTP/1.1 only.
pub struct PageApp {
    pages: Pages,
    hosts: Hosts,
}

impl PageApp {
    pub(super) fn new(pages: Pages, hosts: Hosts) -> Self {
        Self { pages, hosts }
    }

    fn answer(&self, head: &RequestHeader, body: &[u8]) -> Page {
        if let Err(rejection) = self
            .hosts
            .check(head.headers.get(header::HOST).map(|h| h.as_bytes()))
        {
            return Page::refused(&rejection);
        }
        let sites: &[&[u8]] = match self.pages {
            Pages::Health(_) => &[b"none"],
            // Its own status page may ask.
            Pages::Control(_) => &[b"none", b"same-origin"],
        };
        if let Err(rejection) = check_browser(&head.headers, sites) {
            return Page::refused(&rejection);
        }
        let path = head
            .raw_path()
            .split(|b| *b == b'?')
            .next()
            .unwrap_or_default();
        match &self.pages {
            Pages::Health(health) => health.page(&head.method, path),
            Pages::Control(control) => control.page(&head.method, path, body),
        }
    }
}

#[async_trait]
impl HttpServerApp for PageApp {
    async fn process_new_http(
        self: &Arc<Self>,
        mut session: ServerSession,
        _shutdown: &ShutdownWatch,
    ) -> Option<ReusedHttpStream> {
        session.set_keepalive(Some(IDLE_SECONDS));
        // What cannot be read gets no answer here: nobody but operators' tools calls, and they can.
        if !session.read_request().await.ok()? {
            return None;
        }
        // The pages go by Pingora's view of the target; the guard's is dropped, so that it does not pile up.
        drop(
            session
                .as_http1()
                .and_then(|s| Guarded::of(s.stream())?.target()),
        );
        if session.get_keepalive().is_some() {
            session.set_keepalive(Some(IDLE_SECONDS));
        }
        let head_only = session.req_header().method == Method::HEAD;
        let body = read_small(&mut session).await?;
        let is_too_large = body.len() > LARGEST_BODY;
        let page = if is_too_large {
            session.set_keepalive(None);
            Page::text(
                413,
                format!("the body is larger than {LARGEST_BODY} bytes\n"),
            )
        } else {
            self.answer(session.req_header(), &body)
        };
        session
            .write_response_header(head(&page).ok()?)
            .await
            .ok()?;
        let body = if head_only { Bytes::new() } else { page.body };
        session.write_response_body(body, true).await.ok()?;
        if is_too_large {
            if let ServerSession::H1(http1) = session {
                linger(http1.into_inner()).await;
            }
            return None;
        }
        let settings = HttpPersistentSettings::for_session(&session);
        let finished = session.finish().await;
        // Whoever leaves need not wait for this answer any more.
        drop(page.open);
        let reusable = finished.ok()??;
        Some(ReusedHttpStream::from_reusable_stream(reusable, settings))
    }
}

/// What the request holds, which is a line at most: of more, so much that it is known to be. `None` where it does not come.
async fn read_small(session: &mut ServerSession) -> Option<Vec<u8>> {
    let reading = async {
        let mut body = Vec::new();
        while let Some(part) = session.read_request_body().await.ok()? {
            body.extend_from_slice(&part);
            if body.len() > LARGEST_BODY {
                break;
            }
        }
        Some(body)
    };
    timeout(Duration::from_secs(IDLE_SECONDS), reading)
        .await
        .ok()?
}

fn head(page: &Page) -> pingora::Result<Box<ResponseHeader>> {
    let mut head = ResponseHeader::build(page.status, Some(8))?;
    head.insert_header(header::CONTENT_TYPE, page.content_type)?;
    head.insert_header(header::CACHE_CONTROL, "no-store")?;
    head.insert_header(HeaderName::from_static("x-content-type-options"), "nosniff")?;
    if let Some(allow) = page.allow {
        head.insert_header(header::ALLOW, allow)?;
    }
    if let Some(policy) = page.policy {
        head.insert_header(header::CONTENT_SECURITY_POLICY, policy)?;
        head.insert_header(header::REFERRER_POLICY, "no-referrer")?;
    }
    head.insert_header(header::CONTENT_LENGTH, page.body.len().to_string())?;
    Ok(Box::new(head))
}
