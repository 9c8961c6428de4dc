//! What goes through: rates, times, routes, phases.

use std::time::Duration;

use super::{
    View,
    history::{DURATIONS, Recent, STEPS},
    html::Html,
    plot::{Series, lines, round_up, time_bar},
    words::{self, age, counted, quantile, rate, share},
};
use crate::{
    ingo::{Pattern, Route},
    telemetry::{End, Ends, Phase, Spread},
};

/// Less is no time to tell a rate of.
const SHORTEST: Duration = Duration::from_secs(1);

impl Recent {
    fn per_second(&self, number: u64) -> f64 {
        number as f64 / self.minute_is.max(SHORTEST).as_secs_f64()
    }

    /// Rates of what `number` picks, step by step.
    fn rates(&self, number: impl Fn(&super::history::Step) -> u64) -> Vec<Option<f64>> {
        let rate = |step: &super::history::Step| {
            (step.seconds > 0.0).then(|| number(step) as f64 / step.seconds)
        };
        self.steps.iter().map(rate).collect()
    }
}

/// The few numbers that say whether all is well.
pub(super) fn summary(html: &mut Html, view: &View) {
    let recent = &view.recent;
    let minute = recent.minute.sum();
    let all = recent.spreads.all_exchanges();
    let overhead = &recent.spreads.overhead;
    let running: i64 = Route::ALL
        .iter()
        .map(|route| view.proxy.metrics.running(*route))
        .sum();
    html.put(
        "<section aria-labelledby=\"now\">\n<h2 id=\"now\" class=\"quiet\">Now</h2>\n<dl class=\"tiles\">",
        &[],
    );
    let mut tile = |name: &str, value: &str, more: &str| {
        html.put(
            "<div><dt>{}</dt><dd><strong>{}</strong> <span>{}</span></dd></div>",
            &[&name, &value, &more],
        );
    };
    tile(
        "Exchanges",
        &format!("{}/s", rate(recent.per_second(minute.all()))),
        &format!("{} in {}", words::count(minute.all()), minute_of(recent)),
    );
    tile(
        "Errors",
        &share(minute.errors() as f64, minute.all() as f64),
        &format!("{} in {}", words::count(minute.errors()), minute_of(recent)),
    );
    let p99 = |spread: &Spread| format!("p50; p99 {}", quantile(spread, 0.99));
    tile("Exchange time", &quantile(&all, 0.5), &p99(&all));
    tile(
        "The proxy’s own part",
        &quantile(overhead, 0.5),
        &p99(overhead),
    );
    tile(
        "In flight",
        &running.to_string(),
        &format!(
            "of {} at once",
            words::count(view.proxy.limits.exchanges_in_flight as u64)
        ),
    );
    html.put("</dl>\n</section>\n", &[]);
}

fn minute_of(recent: &Recent) -> String {
    span(recent.minute_is, Duration::from_secs(60), "the last minute")
}

fn minutes_of(recent: &Recent) -> String {
    let five = Duration::from_secs(300);
    span(recent.spreads_are, five, "the last 5 minutes")
}

fn span(is: Duration, whole: Duration, name: &str) -> String {
    if is < whole {
        format!("the {} since the start", age(is))
    } else {
        name.to_owned()
    }
}

/// Rates and times of the last ten minutes.
pub(super) fn plots(html: &mut Html, view: &View) {
    let recent = &view.recent;
    let well = recent.rates(|step| step.tally.sum().all());
    let badly = recent.rates(|step| step.tally.sum().errors());
    html.put(
        "<section aria-labelledby=\"traffic\">\n<h2 id=\"traffic\">Traffic</h2>\n<div class=\"plots\">\n",
        &[],
    );
    figure(
        html,
        "Exchanges per second",
        &[("all", &well), ("errors", &badly)],
        rate,
        STEPS,
        true,
    );
    let quantiles = |q: f64| -> Vec<_> {
        let of = |spread: &Spread| Some(spread.quantile(q)?.value());
        recent.durations.iter().map(of).collect()
    };
    let (half, most) = (quantiles(0.5), quantiles(0.99));
    figure(
        html,
        "Exchange time",
        &[("p99", &most), ("p50", &half)],
        words::seconds,
        DURATIONS,
        false,
    );
    html.put("</div>\n</section>\n", &[]);
}

/// A plot with its scale and what it says in words.
fn figure(
    html: &mut Html,
    title: &str,
    series: &[(&'static str, &Vec<Option<f64>>)],
    show: fn(f64) -> String,
    places: usize,
    filled: bool,
) {
    let highest = |values: &[Option<f64>]| values.iter().flatten().copied().fold(0.0, f64::max);
    let top = round_up(
        series
            .iter()
            .map(|(_, values)| highest(values))
            .fold(0.0, f64::max),
    );
    html.put(
        "<figure>\n<figcaption><h3>{}</h3><ul class=\"legend\">",
        &[&title],
    );
    let mut known = false;
    for (name, values) in series {
        html.put(
            "<li class=\"{}\"><span class=\"key\" aria-hidden=\"true\"></span>{}: ",
            &[name, name],
        );
        match values.iter().rev().flatten().next() {
            Some(latest) => {
                known = true;
                html.put(
                    "<b>{}</b>, at most {}</li>",
                    &[&show(*latest), &show(highest(values))],
                )
            }
            None => html.put("nothing yet</li>", &[]),
        };
    }
    html.put("</ul></figcaption>\n<div class=\"plot\">", &[]);
    if known {
        html.put(
            "<span class=\"top\" aria-hidden=\"true\">{}</span>",
            &[&show(top)],
        );
    } else {
        html.put(
            "<span class=\"nothing\">The first values come within half a minute.</span>",
            &[],
        );
    }
    let drawn: Vec<_> = series
        .iter()
        .map(|(class, values)| Series {
            class,
            values,
            filled,
        })
        .collect();
    lines(html, "plot-lines", top, places, &drawn);
    html.put(
        "</div>\n<p class=\"axis\" aria-hidden=\"true\"><span>10 minutes ago</span><span>5</span><span>now</span></p>\n</figure>\n",
        &[],
    );
}

/// A table that scrolls by itself where it is wider than the window, by keyboard as well.
pub(super) fn table(
    html: &mut Html,
    id: &'static str,
    caption: &str,
    heads: &[(&'static str, &'static str)],
) {
    html.put(
        "<div class=\"scroll\" role=\"region\" aria-labelledby=\"{}\" tabindex=\"0\">\n<table>\n<caption id=\"{}\">{}</caption>\n<thead><tr>",
        &[&id, &id, &caption],
    );
    for (class, head) in heads {
        html.put("<th scope=\"col\" class=\"{}\">{}</th>", &[class, head]);
    }
    html.put("</tr></thead>\n<tbody>\n", &[]);
}

pub(super) fn end_table(html: &mut Html) {
    html.put("</tbody>\n</table>\n</div>\n", &[]);
}

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
    table(
        html,
        "routes-caption",
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
    end_table(html);
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
    let highest = all.iter().flatten().copied().fold(0.0, f64::max);
    html.put("<td class=\"spark-cell\">", &[]);
    let series = [("all", &all), ("errors", &errors)].map(|(class, values)| Series {
        class,
        values,
        filled: true,
    });
    lines(html, "spark", round_up(highest), STEPS, &series);
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

/// Where the time goes.
pub(super) fn phases(html: &mut Html, view: &View) {
    let spreads = &view.recent.spreads;
    html.put(
        "<section aria-labelledby=\"phases\">\n<h2 id=\"phases\">Where the time goes</h2>\n",
        &[],
    );
    let caption = format!(
        "Phases of {} in {}, and the share of all their time. The bar reaches to p50, its pale part to p99, on a logarithmic scale.",
        counted(
            spreads.phases.first().map_or(0, Spread::count),
            "exchange",
            "exchanges"
        ),
        minutes_of(&view.recent)
    );
    table(
        html,
        "phases-caption",
        &caption,
        &[
            ("", "Phase"),
            ("number", "Share"),
            ("number", "p50"),
            ("number", "p99"),
            ("bar-head", "Time"),
            ("number", "Met"),
        ],
    );
    let whole: f64 = spreads.phases.iter().map(Spread::sum).sum();
    let quiet: Vec<_> = Phase::ALL
        .iter()
        .zip(&spreads.phases)
        .filter(|(_, spread)| spread.count() == 0)
        .map(|(phase, _)| phase.as_str())
        .collect();
    for (phase, spread) in Phase::ALL.iter().zip(&spreads.phases) {
        if spread.count() > 0 {
            time_row(html, phase.as_str(), &share(spread.sum(), whole), spread);
        }
    }
    let overhead = &spreads.overhead;
    if overhead.count() > 0 {
        time_row(
            html,
            "the proxy’s own part",
            &share(overhead.sum(), whole),
            overhead,
        );
        html.put(
            "<tr class=\"scale\" aria-hidden=\"true\"><td></td><td></td><td></td><td></td><td class=\"bar-cell\"><span>10 µs</span><span>1 ms</span><span>100 ms</span><span>10 s</span></td><td></td></tr>\n",
            &[],
        );
    } else {
        html.put(
            "<tr><td colspan=\"6\">No exchange has ended yet.</td></tr>\n",
            &[],
        );
    }
    end_table(html);
    if overhead.count() > 0 && !quiet.is_empty() {
        html.put("<p class=\"note\">Not met: {}.</p>\n", &[&quiet.join(", ")]);
    }
    html.put("</section>\n", &[]);
}

fn time_row(html: &mut Html, name: &str, share: &str, spread: &Spread) {
    html.put(
        "<tr><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar-cell\">",
        &[&name, &share, &quantile(spread, 0.5), &quantile(spread, 0.99)],
    );
    let value = |q| {
        spread
            .quantile(q)
            .map_or(0.0, crate::telemetry::Quantile::value)
    };
    time_bar(html, value(0.5), value(0.99));
    html.put(
        "</td><td class=\"number\">{}</td></tr>\n",
        &[&words::count(spread.count())],
    );
}
