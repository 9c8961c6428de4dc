//! The admin listener: the effective configuration, and the way out.

use http::Method;

use super::{
    PageApp,
    page::{Page, Pages},
};
use crate::{
    exchange::hosts::Hosts,
    lifecycle::{Lifecycle, Stage},
};

/// What a person on this host may ask.
#[derive(Debug)]
pub struct Control {
    configuration: String,
    lifecycle: Lifecycle,
}

impl Control {
    /// The admin pages. `configuration` is shown as it is: it must be redacted.
    pub fn app(configuration: String, lifecycle: Lifecycle, hosts: Hosts) -> PageApp {
        PageApp::new(
            Pages::Control(Self {
                configuration,
                lifecycle,
            }),
            hosts,
        )
    }

    pub(super) fn page(&self, method: &Method, path: &[u8]) -> Page {
        match (path, method) {
            (b"/config", &Method::GET | &Method::HEAD) => {
                Page::text(200, self.configuration.clone())
            }
            (b"/config", _) => Page::method_not_allowed("GET, HEAD"),
            (b"/quitquitquit", &Method::POST) => {
                tracing::info!("asked to quit by the admin listener");
                self.lifecycle.advance(Stage::Leaving);
                Page::text(200, "draining\n")
            }
            (b"/quitquitquit", _) => Page::method_not_allowed("POST"),
            _ => Page::not_found("/config and POST /quitquitquit"),
        }
    }
}
