//! Ingo's products and the hosts that serve them (protocol.md §2).
//!
//! Some of Ingo's pages show other hosts for the same product, so configuration can override every one of these.

use std::fmt;

/// Which of Ingo's two worlds a request goes to. There is no default: the wrong guess costs money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Ingo's test systems. No money moves.
    Sandbox,
    /// Ingo's production systems.
    Production,
}

impl Environment {
    /// Both, in the order in which they are offered to people.
    pub const ALL: [Self; 2] = [Self::Sandbox, Self::Production];

    /// The name used in configuration, logs and metrics.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sandbox => "sandbox",
            Self::Production => "production",
        }
    }

    /// The environment of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.as_str() == name)
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A group of Ingo's APIs that is served by one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Product {
    /// Session Management (Embedded Account Capture).
    SessionManagement,
    /// IngoPay gateway and Notify.
    Gateway,
    /// Open banking tokenisation, announced as coming soon.
    OpenBanking,
    /// Banking Platform.
    Banking,
}

impl Product {
    /// The base URL Ingo documents for this product, `None` where none is published.
    pub const fn base_url(self, environment: Environment) -> Option<&'static str> {
        match (self, environment) {
            (Self::SessionManagement, Environment::Sandbox) => {
                Some("https://iip-session-management-uat.ingo.money")
            }
            (Self::SessionManagement, Environment::Production) => {
                Some("https://iip-session-management.ingo.money")
            }
            (Self::Gateway, Environment::Sandbox) => Some("https://payapi-sandbox.ingo.money"),
            (Self::Gateway, Environment::Production) => Some("https://payapi.ingo.money"),
            (Self::OpenBanking, Environment::Sandbox) => Some("https://sandbox-api.ingomoney.com"),
            (Self::OpenBanking, Environment::Production) => None,
            (Self::Banking, Environment::Sandbox) => {
                Some("https://api.sdev.banking.ingopayments.tech")
            }
            (Self::Banking, Environment::Production) => {
                Some("https://api.banking.ingopayments.tech")
            }
        }
    }
}
