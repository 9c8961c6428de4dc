//! What no decision may ever do, whatever it is given.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::ingo::Class;

fn class() -> impl Strategy<Value = Class> {
    prop::sample::select(vec![
        Class::KeyedByHeader,
        Class::KeyedByBody,
        Class::PushMoney,
        Class::PullMoney,
        Class::Unkeyed,
    ])
}

fn ended() -> impl Strategy<Value = Ended> {
    let answered = (
        prop_oneof![
            Just(200_u16),
            Just(429),
            Just(502),
            Just(503),
            Just(504),
            100_u16..600
        ],
        prop::option::of(prop_oneof![
            Just(100_u32),
            Just(104),
            500_u32..600,
            any::<u32>()
        ]),
        prop::option::of(0_u64..200),
    );
    prop_oneof![
        Just(Ended::Unconnected),
        Just(Ended::Unanswered),
        Just(Ended::TimedOut),
        refusal().prop_map(Ended::Refused),
        answered.prop_map(|(http, ingo, retry)| Ended::Answered {
            http,
            ingo,
            retry_after: retry.map(Duration::from_secs),
        }),
    ]
}

fn refusal() -> impl Strategy<Value = Refusal> {
    prop::sample::select(vec![Refusal::ClockSkew, Refusal::Credential])
}

fn remedied() -> impl Strategy<Value = Remedied> {
    prop::collection::vec(refusal(), 0..3).prop_map(|refusals| {
        let mut remedied = Remedied::default();
        refusals.into_iter().for_each(|r| remedied.note(r));
        remedied
    })
}

prop_compose! {
    fn attempted()(
        class in class(),
        ended in ended(),
        attempts in 1_u32..6,
        remedied in remedied(),
        time_left in 0_u64..120_000,
        affordable: bool,
        fraction in 0.0_f64..=1.0,
    ) -> Attempted {
        Attempted { class, ended, attempts, remedied, time_left: Duration::from_millis(time_left), affordable, fraction }
    }
}

fn policy() -> impl Strategy<Value = Policy> {
    (1_u32..5, any::<bool>()).prop_map(|(attempts, money_after_write)| Policy {
        attempts,
        money_after_write,
        backoff: Backoff::default(),
    })
}

fn written(ended: Ended) -> bool {
    matches!(
        ended,
        Ended::Unanswered | Ended::TimedOut | Ended::Answered { .. }
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn no_repeat_where_it_could_act_twice(policy in policy(), attempted in attempted()) {
        if let Decision::Repeat { .. } = decide(&policy, &attempted) && written(attempted.ended) {
            let recognised = matches!(attempted.class, Class::KeyedByHeader | Class::KeyedByBody)
                || attempted.class.moves_money() && policy.money_after_write;
            prop_assert!(recognised, "{attempted:?}");
        }
    }

    #[test]
    fn money_that_was_written_waits_four_seconds_if_it_is_repeated_at_all(policy in policy(), attempted in attempted()) {
        if let Decision::Repeat { after, .. } = decide(&policy, &attempted)
            && attempted.class.moves_money()
            && written(attempted.ended)
        {
            prop_assert!(after >= Duration::from_secs(4), "{attempted:?}");
        }
    }

    #[test]
    fn every_wait_ends_before_the_deadline_and_honours_retry_after(policy in policy(), attempted in attempted()) {
        if let Decision::Repeat { after, .. } = decide(&policy, &attempted) {
            prop_assert!(after < attempted.time_left);
            if let Ended::Answered { retry_after: Some(asked), .. } = attempted.ended {
                prop_assert!(after >= asked);
            }
        }
    }

    #[test]
    fn attempts_and_budget_bound_every_repeat_but_the_one_for_a_refusal(policy in policy(), attempted in attempted()) {
        if let Decision::Repeat { .. } = decide(&policy, &attempted) {
            match attempted.ended {
                Ended::Refused(refusal) => prop_assert!(!attempted.remedied.has(refusal)),
                _ => prop_assert!(attempted.attempts < policy.attempts && attempted.affordable),
            }
        }
    }

    #[test]
    fn an_exchange_is_repeated_once_for_each_refusal_and_on_every_route(policy in policy(), mut attempted in attempted(), refusals in prop::collection::vec(refusal(), 1..12)) {
        attempted.time_left = Duration::from_secs(1);
        attempted.remedied = Remedied::default();
        let mut repeats = Vec::new();
        for refusal in refusals {
            attempted.ended = Ended::Refused(refusal);
            attempted.attempts += 1;
            let asked_before = repeats.contains(&refusal);
            match decide(&policy, &attempted) {
                Decision::Stop => prop_assert!(asked_before),
                Decision::Repeat { after, .. } => {
                    prop_assert!(!asked_before);
                    prop_assert_eq!(after, Duration::ZERO);
                    attempted.remedied.note(refusal);
                    repeats.push(refusal);
                }
            }
        }
    }

    #[test]
    fn an_answer_that_is_final_is_never_asked_for_again(policy in policy(), mut attempted in attempted(), http in prop::sample::select(vec![200_u16, 400, 401, 403, 404, 409, 500, 501])) {
        attempted.ended = Ended::Answered { http, ingo: Some(13723), retry_after: None };
        prop_assert_eq!(decide(&policy, &attempted), Decision::Stop);
    }
}
