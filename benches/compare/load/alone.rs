//! A caller that is alone, at several ports in turns.

use std::{
    io::Write as _,
    time::{Duration, Instant},
};

use super::{connected, messages::Messages, number, request};

/// What is posted to one port by somebody who is alone.
struct Alone<'a> {
    port: &'a str,
    by: Messages,
    /// Of each turn, the median of what its requests took.
    turns: Vec<f64>,
    errors: usize,
}

/// Answers the median over all turns of what a turn's median request took at each port, and of by how much it took longer than at the
/// first port in the same turn.
pub(crate) fn alone(arguments: &[String]) -> Result<String, String> {
    /// Requests of a turn: so few that a turn at each port is over within some tens of milliseconds.
    const TURN: usize = 40;
    /// Of these, the first ones, which find the caches as another proxy left them.
    const NOT_COUNTED: usize = 2;
    let [target, body, seconds, _direct, ..] = arguments else {
        return Err("load alone TARGET BODY_FILE SECONDS DIRECT_PORT PORT…".into());
    };
    let request = request(target, body)?;
    let mut asked = Vec::new();
    for port in &arguments[3..] {
        asked.push(Alone {
            port,
            by: Messages::over(connected(port)?),
            turns: Vec::new(),
            errors: 0,
        });
    }
    let ends = Instant::now() + Duration::from_secs_f64(number(seconds)?);
    while Instant::now() < ends {
        for one in asked.iter_mut().filter(|one| one.errors == 0) {
            let mut took = Vec::new();
            for _ in 0..TURN {
                let began = Instant::now();
                if one.by.stream.write_all(&request).is_err() || !one.by.is_answered() {
                    one.errors += 1;
                    break;
                }
                took.push(began.elapsed().as_secs_f64() * 1e6);
            }
            if took.len() == TURN {
                one.turns.push(median(&mut took[NOT_COUNTED..]));
            }
        }
        if asked[0].errors > 0 {
            return Err(format!("port {}: not answered with 200", asked[0].port));
        }
        // Whoever comes before a port does so in every other turn only.
        asked[1..].reverse();
    }
    let direct = asked[0].turns.clone();
    let told: Vec<String> = (asked.iter_mut())
        .map(|one| {
            let mut added: Vec<f64> = one.turns.iter().zip(&direct).map(|(a, b)| a - b).collect();
            let (p50, added) = (median(&mut one.turns), median(&mut added));
            format!(
                r#""{}":{{"p50":{p50:.1},"added":{added:.1},"errors":{}}}"#,
                one.port, one.errors
            )
        })
        .collect();
    Ok(format!("{{{}}}", told.join(",")))
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
