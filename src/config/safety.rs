//! What is repeated, how often, and what holds the proxy back: the sections `repeats`, `idempotency`, `journal`,
//! `circuit_breaker`, `rate_limit` and `clock`.
//!
//! Defaults repeat only what Ingo recognises as a repeat. Whatever can move money twice has `danger` in its name.

use std::num::NonZeroU32;

use super::{
    CircuitBreaker, Idempotency, JournalConfig, RateLimit, Repeats, RouteConfig, Safety,
    credentials::secret_source, listeners::file_path, quantity::Expected, reader::Reader, schema,
};
use crate::ingo::Route;

/// Reads all of these sections. `routes` are those that are enabled, where they could be read.
pub(super) fn read(
    reader: &mut Reader<'_>,
    routes: Option<&[RouteConfig]>,
    warnings: &mut Vec<String>,
) -> Option<Safety> {
    let repeats = read_repeats(reader);
    let idempotency = read_idempotency(reader);
    let journal = read_journal(reader, routes, warnings);
    let breaker = read_breaker(reader);
    let rate_limit = read_rate_limit(reader);
    let correct = reader.boolean("clock.correct");
    let max_correction = reader.time("clock.max_correction");
    let (correct, max_correction) = (correct?, max_correction?);
    Some(Safety {
        repeats: repeats?,
        idempotency: idempotency?,
        journal: journal?,
        circuit_breaker: breaker?,
        rate_limit: rate_limit?,
        max_clock_correction: correct.then_some(max_correction),
    })
}

fn read_repeats(reader: &mut Reader<'_>) -> Option<Repeats> {
    let base = reader.time("repeats.backoff_base");
    let cap = reader.time("repeats.backoff_cap");
    if let (Some(base), Some(cap)) = (base, cap)
        && base > cap
    {
        reader.reject_order("repeats.backoff_base", "repeats.backoff_cap");
    }
    let budget = reader.count("repeats.budget");
    let percent = reader.count("repeats.budget_percent");
    Some(Repeats {
        backoff_base: base?,
        backoff_cap: cap?,
        budget: u32::try_from(budget?).ok()?,
        budget_percent: u32::try_from(percent?).ok()?,
    })
}

fn read_idempotency(reader: &mut Reader<'_>) -> Option<Idempotency> {
    const POLICY: &str = "idempotency.policy";
    let derive = reader.required(POLICY, |text| match text {
        "generate" => Ok(false),
        "derive" => Ok(true),
        _ => Err("must be generate or derive".to_owned()),
    });
    let secret = secret_source(reader, "idempotency.secret");
    match (derive?, secret?) {
        (false, _) => Some(Idempotency::Generate),
        (true, Some(secret)) => Some(Idempotency::Derive { secret }),
        (true, None) => {
            let remedy = format!(
                "is derive, which needs a secret of its own that never changes; set {}, or name an environment variable with idempotency.secret_env",
                schema::ways("idempotency.secret_file")
            );
            reader.reject(POLICY, remedy);
            None
        }
    }
}

fn read_journal(
    reader: &mut Reader<'_>,
    routes: Option<&[RouteConfig]>,
    warnings: &mut Vec<String>,
) -> Option<Option<JournalConfig>> {
    let file = reader.optional("journal.file", file_path);
    let fsync = reader.boolean("journal.fsync");
    let (file, fsync) = (file?, fsync?);
    let money = routes
        .into_iter()
        .flatten()
        .find(|r| r.route.class().moves_money());
    if let (None, Some(money)) = (&file, money) {
        warnings.push(no_journal(money.route));
    }
    Some(file.map(|file| JournalConfig { file, fsync }))
}

/// The warning of a route that moves money where no journal is kept.
pub fn no_journal(route: Route) -> String {
    format!(
        "the route {} moves money and there is no journal: after a crash nobody can tell which calls had begun and \
         not ended; set journal.file",
        route.name()
    )
}

fn read_breaker(reader: &mut Reader<'_>) -> Option<CircuitBreaker> {
    let failures = reader.count("circuit_breaker.failures");
    let open_for = reader.time("circuit_breaker.open_for");
    Some(CircuitBreaker {
        failures: u32::try_from(failures?).ok()?,
        open_for: open_for?,
    })
}

fn read_rate_limit(reader: &mut Reader<'_>) -> Option<Option<RateLimit>> {
    let rate = reader.unless_off("rate_limit.per_second", positive("rate_limit.per_second"));
    let burst = reader.required("rate_limit.burst", positive("rate_limit.burst"));
    let (rate, burst) = (rate?, burst?);
    Some(rate.map(|per_second| RateLimit { per_second, burst }))
}

/// Reads a count that cannot be zero.
fn positive(path: &str) -> impl Fn(&str) -> Result<NonZeroU32, Expected> + use<> {
    let count = schema::count_at(path);
    move |text| {
        let n = u32::try_from(count(text)?).ok().and_then(NonZeroU32::new);
        Ok(n.expect("the bounds are those of a positive u32"))
    }
}
