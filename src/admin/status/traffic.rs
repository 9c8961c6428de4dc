//! What goes through: the few numbers, and plots of the last ten minutes.

use std::time::Duration;

use super::{
    View,
    history::{DURATIONS, Recent, STEPS, Step},
    html::Html,
    plot::{Series, lines, round_up},
    words::{self, age, quantile, rate, share},
};
use crate::{ingo::Route, telemetry::Spread};

/// Less is no time to tell a rate of.
const SHORTEST: Duration = Duration::from_secs(1);

impl Recent {
    pub(super) fn per_second(&self, number: u64) -> f64 {
        number as f64 / self.minute_is.max(SHORTEST).as_secs_f64()
    }

    /// Rates of what `number` picks, step by step.
    pub(super) fn rates(&self, number: impl Fn(&Step) -> u64) -> Vec<Option<f64>> {
        let rate = |step: &Step| (step.seconds > 0.0).then(|| number(step) as f64 / step.seconds);
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

pub(super) fn minute_of(recent: &Recent) -> String {
    span(recent.minute_is, Duration::from_secs(60), "the last minute")
}

pub(super) fn minutes_of(recent: &Recent) -> String {
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
        "rates",
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
        "times",
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
    id: &'static str,
    title: &'static str,
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
        "<figure aria-labelledby=\"{}\">\n<figcaption><h3 id=\"{}\">{}</h3><ul class=\"legend\">",
        &[&id, &id, &title],
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
