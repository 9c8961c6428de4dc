//! The admin listener: the effective configuration, and the way out.

use http::Method;

use super::{
    PageApp,
    page::{Page, Pages},
};
use crate::{
    exchange::{Current, hosts::Hosts},
    lifecycle::Stage,
};

/// What a person on this host may ask.
#[derive(Debug)]
pub struct Control {
    current: Current,
}

impl Control {
    /// The admin pages of the current proxy.
    pub fn app(current: Current, hosts: Hosts) -> PageApp {
        PageApp::new(Pages::Control(Self { current }), hosts)
    }

    pub(super) fn page(&self, method: &Method, path: &[u8]) -> Page {
        match (path, method) {
            (b"/config", &Method::GET | &Method::HEAD) => {
                Page::text(200, self.current.load().configuration.clone())
            }
            (b"/config", _) => Page::method_not_allowed("GET, HEAD"),
            (b"/quitquitquit", &Method::POST) => {
                tracing::info!("asked to quit by the admin listener");
                self.current.load().lifecycle.advance(Stage::Leaving);
                Page::text(200, "draining\n")
            }
            (b"/quitquitquit", _) => Page::method_not_allowed("POST"),
            _ => Page::not_found("/config and POST /quitquitquit"),
        }
    }
}
