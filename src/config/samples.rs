//! The sample configurations in `config/`, each read as a user would have it read.

use super::{Loaded, Sources, load};

fn read(file: &str) -> Loaded {
    let sources = Sources {
        file: Some(file.into()),
        ..Sources::default()
    };
    load(&sources).unwrap_or_else(|error| panic!("{file}: {error}"))
}

#[test]
fn the_minimal_configuration_is_enough_for_the_sandbox() {
    let loaded = read("config/minimal.yaml");
    let routes = &loaded.config.routes;
    assert_eq!(routes.len(), 1);
    assert_eq!(
        routes[0].upstream.to_string(),
        "https://iip-session-management-uat.ingo.money"
    );
    assert!(loaded.warnings.is_empty());
}
