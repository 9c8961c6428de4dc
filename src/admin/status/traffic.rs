//! What goes through: the few numbers, and plots of the last ten minutes.

use std::time::Duration;

use super::{
    View,
    history::{DURATIONS, Recent, STEPS, Step},
    html::Html,
    plot::{Scale, Series, lines},
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
    Figure {
        id: "rates",
        title: "Exchanges per second",
        series: [("all", &well), ("errors", &badly)],
        show: rate,
        places: STEPS,
        decades: false,
        nothing: "The first value comes after 5 seconds.",
    }
    .put(html);
    let quantiles = |q: f64| -> Vec<_> {
        let of = |spread: &Spread| Some(spread.quantile(q)?.value());
        recent.durations.iter().map(of).collect()
    };
    let (half, most) = (quantiles(0.5), quantiles(0.99));
    Figure {
        id: "times",
        title: "Exchange time",
        series: [("p99", &most), ("p50", &half)],
        show: words::seconds,
        places: DURATIONS,
        decades: true,
        nothing: "A value comes after each 30 seconds with exchanges.",
    }
    .put(html);
    html.put("</div>\n</section>\n", &[]);
}

/// A plot with its scale and what it says in words.
struct Figure<'a> {
    id: &'static str,
    title: &'static str,
    /// Their names are their classes, too.
    series: [(&'static str, &'a [Option<f64>]); 2],
    show: fn(f64) -> String,
    places: usize,
    /// Whether the scale is logarithmic.
    decades: bool,
    /// What is said where there are no values.
    nothing: &'static str,
}

impl Figure<'_> {
    fn put(self, html: &mut Html) {
        html.put(
            "<figure aria-labelledby=\"{}\">\n<figcaption><h3 id=\"{}\">{}</h3><ul class=\"legend\">",
            &[&self.id, &self.id, &self.title],
        );
        for (name, values) in self.series {
            html.put(
                "<li class=\"{}\"><span class=\"key\" aria-hidden=\"true\"></span>{}: ",
                &[&name, &name],
            );
            let highest = values.iter().flatten().copied().fold(0.0, f64::max);
            match values.iter().rev().flatten().next() {
                Some(latest) => html.put(
                    "<b>{}</b>, at most {}</li>",
                    &[&(self.show)(*latest), &(self.show)(highest)],
                ),
                None => html.put("nothing yet</li>", &[]),
            };
        }
        html.put("</ul></figcaption>\n<div class=\"plot\">", &[]);
        let values = || self.series.iter().flat_map(|(_, values)| *values).flatten();
        let scale = if self.decades {
            Scale::decades(values().copied())
        } else {
            Scale::linear(values().copied())
        };
        let ends = match scale {
            _ if values().next().is_none() => {
                html.put("<span class=\"nothing\">{}</span>", &[&self.nothing]);
                [None, None]
            }
            Scale::Linear { top } => [Some(("top", top)), None],
            Scale::Decades { bottom, top } => [Some(("top", top)), Some(("bottom", bottom))],
        };
        for (class, end) in ends.into_iter().flatten() {
            html.put(
                "<span class=\"{}\" aria-hidden=\"true\">{}</span>",
                &[&class, &words::round(&(self.show)(end))],
            );
        }
        let drawn = self.series.map(|(class, values)| Series {
            class,
            values,
            filled: !self.decades,
        });
        lines(html, "plot-lines", scale, self.places, &drawn);
        html.put(
            "</div>\n<p class=\"axis\" aria-hidden=\"true\"><span>10 minutes ago</span><span>5 minutes</span><span>now</span></p>\n</figure>\n",
            &[],
        );
    }
}
