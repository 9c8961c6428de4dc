use std::time::Duration;

use super::*;

#[test]
fn requests_cannot_use_the_last_quarter_which_is_kept_for_answers() {
    let memory = Memory::new(100);
    let mut request = memory.reserve();
    assert_eq!(request.grow_for_request(75), Ok(()));
    assert_eq!(request.grow_for_request(1), Err(Exhausted));
    let mut answer = memory.reserve();
    assert_eq!(answer.grow_for_answer(25), Ok(()));
    assert_eq!(answer.grow_for_answer(1), Err(Exhausted));
    assert_eq!(memory.used(), 100);
}

#[test]
fn what_is_dropped_is_given_back() {
    let memory = Memory::new(100);
    let mut reservation = memory.reserve();
    reservation.grow_for_request(60).expect("there is room");
    drop(reservation);
    assert_eq!(memory.used(), 0);
}

#[test]
fn a_sum_that_overflows_is_refused() {
    let memory = Memory::new(100);
    let mut reservation = memory.reserve();
    reservation.grow_for_request(1).expect("there is room");
    assert_eq!(reservation.grow_for_request(usize::MAX), Err(Exhausted));
    assert_eq!(memory.used(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_at_once_and_a_wait_ends() {
    let turns = Turns::new(1, 1, Duration::from_millis(100));
    let first = turns.take().await.expect("a turn is free");
    let (second, third) = tokio::join!(turns.take(), async {
        assert_eq!(turns.waiting(), 1);
        turns.take().await
    });
    assert!(third.is_err(), "the queue has one place");
    assert!(second.is_err(), "no turn came");
    assert_eq!(turns.waiting(), 0);
    drop(first);
    assert!(turns.take().await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_is_given_back_goes_to_who_waits() {
    let turns = Turns::new(1, 1, Duration::from_millis(100));
    let first = turns.take().await.expect("a turn is free");
    let (second, ()) = tokio::join!(turns.take(), async { drop(first) });
    assert!(second.is_ok());
}
