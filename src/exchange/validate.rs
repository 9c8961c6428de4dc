//! The stage between body and key: what Ingo would refuse, refused or counted before Ingo is asked.
//!
//! Only Create Session's fields are documented well enough. What is found is told by field and rule, never by value, and the
//! bytes go on as they came.

use super::{Proxy, Rejection, admit::Admitted, body::Body, rejection::Invalid};
use crate::{problem::Code, telemetry::Trail};

/// A body that may go to Ingo.
#[derive(Debug)]
pub(super) struct Validated(pub(super) Body);

impl Proxy {
    /// Acts on what was found in the body's fields, where the route says so.
    pub(super) fn validate(
        &self,
        admitted: &Admitted<'_>,
        mut body: Body,
        trail: &Trail,
    ) -> Result<Validated, Rejection> {
        let Some(validation) = admitted.destination.validation else {
            return Ok(Validated(body));
        };
        let findings = std::mem::take(&mut body.findings);
        if findings.is_empty() {
            return Ok(Validated(body));
        }
        for finding in &findings {
            self.metrics.found(finding.rule);
        }
        if validation.enforce {
            return Err(Rejection {
                invalid: Some(Box::new(Invalid {
                    findings,
                    in_ingos_form: validation.in_ingos_form,
                })),
                ..Rejection::unsent(
                    Code::ValidationFailed,
                    "the body breaks rules of Ingo's documents, which are enforced here; errors names each field",
                )
            });
        }
        let told: Vec<String> = findings
            .iter()
            .map(|finding| format!("{} {}", finding.field, finding.rule.as_str()))
            .collect();
        tracing::warn!(
            exchange_id = %trail.exchange_id,
            trace_id = trail.trace_id().map(tracing::field::display),
            findings = told.join(", "),
            "a request breaks rules of Ingo's documents and was forwarded all the same; correct the service, or switch this off with routes.create_session.validation"
        );
        Ok(Validated(body))
    }
}
