//! `doctor`: what stands between a configuration and an accepted request, looked at step by step.
//!
//! It uses the resolver, the proxy, the connections and the signer that `serve` uses, so that what is well here is well there.
//! It changes nothing, and sends nothing signed but one Create Session that cannot create.

mod certificates;
mod network;
mod probe;
mod report;
mod secrets;

pub use self::report::{Report, Step};
use crate::{
    clock::Clock,
    config::{Config, LoadError, Loaded, Origin},
    credentials::Rotation,
    ingo::{Environment, Route},
    upstream::{Roots, Upstreams},
};

/// What we say we are (RFC 9110 §10.1.5).
const USER_AGENT: &str = concat!("ingo-signing-proxy/", env!("CARGO_PKG_VERSION"), " doctor");

/// The report on a configuration that cannot be used.
pub fn refused(error: &LoadError) -> Report {
    let steps = error.mistakes().iter().map(|mistake| {
        let mut place = mistake.clone();
        let remedy = std::mem::take(&mut place.remedy);
        let place = place.to_string();
        let place = place.trim_end_matches(": ");
        let place = if place.is_empty() {
            "the configuration is wrong"
        } else {
            place
        };
        Step::wrong("configuration", place, remedy)
    });
    Report {
        steps: steps.collect(),
    }
}

/// Looks at everything that `loaded` names. A signed request is sent where `probe` says so, and in the sandbox.
pub async fn examine(loaded: &Loaded, probe: bool, clock: &Clock) -> Report {
    let config = &loaded.config;
    let mut steps = vec![configuration(config)];
    let warnings = loaded.warnings.iter();
    steps.extend(warnings.map(|w| Step::skipped("configuration", format!("warning: {w}"))));
    steps.extend(secrets::examine(config));
    let rotation = Rotation::load(&config.credentials).ok();
    let credential = rotation.map(|rotation| rotation.signing(None));
    steps.extend(certificates::of_the_listener(config, clock.now()));
    let any_tls = config.routes.iter().any(|r| r.upstream.tls);
    let trusted = any_tls.then(|| Roots::load(config)).transpose();
    let prepared = trusted
        .map_err(|unusable| ("roots", unusable))
        .and_then(|roots| {
            let upstreams = Upstreams::new(config, None);
            // Of what is loaded besides the roots, this is what can be wrong.
            let upstreams = upstreams.map_err(|unusable| ("client_certificate", unusable));
            Ok((roots, upstreams?))
        });
    let (roots, upstreams) = match prepared {
        Ok(prepared) => prepared,
        Err((step, unusable)) => {
            // Without them there is no pool of connections, for cleartext either: `serve` does not start.
            steps.push(certificates::wrong(step, &unusable));
            let origins = origins(config).into_iter();
            steps.extend(
                origins.map(|o| Step::skipped("resolve", "not looked at").at(&o.to_string())),
            );
            return Report { steps };
        }
    };
    steps.extend(certificates::of_upstreams(&upstreams, clock.now()));
    for origin in origins(config) {
        let at = |step: Step| step.at(&origin.to_string());
        let upstream = upstreams.at(origin);
        let roots = roots.as_ref().filter(|_| origin.tls);
        let (found, answered) = network::examine(&upstream, roots, clock).await;
        steps.extend(found.into_iter().map(at));
        let step = match (why_not(config, origin, probe), &credential) {
            (Some(why), _) => Step::skipped("credentials", why),
            (None, _) if !answered => Step::skipped("credentials", "not reached"),
            (None, None) => Step::skipped("credentials", "there is no secret to sign with"),
            (None, Some(credential)) => {
                probe::examine(config, &upstream, &credential.signer, clock).await
            }
        };
        steps.push(at(step));
    }
    Report { steps }
}

fn configuration(config: &Config) -> Step {
    let routes: Vec<&str> = config.routes.iter().map(|r| r.route.name()).collect();
    let environment = config
        .environment
        .map_or_else(|| "no environment".to_owned(), |e| e.to_string());
    Step::well(
        "configuration",
        format!("{environment}; {}", routes.join(", ")),
    )
}

/// Each upstream once, in the order of the routes.
fn origins(config: &Config) -> Vec<&Origin> {
    let mut origins: Vec<&Origin> = Vec::new();
    for route in &config.routes {
        if !origins.contains(&&route.upstream) {
            origins.push(&route.upstream);
        }
    }
    origins
}

/// Why no signed request is sent to `origin`, if none is.
fn why_not(config: &Config, origin: &Origin, probe: bool) -> Option<&'static str> {
    let serves = |route: Route| {
        config
            .routes
            .iter()
            .any(|r| r.route == route && r.upstream == *origin)
    };
    if !serves(Route::CreateSession) {
        Some(
            "not asked: only Create Session can be asked without consequences, and that goes elsewhere",
        )
    } else if probe || config.environment == Some(Environment::Sandbox) {
        None
    } else {
        Some(
            "not asked: outside the sandbox a signed request is sent with --probe only; it creates nothing",
        )
    }
}
