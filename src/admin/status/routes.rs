//! What may be forwarded, and how it goes.

use super::{
    View,
    history::{Recent, STEPS},
    html::Html,
    plot::{Scale, Series, lines},
    traffic::{minute_of, minutes_of},
    words::{self, quantile, rate},
};
use crate::{
    ingo::{Pattern, Route},
    telemetry::{End, Ends},
};

/// What may be forwarded, and how it goes.
pub(super) fn routes(html: &mut Html, view: &View) {
    let (proxy, recent) = (view.proxy, &view.recent);
    html.put(
        "<section aria-labelledby=\"routes\">\n<h2 id=\"routes\">Routes</h2>\n",
        &[],
    );
    let caption = format!(
        "Rates and errors of {}; times of exchanges that were answered or failed in {}.",
        minute_of(recent),
        minutes_of(recent)
    );
    html.table(
        "routes",
        &caption,
        &[
            ("", "Route"),
            ("", "State"),
            ("number", "In flight"),
            ("spark-head", "10 minutes"),
            ("number", "Per second"),
            ("number", "Errors"),
            ("number", "p50"),
            ("number", "p99"),
            ("number", "Since start"),
            ("", "Upstream"),
        ],
    );
    for destination in &proxy.routes {
        let route = destination.route;
        let path = match route.pattern() {
            Pattern::Exact(path) => path.to_owned(),
            Pattern::Prefix(prefix) => format!("{prefix}…"),
        };
        html.put(
            "<tr><th scope=\"row\">{} <span class=\"path\">{}</span></th>",
            &[&route.name(), &path],
        );
        if destination.disabled {
            html.put(
                "<td><span class=\"state fair\">switched off</span></td>",
                &[],
            );
        } else {
            html.put("<td><span class=\"state good\">enabled</span></td>", &[]);
        }
        html.put(
            "<td class=\"number\">{}</td>",
            &[&proxy.metrics.running(route)],
        );
        rates_of(html, recent, Some(route));
        let times = recent.spreads.exchanges(route);
        html.put(
            "<td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
            &[
                &quantile(times, 0.5),
                &quantile(times, 0.99),
                &words::count(recent.ever.of(Some(route)).all()),
                &destination.upstream.name(),
            ],
        );
    }
    let strays = recent.ever.of(None).all();
    if strays > 0 {
        html.put(
            "<tr><th scope=\"row\">none <span class=\"path\">paths of no enabled route, and what cannot be read</span></th><td><span class=\"state\">refused</span></td><td class=\"number\">{}</td>",
            &[&words::NONE],
        );
        rates_of(html, recent, None);
        html.put(
            "<td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td>{}</td></tr>\n",
            &[&words::NONE, &words::NONE, &words::count(strays), &words::NONE],
        );
    }
    html.end_table();
    let enabled = |route: &&Route| proxy.routes.iter().any(|d| d.route == **route);
    let others: Vec<_> = Route::ALL
        .iter()
        .filter(|r| !enabled(r))
        .map(|r| r.name())
        .collect();
    if !others.is_empty() {
        html.put(
            "<p class=\"note\">Not enabled: {}.</p>\n",
            &[&others.join(", ")],
        );
    }
    html.put("</section>\n", &[]);
}

/// The cells of a route's rates and errors.
fn rates_of(html: &mut Html, recent: &Recent, route: Option<Route>) {
    let all = recent.rates(|step| step.tally.of(route).all());
    let errors = recent.rates(|step| step.tally.of(route).errors());
    html.put("<td class=\"spark-cell\">", &[]);
    let series = [("all", &all), ("errors", &errors)].map(|(class, values)| Series {
        class,
        values,
        filled: true,
    });
    let scale = Scale::linear(all.iter().flatten().copied());
    lines(html, "spark", scale, STEPS, &series);
    let minute = recent.minute.of(route);
    html.put(
        "</td><td class=\"number\">{}</td><td class=\"number\">",
        &[&rate(recent.per_second(minute.all()))],
    );
    if minute.errors() == 0 {
        html.put("0</td>", &[]);
    } else {
        html.put(
            "<strong class=\"bad\">{}</strong> <span class=\"kinds\">{}</span></td>",
            &[&words::count(minute.errors()), &kinds(minute)],
        );
    }
}

/// What the errors were.
fn kinds(ends: &Ends) -> String {
    let names = [
        (End::Rejected, "rejected"),
        (End::Failed, "failed"),
        (End::IngoError, "by Ingo"),
        (End::Aborted, "aborted"),
    ];
    let met = names.iter().filter(|(end, _)| ends.of(*end) > 0);
    let told: Vec<_> = met
        .map(|(end, name)| format!("{} {name}", words::count(ends.of(*end))))
        .collect();
    told.join(", ")
}
