//! The status page: one document that says how the proxy stands, complete without script, without anything from outside.
//!
//! Rendered anew for each request from what is counted anyway and from the [`History`]. Nothing on it comes from a request's
//! text, and no secret, signature or body can: what is shown is counters, configuration and times. Values are escaped by the
//! one way in ([`html`]); the policy allows the one style and the one script that stand here, by their digests.

mod history;
mod html;
mod phases;
mod plot;
mod routes;
mod state;
mod traffic;
mod words;

use std::{
    sync::{Arc, LazyLock},
    time::{Duration, SystemTime},
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use sha2::{Digest as _, Sha256};

pub use self::history::History;
use self::{history::Recent, html::Html};
use super::page::Page;
use crate::{
    exchange::{Current, Proxy},
    ingo::Environment,
    lifecycle::Stage,
};

const STYLE: &str = include_str!("style.css");
const SCRIPT: &str = include_str!("script.js");

/// The policy of the page: nothing but its own style, script and icon, and it may ask for itself again. `data:` images are
/// for the icon, which stands in the document: without one, browsers ask for `/favicon.ico`.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
        digest(STYLE),
        digest(SCRIPT)
    )
});

/// From this part of a limit on, somebody should know.
const NEARLY_FULL: f64 = 0.9;
/// Ingo accepts dates that are off by 300 s (protocol.md §1); well before that, somebody should know.
const CLOCKS_APART: u64 = 60;
/// A certificate that expires sooner is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 86_400);

/// Makes the page.
#[derive(Debug)]
pub(super) struct Status {
    current: Current,
    history: Arc<History>,
}

/// What the page is made of: everything is looked at once.
struct View<'a> {
    proxy: &'a Proxy,
    recent: Recent,
    now: SystemTime,
    warnings: Vec<String>,
}

impl Status {
    pub(super) fn new(current: Current, history: Arc<History>) -> Self {
        Self { current, history }
    }

    pub(super) fn page(&self) -> Page {
        let proxy = &*self.current.load();
        let now = SystemTime::now();
        let view = View {
            proxy,
            recent: self.history.recent(),
            now,
            warnings: state::warnings(proxy, now),
        };
        Page {
            content_type: "text/html; charset=utf-8",
            policy: Some(&POLICY),
            ..Page::text(200, view.document())
        }
    }
}

impl View<'_> {
    fn document(&self) -> String {
        let mut html = Html::default();
        let build = env!("CARGO_PKG_VERSION");
        html.put(
            "<!doctype html>\n<html lang=\"en\" data-build=\"{} {}\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · ingo-signing-proxy · {}</title>\n<link rel=\"icon\" href=\"data:image/svg+xml,%3Csvg xmlns='http://www.w3.org/2000/svg' viewBox='0 0 16 16'%3E%3Crect width='16' height='16' rx='4' fill='%232456c4'/%3E%3Cpath d='M4 9l3 3 5-8' fill='none' stroke='white' stroke-width='2'/%3E%3C/svg%3E\">\n<style>",
            &[&build, &revision(), &self.headline(), &self.environment()],
        );
        html.put(STYLE, &[]);
        html.put(
            "</style>\n<noscript><meta http-equiv=\"refresh\" content=\"30\"></noscript>\n</head>\n<body>\n<a class=\"skip\" href=\"#main\">Skip to the content</a>\n",
            &[],
        );
        self.header(&mut html);
        html.put("<main id=\"main\" tabindex=\"-1\">\n", &[]);
        state::warning_list(&mut html, self);
        traffic::summary(&mut html, self);
        traffic::plots(&mut html, self);
        routes::routes(&mut html, self);
        phases::phases(&mut html, self);
        state::problems(&mut html, self);
        state::upstreams(&mut html, self);
        state::limits(&mut html, self);
        state::credential(&mut html, self);
        state::certificates_and_journal(&mut html, self);
        html.put(
            "</main>\n<footer>\n<p>p50 and p99 are estimates from histogram buckets, as Prometheus makes them: within the bucket where a quantile lies, times are taken to be spread evenly. All times are UTC.</p>\n<p>On this listener: <a href=\"/config\">the effective configuration</a>. <code>/metrics</code> and <code>/readyz</code> are on the health listener.</p>\n</footer>\n<script>",
            &[],
        );
        html.put(SCRIPT, &[]);
        html.put("</script>\n</body>\n</html>\n", &[]);
        html.into_text()
    }

    /// The first thing to know, for the title.
    fn headline(&self) -> String {
        match self.warnings.len() {
            0 => self.stage().1.to_owned(),
            n => words::counted(n as u64, "warning", "warnings"),
        }
    }

    fn stage(&self) -> (&'static str, &'static str) {
        match self.proxy.lifecycle.stage() {
            Stage::Serving => ("good", "serving"),
            Stage::Leaving => ("fair", "leaving"),
            Stage::Draining => ("fair", "draining"),
        }
    }

    fn environment(&self) -> &str {
        Environment::from_name(&self.proxy.environment)
            .map_or("upstream of its own", Environment::as_str)
    }

    fn header(&self, html: &mut Html) {
        let (class, stage) = self.stage();
        html.put("<header>\n<div class=\"bar-top\">\n<h1>ingo-signing-proxy</h1>\n<div id=\"live\" hidden><button type=\"button\">Pause updates</button> <span role=\"status\">Updates every 5 seconds</span></div>\n</div>\n<div id=\"state\">\n<p class=\"badges\"><span class=\"badge {}\"><span class=\"dot\" aria-hidden=\"true\"></span>{}</span> ", &[&class, &stage]);
        match self.warnings.len() as u64 {
            0 => html.put("<span class=\"badge plain\">no warnings</span>", &[]),
            n => html.put(
                "<a class=\"badge fair\" href=\"#warnings\">{}</a>",
                &[&words::counted(n, "warning", "warnings")],
            ),
        };
        html.put(
            " <span class=\"badge plain\">{}</span></p>\n<dl class=\"facts\">",
            &[&self.environment()],
        );
        let up = self.now.duration_since(self.recent.began);
        let facts: [(&str, &str); 3] = [
            ("Version", env!("CARGO_PKG_VERSION")),
            ("Revision", revision()),
            ("Up for", &words::age(up.unwrap_or_default())),
        ];
        for (name, value) in facts {
            html.put("<div><dt>{}</dt><dd>{}</dd></div>", &[&name, &value]);
        }
        for (name, at) in [("Since", self.recent.began), ("As of", self.now)] {
            html.put(
                "<div><dt>{}</dt><dd><time datetime=\"{}\">{}</time></dd></div>",
                &[&name, &words::stamp(at), &words::moment(at)],
            );
        }
        html.put("</dl>\n</div>\n</header>\n", &[]);
    }
}

fn revision() -> &'static str {
    option_env!("INGO_PROXY_REVISION").unwrap_or("unknown")
}

fn digest(text: &str) -> String {
    format!("sha256-{}", STANDARD.encode(Sha256::digest(text)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn style_and_script_are_taken_as_they_are() {
        // `{}` is where values go; `</` would end the element.
        for text in [STYLE, SCRIPT] {
            assert!(!text.contains("{}") && !text.contains("</") && !text.contains("<!--"));
        }
    }
}
