//! The enabled routes: where each goes and how long it may take.
//!
//! There is no default environment: a route goes where it was told to, or the configuration is a mistake. A money
//! route waits longer than Ingo may hold a call (protocol.md §4), or its answers would be lost on purpose.

use super::{
    Origin, RouteConfig, Validation,
    origin::base_url,
    quantity::show_duration,
    reader::Reader,
    schema::{self, route_key},
};
use crate::ingo::{Environment, Product, Route, contract::Profile};

/// Reads `environment`, the URLs and the section `routes`.
pub(super) fn read(
    reader: &mut Reader<'_>,
    warnings: &mut Vec<String>,
) -> Option<(Option<Environment>, Vec<RouteConfig>)> {
    let environment = reader.optional("environment", |text| {
        Environment::from_name(text).ok_or_else(|| "must be sandbox or production".to_owned())
    });
    let cleartext = reader.boolean("upstream.danger_allow_cleartext");
    let mut urls = Urls {
        environment,
        cleartext: cleartext.unwrap_or(false),
        common: None,
        homeless: None,
    };
    urls.common = urls.read(reader, "upstream.url", warnings);
    let mut read = Vec::new();
    for route in Route::ALL {
        read.push(read_route(reader, route, &mut urls, warnings));
    }
    if let Some(route) = urls.homeless {
        let remedy = format!(
            "is not set, and the route {} has no URL; set {}; or for a host of your own {}",
            route.name(),
            schema::ways("environment"),
            schema::ways("upstream.url")
        );
        reader.reject("environment", remedy);
    }
    let read: Option<Vec<_>> = read.into_iter().collect();
    let routes: Vec<RouteConfig> = read?.into_iter().flatten().collect();
    if routes.is_empty() {
        reader.reject(
            "routes",
            "no route is enabled; name some with --routes, or set routes.<name>.enabled to true",
        );
        return None;
    }
    Some((environment?, routes))
}

/// A route's configuration; `Some(None)` where it is not enabled.
fn read_route(
    reader: &mut Reader<'_>,
    route: Route,
    urls: &mut Urls,
    warnings: &mut Vec<String>,
) -> Option<Option<RouteConfig>> {
    let enabled = reader.boolean(&route_key(route, "enabled"));
    let own = urls.read(reader, &route_key(route, "url"), warnings);
    let deadline = reader.time(&route_key(route, "deadline"));
    let attempt_key = route_key(route, "attempt_timeout");
    let attempt = reader.time(&attempt_key);
    let attempts = reader.count(&route_key(route, "attempts"));
    let disabled = reader.boolean(&route_key(route, "disabled"));
    let repeat_after_write = if route.class().moves_money() {
        reader.boolean(&route_key(route, "danger_repeat_after_write"))
    } else {
        Some(false)
    };
    if repeat_after_write == Some(true) && enabled == Some(true) {
        warnings.push(format!(
            "{} is true: a payment whose answer was lost is sent again, and it is Ingo alone that keeps it from \
             happening twice",
            route_key(route, "danger_repeat_after_write")
        ));
    }
    let validation = if route == Route::CreateSession {
        validation(reader, route)
    } else {
        Some(None)
    };
    let refresh_url_below = if route == Route::CreateSession {
        let key = route_key(route, "refresh_url_below");
        reader.unless_off(&key, schema::time_at(&key))
    } else {
        Some(None)
    };
    let mut timely = true;
    if let (Some(deadline), Some(attempt)) = (deadline, attempt) {
        let held_for = route.class().held_for();
        if attempt <= held_for {
            timely = false;
            reader.reject(
                &attempt_key,
                format!(
                    "must exceed {}: Ingo may hold a call that moves money so long before it answers",
                    show_duration(held_for)
                ),
            );
        }
        if attempt > deadline {
            timely = false;
            reader.reject_order(&attempt_key, &route_key(route, "deadline"));
        }
    }
    if !enabled? {
        return timely.then_some(None);
    }
    let upstream = urls.of(reader, route, own?);
    Some(Some(RouteConfig {
        route,
        upstream: upstream?,
        deadline: deadline?,
        attempt_timeout: attempt.filter(|_| timely)?,
        attempts: u32::try_from(attempts?).ok()?,
        disabled: disabled?,
        danger_repeat_after_write: repeat_after_write?,
        validation: validation?,
        refresh_url_below: refresh_url_below?,
    }))
}

/// How the route's bodies are checked; the inner `None`: not at all.
fn validation(reader: &mut Reader<'_>, route: Route) -> Option<Option<Validation>> {
    let mode = reader.required(&route_key(route, "validation"), |text| match text {
        "off" => Ok(None),
        "warn" => Ok(Some(false)),
        "enforce" => Ok(Some(true)),
        _ => Err("must be off, warn or enforce".to_owned()),
    });
    let profile = reader.required(&route_key(route, "validation_profile"), |text| {
        Profile::from_name(text).ok_or_else(|| {
            "must be newer or older: which of Ingo's documents is gone by".to_owned()
        })
    });
    let in_ingos_form =
        reader.required(&route_key(route, "validation_answer"), |text| match text {
            "problem" => Ok(false),
            "ingo" => Ok(true),
            _ => Err("must be problem, or ingo for answers in the form of Ingo's 13400".to_owned()),
        });
    let (mode, profile, in_ingos_form) = (mode?, profile?, in_ingos_form?);
    Some(mode.map(|enforce| Validation {
        enforce,
        profile,
        in_ingos_form,
    }))
}

/// What decides where a route goes. Outer `None`s are mistakes that have been noted.
struct Urls {
    environment: Option<Option<Environment>>,
    cleartext: bool,
    common: Option<Option<Origin>>,
    /// The first enabled route that has neither URL nor environment.
    homeless: Option<Route>,
}

impl Urls {
    /// The base URL at `path`, if one is set and may be used.
    fn read(
        &self,
        reader: &mut Reader<'_>,
        path: &str,
        warnings: &mut Vec<String>,
    ) -> Option<Option<Origin>> {
        let Some(origin) = reader.optional(path, base_url)? else {
            return Some(None);
        };
        if !origin.tls && !origin.is_loopback() {
            if !self.cleartext {
                reader.reject(
                    path,
                    "must begin with https://, unless the host is loopback (or upstream.danger_allow_cleartext is true)",
                );
                return None;
            }
            warnings.push(format!(
                "{path} begins with http://: requests and answers can be read and changed on the way"
            ));
        }
        if self.environment == Some(Some(Environment::Sandbox)) && is_production(&origin) {
            reader.reject(
                path,
                "is one of Ingo's production hosts, but environment is sandbox",
            );
            return None;
        }
        Some(Some(origin))
    }

    /// Where `route` goes: to its own URL, else to the common one, else to its product's host.
    fn of(&mut self, reader: &mut Reader<'_>, route: Route, own: Option<Origin>) -> Option<Origin> {
        if own.is_some() {
            return own;
        }
        if let Some(common) = self.common.clone()? {
            return Some(common);
        }
        let Some(environment) = self.environment? else {
            self.homeless.get_or_insert(route);
            return None;
        };
        let Some(url) = route.product().base_url(environment) else {
            let key = route_key(route, "url");
            let remedy = format!(
                "is not set, and Ingo publishes no {environment} host for this route; set {key}"
            );
            reader.reject(&key, remedy);
            return None;
        };
        Some(base_url(url).expect("a test reads all built-in URLs"))
    }
}

fn is_production(origin: &Origin) -> bool {
    ALL_PRODUCTS.into_iter().any(|product| {
        let url = product.base_url(Environment::Production);
        url.and_then(|url| base_url(url).ok())
            .is_some_and(|production| production.host == origin.host)
    })
}

const ALL_PRODUCTS: [Product; 4] = [
    Product::SessionManagement,
    Product::Gateway,
    Product::OpenBanking,
    Product::Banking,
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_built_in_url_is_a_base_url_over_tls() {
        for route in Route::ALL {
            assert!(ALL_PRODUCTS.contains(&route.product()));
        }
        for product in ALL_PRODUCTS {
            for environment in Environment::ALL {
                if let Some(url) = product.base_url(environment) {
                    assert!(base_url(url).expect("a base URL").tls, "{url}");
                }
            }
        }
    }

    #[test]
    fn production_hosts_are_known_from_sandbox_hosts() {
        let production = |url| is_production(&base_url(url).expect("valid"));
        assert!(production("https://payapi.ingo.money:8443"));
        assert!(!production("https://payapi-sandbox.ingo.money"));
    }
}
