//! How things stand: what is wrong, upstreams, limits, credential, certificates, journal.

use std::time::{Duration, SystemTime};

use super::{
    CLOCKS_APART, EXPIRES_SOON, NEARLY_FULL, View,
    html::Html,
    plot::used_bar,
    words::{self, NONE, age, counted},
};
use crate::{exchange::Proxy, journal::Journal, telemetry::logging};

/// A bound, and how much of it is used.
struct Limit {
    key: &'static str,
    used: usize,
    limit: usize,
    show: fn(usize) -> String,
}

fn limits_of(proxy: &Proxy) -> [Limit; 4] {
    let limits = &proxy.limits;
    let number: fn(usize) -> String = |n| words::count(n as u64);
    let free = |limit: usize, free: usize| limit.saturating_sub(free);
    [
        Limit {
            key: "limits.exchanges_in_flight",
            used: free(limits.exchanges_in_flight, proxy.turns.free()),
            limit: limits.exchanges_in_flight,
            show: number,
        },
        Limit {
            key: "limits.queue_length",
            used: proxy.turns.waiting(),
            limit: limits.queue_length,
            show: number,
        },
        Limit {
            key: "limits.buffered_bytes",
            used: proxy.memory.used(),
            limit: limits.buffered_bytes,
            show: words::bytes,
        },
        Limit {
            key: "limits.inbound_connections",
            used: free(limits.inbound_connections, proxy.places.available_permits()),
            limit: limits.inbound_connections,
            show: number,
        },
    ]
}

/// What is not as it should be, a line for each thing.
pub(super) fn warnings(proxy: &Proxy, now: SystemTime) -> Vec<String> {
    let mut lines = proxy.troubles();
    lines.extend(proxy.no_journal());
    for upstream in proxy.upstreams() {
        if upstream.circuit_open() {
            lines.push(format!(
                "{} could not be connected to and is left alone for a while; doctor says why",
                upstream.name()
            ));
        }
        let apart = upstream.clock_skew().unwrap_or(0);
        if apart.unsigned_abs() >= CLOCKS_APART {
            lines.push(format!(
                "the clock of {} and this host’s are {} s apart; Ingo refuses dates that are off by more than 300 s, so check this host’s time service",
                upstream.name(),
                apart.unsigned_abs()
            ));
        }
    }
    for limit in limits_of(proxy) {
        if limit.limit > 0 && limit.used as f64 >= limit.limit as f64 * NEARLY_FULL {
            lines.push(format!(
                "{} is nearly used up: {} of {}",
                limit.key,
                (limit.show)(limit.used),
                (limit.show)(limit.limit)
            ));
        }
    }
    for expiry in proxy.tls.expiries() {
        match until(expiry.not_after, now) {
            None => lines.push(format!(
                "the certificate {} has expired; replace it",
                expiry.certificate
            )),
            Some(left) if left < EXPIRES_SOON => lines.push(format!(
                "the certificate {} expires in {}; replace it",
                expiry.certificate,
                age(left)
            )),
            Some(_) => {}
        }
    }
    let panics = proxy.metrics.panics();
    if panics > 0 {
        lines.push(format!(
            "{} of the proxy ended an exchange; report it with the log lines around it",
            counted(panics, "fault", "faults")
        ));
    }
    let dropped = logging::dropped_lines() as u64;
    if dropped > 0 {
        lines.push(format!(
            "{} dropped because standard output was not read fast enough or could not be written to",
            counted(dropped, "log line was", "log lines were")
        ));
    }
    lines
}

/// How long until a moment in seconds since 1970; nothing where it is over.
fn until(moment: i64, now: SystemTime) -> Option<Duration> {
    let moment = u64::try_from(moment).ok()?;
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(moment))?;
    at.duration_since(now).ok().filter(|left| !left.is_zero())
}

pub(super) fn warning_list(html: &mut Html, view: &View) {
    if view.warnings.is_empty() {
        return;
    }
    html.put("<section class=\"warnings\" aria-labelledby=\"warnings\">\n<h2 id=\"warnings\">Warnings</h2>\n<ul>\n", &[]);
    for warning in &view.warnings {
        html.put("<li>{}</li>\n", &[warning]);
    }
    html.put("</ul>\n</section>\n", &[]);
}

/// What went wrong last.
pub(super) fn problems(html: &mut Html, view: &View) {
    let metrics = &view.proxy.metrics;
    html.put(
        "<section aria-labelledby=\"problems\">\n<h2 id=\"problems\">Last problems</h2>\n",
        &[],
    );
    let problems = metrics.problems();
    if problems.is_empty() {
        html.put(
            "<p class=\"note\">None since the start.</p>\n</section>\n",
            &[],
        );
        return;
    }
    html.table(
        "problems",
        "The last 20 exchanges that the proxy answered itself, or whose signature Ingo refused; the latest first. Look for the exchange_id in the log.",
        &[
            ("", "Time (UTC)"),
            ("", "Code"),
            ("number", "Status"),
            ("", "Route"),
            ("", "Sent"),
            ("number", "Attempts"),
            ("", "exchange_id"),
        ],
    );
    for problem in problems {
        html.put(
            "<tr><th scope=\"row\"><time datetime=\"{}\">{}</time></th><td>{}{}</td><td class=\"number\">{}</td><td>{}</td>",
            &[
                &words::stamp(problem.at),
                &words::moment(problem.at),
                &problem.code,
                &if problem.by_ingo { " (Ingo)" } else { "" },
                &problem.status,
                &problem.route.map_or("none", crate::ingo::Route::name),
            ],
        );
        let class = match problem.sent {
            crate::problem::Sent::Maybe => "state bad",
            crate::problem::Sent::No => "state",
        };
        html.put(
            "<td><span class=\"{}\">{}</span></td><td class=\"number\">{}</td><td><code>{}</code></td></tr>\n",
            &[
                &class,
                &problem.sent,
                &problem.attempts,
                &problem.exchange_id.as_hyphenated(),
            ],
        );
    }
    html.end_table();
    let counts: Vec<_> = metrics
        .rejections()
        .into_iter()
        .map(|(code, count)| format!("{code} {}", words::count(count)))
        .collect();
    html.put(
        "<p class=\"note\">Since the start: {}.</p>\n</section>\n",
        &[&counts.join(", ")],
    );
}

/// The way to Ingo.
pub(super) fn upstreams(html: &mut Html, view: &View) {
    html.put(
        "<section aria-labelledby=\"upstreams\">\n<h2 id=\"upstreams\">Upstreams</h2>\n",
        &[],
    );
    html.table(
        "upstreams",
        "Connections, circuit breakers, and clocks as of each upstream’s last answer.",
        &[
            ("", "Upstream"),
            ("", "Circuit"),
            ("number", "Busy"),
            ("number", "Idle"),
            ("", "Clock difference"),
            ("", "Signing clock"),
            ("", "Through"),
        ],
    );
    for upstream in view.proxy.upstreams() {
        html.put("<tr><th scope=\"row\">{}</th>", &[&upstream.name()]);
        match (upstream.circuit_open(), upstream.circuit_open_for()) {
            (false, _) => html.put("<td><span class=\"state good\">closed</span></td>", &[]),
            (true, Some(left)) => html.put(
                "<td><span class=\"state bad\">open, for {}</span></td>",
                &[&words::seconds(left.as_secs_f64())],
            ),
            (true, None) => html.put(
                "<td><span class=\"state fair\">half open: the next attempt is a probe</span></td>",
                &[],
            ),
        };
        let (idle, busy) = upstream.connections();
        html.put(
            "<td class=\"number\">{}</td><td class=\"number\">{}</td>",
            &[&busy, &idle],
        );
        match upstream.clock_skew() {
            None => html.put("<td>not known yet</td>", &[]),
            Some(0) => html.put("<td>less than 1 s</td>", &[]),
            Some(seconds) => html.put(
                "<td>{} s {}</td>",
                &[
                    &seconds.unsigned_abs(),
                    &if seconds > 0 {
                        "ahead of ours"
                    } else {
                        "behind ours"
                    },
                ],
            ),
        };
        match upstream.clock_correction() {
            0 => html.put("<td>as this host’s</td>", &[]),
            seconds => html.put("<td>corrected by {} s</td>", &[&format!("{seconds:+}")]),
        };
        match upstream.proxy() {
            Some(proxy) => html.put("<td>{}</td></tr>\n", &[&proxy]),
            None => html.put("<td>directly</td></tr>\n", &[]),
        };
    }
    html.end_table();
    html.put("</section>\n", &[]);
}

pub(super) fn limits(html: &mut Html, view: &View) {
    html.put(
        "<section aria-labelledby=\"limits\">\n<h2 id=\"limits\">Limits</h2>\n",
        &[],
    );
    html.table(
        "limits",
        "What is used of each limit now; beyond it callers are refused as overloaded.",
        &[
            ("", "Limit"),
            ("number", "Used"),
            ("number", "Limit"),
            ("bar-head", "In use"),
            ("number", "Part"),
        ],
    );
    for limit in limits_of(view.proxy) {
        html.put(
            "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar-cell\">",
            &[&limit.key, &(limit.show)(limit.used), &(limit.show)(limit.limit)],
        );
        used_bar(html, limit.used as f64, limit.limit as f64);
        html.put(
            "</td><td class=\"number\">{}</td></tr>\n",
            &[&words::share(limit.used as f64, limit.limit as f64)],
        );
    }
    html.end_table();
    match &view.proxy.pace {
        Some(pace) => html.put(
            "<p class=\"note\">rate_limit: {} sent a second, {} at once; {} for it now.</p>\n</section>\n",
            &[
                &counted(pace.limit().per_second.get().into(), "request is", "requests are"),
                &words::count(pace.limit().burst.get().into()),
                &counted(pace.waiting().into(), "waits", "wait"),
            ],
        ),
        None => html.put(
            "<p class=\"note\">rate_limit: off, requests are sent as they come.</p>\n</section>\n",
            &[],
        ),
    };
}

/// Whose signature stands under requests. Its name and age, nothing of its content.
pub(super) fn credential(html: &mut Html, view: &View) {
    let rotation = &view.proxy.rotation;
    let (username, next) = rotation.usernames();
    let loaded = SystemTime::UNIX_EPOCH
        .checked_add(Duration::from_secs(rotation.loaded_at()))
        .unwrap_or(view.now);
    let old = view.now.duration_since(loaded).unwrap_or_default();
    html.put(
        "<section aria-labelledby=\"credential\">\n<h2 id=\"credential\">Credential</h2>\n<dl class=\"facts wide\"><div><dt>Username</dt><dd>{}</dd></div><div><dt>Secret loaded</dt><dd>{} ago, <time datetime=\"{}\">{}</time></dd></div>",
        &[&username, &age(old), &words::stamp(loaded), &words::moment(loaded)],
    );
    match next {
        Some(next) => html.put("<div><dt>Next</dt><dd>{}, not in use</dd></div>", &[&next]),
        None => html.put("<div><dt>Next</dt><dd>none</dd></div>", &[]),
    };
    html.put(
        "<div><dt>Banking Platform’s api_key</dt><dd>{}</dd></div><div><dt>Secret files that could not be taken</dt><dd>{}</dd></div></dl>\n</section>\n",
        &[
            &if rotation.api_key().is_some() { "loaded" } else { "none" },
            &words::count(rotation.failures()),
        ],
    );
}

pub(super) fn certificates_and_journal(html: &mut Html, view: &View) {
    html.put("<div class=\"pair\">\n<section aria-labelledby=\"certificates\">\n<h2 id=\"certificates\">Certificates</h2>\n", &[]);
    let expiries = view.proxy.tls.expiries();
    if expiries.is_empty() {
        html.put("<p class=\"note\">None are configured.</p>\n", &[]);
    } else {
        html.table(
            "certificates",
            "When ours expire, and those that we trust by name.",
            &[
                ("", "Certificate"),
                ("number", "Days left"),
                ("", "Expires (UTC)"),
            ],
        );
        for expiry in expiries {
            html.put("<tr><th scope=\"row\">{}</th>", &[&expiry.certificate]);
            match until(expiry.not_after, view.now) {
                Some(left) => html.put(
                    "<td class=\"number\">{}</td><td>{}</td></tr>\n",
                    &[
                        &words::count(left.as_secs() / 86_400),
                        &words::moment(view.now.checked_add(left).unwrap_or(view.now)),
                    ],
                ),
                None => html.put("<td class=\"number\"><span class=\"state bad\">expired</span></td><td>{}</td></tr>\n", &[&NONE]),
            };
        }
        html.end_table();
    }
    html.put(
        "</section>\n<section aria-labelledby=\"journal\">\n<h2 id=\"journal\">Journal</h2>\n",
        &[],
    );
    if let Some(journal) = &view.proxy.journal {
        html.table(
            "journal",
            "Calls that move money which began and did not end, those in flight included. The command unresolved lists them.",
            &[("", "Route"), ("number", "Unresolved")],
        );
        for route in Journal::routes() {
            html.put(
                "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td></tr>\n",
                &[
                    &route.name(),
                    &words::count(journal.unresolved(route) as u64),
                ],
            );
        }
        html.end_table();
    } else {
        let why = match view.proxy.no_journal() {
            Some(_) => "journal.file is not set",
            None => "no enabled route moves money",
        };
        html.put("<p class=\"note\">None is kept: {}.</p>\n", &[&why]);
    }
    html.put("</section>\n</div>\n", &[]);
}
