//! The admin listener: the status page, the effective configuration, the levels of log lines, and the way out.

use std::sync::Arc;

use http::Method;

use super::{
    History, PageApp,
    page::{Page, Pages},
    status::Status,
};
use crate::{
    exchange::{Current, hosts::Hosts},
    lifecycle::Stage,
    telemetry::logging,
};

/// Sets the levels of log lines, and answers with those that are then in use.
fn set_levels(body: Option<&[u8]>) -> Page {
    let directives = body.map(|body| str::from_utf8(body).unwrap_or_default().trim());
    if directives == Some("") {
        return Page::text(
            400,
            "the body is empty; send levels such as info or ingo_signing_proxy=debug\n",
        );
    }
    match logging::set_levels(directives) {
        Ok(()) => {
            let levels = logging::levels();
            tracing::info!(target: logging::LEVELS_SET, levels, "log levels were set by the admin listener");
            Page::text(200, format!("{levels}\n"))
        }
        Err(why) => Page::text(400, format!("{why}\n")),
    }
}

/// What a person on this host may ask.
#[derive(Debug)]
pub struct Control {
    current: Current,
    status: Status,
}

impl Control {
    /// The admin pages of the current proxy.
    pub fn app(current: Current, history: Arc<History>, hosts: Hosts) -> PageApp {
        let status = Status::new(current.clone(), history);
        PageApp::new(Pages::Control(Self { current, status }), hosts)
    }

    pub(super) fn page(&self, method: &Method, path: &[u8], body: &[u8]) -> Page {
        match (path, method) {
            (b"/", &Method::GET | &Method::HEAD) => self.status.page(),
            (b"/", _) => Page::method_not_allowed("GET, HEAD"),
            (b"/log-level", &Method::GET | &Method::HEAD) => {
                Page::text(200, format!("{}\n", logging::levels()))
            }
            (b"/log-level", &Method::PUT) => set_levels(Some(body)),
            (b"/log-level", &Method::DELETE) => set_levels(None),
            (b"/log-level", _) => Page::method_not_allowed("GET, HEAD, PUT, DELETE"),
            (b"/config", &Method::GET | &Method::HEAD) => {
                Page::text(200, self.current.load().configuration.clone())
            }
            (b"/config", _) => Page::method_not_allowed("GET, HEAD"),
            (b"/quitquitquit", &Method::POST) => {
                tracing::info!("asked to quit by the admin listener");
                let lifecycle = &self.current.load().lifecycle;
                let open = Some(lifecycle.open());
                // Whoever asks for it has nothing more to send: there is no load balancer that must notice first.
                lifecycle.advance(Stage::Draining);
                Page {
                    open,
                    ..Page::text(200, "draining\n")
                }
            }
            (b"/quitquitquit", _) => Page::method_not_allowed("POST"),
            _ => Page::not_found("/, /config, /log-level and POST /quitquitquit"),
        }
    }
}
