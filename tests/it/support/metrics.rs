//! Reads the text form in which Prometheus is told metrics.

use std::collections::BTreeMap;

/// One answer of `/metrics`.
#[derive(Debug)]
pub struct Metrics {
    text: String,
    samples: Vec<Sample>,
}

/// One line: a name, labels and a value.
#[derive(Debug)]
pub struct Sample {
    /// The name, with its `_bucket`, `_sum` or `_count`.
    pub name: String,
    /// The labels.
    pub labels: BTreeMap<String, String>,
    /// The value.
    pub value: f64,
}

impl Metrics {
    /// Reads `text`; panics at a line it does not understand.
    pub fn read(text: &str) -> Self {
        let samples = text
            .lines()
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(|line| sample(line).unwrap_or_else(|| panic!("no sample: {line}")))
            .collect();
        Self {
            text: text.to_owned(),
            samples,
        }
    }

    /// What kind of metric `name` is, by its TYPE line.
    pub fn kind(&self, name: &str) -> Option<&str> {
        let prefix = format!("# TYPE {name} ");
        self.text.lines().find_map(|l| l.strip_prefix(&prefix))
    }

    /// The sum of all samples of `name` that bear these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples_of(name)
            .filter(|s| {
                labels
                    .iter()
                    .all(|(n, v)| s.labels.get(*n).is_some_and(|is| is == v))
            })
            .map(|s| s.value)
            .sum()
    }

    /// All samples of `name`.
    pub fn samples_of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Sample> {
        self.samples.iter().filter(move |s| s.name == name)
    }

    /// The text itself.
    pub fn text(&self) -> &str {
        &self.text
    }
}

fn sample(line: &str) -> Option<Sample> {
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        None => (series, BTreeMap::new()),
        Some((name, rest)) => (name, labels(rest.strip_suffix('}')?)?),
    };
    Some(Sample {
        name: name.to_owned(),
        labels,
        value: value.parse().ok()?,
    })
}

/// `a="b",c="d"`. No label of ours needs an escape.
fn labels(text: &str) -> Option<BTreeMap<String, String>> {
    text.split("\",")
        .filter(|part| !part.is_empty())
        .map(|part| {
            let (name, value) = part.split_once("=\"")?;
            Some((
                name.to_owned(),
                value.strip_suffix('"').unwrap_or(value).to_owned(),
            ))
        })
        .collect()
}
