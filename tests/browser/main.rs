//! The status page as a browser shows it: Debian's Chromium, driven over pipes.
//!
//! Ignored unless asked for, because a browser is large: `cargo test --test browser -- --ignored` with the package
//! `chromium` installed. The pictures it takes are left in the target folder's `tmp`, to be looked at.

#![allow(
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "a test ends by panicking, and says aloud what it skips"
)]
#![allow(
    unreachable_pub,
    reason = "in a test binary nothing is public; `pub` marks what a module offers"
)]

mod chromium;
#[path = "../it/support/mod.rs"]
#[allow(
    dead_code,
    unused_imports,
    reason = "it serves several test binaries, and none uses all of it"
)]
mod support;

use std::{fs, path::Path};

use serde_json::{Value, json};

use self::{
    chromium::Chromium,
    support::{Post, Proxy, Reply, Upstream, session},
};

/// All text whose contrast is below 4.5 : 1 (WCAG 2.2, 1.4.3), all that is cut off or stands outside the window.
const UNREADABLE: &str = include_str!("unreadable.js");
/// How the page says whether it keeps itself up to date.
const STATUS: &str = "document.querySelector('[role=status]').textContent";

/// After how many seconds the page comes anew by itself. Where there is script, what stands in `noscript` is no element.
const REFRESH: &str = "document.querySelector('meta[http-equiv=refresh]')?.content ?? null";

/// A proxy after some exchanges, good and bad, and what its page's address is.
fn used() -> (Upstream, Proxy, String) {
    let upstream = Upstream::scripted(|request| match request.participant().as_str() {
        "reset" => Reply::reset(),
        id => Reply::session(id),
    });
    let yaml = "routes:\n  verify: {enabled: true, disabled: true}\n  banking: {enabled: true}\n";
    let proxy = Proxy::to(&upstream).admin().yaml(yaml).start();
    for id in ["a", "b", "reset"] {
        proxy.post(&Post::new(session(id)));
    }
    for _ in 0..3 {
        proxy.post(&Post::new("no json"));
    }
    proxy.metrics_become(|m| m.sum("ingo_proxy_exchanges_total", &[]) == 6.0);
    let url = format!("http://{}/", proxy.address("admin"));
    (upstream, proxy, url)
}

fn keep(name: &str, picture: &[u8]) {
    let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&file, picture).unwrap();
    println!("{}", file.display());
}

#[test]
#[ignore = "needs chromium"]
fn in_light_and_dark_wide_and_narrow_everything_can_be_read() {
    let (_upstream, _proxy, url) = used();
    let mut browser = Chromium::start();
    for scheme in ["light", "dark"] {
        for width in [320, 360, 768, 1400] {
            browser.window(width, scheme, "no-preference");
            browser.open(&url);
            let unreadable = browser.evaluate(UNREADABLE);
            assert_eq!(
                unreadable,
                json!([]),
                "{scheme}, {width} px: {unreadable:#}"
            );
            let picture = browser.picture();
            keep(&format!("status-{scheme}-{width}.png"), &picture);
        }
    }
    browser.is_content();
    for asked in browser.requested() {
        assert!(asked == url || asked.starts_with("data:"), "{asked}");
    }
}

#[test]
#[ignore = "needs chromium"]
fn without_javascript_it_is_complete_and_has_no_button_that_does_nothing() {
    let (_upstream, _proxy, url) = used();
    let mut browser = Chromium::start();
    browser.call(
        "Emulation.setScriptExecutionDisabled",
        json!({"value": true}),
    );
    browser.open(&url);
    let text = browser.text("document.body.innerText");
    let told = [
        "Routes",
        "create_session",
        "switched off",
        "Where the time goes",
        "first_byte",
        "Last problems",
        "upstream_reset",
        "body_not_json",
        "Upstreams",
        "closed",
        "Limits",
        "Credential",
        "acme",
        "Journal",
    ];
    for told in told {
        assert!(text.contains(told), "{told} is missing in {text}");
    }
    assert!(!text.contains("Pause updates"), "{text}");
    assert_eq!(browser.evaluate(REFRESH), "30", "it comes anew by itself");
    browser.is_content();
}

#[test]
#[ignore = "needs chromium"]
fn what_is_new_appears_and_focus_and_scroll_positions_stay() {
    let (_upstream, proxy, url) = used();
    let mut browser = Chromium::start();
    browser.window(700, "light", "no-preference");
    browser.open(&url);
    browser.evaluate(
        "window.table = document.querySelector('.scroll[aria-labelledby=problems]');
         table.focus(); table.scrollLeft = 40; scrollTo(0, 700); table.scrollLeft",
    );
    let before = browser.evaluate("[table.scrollLeft, scrollY]");
    assert_eq!(before, json!([40, 700]));
    let lost = proxy.post(&Post::new(session("reset")));
    let lost = lost.problem();
    browser.becomes(&format!(
        "table.innerText.includes({})",
        lost["exchange_id"]
    ));
    let after = browser.evaluate("[table.scrollLeft, scrollY]");
    assert_eq!(after, before);
    let focused = browser.evaluate("document.activeElement === table && table.isConnected");
    assert_eq!(focused, true);
    assert_eq!(browser.text(STATUS), "Updates every 5 seconds");
    browser.is_content();
    let plotted = browser.evaluate(
        "[...document.querySelectorAll('.line')].map(line => getComputedStyle(line).fill)",
    );
    let plotted = plotted.as_array().unwrap();
    assert!(!plotted.is_empty(), "values were plotted meanwhile");
    assert!(plotted.iter().all(|fill| fill == "none"), "{plotted:?}");
    let asked = browser.requested();
    assert!(
        asked.iter().all(|a| *a == url || a.starts_with("data:")),
        "{asked:?}"
    );
}

#[test]
#[ignore = "needs chromium"]
fn updates_are_paused_and_resumed_by_keyboard() {
    let (_upstream, _proxy, url) = used();
    let mut browser = Chromium::start();
    browser.window(1400, "light", "no-preference");
    browser.open(&url);
    browser.press("Tab", 9, "");
    assert_eq!(
        browser.text("document.activeElement.textContent"),
        "Skip to the content"
    );
    browser.press("Tab", 9, "");
    assert_eq!(
        browser.text("document.activeElement.textContent"),
        "Pause updates"
    );
    browser.press("Enter", 13, "\r");
    assert_eq!(browser.text(STATUS), "Updates are paused");
    assert_eq!(browser.evaluate(REFRESH), Value::Null);
    browser.requested();
    browser.pass(60_000);
    assert_eq!(browser.requested(), Vec::<String>::new());
    browser.press("Enter", 13, "\r");
    browser.pass(60_000);
    let asked = browser.requested().len();
    assert!((6..=14).contains(&asked), "{asked} times in a minute");
    assert_eq!(
        browser.text("document.activeElement.textContent"),
        "Pause updates"
    );
    browser.is_content();
}

#[test]
#[ignore = "needs chromium"]
fn whoever_wants_less_motion_starts_the_updates() {
    let (_upstream, _proxy, url) = used();
    let mut browser = Chromium::start();
    browser.window(1400, "light", "reduce");
    browser.open(&url);
    assert_eq!(browser.text(STATUS), "Updates are paused");
    browser.requested();
    browser.pass(60_000);
    assert_eq!(browser.requested(), Vec::<String>::new());
}

#[test]
#[ignore = "needs chromium"]
fn a_proxy_that_is_gone_is_told_and_what_it_said_last_stays() {
    let (_upstream, proxy, url) = used();
    let mut browser = Chromium::start();
    browser.window(1400, "dark", "no-preference");
    browser.open(&url);
    proxy.terminate();
    browser.becomes(&format!("{STATUS}.startsWith('No answer since ')"));
    let text = browser.text("document.body.innerText");
    assert!(text.contains("upstream_reset"), "{text}");
}

#[test]
#[ignore = "needs chromium"]
fn no_page_of_another_origin_may_read_it_or_show_it_in_a_frame() {
    let (_upstream, _proxy, url) = used();
    let evil = Upstream::answering(
        Reply::status(200)
            .header("Content-Type", "text/html")
            .body("<!doctype html><title>evil</title>"),
    );
    let mut browser = Chromium::start();
    // Of another site, too: localhost is not 127.0.0.1.
    browser.open(&evil.url().replace("127.0.0.1", "localhost"));
    let read = browser.evaluate(&format!(
        "fetch('{url}').then(a => 'read ' + a.status, e => 'refused')"
    ));
    assert_eq!(read, "refused");
    let shown = browser.evaluate(&format!(
        "fetch('{url}', {{mode: 'no-cors'}}).then(() => new Promise(done => {{
            const frame = document.createElement('iframe');
            frame.onload = () => {{ try {{ done(frame.contentDocument ? 'shown' : 'hidden') }} catch {{ done('hidden') }} }};
            frame.src = '{url}';
            document.body.append(frame);
        }}))"
    ));
    assert_eq!(shown, "hidden");
    // Not only hidden from the page: refused.
    let statuses = browser.statuses(&url);
    assert!(statuses.len() >= 2, "{statuses:?}");
    assert!(statuses.iter().all(|s| *s == 403), "{statuses:?}");
}

#[test]
#[ignore = "needs chromium"]
fn a_screen_reader_finds_names_landmarks_and_headings_in_order() {
    let (_upstream, _proxy, url) = used();
    let mut browser = Chromium::start();
    browser.open(&url);
    let tree = browser.call("Accessibility.getFullAXTree", json!({}));
    let nodes: Vec<&Value> = tree["nodes"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|n| n["ignored"] == false)
        .collect();
    let role = |node: &Value| {
        node["role"]["value"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    };
    let name = |node: &Value| {
        node["name"]["value"]
            .as_str()
            .unwrap_or_default()
            .trim()
            .to_owned()
    };
    let of = |wanted: &str| nodes.iter().filter(|n| role(n) == wanted).count();
    for landmark in ["main", "banner", "contentinfo"] {
        assert_eq!(of(landmark), 1, "{landmark}");
    }
    assert_eq!(
        of("status"),
        1,
        "one live region, and it changes with the state only"
    );
    for node in &nodes {
        let role = role(node);
        if [
            "table",
            "region",
            "group",
            "button",
            "link",
            "figure",
            "columnheader",
            "rowheader",
        ]
        .contains(&role.as_str())
        {
            assert_ne!(name(node), "", "a {role} has no name: {node}");
        }
    }
    let levels: Vec<i64> = nodes
        .iter()
        .filter(|n| role(n) == "heading")
        .map(|n| {
            let properties = n["properties"].as_array().unwrap();
            let level = properties.iter().find(|p| p["name"] == "level").unwrap();
            level["value"]["value"].as_i64().unwrap()
        })
        .collect();
    assert_eq!(levels[0], 1, "{levels:?}");
    assert_eq!(levels.iter().filter(|l| **l == 1).count(), 1);
    assert!(levels.windows(2).all(|w| w[1] <= w[0] + 1), "{levels:?}");
}
