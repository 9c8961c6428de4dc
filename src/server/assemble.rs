//! From a configuration to what exchanges go by, whole or not at all: nothing of it is used before all of it is there.
//!
//! At a reload, what the new configuration leaves as it was is carried over with all that is known of it: connections, the
//! breaker's memory, a credential that became current, keys in flight. What counts (bounds, journal, metrics) is the
//! process's own and never begins anew.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    thread,
};

use rustls::ServerConfig;
use tokio::sync::Semaphore;

use super::StartError;
use crate::{
    bounds::{Memory, Turns},
    clock::Clock,
    config::{Config, Idempotency, Limits, Loaded, ProxyConfig, RouteConfig, SecretSource},
    credentials::{Rotation, SecretError, pin, read_secret, read_secret_anew},
    exchange::{Destination, KeySource, Keys, Pace, Proxy, Tls, hosts::Hosts, passed},
    idempotency::Deriver,
    journal::Journal,
    lifecycle::Lifecycle,
    retry::{Backoff, Policy},
    telemetry::{Metrics, Tracer},
    tls::Renewed,
    upstream::Upstreams,
    watch::{self, SETTLE, Watching},
};

/// No file that is named is larger, in bytes.
const LARGEST: usize = 1 << 20;

/// What lives as long as the process, whatever its configuration.
#[derive(Debug)]
pub(super) struct Process {
    pub(super) memory: Memory,
    pub(super) places: Arc<Semaphore>,
    pub(super) keys: Arc<Keys>,
    pub(super) lifecycle: Lifecycle,
    pub(super) metrics: Arc<Metrics>,
    pub(super) tracer: Tracer,
    pub(super) clock: Clock,
    /// Its files are those of the start; what is in them may change.
    pub(super) inbound_tls: Option<Arc<Renewed<ServerConfig>>>,
}

/// A configuration and what was made of it.
#[derive(Debug)]
pub(super) struct Assembly {
    pub(super) loaded: Loaded,
    pub(super) proxy: Arc<Proxy>,
    /// The files of `credentials` and of `idempotency`, each for as long as it is in use.
    watching: (Arc<Watching>, Option<Arc<Watching>>),
}

impl Assembly {
    /// Makes what `loaded` asks for, with a credential that is here already, or else the one that it names.
    pub(super) fn make(
        process: &Process,
        loaded: Loaded,
        rotation: Option<Rotation>,
        former: Option<&Self>,
    ) -> Result<Self, StartError> {
        let config = &loaded.config;
        let (safety, limits) = (&config.safety, &config.limits);
        let listener = &config.listeners.proxy;
        if let Some(former) = former {
            check_new_files(config, &former.loaded.config)?;
        }
        let upstreams = Upstreams::new(config, former.map(|former| &*former.proxy.tls.upstreams))?;
        check_proxy_password(config)?;
        let (rotation, watched) = credentials(config, rotation, former)?;
        let journal = journal(config, process, former)?;
        let (key_source, pinned) = key_source(config, former)?;
        // Nothing fails from here on, so that what is refused is watched by nobody.
        let secrets = watched.unwrap_or_else(|| Arc::new(rotation.watch()));
        let upstreams = Arc::new(upstreams.watched());
        let proxy = Proxy {
            routes: destinations(config, &upstreams),
            rotation,
            key_source,
            hosts: Hosts::of(&listener.address, &listener.hosts),
            passed: passed(&config.headers),
            headers: config.headers.clone(),
            memory: process.memory.clone(),
            turns: turns(limits, former),
            places: process.places.clone(),
            keys: process.keys.clone(),
            environment: environment(config),
            pace: pace(config, former),
            journal,
            max_clock_correction: safety.max_clock_correction,
            limits: limits.clone(),
            lifecycle: process.lifecycle.clone(),
            metrics: process.metrics.clone(),
            tracer: process.tracer.clone(),
            clock: process.clock.clone(),
            configuration: loaded.to_string(),
            tls: Tls {
                inbound: process.inbound_tls.clone(),
                upstreams,
            },
        };
        Ok(Self {
            proxy: Arc::new(proxy),
            loaded,
            watching: (secrets, pinned),
        })
    }
}

/// While exchanges run, a file must be readable as often as one likes and not be half written: at a start there is nobody yet
/// whom a moment's patience would help.
fn check_new_files(config: &Config, former: &Config) -> Result<(), StartError> {
    let known = files(former);
    let new: Vec<_> = files(config)
        .into_iter()
        .filter(|file| !known.contains(file))
        .collect();
    let unsettled = |file: &Path, what| StartError::File(format!("{} {what}", file.display()));
    for file in &new {
        if fs::metadata(file).is_ok_and(|metadata| !metadata.is_file()) {
            return Err(unsettled(
                file,
                "is no regular file, and only those are taken while the proxy runs; name one, or restart",
            ));
        }
    }
    // What cannot be read is told by whoever needs it.
    let read = |file: &PathBuf| watch::read(file, LARGEST).ok();
    let first: Vec<_> = new.iter().map(read).collect();
    if !new.is_empty() {
        thread::sleep(SETTLE);
    }
    for (file, first) in new.iter().zip(first) {
        let same = match (first, read(file)) {
            (Some(first), Some(second)) => first.is_same(&second),
            (None, None) => true,
            _ => false,
        };
        if !same {
            return Err(unsettled(
                file,
                "is being written; reload again when it is whole",
            ));
        }
    }
    Ok(())
}

/// The files besides its own that a configuration names and that may change by a reload.
fn files(config: &Config) -> Vec<PathBuf> {
    let secrets = config.secrets();
    let secrets = secrets.iter().filter_map(|(_, source)| match source {
        SecretSource::File(path) => Some(path),
        SecretSource::Environment(_) => None,
    });
    let shown = config.upstream.client_certificate.iter();
    let shown = shown.flat_map(|shown| [&shown.certificate, &shown.key]);
    let files = secrets.chain(shown).chain(&config.upstream.ca_file);
    files.cloned().collect()
}

/// It is read anew for each connection; where it cannot be read at all, this is the time to say so.
fn check_proxy_password(config: &Config) -> Result<(), SecretError> {
    let proxy = config.upstream.proxy.as_ref();
    if let Some(password) = proxy.and_then(ProxyConfig::password) {
        read_secret_anew(password)?;
    }
    Ok(())
}

fn credentials(
    config: &Config,
    rotation: Option<Rotation>,
    former: Option<&Assembly>,
) -> Result<(Arc<Rotation>, Option<Arc<Watching>>), SecretError> {
    if let Some(former) = former
        && former.loaded.config.credentials == config.credentials
    {
        let watched = former.watching.0.clone();
        return Ok((former.proxy.rotation.clone(), Some(watched)));
    }
    let mut rotation = match rotation {
        Some(rotation) => rotation,
        None => Rotation::load(&config.credentials)?,
    };
    if let Some(former) = former {
        rotation = rotation.after(&former.proxy.rotation);
    }
    Ok((Arc::new(rotation), None))
}

fn key_source(
    config: &Config,
    former: Option<&Assembly>,
) -> Result<(KeySource, Option<Arc<Watching>>), SecretError> {
    let idempotency = &config.safety.idempotency;
    if let Some(former) = former
        && former.loaded.config.safety.idempotency == *idempotency
    {
        return Ok((former.proxy.key_source.clone(), former.watching.1.clone()));
    }
    Ok(match idempotency {
        Idempotency::Generate => (KeySource::Generate, None),
        Idempotency::Derive { secret: source } => {
            let secret = read_secret(source)?;
            let pinned = pin(source, &secret);
            (
                KeySource::Derive(Deriver::new(&secret)),
                Some(Arc::new(pinned)),
            )
        }
    })
}

/// Opened when the first route that moves money is enabled, and then for good. Also where none is and the file is there: what
/// an earlier process left open in it stays open, whatever is enabled now.
fn journal(
    config: &Config,
    process: &Process,
    former: Option<&Assembly>,
) -> Result<Option<Arc<Journal>>, StartError> {
    if let Some(open) = former.and_then(|former| former.proxy.journal.clone()) {
        return Ok(Some(open));
    }
    let moves_money = config.routes.iter().any(|r| r.route.class().moves_money());
    let journal = config.safety.journal.as_ref();
    let needed = journal.filter(|j| moves_money || j.file.exists());
    let opened = needed.map(|j| Journal::open(j, process.clock.clone()));
    match opened.transpose() {
        // Another proxy with the same configuration may have it, which counts as well.
        Err(error) if !moves_money => {
            tracing::warn!(%error, "what is unresolved in the journal is not counted here; no enabled route moves money, so nothing else needs it");
            Ok(None)
        }
        opened => Ok(opened?.map(Arc::new)),
    }
}

/// With other bounds the turns begin anew: those that are taken are given back to where they came from.
fn turns(limits: &Limits, former: Option<&Assembly>) -> Arc<Turns> {
    let bounds = |l: &Limits| (l.exchanges_in_flight, l.queue_length, l.queue_wait);
    match former {
        Some(former) if bounds(&former.proxy.limits) == bounds(limits) => {
            former.proxy.turns.clone()
        }
        _ => {
            let (at_once, queue_length, queue_wait) = bounds(limits);
            Arc::new(Turns::new(at_once, queue_length, queue_wait))
        }
    }
}

fn pace(config: &Config, former: Option<&Assembly>) -> Option<Arc<Pace>> {
    let limit = config.safety.rate_limit;
    match former {
        Some(former) if former.loaded.config.safety.rate_limit == limit => {
            former.proxy.pace.clone()
        }
        _ => limit.map(|limit| Arc::new(Pace::new(limit))),
    }
}

fn destinations(config: &Config, upstreams: &Upstreams) -> Vec<Destination> {
    let repeats = &config.safety.repeats;
    let destination = |route: &RouteConfig| Destination {
        route: route.route,
        upstream: upstreams.at(&route.upstream),
        deadline: route.deadline,
        attempt_timeout: route.attempt_timeout,
        policy: Policy {
            attempts: route.attempts,
            money_after_write: route.danger_repeat_after_write,
            backoff: Backoff {
                base: repeats.backoff_base,
                cap: repeats.backoff_cap,
            },
        },
        disabled: route.disabled,
        validation: route.validation,
        refresh_url_below: route.refresh_url_below,
    };
    config.routes.iter().map(destination).collect()
}

/// What tells the sandbox's keys from production's; with an upstream of one's own, that upstream.
fn environment(config: &Config) -> String {
    match (config.environment, config.routes.first()) {
        (Some(environment), _) => environment.to_string(),
        (None, route) => route.map(|r| r.upstream.authority()).unwrap_or_default(),
    }
}
