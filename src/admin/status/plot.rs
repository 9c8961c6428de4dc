//! Small plots as inline SVG. What they show always stands beside them in text, too.
//!
//! They have no style of their own: shapes get classes, and positions are attributes, because the page's policy knows no
//! inline styles. Shapes are stretched to the width there is, so nothing in them may be a circle or text.

use std::fmt::Write as _;

use super::html::Html;

/// Units of the drawing, which the browser stretches.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 100.0;

/// A line over time, with the latest value at the right edge.
pub(super) struct Series<'a> {
    pub(super) class: &'static str,
    /// `None`: nothing is known of that time.
    pub(super) values: &'a [Option<f64>],
    /// Whether what is below the line is filled.
    pub(super) filled: bool,
}

/// From where to where values are shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// From 0.
    Linear { top: f64 },
    /// By the logarithm, between powers of ten.
    Decades { bottom: f64, top: f64 },
}

impl Scale {
    /// From 0 to a round number that is at least each of `values`.
    pub(super) fn linear(values: impl Iterator<Item = f64>) -> Self {
        let top = round_up(values.fold(0.0, f64::max));
        Self::Linear { top }
    }

    /// The powers of ten around `values`.
    pub(super) fn decades(values: impl Iterator<Item = f64>) -> Self {
        let positive = values.filter(|value| *value > 0.0);
        let ends = positive.fold((f64::MAX, 0.0_f64), |(least, most), value| {
            (least.min(value), most.max(value))
        });
        let (least, most) = if ends.1 > 0.0 { ends } else { (1.0, 1.0) };
        let bottom = 10_f64.powf(least.log10().floor());
        let top = 10_f64.powf(most.log10().ceil()).max(bottom * 10.0);
        Self::Decades { bottom, top }
    }

    /// How high a value stands, from 0 to 1.
    fn height(self, value: f64) -> f64 {
        let height = match self {
            Self::Linear { top } => value / top,
            Self::Decades { bottom, top } => (value / bottom).log10() / (top / bottom).log10(),
        };
        height.clamp(0.0, 1.0)
    }
}

/// Several series on one scale, in a plot with `places` places in all.
pub(super) fn lines(
    html: &mut Html,
    kind: &'static str,
    scale: Scale,
    places: usize,
    all: &[Series],
) {
    html.put(
        "<svg class=\"{}\" viewBox=\"0 0 {} {}\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">",
        &[&kind, &WIDTH, &HEIGHT],
    );
    for y in [0.0, HEIGHT / 2.0] {
        html.put("<path class=\"grid\" d=\"M0 {}H{}\"/>", &[&y, &WIDTH]);
    }
    html.put("<path class=\"base\" d=\"M0 {}H{}\"/>", &[&HEIGHT, &WIDTH]);
    let nothing = |series: &&Series| series.values.iter().flatten().all(|value| *value <= 0.0);
    // A line along the bottom would hide it, and look like something.
    for series in all.iter().filter(|series| !nothing(series)) {
        for run in runs(series.values, places, scale) {
            if series.filled {
                html.put(
                    "<path class=\"area {}\" d=\"{}\"/>",
                    &[&series.class, &area(&run)],
                );
            }
            html.put(
                "<path class=\"line {}\" d=\"{}\"/>",
                &[&series.class, &line(&run)],
            );
        }
    }
    html.put("</svg>", &[]);
}

/// The points of each stretch without a gap.
fn runs(values: &[Option<f64>], places: usize, scale: Scale) -> Vec<Vec<(f64, f64)>> {
    let step = WIDTH / places.saturating_sub(1).max(1) as f64;
    let first = places.saturating_sub(values.len());
    let mut runs = vec![Vec::new()];
    for (at, value) in values.iter().enumerate() {
        match value {
            Some(value) => {
                let x = (first + at) as f64 * step;
                let y = HEIGHT * (1.0 - scale.height(*value));
                if let Some(run) = runs.last_mut() {
                    run.push((x, y));
                }
            }
            None => runs.push(Vec::new()),
        }
    }
    runs.retain(|run| !run.is_empty());
    for run in &mut runs {
        // A single point has no line: it becomes a short one.
        if let [(x, y)] = run[..] {
            run.insert(0, ((x - step / 2.0).max(0.0), y));
        }
    }
    runs
}

fn line(run: &[(f64, f64)]) -> String {
    let mut path = String::new();
    for (at, (x, y)) in run.iter().enumerate() {
        let letter = if at == 0 { 'M' } else { 'L' };
        // A String takes everything.
        let _written = write!(path, "{letter}{x:.1} {y:.1}");
    }
    path
}

fn area(run: &[(f64, f64)]) -> String {
    let (first, last) = (run.first(), run.last());
    let (Some((from, _)), Some((to, _))) = (first, last) else {
        return String::new();
    };
    format!("{}L{to:.1} {HEIGHT}L{from:.1} {HEIGHT}Z", line(run))
}

/// The smallest of 1, 2 and 5 times a power of ten that is at least `value`: where a scale may end.
fn round_up(value: f64) -> f64 {
    if value <= 0.0 {
        return 1.0;
    }
    let power = 10_f64.powf(value.log10().floor());
    let steps = [1.0, 2.0, 5.0, 10.0].map(|step| step * power);
    steps
        .into_iter()
        .find(|step| *step >= value * (1.0 - 1e-9))
        .unwrap_or(value)
}

/// Where the scale of times begins and how many decades it has: 10 µs to 1000 s.
const SHORTEST: f64 = 1e-5;
const DECADES: f64 = 8.0;

/// A bar up to `half`, where half of the values are below, and a paler one on to `most`; by the logarithm.
pub(super) fn time_bar(html: &mut Html, half: f64, most: f64) {
    let x = |seconds: f64| {
        let decades = (seconds / SHORTEST).log10();
        // A bar that is too short to be seen is drawn all the same.
        (WIDTH * decades / DECADES).clamp(4.0, WIDTH)
    };
    html.put(
        "<svg class=\"bar\" viewBox=\"0 0 600 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\">",
        &[],
    );
    for decade in [0, 2, 4, 6] {
        html.put(
            "<path class=\"grid\" d=\"M{} 0V20\"/>",
            &[&(WIDTH / DECADES * f64::from(decade))],
        );
    }
    html.put(
        "<rect class=\"most\" x=\"0\" y=\"6\" width=\"{}\" height=\"8\"/><rect class=\"half\" x=\"0\" y=\"3\" width=\"{}\" height=\"14\"/></svg>",
        &[&format!("{:.1}", x(most)), &format!("{:.1}", x(half))],
    );
}

/// How much of a limit is used.
pub(super) fn used_bar(html: &mut Html, used: f64, limit: f64) {
    let part = if limit > 0.0 { used / limit } else { 0.0 };
    let class = if part >= super::NEARLY_FULL {
        "full"
    } else {
        "half"
    };
    html.put(
        "<svg class=\"bar used\" viewBox=\"0 0 600 20\" preserveAspectRatio=\"none\" aria-hidden=\"true\" focusable=\"false\"><rect class=\"room\" x=\"0\" y=\"4\" width=\"600\" height=\"12\"/><rect class=\"{}\" x=\"0\" y=\"4\" width=\"{}\" height=\"12\"/></svg>",
        &[&class, &format!("{:.1}", WIDTH * part.clamp(0.0, 1.0))],
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scale_ends_at_a_round_number_that_holds_every_value() {
        for (value, end) in [
            (0.0, 1.0),
            (0.03, 0.05),
            (1.0, 1.0),
            (1.2, 2.0),
            (7.0, 10.0),
            (430.0, 500.0),
        ] {
            assert!((round_up(value) - end).abs() < 1e-9, "{value}");
        }
    }

    #[test]
    fn a_scale_of_decades_ends_at_powers_of_ten() {
        let scale = Scale::decades([0.088, 1.9, 0.0].into_iter());
        let Scale::Decades { bottom, top } = scale else {
            panic!("{scale:?}");
        };
        assert!((bottom - 0.01).abs() < 1e-9 && (top - 10.0).abs() < 1e-9);
        assert!((scale.height(0.1) - 1.0 / 3.0).abs() < 1e-9);
        assert!(scale.height(0.0) == 0.0 && scale.height(99.0) == 1.0);
        assert_eq!(
            Scale::decades(std::iter::empty()),
            Scale::Decades {
                bottom: 1.0,
                top: 10.0
            }
        );
    }

    #[test]
    fn the_latest_value_stands_at_the_right_edge_and_a_gap_stays_one() {
        let scale = Scale::linear([1.5].into_iter());
        let runs = runs(&[Some(1.0), None, Some(0.0), Some(2.0)], 11, scale);
        assert_eq!(runs.len(), 2);
        assert_eq!(runs[1], [(540.0, 100.0), (600.0, 0.0)]);
        assert_eq!(line(&runs[1]), "M540.0 100.0L600.0 0.0");
    }

    #[test]
    fn of_nothing_nothing_is_drawn_but_the_grid() {
        let mut html = Html::default();
        let values = [None, None];
        let series = Series {
            class: "x",
            values: &values,
            filled: true,
        };
        let scale = Scale::linear(std::iter::empty());
        lines(&mut html, "spark", scale, 2, &[series]);
        assert!(!html.into_text().contains("line"));
    }
}
