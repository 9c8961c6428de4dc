//! Where the time goes.

use super::{
    View,
    html::Html,
    plot::time_bar,
    traffic::minutes_of,
    words::{self, counted, quantile, share},
};
use crate::telemetry::{Phase, Quantile, Spread};

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
    html.table(
        "phases",
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
            time_row(
                html,
                "",
                phase.as_str(),
                &share(spread.sum(), whole),
                spread,
            );
        }
    }
    let overhead = &spreads.overhead;
    if overhead.count() > 0 {
        time_row(
            html,
            "whole",
            "the proxy’s own part",
            &share(overhead.sum(), whole),
            overhead,
        );
        html.put(
            "<tr class=\"scale\" aria-hidden=\"true\"><td></td><td></td><td></td><td></td><td class=\"bar-cell\"><div class=\"ticks\"><span>10 µs</span><span>1 ms</span><span>100 ms</span><span>10 s</span></div></td><td></td></tr>\n",
            &[],
        );
    } else {
        html.put(
            "<tr><td colspan=\"6\">No exchange has ended yet.</td></tr>\n",
            &[],
        );
    }
    html.end_table();
    if overhead.count() > 0 && !quiet.is_empty() {
        html.put("<p class=\"note\">Not met: {}.</p>\n", &[&quiet.join(", ")]);
    }
    html.put("</section>\n", &[]);
}

fn time_row(html: &mut Html, class: &str, name: &str, share: &str, spread: &Spread) {
    html.put(
        "<tr class=\"{}\"><th scope=\"row\">{}</th><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"number\">{}</td><td class=\"bar-cell\">",
        &[&class, &name, &share, &quantile(spread, 0.5), &quantile(spread, 0.99)],
    );
    let value = |q| spread.quantile(q).map_or(0.0, Quantile::value);
    time_bar(html, value(0.5), value(0.99));
    html.put(
        "</td><td class=\"number\">{}</td></tr>\n",
        &[&words::count(spread.count())],
    );
}
